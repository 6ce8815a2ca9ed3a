"""Parquet, by pyarrow: typed columns, batch by batch, so that memory stays flat. Without pyarrow: a clear refusal.

Instants are timestamp[us, UTC], dates date32, whole numbers int64, texts, keys and JSON strings. A NUMERIC column is
decimal128 with 9 digits behind the point, or as many as its finest number has; a column whose numbers do not fit
into 38 digits is a string column. A file that breaks off has no footer, and no reader takes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from usage.columns import DAY, FLAG, INSTANT, NUMBER, WHOLE, Column, rows
from usage.exports.copying import Record, Snapshot
from usage.exports.outbox import Outbox

BATCH_BYTES = 8 * 1024 * 1024  # of CSV, which becomes one row group
DECIMAL_DIGITS = 38
USUAL_SCALE = 9


def parquet_blocks(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Return the rows of `queryset`, in its order, as blocks of Parquet; raises ValidationError without pyarrow."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        reason = "parquet needs pyarrow on the server, which is not installed: install usage-portal[parquet]."
        raise ValidationError({"format": [reason]}) from None
    return written(snapshot, queryset, columns)


def written(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield what a Parquet writer writes for each batch of rows, and its footer."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = schema_of(snapshot, queryset, columns)
    records = snapshot.records(queryset, columns)
    next(records)  # the header
    out = Outbox()
    with parquet.ParquetWriter(pa.PythonFile(out, "w"), schema, compression="zstd") as writer:
        for batch in batches(records):
            writer.write_table(parsed(batch, schema), row_group_size=len(batch))
            if out.posted:
                yield out.emptied()
    yield out.emptied()


def schema_of(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Any:
    """Return the Arrow schema of these columns, whose decimals hold every number that `queryset` has."""
    import pyarrow as pa

    scales = decimal_scales(snapshot, queryset, [column for column in columns if column.kind == NUMBER])

    types = {INSTANT: pa.timestamp("us", "UTC"), DAY: pa.date32(), WHOLE: pa.int64(), FLAG: pa.bool_()}

    def type_of(column: Column) -> Any:
        if column.kind != NUMBER:
            return types.get(column.kind, pa.string())
        scale = scales[column.name]
        return pa.string() if scale is None else pa.decimal128(DECIMAL_DIGITS, scale)

    return pa.schema([(column.name, type_of(column)) for column in columns])


def decimal_scales(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> dict[str, int | None]:
    """Return by column name how many digits behind the point it needs, None where no decimal128 can hold it."""
    if not columns:
        return {}
    inner = rows(queryset.order_by(), [column.path for column in columns])
    names = [column.identifier for column in columns]
    asked = ", ".join(
        f"coalesce(max(scale({name})), 0), coalesce(max(length(trunc(abs({name}))::text)), 0), "
        f"coalesce(bool_or({name} IN ('NaN', 'Infinity', '-Infinity')), false)"
        for name in names
    )
    with snapshot.connection.cursor() as cursor:
        cursor.execute(f"SELECT {asked} FROM ({inner.sql}) AS t ({', '.join(names)})", inner.params)  # noqa: S608 (names are the serializer's)
        found = cursor.fetchone()
    return {column.name: scale_for(*found[3 * at : 3 * at + 3]) for at, column in enumerate(columns)}


def scale_for(finest: int, whole_digits: int, endless: bool) -> int | None:
    """Return the scale of a decimal128 for numbers of so many digits, the usual one where it will do."""
    if endless:
        return None
    for scale in (max(USUAL_SCALE, finest), finest):
        if whole_digits + scale <= DECIMAL_DIGITS:
            return scale
    return None


def batches(records: Iterator[Record]) -> Iterator[bytes]:
    """Gather whole records into batches of about 8 MB."""
    batch = bytearray()
    for record in records:
        batch += record
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def parsed(batch: bytes, schema: Any) -> Any:
    """Return a batch of CSV as an Arrow table; an empty cell is a null, an empty text in quotes is a text."""
    import pyarrow as pa
    from pyarrow import csv

    return csv.read_csv(
        pa.py_buffer(batch),
        read_options=csv.ReadOptions(column_names=schema.names, block_size=len(batch) + 1, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
