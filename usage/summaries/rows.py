"""The rows that a summary adds up: records, a roll-up, or runs that are split over the time they lasted.

The choice is a matter of speed only; all give the same numbers to the last digit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from usage.datetimes import get_local_date, to_instant
from usage.days import midnight
from usage.models import EnvironmentAccrual, SourceDay
from usage.rollups import choose_rollup, get_last_stop_day, is_rolled_up
from usage.summaries.query import SummaryQuery, cut_range

TICK = timedelta(microseconds=1)
ONE_DAY = timedelta(days=1)
Bounds = Sequence[date | datetime]


@dataclass(frozen=True, slots=True)
class Rows:
    """Filtered rows of the range.

    `form`: "records"; "rollup"; or "split", runs to be split at the bounds. `instant`: the column that falls into the
    intervals; `bounds`: their bounds, of the column's type.
    """

    queryset: QuerySet[Any]
    form: Literal["records", "rollup", "split"]
    instant: str
    bounds: Bounds


def get_bounds(query: SummaryQuery) -> list[datetime] | None:
    """Return the bounds of the query's intervals, [] where it needs none, None where its range is empty."""
    if not query.interval and not query.accrued:
        is_empty = query.start is not None and query.end is not None and query.start >= query.end
        return None if is_empty else []
    extent = get_extent(query)
    return None if extent is None or extent[0] >= extent[1] else cut_range(query, *extent)


def get_extent(query: SummaryQuery) -> tuple[datetime, datetime] | None:
    """Return the range, an open side closed by the records and by pruned days; None where there are none."""
    if query.start is not None and query.end is not None:
        return query.start, query.end
    instant = query.metrics.kind.instant
    first: Any = Coalesce(F("created_at"), F(instant)) if query.accrued else F(instant)
    extremes = filter_range(query).aggregate(first=Min(first), last=Max(instant))
    candidates = [get_pruned_extent(query)]
    if extremes["last"] is not None:
        # The range is half-open and has to take in the last record.
        tick = TICK if isinstance(extremes["last"], datetime) else ONE_DAY
        candidates.append((to_instant(extremes["first"]), to_instant(extremes["last"] + tick)))
    extents = [extent for extent in candidates if extent is not None]
    if not extents:
        return None
    return query.start or min(first for first, _ in extents), query.end or max(last for _, last in extents)


def get_pruned_extent(query: SummaryQuery) -> tuple[datetime, datetime] | None:
    """Return the extent of roll-ups of days whose records were pruned; None without such roll-ups."""
    columns = list_rollup_columns(query)
    if columns is None or find_rollup(query, columns) is None or query.interval == "hour":
        return None
    ids = [source.pk for source in query.sources]
    days = SourceDay.objects.filter(source_id__in=ids, pruned_at__isnull=False)
    first, last = days.order_by().aggregate(first=Min("starts_at"), last=Max("ends_at")).values()
    if first is None:
        return None
    if query.accrued:
        accruals = EnvironmentAccrual.objects.filter(source_id__in=ids)
        earliest = accruals.aggregate(day=Min("accrued_on"))["day"]
        first = min([first, *(midnight(earliest, source.zone) for source in query.sources if earliest)])
    return first, last


def filter_range(query: SummaryQuery) -> QuerySet[Any]:
    """Return the records of the range; of accrued runtime, those of runs that touch it."""
    records: Any = query.records
    start, end = (to_column(query, bound) if bound else None for bound in (query.start, query.end))
    if query.accrued and end is not None:
        records = records.filter(Q(created_at__lt=end) | Q(created_at=None, stopped_at__lt=end))
        end = None
    rows: QuerySet[Any] = records.in_range(start, end)
    return rows


def to_column(query: SummaryQuery, instant: datetime) -> date | datetime:
    """Return an instant as the records' own column has it: a date where records are by UTC day."""
    return instant.date() if query.metrics.smallest_interval == "day" else instant


def choose_rows(query: SummaryQuery, bounds: list[datetime]) -> Rows:
    """Return the fewest rows that give the answer; `bounds`: see `get_bounds`."""
    columns = list_rollup_columns(query)
    rows = None if columns is None else get_rollup_rows(query, bounds, columns)
    return rows or (get_runs(query, bounds) if query.accrued else get_records(query, bounds))


def reads_rollups(query: SummaryQuery) -> bool:
    """Return whether the answer is made from a roll-up, which also has the days whose records were pruned."""
    bounds, columns = get_bounds(query), list_rollup_columns(query)
    return bounds is not None and columns is not None and get_rollup_rows(query, bounds, columns) is not None


def get_records(query: SummaryQuery, bounds: list[datetime]) -> Rows:
    """Return the records of the range."""
    columns = [to_column(query, bound) for bound in bounds]
    return Rows(filter_range(query), "records", query.metrics.kind.instant, columns)


def get_runs(query: SummaryQuery, bounds: list[datetime]) -> Rows:
    """Return the runs that touch the range, to be split at the bounds."""
    records: Any = filter_range(query)
    latest = get_latest_stop(query)
    if latest is not None:
        records = records.in_range(end=latest)
    if query.measures.keys() == {"runtime_seconds"}:
        # Runs without a beginning are records, but no part of any date; the roll-up leaves them out too.
        records = records.filter(created_at__isnull=False)
    first, last = max(bounds[0], query.start or bounds[0]), min(bounds[-1], query.end or bounds[-1])
    return Rows(records, "split", "stopped_at", [first, *bounds[1:-1], last])


def get_rollup_rows(query: SummaryQuery, bounds: list[datetime], columns: Collection[str]) -> Rows | None:
    """Return the rows of the smallest roll-up with these columns that pass the query's filters.

    None where only the records give the answer: no roll-up has the columns and those of the filters, the range cuts a
    day, or a day has no roll-ups yet.
    """
    table = find_rollup(query, columns)
    ends = [bound for bound in (query.start, query.end) if bound is not None]
    if table is None or get_dates(query, ends) is None or (dates := get_dates(query, bounds)) is None:
        return None
    zone, ids = query.sources[0].zone, [source.pk for source in query.sources]
    first, end = (get_local_date(bound, zone) if bound else None for bound in (query.start, query.end))
    if not is_rolled_up(ids, first, None if query.accrued else end):
        return None
    instant = "accrued_on" if query.accrued else "day"
    rows = table.objects.filter(source_id__in=ids, **({"runtime_seconds__gt": 0} if query.accrued else {}))
    for _, narrow in query.rollup_filters or ():
        rows = narrow(rows)
    if first is not None:
        rows = rows.filter(**{f"{instant}__gte": first})
    if end is not None:
        rows = rows.filter(**{f"{instant}__lt": end})
    return Rows(rows, "rollup", instant, dates)


def find_rollup(query: SummaryQuery, columns: Collection[str]) -> Any:
    """Return the smallest roll-up with these columns and those of the filters, None for none."""
    if not query.sources or query.rollup_filters is None:
        return None
    return choose_rollup(
        query.metrics.kind, {*columns, *(rollup_filter.column for rollup_filter in query.rollup_filters)}
    )


def list_rollup_columns(query: SummaryQuery) -> set[str] | None:
    """Return the columns that the query groups by and adds up, None where no roll-up has them."""
    columns: set[str] = set()
    for dimension in query.dimensions:
        if dimension.rollup_columns is None:
            return None
        columns |= dimension.rollup_columns
    if query.accrued:
        if query.measures.keys() != {"runtime_seconds"}:
            return None
        columns.add("accrued_on")
    for measure in query.measures.values():
        if not measure.rollup_sql:
            return None
        columns |= set(measure.rollup_columns)
    return columns


def get_dates(query: SummaryQuery, instants: list[datetime]) -> list[date] | None:
    """Return the dates that begin at these instants for every source, None where they differ or a day is cut."""
    shared_dates: list[date] | None = None
    for zone in {source.time_zone: source.zone for source in query.sources}.values():
        dates = [get_local_date(instant, zone) for instant in instants]
        if not all(is_day_start(day, zone, instant) for day, instant in zip(dates, instants, strict=True)):
            return None
        if shared_dates is not None and shared_dates != dates:
            return None
        shared_dates = dates
    return shared_dates


def is_day_start(day: date, zone: ZoneInfo, instant: datetime) -> bool:
    """Return whether a date begins at an instant in a zone; False at the calendar's ends, where that is unknown."""
    try:
        return midnight(day, zone) == instant
    except OverflowError:
        return False


def get_latest_stop(query: SummaryQuery) -> datetime | None:
    """Return an instant that every run that touches the range stopped before, None where it is unknown.

    It comes from a roll-up, which has no withdrawn runs.
    """
    if query.end is None or query.start is None or not query.sources or query.include_withdrawn:
        return None
    ids = [source.pk for source in query.sources]
    try:
        # One day to either side: the range's dates are not the same in every source's zone.
        first, end = query.start.date() - ONE_DAY, query.end.date() + 2 * ONE_DAY
        if not is_rolled_up(ids, first, None):
            return None
        return to_instant(get_last_stop_day(ids, first, end) + 3 * ONE_DAY)
    except (OverflowError, ValueError):  # the range reaches to an end of the calendar
        return None
