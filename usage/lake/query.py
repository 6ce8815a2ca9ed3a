"""Rows of the lake in the order of an export: DuckDB sorts them, in bounded memory and a temporary folder.

It reads the batches from pyarrow, and nothing else: no extension is searched for, no file and no address opened.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa
import structlog
from django.conf import settings
from django.db import connection
from django.db.models import TextField
from pyarrow import compute
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from sqlalchemy.exc import SQLAlchemyError

from usage.columns import BEYOND_DECIMAL, CELL_SQL, INTEGER, Column, Statement
from usage.exports.archive import ArchivedDay, ArchiveUnavailable, ExportPart, get_order
from usage.exports.copy import ExportQuery
from usage.exports.formats.parquet import build_schema, read_tables
from usage.fields import NumericField
from usage.lake import LakeUnavailable
from usage.lake.catalog import NAMESPACE, connect_catalog, get_lake_columns, get_table_name
from usage.lake.files import Key, list_files, list_keys, read_file
from usage.models import UsageRecord
from usage.snapshot import Snapshot
from usage.stored import fill_default
from usage.timeouts import call_after

logger = structlog.get_logger(__name__)

Rows = dict[str, str]  # by column, the values of some rows as PostgreSQL writes an array
BATCH_ROWS: Final = 4096  # of one statement
MEMORY: Final = "128MB"
CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "memory_limit": MEMORY,
    "threads": 1,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
SETTINGS: Final = ("SET TimeZone = 'UTC'", "SET enable_external_access = false", "SET lock_configuration = true")
# What the catalog and the storage raise.
STORAGE_ERRORS: Final = (LakeUnavailable, OSError, SQLAlchemyError, NoSuchTableError, pa.ArrowException)
SOURCE_ID: Final = Column("source_id", "source_id", INTEGER)
# Every number of stored records is read as text, with its trailing zeros, which a decimal of the lake lacks.
STORED_SQL: Final = {**CELL_SQL, BEYOND_DECIMAL: "t.{0}::text"}


class LakeReader:
    """Reads archived days of a kind for exports, as usage/exports/archive.py has it.

    `scales`: the digits after the point of numbers with trailing zeros.
    """

    def __init__(self, kind: type[UsageRecord], keys: set[Key]) -> None:
        """Find the files that may have rows of these days; raises ArchiveUnavailable."""
        self.kind = kind
        try:
            with closing(connect_catalog()) as catalog:
                self.table = catalog.load_table((NAMESPACE, get_table_name(kind)))
                self.scale_table = find_table(catalog, f"scales_of_{get_table_name(kind)}")
            self.files = list_files(self.table, keys)
            self.scale_files = [] if self.scale_table is None else list_files(self.scale_table, keys)
        except STORAGE_ERRORS as error:
            raise explain_failure(error) from error

    def read_statements(
        self, part: ExportPart, statement: Statement, names: Sequence[str], snapshot: Snapshot | None
    ) -> Iterator[Statement]:
        """Yield a statement over the rows of a part in its order, some thousands of them at a time."""
        columns = [*select_columns(self.kind, names), SOURCE_ID]
        schema = build_schema(columns)
        batches = Batches(self.read_batches(part, columns, schema, snapshot))
        for rows in self.sort_rows(part, batches, schema, snapshot):
            yield wrap(statement, self.kind, names, rows)

    def read_batches(
        self, part: ExportPart, columns: Sequence[Column], schema: pa.Schema, snapshot: Snapshot | None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part in no order; those of its archived days may lie outside of its range."""
        yield from self.read_archived(part.days, schema)
        if snapshot is not None:
            for table in read_tables(ExportQuery(snapshot, part.rows.order_by(), columns), schema, STORED_SQL):
                yield from table.to_batches()

    def read_archived(self, days: Sequence[ArchivedDay], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the records of archived days; raises ArchiveUnavailable where the number of records differs."""
        record_counts: Counter[Key] = Counter()
        expected = {day.key: day.records for day in days}
        ids = {day.slug: day.source_id for day in days}
        for file, batch in read_days(self.table, self.files, expected.keys()):
            slug = file.partition[0]
            for count in compute.value_counts(batch["day"]).to_pylist():
                record_counts[slug, count["values"]] += count["counts"]
            yield align(batch, schema, ids[slug])
        for (slug, day), records in expected.items():
            if (number := record_counts[slug, day]) != records:
                raise ArchiveUnavailable(f"it has {number:,} records of {slug} {day}, and {records:,} were archived.")

    def sort_rows(
        self, part: ExportPart, batches: "Batches", schema: pa.Schema, snapshot: Snapshot | None
    ) -> Iterator[Rows]:
        """Yield rows in the order of a part, BATCH_ROWS at a time; numbers get their scales."""
        numbers = [name for name in schema.names if f"{name}_exact" in schema.names]
        order = get_order(part.rows)
        with connect() as engine:
            engine.register("records", pa.RecordBatchReader.from_batches(schema, batches))
            engine.register("scales", self.read_scales({day.key for day in part.days}, numbers))
            try:
                texts = [name for name, _ in order if is_text(self.kind, name)]
                if texts and snapshot is not None:
                    rank_texts(engine, snapshot, texts)
                yield from fetch_rows(engine, build_sort(schema, numbers, order, texts))
            except duckdb.InterruptException as error:
                raise ArchiveUnavailable("it took longer than an export may; narrow the range.") from error
            except duckdb.Error as error:
                raise explain_failure(batches.failure or error) from error

    def read_scales(self, keys: Collection[Key], numbers: Sequence[str]) -> pa.RecordBatchReader:
        """Return the scales of the numbers of these days, by the ids of their records."""
        schema = pa.schema([(name, pa.int64()) for name in ("id", *numbers)])
        day_batches = read_days(self.scale_table, self.scale_files, keys) if self.scale_table and numbers else iter(())
        batches = (
            pa.record_batch([batch[name].cast(pa.int64()) for name in schema.names], schema=schema)
            for _, batch in day_batches
        )
        return pa.RecordBatchReader.from_batches(schema, batches)


def find_table(catalog: SqlCatalog, name: str) -> Table | None:
    """Return a table, None where there is none."""
    try:
        return catalog.load_table((NAMESPACE, name))
    except NoSuchTableError:
        return None


def explain_failure(failure: Exception) -> Exception:
    """Return the exception to raise for a failure of the lake or of DuckDB."""
    if not isinstance(failure, STORAGE_ERRORS):
        return failure
    logger.warning("lake not readable", error=str(failure))
    return ArchiveUnavailable("the catalog or the storage does not answer.")


def select_columns(kind: type[UsageRecord], names: Collection[str]) -> list[Column]:
    """Return the columns of the lake for fields of a kind, except those that PostgreSQL generates."""
    stored = {field.name for field in kind._meta.concrete_fields if field.name in names and not field.generated}
    return [column for column in get_lake_columns(kind) if column.path in stored]


def read_days(
    table: Table, files: Iterable[DataFile], keys: Collection[Key]
) -> Iterator[tuple[DataFile, pa.RecordBatch]]:
    """Yield the rows of days from files of a table, with the file that they are of."""
    key_set = set(keys)
    for file in files:
        if key_set & list_keys(table, file):
            days = pa.array(sorted(day for slug, day in key_set if slug == file.partition[0]), pa.date32())
            for batch in read_file(table, file):
                yield file, batch.filter(compute.is_in(batch["day"], value_set=days))


def align(batch: pa.RecordBatch, schema: pa.Schema, source_id: int) -> pa.RecordBatch:
    """Return a batch of a file with the columns of a schema: null where an old file has none."""
    present_columns = {*batch.schema.names}
    arrays = {
        field.name: batch[field.name].cast(field.type)
        if field.name in present_columns
        else pa.nulls(len(batch), field.type)
        for field in schema
    }
    arrays[SOURCE_ID.name] = pa.repeat(pa.scalar(source_id, pa.int64()), len(batch))
    return pa.record_batch(list(arrays.values()), schema=schema)


class Batches:
    """Batches that DuckDB takes; `failure`: what reading them raised, of which DuckDB only passes on the text."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except Exception as failure:
            self.failure = failure
            raise


def is_text(kind: type[UsageRecord], name: str) -> bool:
    """Return whether a column is ordered by the collation of the database."""
    return isinstance(kind._meta.get_field(name), TextField)


def rank_texts(engine: duckdb.DuckDBPyConnection, snapshot: Snapshot, names: Sequence[str]) -> None:
    """Create `<name>_ranks`: the place of each value in the order of the database, whose collation DuckDB lacks."""
    engine.execute("CREATE TABLE stored AS FROM records")
    engine.unregister("records")
    engine.execute("ALTER TABLE stored RENAME TO records")
    for name in names:
        values = engine.execute(f"SELECT DISTINCT {quote(name)} FROM records").fetchall()  # noqa: S608 (our own names)
        sort = "SELECT value FROM unnest(%s::text[]) AS value ORDER BY value"
        ordered = [value for (value,) in snapshot.fetch(sort, [[value for (value,) in values]])]
        engine.register(
            f"{name}_ranks", pa.table({"value": pa.array(ordered, pa.string()), "place": range(len(ordered))})
        )


def build_sort(
    schema: pa.Schema, numbers: Sequence[str], order: Sequence[tuple[str, bool]], ranked: Collection[str]
) -> str:
    """Return the query for the rows in an order, every column as text, the scales of numbers among them."""
    columns = [f"r.{quote(name)}::varchar AS {quote(name)}" for name in schema.names]
    columns += [f"s.{quote(name)}::varchar AS {quote(f'{name}_scale')}" for name in numbers]
    joins = " LEFT JOIN scales AS s USING (id)" if numbers else ""
    for name in ranked:
        ranks = quote(f"{name}_ranks")
        joins += f" JOIN {ranks} ON {ranks}.value = r.{quote(name)}"
    keys = ", ".join(
        f"{f'{name}_ranks.place' if name in ranked else f'r.{quote(name)}'} {'DESC' if descending else 'ASC'}"
        for name, descending in order
    )
    return f"SELECT {', '.join(columns)} FROM records AS r{joins}{f' ORDER BY {keys}' if keys else ''}"  # noqa: S608 (our own names)


def fetch_rows(engine: duckdb.DuckDBPyConnection, query: str) -> Iterator[Rows]:
    """Yield the rows of a query, BATCH_ROWS at a time, as they are read."""
    for batch in engine.sql(query).to_arrow_reader(BATCH_ROWS):
        yield {name: build_array(batch[name]) for name in batch.schema.names}


def build_array(column: pa.Array) -> str:
    """Return a column of texts as PostgreSQL writes an array."""
    escaped = compute.replace_substring(compute.replace_substring(column, "\\", "\\\\"), '"', '\\"')
    cells = compute.binary_join_element_wise('"', escaped, '"', "")
    return f"{{{','.join(compute.fill_null(cells, 'NULL').to_pylist())}}}"


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty database; a query longer than PORTAL_EXPORT_SECONDS is interrupted."""
    with (
        tempfile.TemporaryDirectory(prefix="portal-lake-") as folder,
        duckdb.connect(":memory:", config=CONFIG | {"temp_directory": folder}) as engine,
    ):
        for setting in SETTINGS:
            engine.execute(setting)
        with call_after(settings.PORTAL_EXPORT_SECONDS, engine.interrupt):
            yield engine


def wrap(statement: Statement, kind: type[UsageRecord], names: Collection[str], rows: Rows) -> Statement:
    """Return a statement in which the name of a kind's table stands for rows with these fields."""
    fields = [field for field in kind._meta.concrete_fields if field.name in names]
    types = {name: sql for field in fields if not field.generated for name, sql in list_types(field)}
    select_list = ", ".join(
        f"{fill_default(kind, field.name, render_field(field))} AS {quote(field.column)}" for field in fields
    )
    arrays = ", ".join(f"%s::{sql}[]" for sql in types.values())
    columns = ", ".join(map(quote, types))
    sql = f"""
        WITH {quote(kind._meta.db_table)} AS (
            SELECT {select_list} FROM unnest({arrays}) AS r ({columns})
        ) {statement.sql}
    """  # noqa: S608 (our own names)
    return Statement(sql, (*(rows[name] for name in types), *statement.params))


def list_types(field: Any) -> list[tuple[str, str]]:
    """Return the columns that rows have for a field, with their types."""
    if is_number(field):
        return [(field.column, "numeric"), (f"{field.column}_exact", "numeric"), (f"{field.column}_scale", "integer")]
    return [(field.column, str(field.db_type(connection)))]


def render_field(field: Any) -> str:
    """Return the SQL of a field, from the columns of rows."""
    name = quote(field.column)
    if field.generated:
        sql, _ = field.generated_sql(connection)
        return str(sql)
    if is_number(field):
        exact, scale = quote(f"{field.column}_exact"), quote(f"{field.column}_scale")
        return f"coalesce({exact}, round({name}, {scale}), trim_scale({name}))"
    return name


def is_number(field: Any) -> bool:
    """Return whether a field has exact numbers that are stored; generated fields are not read from the lake."""
    return isinstance(field, NumericField) and not field.generated


def quote(name: str | None) -> str:
    """Return a name for SQL."""
    return connection.ops.quote_name(str(name))
