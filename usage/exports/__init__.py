"""Exports: a whole filtered set as CSV, NDJSON, XLSX or Parquet, streamed with flat memory, and its manifest."""

from usage.exports.answers import BROKEN, FORMATS, Refused, Stream, export
from usage.exports.copying import BLOCK_BYTES, one_state, stream_csv, stream_ndjson
from usage.exports.manifest import Digested, digested

__all__ = [
    "BLOCK_BYTES",
    "BROKEN",
    "FORMATS",
    "Digested",
    "Refused",
    "Stream",
    "digested",
    "export",
    "one_state",
    "stream_csv",
    "stream_ndjson",
]
