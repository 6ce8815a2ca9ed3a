"""The staff pages of access: people, groups, tokens, and what was changed by whom."""

from portal.admin import groups, people, tokens

__all__ = ["groups", "people", "tokens"]
