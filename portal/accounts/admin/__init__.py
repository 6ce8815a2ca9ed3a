"""The admin pages of users, groups, API tokens and the audit log."""

from portal.accounts.admin import audit, groups, tokens, users

__all__ = ["audit", "groups", "tokens", "users"]
