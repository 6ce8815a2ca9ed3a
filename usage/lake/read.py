"""Read a day back from the lake, and compute its digest, which proves that the day is there."""

from collections.abc import Iterable
from datetime import date
from hashlib import md5

import pyarrow as pa
from pyiceberg.table import Table


def read_day(table: Table, source: str, day: date) -> pa.RecordBatchReader:
    """Return the records of a source day, in no order."""
    return table.scan(f"source = '{source}' AND day = '{day}'").to_arrow_batch_reader()


def compute_digest(batches: Iterable[pa.RecordBatch]) -> str:
    """Return the digest of these records, as the manifest of an export has it."""
    total = 0
    for batch in batches:
        for pk, revision in zip(batch["id"].to_pylist(), batch["revision"].to_pylist(), strict=True):
            total += int(md5(f"{pk}:{revision}".encode(), usedforsecurity=False).hexdigest()[:16], 16)
    return f"{total % 2**64:016x}"
