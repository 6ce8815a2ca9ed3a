"""The admin pages of reports."""

from portal.reports.admin import reports

__all__ = ["reports"]
