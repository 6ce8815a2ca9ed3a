"""Export of any list: all of the filtered rows and not the page, as a download whose progress the page shows."""

from usage.admin.exporting.base import ExportingAdmin

__all__ = ["ExportingAdmin"]
