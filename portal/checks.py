"""Start-up checks: a wrong or missing setting stops the portal with a message that says what to set."""
