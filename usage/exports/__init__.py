"""Exports: all rows of a filter as CSV, NDJSON, XLSX or Parquet, streamed with flat memory, and their manifest."""

from usage.exports.about import ExportRequest
from usage.exports.formats import FORMATS
from usage.exports.manifest import compute_manifest, compute_totals
from usage.exports.response import BROKEN, ExportStream, ExportTooSlow, export

__all__ = [
    "BROKEN",
    "FORMATS",
    "ExportRequest",
    "ExportStream",
    "ExportTooSlow",
    "compute_manifest",
    "compute_totals",
    "export",
]
