"""Where the numbers of a question are read: the records, a rollup of them, or runs split over the time they lasted.

Which one is taken is a matter of speed only; all give the same numbers to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django_filters.constants import EMPTY_VALUES

from usage.days import midnight
from usage.filters.fields import SeveralFilter
from usage.models import EnvironmentAccrual
from usage.rollups import fitting, last_stop_day, rolled_up
from usage.summaries.question import Question, instant_of
from usage.trust import local_date

# Filters that a rollup holds the columns for, whatever it is.
OF_EVERY_ROLLUP = frozenset({"tz", "source", "vendor"})


@dataclass(frozen=True, slots=True)
class Relation:
    """Filtered rows within the range. `instant`: the column that falls into intervals, whose bounds are `bounds`.

    `sort`: "raw", "rolled" or "accrued" (see `Measure`).
    """

    queryset: QuerySet[Any]
    sort: str
    instant: str
    bounds: Sequence[date | datetime]

    @property
    def model(self) -> Any:
        """The table that is read."""
        return self.queryset.model

    @property
    def array(self) -> str:
        """The type of the bounds in SQL."""
        return "timestamptz[]" if self.bounds and isinstance(self.bounds[0], datetime) else "date[]"


def filtered(question: Question) -> QuerySet[Any]:
    """Return the records that the filters and the row scope let through, whatever their time."""
    records = question.shape.kind.objects.all()
    if question.row_scope is not None:
        records = records.filter(source_id__in=sorted(question.row_scope))
    return question.filterset.filter_queryset(records).order_by()


def extent(question: Question) -> tuple[datetime, datetime] | None:
    """Return the range that is asked for, an open side closed by what there is; None where there is nothing."""
    if question.start is not None and question.end is not None:
        return question.start, question.end
    instant = question.shape.kind.instant
    first: Any = Coalesce(F("created_at"), F(instant)) if question.accrued else F(instant)
    ends = ranged(question, filtered(question)).aggregate(first=Min(first), last=Max(instant))
    if ends["last"] is None:
        return None
    return question.start or as_instant(ends["first"]), question.end or after(ends["last"])


def as_instant(moment: date | datetime) -> datetime:
    """Return an instant; a date is a UTC day's."""
    found = instant_of(moment)
    assert found is not None  # noqa: S101 (a moment was given)
    return found


def after(moment: date | datetime) -> datetime:
    """Return the first instant that a half-open range to take `moment` in may end at."""
    if isinstance(moment, datetime):
        return moment + timedelta(microseconds=1)
    return as_instant(moment + timedelta(days=1))


def ranged(question: Question, records: QuerySet[Any]) -> QuerySet[Any]:
    """Keep the records of the range; of accrued runtime, those of runs that touch it."""
    instant = question.shape.kind.instant
    of_dates = question.shape.smallest == "day"
    start, end = (bound.date() if bound and of_dates else bound for bound in (question.start, question.end))
    if start is not None:
        records = records.filter(**{f"{instant}__gte": start})
    if end is None:
        return records
    if question.accrued:
        return records.filter(Q(created_at__lt=end) | Q(created_at=None, stopped_at__lt=end))
    return records.filter(**{f"{instant}__lt": end})


def relation_of(question: Question, bounds: list[datetime]) -> Relation:
    """Return where to read what falls between `bounds`; none where there is neither an interval nor a need for any."""
    rollup = rollup_of(question, bounds)
    if rollup is not None:
        return rollup
    records = ranged(question, filtered(question))
    if question.accrued:
        latest = latest_stop(question)
        records = records if latest is None else records.filter(stopped_at__lt=latest)
        edges = [
            max(bounds[0], question.start or bounds[0]),
            *bounds[1:-1],
            min(bounds[-1], question.end or bounds[-1]),
        ]
        return Relation(records, "accrued", "stopped_at", edges)
    of_dates = question.shape.smallest == "day"
    return Relation(
        records, "raw", question.shape.kind.instant, [bound.date() for bound in bounds] if of_dates else bounds
    )


def rollup_of(question: Question, bounds: list[datetime]) -> Relation | None:
    """Return the smallest rollup that can answer, None where only the records can."""
    columns = needed_columns(question)
    if columns is None or not question.sources or not question.rollups:
        return None
    table: Any = EnvironmentAccrual if question.accrued else fitting(question.shape.kind, columns)
    if table is None or not columns <= set(table.dimensions):
        return None
    cuts = [bound for bound in (question.start, question.end) if bound is not None]
    if days_cut(question, cuts) is None or (cut := days_cut(question, bounds)) is None:
        return None
    first, end = (source_date(question, bound) for bound in (question.start, question.end))
    pks = [source.pk for source in question.sources]
    if not rolled_up(question.shape.kind, pks, first, None if question.accrued else end):
        return None
    instant = "accrued_on" if question.accrued else "day"
    rows = narrowed(question, table.objects.filter(source_id__in=pks))
    if first is not None:
        rows = rows.filter(**{f"{instant}__gte": first})
    if end is not None:
        rows = rows.filter(**{f"{instant}__lt": end})
    return Relation(rows, "rolled", instant, cut)


def needed_columns(question: Question) -> set[str] | None:
    """Return the columns that a rollup must keep apart to answer, None where no rollup can."""
    if question.accrued and set(question.measures) != {"runtime_seconds"}:
        return None
    columns: set[str] = set()
    for dimension in question.dimensions:
        if dimension.columns is None:
            return None
        columns |= dimension.columns
    for measure in question.summed.values():
        if not measure.rolled:
            return None
        columns |= {"recipe_id"} & set(measure.rolled_columns)
    for name, value in active(question):
        column = column_of(question, name, value)
        if column is None:
            return None
        columns |= {column} - {""}
    return columns


def active(question: Question) -> list[tuple[str, Any]]:
    """Return the filters that are asked for, with their values."""
    cleaned = question.filterset.form.cleaned_data
    return [(name, value) for name, value in cleaned.items() if value not in EMPTY_VALUES]


def column_of(question: Question, name: str, value: Any) -> str | None:
    """Return the column that a filter looks at, '' for one that every rollup has, None for what no rollup has."""
    if name in OF_EVERY_ROLLUP or (name == "include_withdrawn" and value == "false"):
        return ""
    if name == "deleted_recipes":
        return "recipe_id"
    found: Any = question.filterset.filters[name]
    plain = isinstance(found, SeveralFilter) and found.method is None and found.field_name == name
    return name if plain else None


def narrowed(question: Question, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Apply the filters to a rollup's rows, which have the columns."""
    for name, value in active(question):
        if column_of(question, name, value):
            rows = question.filterset.filters[name].filter(rows, value)
    return rows.order_by()


def days_cut(question: Question, instants: list[datetime]) -> list[date] | None:
    """Return the dates that begin at these instants for every source, None where they differ or a day is cut."""
    found: list[date] | None = None
    for zone in {source.time_zone: source.zone for source in question.sources}.values():
        on = [local_date(instant, zone) for instant in instants]
        if not all(begins(day, zone, instant) for day, instant in zip(on, instants, strict=True)):
            return None
        if found is not None and found != on:
            return None
        found = on
    return found


def begins(day: date, zone: ZoneInfo, instant: datetime) -> bool:
    """Tell whether a date begins at an instant in a zone; not at the calendar's ends, where that is not known."""
    try:
        return midnight(day, zone) == instant
    except OverflowError:
        return False


def source_date(question: Question, instant: datetime | None) -> date | None:
    """Return the date that begins at an instant for the sources, None for none."""
    return local_date(instant, question.sources[0].zone) if instant is not None else None


def latest_stop(question: Question) -> datetime | None:
    """Return an instant that no run touching the range stopped at or after; None where that is not known.

    The rollup that tells it holds no withdrawn runs, so it is not known where they are asked for.
    """
    if question.end is None or question.start is None or not question.sources or not question.rollups:
        return None
    if question.filterset.form.cleaned_data.get("include_withdrawn") == "true":
        return None
    pks = [source.pk for source in question.sources]
    try:
        # One day to either side: the range's dates are not the same in every source's zone.
        first, end = question.start.date() - timedelta(days=1), question.end.date() + timedelta(days=2)
        if not rolled_up(question.shape.kind, pks, first, None):
            return None
        return as_instant(last_stop_day(pks, first, end) + timedelta(days=3))
    except OverflowError:  # the range reaches to an end of the calendar
        return None
