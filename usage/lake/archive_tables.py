"""Tables of the archive: the withdrawn records, the revisions, and the scales of numbers of archived months.

The tables of usage have current records only, and decimals without the zeros at their end. Nothing is dropped in
PostgreSQL that is not in the lake, so all else has tables of its own. They are written when a month is archived, and a
day of them counts only while it is archived.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import structlog
from django.db import models
from django.db.models import F, Func, Q, QuerySet
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from usage.columns import INTEGER, Column, build_columns
from usage.days import first_of_next_month
from usage.exports.copy import ExportQuery
from usage.exports.formats.parquet import build_schema, read_tables
from usage.fields import NumericField
from usage.lake import LakeUnavailable, require_lake
from usage.lake.catalog import Lake, ensure_table, get_lake_columns, get_table_name, load_lake, open_catalog
from usage.lake.files import Key, commit_files, renew_files, write_file
from usage.lake.maintenance import clean_up
from usage.models import KINDS, RecordRevision, UsageRecord
from usage.snapshot import Snapshot, open_snapshot

logger = structlog.get_logger(__name__)

REVISION_COLUMNS: Final = build_columns(
    RecordRevision, "day", "kind", "id", "record", "revision", "replaced_at", "was", source="source__slug"
)


@dataclass(frozen=True, slots=True)
class Archive:
    """The tables, loaded; `withdrawn` and `scales` by kind."""

    lake: Lake
    withdrawn: dict[type[UsageRecord], Table]
    scales: dict[type[UsageRecord], Table]
    revisions: Table

    @property
    def own_tables(self) -> list[Table]:
        return [*self.withdrawn.values(), *self.scales.values(), self.revisions]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table of the archive: their queryset, and their columns."""

    table: Table
    columns: Sequence[Column]
    rows: QuerySet[Any]


@contextmanager
def open_archive() -> Iterator[Archive]:
    """Give the tables as they are now, made where they are missing; raises LakeUnavailable where that fails."""
    require_lake()
    with ExitStack() as stack:
        try:
            archive = load_archive(stack.enter_context(open_catalog()))
        except Exception as error:  # whatever a file system or a catalog raises
            raise LakeUnavailable(f"The lake cannot be read: {error}") from error
        yield archive


def load_archive(catalog: SqlCatalog) -> Archive:
    """Return the tables, made where they are missing."""
    withdrawn = {
        kind: load_own_table(catalog, f"withdrawn_{get_table_name(kind)}", get_lake_columns(kind))
        for kind in KINDS.values()
    }
    scales = {
        kind: load_own_table(catalog, f"scales_of_{get_table_name(kind)}", build_scale_columns(kind))
        for kind in KINDS.values()
        if list_numbers(kind)
    }
    revisions = load_own_table(catalog, "revisions", REVISION_COLUMNS)
    return Archive(load_lake(catalog), withdrawn, scales, revisions)


def load_own_table(catalog: SqlCatalog, name: str, columns: Sequence[Column]) -> Table:
    """Return a table of the archive, made where it is missing."""
    return ensure_table(catalog, name, build_schema(columns), by_source=True)


def list_numbers(kind: type[UsageRecord]) -> list[str]:
    """Return the columns of exact numbers that are stored."""
    stored = kind._meta.local_concrete_fields
    return [field.name for field in stored if isinstance(field, NumericField) and not field.generated]


def publish_archive_tables(archive: Archive, month: date, keys: Set[Key]) -> None:
    """Publish what the tables of usage leave out of these days, all in one month; may be repeated."""
    with open_snapshot() as snapshot:
        for part in list_parts(archive, month):
            replace_rows(part, snapshot, keys)
    for table in archive.own_tables:
        try:
            clean_up(table, datetime.now(UTC))
        except RuntimeError as error:  # a lost file, which keeps its day where it is and no other
            logger.warning("lake table not maintained", table=".".join(table.name()), error=str(error))


def list_parts(archive: Archive, month: date) -> Iterator[Part]:
    """Yield the part of each table of the archive in a month."""
    span = {"day__gte": month, "day__lt": first_of_next_month(month)}
    for kind, table in archive.withdrawn.items():
        yield Part(table, get_lake_columns(kind), kind.objects.filter(**span, withdrawn_at__isnull=False))
    for kind, table in archive.scales.items():
        yield Part(table, build_scale_columns(kind), select_scales(kind).filter(**span))
    yield Part(archive.revisions, REVISION_COLUMNS, RecordRevision.objects.filter(**span))


def build_scale_columns(kind: type[UsageRecord]) -> list[Column]:
    """Return the columns of a table of scales: a record, and the scale of each of its numbers."""
    scales = [Column(name, f"{name}_scale", INTEGER) for name in list_numbers(kind)]
    return [*build_columns(kind, "day", "id", source="source__slug"), *scales]


def select_scales(kind: type[UsageRecord]) -> QuerySet[Any]:
    """Return the records that have a number with zeros at its end, each with the scales of its numbers."""
    records, has_scale = kind.objects.all(), Q(pk=None)
    for name in list_numbers(kind):
        records = records.annotate(**{f"{name}_scale": build_function(name, "scale")})
        has_scale |= Q(**{f"{name}_scale__gt": build_function(name, "min_scale")})
    return records.filter(has_scale)


def build_function(column: str, function: str) -> Func:
    """Return a function of PostgreSQL over a column, which gives a whole number."""
    return Func(F(column), function=function, output_field=models.IntegerField())


def replace_rows(part: Part, snapshot: Snapshot, keys: Set[Key]) -> None:
    """Replace the rows of these days in one commit; one file has those of a source."""
    schema = build_schema(part.columns)
    sources = sorted({source for source, _ in keys})
    new_files = (write_rows(part, schema, snapshot, source) for source in sources)
    old, new = renew_files(part.table, schema, keys, new_files)
    if old or new:
        commit_files(part.table, old, new)


def write_rows(part: Part, schema: Any, snapshot: Snapshot, source: str) -> DataFile | None:
    """Write the rows of a source to a file, batch by batch."""
    rows = part.rows.filter(source__slug=source).order_by("day", "id")
    return write_file(part.table, schema, read_tables(ExportQuery(snapshot, rows, part.columns), schema))
