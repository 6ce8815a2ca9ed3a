"""The audit log: every change of what is configured, written down by the database itself, whatever program makes it.

Triggers write it (`triggers.py`), so changes of many rows at once and changes made beside the portal are seen as well.
Who asked, and from where, they learn from pghistory's context (`context.py`). One table holds it all, append-only: its
pages are by position, its filters are indexed, and its rows name their source. A table for each kind, which is
pghistory's own way, would have to be put together again for every page.
"""
