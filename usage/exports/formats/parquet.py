"""Parquet, by pyarrow: typed columns, batch by batch, so that memory stays flat. Without pyarrow: a clear refusal.

Every file of a kind has one schema, so that readers take several together: instants are timestamp[us, UTC], dates
date32, whole numbers int64, texts, keys and JSON strings, NUMERIC columns decimal128(38, 18). After each of these comes
a column of texts, `<name>_exact`. It has the numbers that no such decimal holds; these are null in the column before.
A file that breaks off has no footer, and no reader takes it.
"""

import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from rest_framework.exceptions import ValidationError

from usage.columns import (
    BEYOND_DECIMAL,
    BOOLEAN,
    CELL_SQL,
    DAY,
    DECIMAL,
    DECIMAL_DIGITS,
    DECIMAL_PLACES,
    INSTANT,
    INTEGER,
    NUMBER,
    Column,
)
from usage.exports.copy import BLOCK_BYTES, ExportQuery, Record
from usage.exports.formats.base import ExportFormat

BATCH_BYTES = 8 * 1024 * 1024  # of CSV, which becomes one row group


class Format(ExportFormat):
    """A file of row groups of about 8 MB of CSV each."""

    name = "parquet"
    media_type = "application/vnd.apache.parquet"
    title = "Parquet"
    hint = "for data tools"
    position = 4

    @classmethod
    def is_available(cls) -> bool:
        return find_spec("pyarrow") is not None

    def write(self, query: ExportQuery) -> Iterator[bytes]:
        """Yield row groups and the footer in blocks of 64 KB; raises ValidationError without pyarrow."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            reason = "parquet needs pyarrow on the server, which is not installed: the extra `parquet`."
            raise ValidationError({"format": [reason]}) from None
        columns = list(split_numbers(query.columns))
        schema = build_schema(columns)
        out = StreamBuffer()
        with parquet.ParquetWriter(pa.PythonFile(out, "w"), schema, compression="zstd") as writer:
            for table in read_tables(replace(query, columns=columns), schema):
                writer.write_table(table, row_group_size=table.num_rows)
                yield from out.take()
        yield from out.take()


class StreamBuffer(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._pending += data
        self._position += len(data)
        return len(data)

    def take(self) -> Iterator[bytes]:
        """Yield what was written since the last call, in blocks of 64 KB: the server reads some ahead of its reader."""
        taken, self._pending = io.BytesIO(self._pending), bytearray()
        yield from iter(partial(taken.read, BLOCK_BYTES), b"")


def split_numbers(columns: Iterable[Column]) -> Iterator[Column]:
    """Yield the columns of the file: of every number its decimal, and the text of a number beyond the decimals."""
    for column in columns:
        if column.kind == NUMBER:
            yield replace(column, kind=DECIMAL)
            yield Column(f"{column.name}_exact", column.path, BEYOND_DECIMAL)
        else:
            yield column


def build_schema(columns: Iterable[Column]) -> Any:
    """Return the Arrow schema of the columns."""
    import pyarrow as pa

    types = {
        INSTANT: pa.timestamp("us", "UTC"),
        DAY: pa.date32(),
        INTEGER: pa.int64(),
        BOOLEAN: pa.bool_(),
        DECIMAL: pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES),
    }
    return pa.schema([(column.name, types.get(column.kind, pa.string())) for column in columns])


def read_tables(query: ExportQuery, schema: Any, sql_by_kind: Mapping[str, str] = CELL_SQL) -> Iterator[Any]:
    """Yield the rows of a query as Arrow tables, about 8 MB of CSV at a time."""
    records = query.read_records(sql_by_kind)
    next(records)  # the header
    for batch in batch_bytes(records):
        yield parse_batch(batch, schema)


def batch_bytes(records: Iterator[Record]) -> Iterator[bytes]:
    """Gather complete records into batches of about 8 MB."""
    batch = bytearray()
    for record in records:
        batch += record
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def parse_batch(batch: bytes, schema: Any) -> Any:
    """Return a batch of CSV as an Arrow table; an empty cell is a null, an empty text in quotes is a text."""
    import pyarrow as pa
    from pyarrow import csv

    if batch.startswith(BOM_UTF8):  # part of a text; pyarrow leaves out the first mark
        batch = BOM_UTF8 + batch
    return csv.read_csv(
        pa.py_buffer(batch),
        read_options=csv.ReadOptions(column_names=schema.names, block_size=len(batch) + 1, use_threads=False),
        # The null of a file of one column is an empty line.
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
