"""The staff pages of usage: the three record tables and restatements, all of them read-only."""

from usage.admin import lists, restatements

__all__ = ["lists", "restatements"]
