"""SummaryQuery: what a summary reads, groups by and adds up, validated, without reference to a form or request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django_filters.constants import EMPTY_VALUES
from rest_framework.exceptions import ValidationError

from usage.api.filters import UsageFilterSet
from usage.api.filters.fields import CommaSeparatedFilter
from usage.api.filters.names import DirectoryFilter
from usage.api.filters.values import CategoryFilter
from usage.data_quality import get_reporting_sources
from usage.datetimes import format_iso
from usage.directory.access import NO_PEOPLE, NameAccess
from usage.models import Source
from usage.summaries.intervals import TooManyIntervals, cut_intervals, is_hour_start
from usage.summaries.metrics import DELETED_RECIPES, RECIPE_DIMENSIONS, Dimension, Measure, MetricSet

RANGE: Final = ("from", "to")
# Before a measure: the name of its change against the baseline.
CHANGE: Final = "change_"
# Every roll-up row has the source; the zone filters nothing.
ROLLUP_NEUTRAL_FILTERS: Final = frozenset({*RANGE, "tz", "source", "vendor"})


class RollupFilter(NamedTuple):
    """A filter that roll-up rows with the column can be narrowed by."""

    column: str
    narrow: Callable[[QuerySet[Any]], QuerySet[Any]]


@dataclass(frozen=True)
class SummaryQuery:
    """A summary of one kind of usage.

    `records`: the records that pass the filters and the row scope, whatever their time. `rollup_filters`: the same
    filters for roll-up rows, None where some filter needs records. `sources`: those that report the kind and
    pass the filters, within the row scope; `row_scope`: the ids of the only sources that may be read, None for all.
    `start`, `end`: the range, half-open; None leaves a side open. `order_by`: (name, descending) pairs.
    `compare`: the name of a baseline (usage/summaries/intervals.py), '' for none. `accrued`: runs are split over the
    time they lasted. `names`: which names the rows may have beside their ids.
    """

    metrics: MetricSet
    records: QuerySet[Any]
    rollup_filters: tuple[RollupFilter, ...] | None
    include_withdrawn: bool
    sources: list[Source]
    row_scope: frozenset[int] | None
    zone: ZoneInfo
    start: datetime | None
    end: datetime | None
    measures: Mapping[str, Measure]
    group_by: tuple[str, ...] = ()
    interval: str = ""
    order_by: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    compare: str = ""
    fill: bool = False
    accrued: bool = False
    names: NameAccess = NO_PEOPLE

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of `group_by`, then those that every row is grouped by."""
        names = dict.fromkeys((*self.group_by, *self.metrics.get_partition(self.group_by)))
        dimensions = [dimension for name in names if (dimension := self.metrics.get_dimension(name))]
        return (*dimensions, DELETED_RECIPES) if RECIPE_DIMENSIONS & names.keys() else tuple(dimensions)

    @cached_property
    def by_team(self) -> bool:
        """Whether a group is a team, in which a user's rows count as often as the user is in teams."""
        return any(dimension.is_team for dimension in self.dimensions)

    @property
    def main_measure(self) -> str:
        """The measure that groups are ranked by: the first that is no count of records."""
        return next((name for name in self.measures if name != "records"), next(iter(self.measures)))

    @cached_property
    def partition(self) -> tuple[str, ...]:
        """The dimensions that totals are grouped by, in the order of the rows."""
        partition = self.metrics.get_partition(self.group_by)
        return tuple(dimension.name for dimension in self.dimensions if dimension.name in partition)

    @cached_property
    def has_series(self) -> bool:
        """Whether a group has several rows, one for each interval."""
        return bool(self.interval) and len(self.dimensions) > len(self.partition)

    @property
    def changes(self) -> dict[str, str]:
        """The measure of each column with a change that the groups are ordered by."""
        measures = {f"{CHANGE}{name}": name for name in self.measures}
        return {name: measures[name] for name, _ in self.order_by if name in measures}

    def get_index(self, name: str) -> int | None:
        """Return the place of a dimension among the dimensions, None where it is not one of them."""
        return next((place for place, dimension in enumerate(self.dimensions) if dimension.name == name), None)

    def move_to(self, start: datetime, end: datetime) -> "SummaryQuery":
        """Return the same query over another range."""
        return replace(self, start=start, end=end)


def build_query(
    metrics: MetricSet,
    filterset: UsageFilterSet,
    measures: Sequence[str] = (),
    **options: Any,
) -> SummaryQuery:
    """Return the query over the rows of a valid filter set.

    `measures`: their names, () for the default measures; `options`: the other fields of SummaryQuery.
    """
    cleaned, row_scope = filterset.form.cleaned_data, filterset.row_scope
    start, end = filterset.get_range()
    records = metrics.kind.objects.all()
    if row_scope is not None:
        records = records.filter(source_id__in=sorted(row_scope))
    return SummaryQuery(
        metrics=metrics,
        records=filter_records(filterset, records),
        rollup_filters=list_rollup_filters(filterset),
        include_withdrawn=cleaned.get("include_withdrawn") == "true",
        sources=get_reporting_sources(metrics.kind, filterset.get_source_ids(), row_scope),
        row_scope=row_scope,
        zone=cleaned["tz"],
        start=start,
        end=end,
        measures={name: metrics.measures[name] for name in measures or metrics.default_measures},
        names=filterset.names,
        **options,
    )


def filter_records(filterset: UsageFilterSet, records: QuerySet[Any]) -> QuerySet[Any]:
    """Apply every filter but the range: accrued runtime and comparisons read records of another range."""
    cleaned = filterset.form.cleaned_data
    for name, value in cleaned.items():
        if name not in RANGE:
            records = filterset.filters[name].filter(records, value)
    return (records if cleaned.get("include_withdrawn") == "true" else records.filter(withdrawn_at=None)).order_by()


def list_rollup_filters(filterset: UsageFilterSet) -> tuple[RollupFilter, ...] | None:
    """Return the filters that roll-up rows can be narrowed by, None where some filter needs records."""
    rollup_filters = []
    for name, value in filterset.form.cleaned_data.items():
        if value in EMPTY_VALUES or name in ROLLUP_NEUTRAL_FILTERS or (name, value) == ("include_withdrawn", "false"):
            continue
        column = get_filter_column(filterset, name)
        if column is None:
            return None
        rollup_filters.append(RollupFilter(column, partial(filterset.filters[name].filter, value=value)))
    return tuple(rollup_filters)


def get_filter_column(filterset: UsageFilterSet, name: str) -> str | None:
    """Return the column that a filter compares with values, None for any other filter."""
    if name == "deleted_recipes":
        return "recipe_id"
    param_filter: Any = filterset.filters[name]
    if isinstance(param_filter, (DirectoryFilter, CategoryFilter)):
        return param_filter.field_name
    is_plain = (
        isinstance(param_filter, CommaSeparatedFilter)
        and param_filter.method is None
        and param_filter.field_name == name
    )
    return name if is_plain else None


def check_range(query: SummaryQuery) -> None:
    """Raise ValidationError that names `from` or `to` where it cuts a record."""
    for name, instant in (("from", query.start), ("to", query.end)):
        if instant is not None:
            check_boundaries(query, [instant], name)


def check_boundaries(query: SummaryQuery, instants: list[datetime], parameter: str) -> None:
    """Raise ValidationError that names the parameter where an instant lies within a record's day or hour."""
    for unit, zone, instant in find_cuts(query, instants):
        keeps_days = query.metrics.smallest_interval == "day"
        shorter = "" if keeps_days else "a whole hour or "
        advice = f"give {shorter}a date" if zone == query.zone.key else f"ask with tz={zone}"
        sources_advice = ", or for other sources alone" if len(query.sources) > 1 and not keeps_days else ""
        reason = f"{unit}, and {format_iso(instant)} lies within one; {advice}{sources_advice}."
        raise ValidationError({parameter: [reason]})


def find_cuts(query: SummaryQuery, instants: list[datetime]) -> Iterator[tuple[str, str, datetime]]:
    """Yield for each instant within a day or hour of records: the beginning of a sentence, the zone, the instant."""
    if query.metrics.smallest_interval == "day":
        for instant in instants:
            if instant.astimezone(UTC).time() != datetime.min.time():
                yield "This usage is kept by whole UTC days", "UTC", instant
    elif query.metrics.kind.instant == "starts_at":
        for source in query.sources:
            unit = f"The usage of {source.slug} is kept by whole hours of {source.time_zone}"
            yield from ((unit, source.time_zone, bound) for bound in instants if not is_hour_start(bound, source.zone))


def cut_range(query: SummaryQuery, start: datetime, end: datetime) -> list[datetime]:
    """Return the bounds of the intervals over `[start, end)`, those two without an interval; raises ValidationError."""
    if not query.interval:
        return [start, end]
    try:
        bounds = cut_intervals(query.interval, query.zone, start, end)
    except TooManyIntervals as error:
        raise ValidationError({"group_by": [str(error)]}) from None
    except (ValueError, OverflowError):
        raise ValidationError({"from": ["The range reaches beyond the calendar."]}) from None
    check_boundaries(query, bounds, "tz")
    return bounds
