"""Coverage: a calendar of every source's days, what is known of each, and having a range of them read."""

from sync.admin.coverage.pages import urls

__all__ = ["urls"]
