"""The staff pages of access: people, groups, tokens, and what was changed by whom."""

from portal.admin import audit, groups, people, tokens

__all__ = ["audit", "groups", "people", "tokens"]
