"""Access: users, API tokens, roles, signing in, rate limits and the audit log."""
