"""Staging: load a day from the lake into temporary tables, and add up what is there, as PostgreSQL does it.

That proves what no look at the files would: a staged day is what `restore_archive` inserts. The same statements add up
the records that PostgreSQL has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import psycopg
import pyarrow as pa
from django.db import DataError, IntegrityError, connection
from pyarrow import csv
from pyiceberg.table import Table

from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import NUMBER, get_columns
from usage.lake import LakeUnavailable
from usage.lake.archive_tables import Archive, list_numbers
from usage.lake.contents import Contents, build_record_hashes, build_revision_hashes, fetch_row
from usage.models import RecordRevision, SourceDay, UsageRecord
from usage.stored import RECORD_DIGEST, StoredDay, fill_default, format_digest, read_stored_day

TYPES: Final = {
    pa.string(): "text",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamptz",
}
# Of the seconds of an interval, which is what generated columns have.
SECONDS_SCALE: Final = 6
REVISIONS: Final = "pg_temp.lake_recordrevision"


class DamagedDay(Exception):
    """A day cannot be read from the lake, though the lake is available; the message says why."""


@dataclass(frozen=True, slots=True)
class StagedDay:
    """What the staged records of a day add up to; `manifest_digest`: that of an export of its current records."""

    stored: StoredDay
    contents: Contents
    manifest_digest: str


def stage_day(archive: Archive, kind: type[UsageRecord], day: SourceDay) -> StagedDay:
    """Load a day from the lake into temporary tables of this transaction; returns what it adds up to.

    Raises DamagedDay where it cannot be loaded, and LakeUnavailable where the lake cannot be read; the transaction, or
    the savepoint around this call, is of no more use then.
    """
    try:
        stage_records(archive, kind, day)
        stage_revisions(archive, day)
    except (DataError, IntegrityError, psycopg.DataError) as error:
        raise DamagedDay(f"a value cannot be stored: {str(error).splitlines()[0]}") from error
    table = name_table(kind)
    records = fetch_row(f"SELECT {build_record_hashes(kind)} FROM {table} t", {})  # noqa: S608 (our own names)
    revisions = fetch_row(f"SELECT {build_revision_hashes()} FROM {REVISIONS} t", {})  # noqa: S608 (our own names)
    current = fetch_row(f"SELECT coalesce(sum({RECORD_DIGEST}), 0) FROM {table} t WHERE withdrawn_at IS NULL", {})  # noqa: S608 (our own names)
    return StagedDay(
        read_stored_day(kind, day, table),
        Contents(*map(int, (*records, *revisions))),
        format_digest(current[0]),
    )


def stage_records(archive: Archive, kind: type[UsageRecord], day: SourceDay) -> None:
    """Load the current and the withdrawn records, with their numbers as they were."""
    table = create_table(name_table(kind), kind._meta.db_table)
    for published in (archive.lake.usage[kind], archive.withdrawn[kind]):
        raw = load_rows(published, day)
        columns, values = zip(*build_values(kind), strict=True)
        execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {raw} t",  # noqa: S608 (our own names)
            {"source": day.source_id},
        )
    if kind in archive.scales:
        raw = load_rows(archive.scales[kind], day)
        rounded = ", ".join(
            f"{name} = coalesce(round(t.{name}, s.{name}::integer), t.{name})" for name in list_numbers(kind)
        )
        execute(f"UPDATE {table} t SET {rounded} FROM {raw} s WHERE s.id = t.id")  # noqa: S608 (our own names)


def stage_revisions(archive: Archive, day: SourceDay) -> None:
    """Load the revisions."""
    table = create_table(REVISIONS, RecordRevision._meta.db_table)
    raw = load_rows(archive.revisions, day)
    execute(
        f"INSERT INTO {table} (id, kind, record, source_id, day, revision, replaced_at, was) "  # noqa: S608 (our own names)
        f"SELECT id, kind, record, %(source)s, day, revision, replaced_at, was::jsonb FROM {raw} t",
        {"source": day.source_id},
    )


def name_table(kind: type[UsageRecord]) -> str:
    """Return the name of the temporary table of the records of a kind."""
    return f"pg_temp.lake_{kind._meta.model_name}"


def create_table(name: str, like: str) -> str:
    """Create an empty temporary table with the columns of another, without generation; returns its name."""
    # Not dropped in between: a transaction that stages many days would keep a lock for each table that it had. Emptied
    # outside of savepoints, a table of this transaction gives its space back at once.
    execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name.removeprefix('pg_temp.')} (LIKE {like}) ON COMMIT DROP")
    execute(f"TRUNCATE {name}")
    return name


def load_rows(table: Table, day: SourceDay) -> str:
    """Load the rows that a table of the lake has of a day; returns the name of the temporary table."""
    name = f"lake_raw_{table.name()[-1]}"
    schema = table.schema().as_arrow()
    types = {field.name: TYPES.get(simplify(field.type), "numeric") for field in schema}
    columns = ", ".join(f'"{column}" {type_name}' for column, type_name in types.items())
    execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT DROP")
    execute(f"TRUNCATE pg_temp.{name}")
    names = ", ".join(f'"{column}"' for column in types)
    with connection.cursor() as cursor, cursor.copy(f"COPY pg_temp.{name} ({names}) FROM STDIN (FORMAT csv)") as copy:
        for batch in read_batches(table, day):
            out = BytesIO()
            csv.write_csv(batch.select(list(types)), out, csv.WriteOptions(include_header=False))
            copy.write(out.getvalue())
    return f"pg_temp.{name}"


def simplify(kind: pa.DataType) -> pa.DataType:
    """Return the plain text type for a large text type, else the type."""
    return pa.string() if pa.types.is_large_string(kind) else kind


def read_batches(table: Table, day: SourceDay) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a day; raises DamagedDay and LakeUnavailable."""
    try:
        yield from table.scan(f"source = '{day.source.slug}' AND day = '{day.day}'").to_arrow_batch_reader()
    except Exception as error:  # whatever a file system or a reader of files raises
        name = ".".join(table.name())
        try:
            table.refresh()
        except Exception as second:
            raise LakeUnavailable(f"The lake cannot be read: {second}") from second
        raise DamagedDay(f"{name} cannot be read: {error}") from error


def build_values(kind: type[UsageRecord]) -> Iterator[tuple[str, str]]:
    """Yield each column of a kind, and the SQL of its value in a row `t` of the lake."""
    numbers = {column.name for column in get_columns(RECORD_SERIALIZERS[kind]) if column.kind == NUMBER}
    for field in kind._meta.local_concrete_fields:
        name = str(field.column)
        if name == "source_id":
            value = "%(source)s"
        elif name in numbers:
            value = f"coalesce(t.{name}_exact::numeric, trim_scale(t.{name}))"
            value = f"round({value}, {SECONDS_SCALE})" if field.generated else value
        elif name == "first_seen_at":
            value = "nullif(t.first_seen_at, t.changed_at)"  # see FirstSeenField
        else:
            value = f"t.{name}::{field.db_type(connection)}"
        yield name, fill_default(kind, name, value)


def execute(sql: str, params: dict[str, Any] | None = None) -> None:
    """Run one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
