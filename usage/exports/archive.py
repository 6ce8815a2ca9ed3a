"""The archived days of an export: their records are in the lake alone, which answers by source, range and columns.

PostgreSQL runs the export's own statement over the rows of the lake, some thousands at a time: in it the name of the
usage table stands for these rows. So the range, the order of equal instants, names and every text form are those of
stored records by construction. Nothing is written for that, not even a temporary table, so a standby can do it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Protocol

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Q, QuerySet
from django.utils.module_loading import import_string
from rest_framework.exceptions import APIException, ValidationError

from usage.columns import Statement, build_select
from usage.data_quality import select_reporting_sources
from usage.datetimes import UTC_ZONE, to_instant
from usage.days import first_of_next_month, midnight
from usage.models import SourceDay, UsageRecord
from usage.slots import RETRY_SECONDS
from usage.snapshot import Snapshot

# The filters that the lake answers.
ANSWERED: Final = ("source", "vendor", "from", "to", "tz")
# The filters that every export has, and the order of pages.
ALWAYS_NEEDED: Final = ("id", "source", "day", "changed_at", "withdrawn_at")
ONE_DAY: Final = timedelta(days=1)
Bound = date | datetime
Build = Callable[[QuerySet[Any]], Statement]


class ArchiveUnavailable(APIException):
    """An export over archived days where the lake cannot be read."""

    status_code = 503
    wait = RETRY_SECONDS

    def __init__(self, reason: str) -> None:
        super().__init__(f"Days of the range are archived, and their records cannot be read from the lake: {reason}")


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """A source day whose current records, so many, are in the lake."""

    source_id: int
    slug: str
    day: date
    starts_at: datetime
    ends_at: datetime
    records: int

    @property
    def key(self) -> tuple[str, date]:
        return self.slug, self.day


@dataclass(frozen=True, slots=True)
class ExportPart:
    """A part of an export in its order: stored records alone or, with `days`, those of these days beside them."""

    rows: QuerySet[Any]
    days: Sequence[ArchivedDay] = ()


class ArchiveReader(Protocol):
    """Reads archived days of a kind; the setting ARCHIVE_READER names its class.

    The class takes the kind and the keys of the days, and raises ArchiveUnavailable.
    """

    def read_statements(
        self, part: ExportPart, statement: Statement, names: Sequence[str], snapshot: Snapshot | None
    ) -> Iterator[Statement]:
        """Yield a statement over the rows of a part in its order, some thousands of them at a time.

        `names`: the fields that it reads. `snapshot`: whose stored records are among them; None for archived records
        alone. Raises ArchiveUnavailable.
        """


@dataclass(frozen=True)
class ArchivedRange:
    """The archived days with records that an export of a kind touches.

    `start`, `end`: the bounds of the export, as the kind's instant has them: dates or instants.
    """

    kind: type[UsageRecord]
    days: Sequence[ArchivedDay]
    start: Bound | None
    end: Bound | None

    @cached_property
    def reader(self) -> ArchiveReader:
        """What reads the days; raises ArchiveUnavailable."""
        if not settings.PORTAL_LAKE_URL:
            raise ArchiveUnavailable("PORTAL_LAKE_URL is not set on this server.")
        try:
            reader_class = import_string(settings.ARCHIVE_READER)
        except ImportError as error:
            raise ArchiveUnavailable("the extra `lake` is not installed on this server.") from error
        reader: ArchiveReader = reader_class(self.kind, {day.key for day in self.days})
        return reader

    def ensure_readable(self) -> None:
        """Open the lake before anything is sent; raises ArchiveUnavailable."""
        _ = self.reader

    def get_span(self, day: ArchivedDay) -> tuple[Bound, Bound]:
        """Return the half-open range of a day, as the kind's instant has it."""
        return (day.day, day.day + ONE_DAY) if self.kind.instant == "day" else (day.starts_at, day.ends_at)

    def split(self, rows: QuerySet[Any]) -> Iterator[ExportPart]:
        """Yield the parts of an export.

        In the order of time these are months, so that little has to be sorted before the first row; in any other all
        rows are one part.
        """
        (first, descending), *_ = get_order(rows)
        if first != self.kind.instant:
            yield ExportPart(rows, self.days)
            return
        cuts = list(self.list_cuts())
        parts = [self.cut(rows, *bounds) for bounds in zip([None, *cuts], [*cuts, None], strict=True)]
        yield from reversed(parts) if descending else parts

    def list_cuts(self) -> Iterator[Bound]:
        """Yield where the archived days begin and end, and the beginnings of months in between."""
        spans = [self.get_span(day) for day in self.days]
        bound, end = min(first for first, _ in spans), max(last for _, last in spans)
        while bound < end:
            yield bound
            month = first_of_next_month(bound.astimezone(UTC).date() if isinstance(bound, datetime) else bound)
            bound = midnight(month, UTC_ZONE) if isinstance(bound, datetime) else month
        yield end

    def cut(self, rows: Any, start: Bound | None, end: Bound | None) -> ExportPart:
        days = [day for day in self.days if overlaps(self.get_span(day), start, end)]
        return ExportPart(rows.in_range(start, end), days)

    def count_rows(self, rows: QuerySet[Any], connection: BaseDatabaseWrapper) -> int:
        """Return how many archived records the rows of an export have; days that it has a part of are read."""
        cut_days = self.list_cut_days()
        number = sum(day.records for day in self.days) - sum(day.records for day in cut_days)
        if cut_days:
            part = ExportPart(rows.order_by(), cut_days)
            number += sum(count for (count,) in self.fetch(connection, part, ("id",), build_count))
        return number

    def fetch(
        self, connection: BaseDatabaseWrapper, part: ExportPart, paths: Collection[str], build: Build
    ) -> Iterator[tuple[Any, ...]]:
        """Yield what statements over the archived records of a part give, some thousands of records at a time."""
        with connection.cursor() as cursor:
            for statement in self.build_archived(part, paths, build):
                cursor.execute(statement.sql, statement.params)
                yield from cursor.fetchall()

    def list_cut_days(self) -> list[ArchivedDay]:
        """Return the days of which the range of the export holds a part."""
        return [day for day in self.days if not is_within(self.get_span(day), self.start, self.end)]

    def build_statements(
        self, snapshot: Snapshot, rows: QuerySet[Any], paths: Collection[str], build: Build
    ) -> Iterator[Statement]:
        """Yield statements that together give what `build(rows)` gives where no record is archived.

        `paths`: the ORM paths of the columns that `build` selects.
        """
        yield build(rows.none())  # whose header comes before everything
        for part in self.split(rows):
            if part.days:
                yield from self.build_archived(part, paths, build, snapshot)
            else:
                yield build(part.rows)

    def build_archived(
        self, part: ExportPart, paths: Collection[str], build: Build, snapshot: Snapshot | None = None
    ) -> Iterator[Statement]:
        """Yield statements over the archived records of a part; the stored records among them are of the snapshot."""
        names = list_needed_fields(part.rows, paths)
        yield from self.reader.read_statements(part, build(part.rows), names, snapshot)


def build_count(rows: QuerySet[Any]) -> Statement:
    """Return the statement that counts rows."""
    inner = build_select(rows, ["id"])
    return Statement(f"SELECT count(*) FROM ({inner.sql}) AS t", inner.params)  # noqa: S608 (our own names)


def list_needed_fields(rows: QuerySet[Any], paths: Collection[str]) -> list[str]:
    """Return the fields of a model that a query of these columns reads, its filters and its order among them."""
    kind: type[UsageRecord] = rows.model
    order = [name for name, _ in get_order(rows)]
    names = {path.split("__")[0] for path in paths} | {*order, *ALWAYS_NEEDED, kind.instant}
    fields = [field for field in kind._meta.concrete_fields if field.name in names or field.attname in names]
    generated: list[Any] = [field for field in fields if field.generated]
    nodes: list[Any] = [node for field in generated for node in field.expression.flatten() if isinstance(node, F)]
    parts = [node.name for node in nodes]
    return list(dict.fromkeys([*(field.name for field in fields), *parts]))


def overlaps(span: tuple[Bound, Bound], start: Bound | None, end: Bound | None) -> bool:
    """Return whether two half-open ranges overlap."""
    first, last = span
    return (start is None or last > start) and (end is None or first < end)


def is_within(span: tuple[Bound, Bound], start: Bound | None, end: Bound | None) -> bool:
    """Return whether a half-open range lies within another."""
    first, last = span
    return (start is None or first >= start) and (end is None or last <= end)


def get_order(rows: QuerySet[Any]) -> list[tuple[str, bool]]:
    """Return the columns of a list's order and whether it descends; a block of ids is in the order of the ids."""
    orders: Any = rows.query.order_by
    columns = ((order.expression, order.descending) for order in orders)
    return [(column.name, descending) for column, descending in columns if isinstance(column, F)]  # type: ignore[attr-defined]


def find_archive(filterset: Any) -> ArchivedRange | None:
    """Return the archived days that a valid filter set of a kind of usage touches, None for none.

    Raises ValidationError where another filter is given than the lake answers.
    """
    columns = ("source_id", "source__slug", "day", "starts_at", "ends_at", "records")
    dropped_days = select_dropped_days(filterset).filter(archived_at__isnull=False)
    days = [ArchivedDay(*row) for row in dropped_days.values_list(*columns)]
    if not days:
        return None
    refuse_other_filters(filterset, days)
    cleaned = filterset.form.cleaned_data
    filled = [day for day in days if day.records]
    return ArchivedRange(filterset._meta.model, filled, cleaned.get("from"), cleaned.get("to")) if filled else None


def select_dropped_days(filterset: Any) -> QuerySet[SourceDay]:
    """Return the pruned and archived days that had records in the range, the earliest first.

    The range of `updated_since` lies in no day that was not read since.
    """
    kind, cleaned = filterset._meta.model, filterset.form.cleaned_data
    sources = select_reporting_sources(kind, filterset.get_source_ids(), filterset.row_scope)
    days = SourceDay.objects.filter(source__in=sources.order_by().values("pk"), pruned_at__isnull=False)
    days = days.filter(Q(records__gt=0) | Q(withdrawn__gt=0))
    if (start := cleaned.get("from")) is not None:
        days = days.filter(**({"ends_at__gt": start} if isinstance(start, datetime) else {"day__gte": start}))
    if (end := cleaned.get("to")) is not None:
        days = days.filter(**({"starts_at__lt": end} if isinstance(end, datetime) else {"day__lt": end}))
    if (since := cleaned.get("updated_since")) is not None:
        days = days.filter(loaded_at__gte=to_instant(since) - ONE_DAY)
    return days.order_by("day", "source_id")


def refuse_other_filters(filterset: Any, days: Sequence[ArchivedDay]) -> None:
    """Raise ValidationError that names every filter that the lake lacks, the days, and where to get them."""
    data: Mapping[str, Any] = filterset.data or {}
    cleaned = filterset.form.cleaned_data
    unsupported = [
        name
        for name in filterset.base_filters
        if name not in ANSWERED and data.get(name) and (name != "include_withdrawn" or cleaned[name] == "true")
    ]
    if unsupported:
        first, last = days[0].day, days[-1].day
        reason = (
            f"Records of {first} to {last} are archived. An export over archived days is filtered by "
            f"{', '.join(ANSWERED)} alone: leave this filter or these days out, ask the lake or a summary, or have a "
            f"month brought back with `manage.py restore_archive {first:%Y-%m}`."
        )
        raise ValidationError({name: [reason] for name in unsupported})
