"""The staff pages of usage: the three record tables, names and restatements, all of them read-only, and notes."""

from usage.admin import lists, names, notes, restatements

__all__ = ["lists", "names", "notes", "restatements"]
