"""The staff pages of synchronisation: sources, their days, runs and rejected records."""

from sync.admin import days, rejected, runs, sources

__all__ = ["days", "rejected", "runs", "sources"]
