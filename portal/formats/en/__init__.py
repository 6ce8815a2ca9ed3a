"""English, the only language of the portal."""
