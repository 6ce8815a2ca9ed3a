"""The result of a summary, JSON-ready: data quality, totals, rows in order, and what the limit left out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, localcontext
from functools import partial
from typing import Any, Final

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from usage.data_quality import DataQuality, assess
from usage.decimals import EXACT, subtract_exactly
from usage.models import SourceDay
from usage.summaries.intervals import PeriodsOverlap, format_label, get_baseline
from usage.summaries.metrics import Measure
from usage.summaries.names import RowNames
from usage.summaries.query import SummaryQuery, check_boundaries
from usage.summaries.ranking import AllSums, get_group_id, get_partition_key, select_groups, sort_groups
from usage.summaries.rows import reads_rollups
from usage.summaries.sql import (
    FEWER_ROWS,
    LARGE_ANSWER,
    MAX_ROWS,
    GroupKey,
    Groups,
    PartitionKey,
    Sums,
    fetch_groups,
    get_group_limit,
)

RATIO: Final = Context(prec=12)
TEAMS_NOTE: Final = (
    "By the teams that users are in today, whatever they were in then. A user in two teams counts in each of them, so "
    "the rows can add up to more than the totals."
)
Row = dict[str, Any]
Part = tuple[int, PartitionKey]  # the place of an interval, and the values that totals are grouped by


def summarize(query: SummaryQuery, take_slot: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Return the result; a sum over no value is null, never zero. Raises ValidationError for too many groups.

    `take_slot` is called where the answer is large (usage/slots.py).
    """
    meta = assess_query(query).meta()  # before the sums are read: it must not promise more than they hold
    if query.by_team:
        meta["teams"] = TEAMS_NOTE
    earlier = query.move_to(*get_earlier_range(query)) if query.compare else None
    if earlier is not None:
        meta["previous"] = assess_query(earlier).build_period_meta()
    groups = fetch_groups(query, take_slot)
    if query.fill:
        fill_intervals(query, groups, take_slot)
    previous = fetch_groups(earlier, take_slot) if earlier is not None else None
    unknown = list_unstored_sources(earlier) if earlier is not None else frozenset()
    if previous is not None:
        add_missing_groups(query, groups, previous)
    with localcontext(EXACT):
        return {"meta": meta, **SummaryResult(query, groups, previous, unknown).build()}


def assess_query(query: SummaryQuery) -> DataQuality:
    """Return the data quality of what the query reads."""
    return assess(
        query.metrics.kind,
        source_ids=[source.pk for source in query.sources],
        start=query.start,
        end=query.end,
        zone=query.zone,
        row_scope=query.row_scope,
        accrued=query.accrued,
        reads_rollups=partial(reads_rollups, query),
    )


def list_unstored_sources(query: SummaryQuery) -> frozenset[str]:
    """Return the slugs of the sources of which no day of the query's range is stored."""
    assert query.start is not None and query.end is not None  # noqa: S101, PT018 (compare needs both)
    days = SourceDay.objects.filter(
        source__in=[source.pk for source in query.sources],
        loaded_at__isnull=False,
        ends_at__gt=query.start,
        starts_at__lt=query.end,
    )
    stored = set(days.order_by().values_list("source_id", flat=True).distinct())
    return frozenset(source.slug for source in query.sources if source.pk not in stored)


def get_earlier_range(query: SummaryQuery) -> tuple[datetime, datetime]:
    """Return the period to compare with; raises ValidationError off the calendar, and where it would cut a record."""
    assert query.start is not None and query.end is not None  # noqa: S101, PT018 (compare needs both)
    try:
        start, end = get_baseline(query.compare, query.start, query.end, query.zone, timezone.now())
    except PeriodsOverlap:
        span = "a year" if query.compare == "last_year" else "a month"
        overlap = f"The range is longer than {span}: it would be compared with a part of itself."
        raise ValidationError({"compare": [overlap]}) from None
    except (ValueError, OverflowError):
        raise ValidationError({"compare": ["The period before reaches beyond the calendar."]}) from None
    check_boundaries(query, [start, end], "compare")  # the zone's offset may have been another then
    return start, end


def fill_intervals(query: SummaryQuery, groups: Groups, take_slot: Callable[[], None]) -> None:
    """Give every group a row for every interval of the range."""
    count = len(groups.bounds) - 1
    keys = {values for values, _ in groups.sums} or ({()} if not query.dimensions else set())
    allowed = get_group_limit(query)
    if len(keys) * count > allowed:
        raise ValidationError({"fill": [f"More than {allowed:,} rows; ask without fill, or {FEWER_ROWS}"]})
    if len(keys) * count > LARGE_ANSWER:
        take_slot()
    for values in keys:
        for bucket in range(1, count + 1):
            groups.sums.setdefault((values, bucket), get_zeros(query))


def get_zeros(query: SummaryQuery) -> Sums:
    """Return the sums of a group without records."""
    return {name: 0 if measure.integer else Decimal(0) for name, measure in query.measures.items()}


def add_missing_groups(query: SummaryQuery, groups: Groups, previous: Groups) -> None:
    """Add the groups that only the period before has, with zeros; the total of no groups is zero, too."""
    for period in (groups, previous):
        if not period.sums:
            period.totals.clear()
    for key in previous.sums:
        if key[1] < max(len(groups.bounds), 1) or not query.interval:
            groups.sums.setdefault(key, get_zeros(query))


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """Builds the result of a query from its groups and those of the period before, None without a comparison.

    `unstored_sources`: of these nothing of the period before is stored, so its sums are unknown and not zero.
    """

    query: SummaryQuery
    groups: Groups
    previous: Groups | None
    unstored_sources: frozenset[str] = frozenset()

    def build(self) -> dict[str, Any]:
        sums = self.add_changes()
        keys = sort_groups(self.query, sums)
        selected_keys = dict.fromkeys(select_groups(self.query, sums, keys))
        names = RowNames.fetch(self.query, selected_keys)
        if len(selected_keys) > MAX_ROWS:
            parameter = "group_by" if self.query.limit is None else "limit"
            raise ValidationError({parameter: [f"This gives more than {MAX_ROWS:,} rows; {FEWER_ROWS}"]})
        return {
            "totals": self.build_totals(),
            "results": [self.build_row(key, names) for key in selected_keys],
            "others": self.build_others([key for key in keys if key not in selected_keys]),
        }

    def add_changes(self) -> AllSums:
        """Return the sums of the groups, with the changes that they are ordered by."""
        changes = self.query.changes
        if not changes or self.previous is None:
            return self.groups.sums
        zeros = get_zeros(self.query)
        sums: AllSums = {}
        for key, now in self.groups.sums.items():
            before = self.previous.sums.get(key) or (zeros if self.is_known_before(key[0]) else {})
            sums[key] = now | {column: subtract(now[name], before.get(name)) for column, name in changes.items()}
        return sums

    def build_totals(self) -> list[Row]:
        """Return the totals of the filter, one for each unit and metric of a kind with metrics."""
        previous = self.previous.totals if self.previous else {}
        keys: Iterable[PartitionKey] = sorted({*self.groups.totals, *previous}) if self.query.partition else [()]
        zeros = get_zeros(self.query)
        return [
            {**self.name_partition(key), **self.build_sums(self.groups.totals.get(key) or zeros, previous.get(key))}
            for key in keys
        ]

    def build_row(self, key: GroupKey, names: RowNames) -> Row:
        values, bucket = key
        previous = self.previous.sums.get(key) if self.previous else None
        return {
            **self.name_interval(bucket),
            **names.build(values),
            **self.build_sums(self.groups.sums[key], previous, is_known=self.is_known_before(values)),
        }

    def build_others(self, keys: list[GroupKey]) -> dict[str, Any] | None:
        """Return what the limit left out: how many groups and their sums; None where it left out nothing.

        Of groups with a row for each interval also the sums of each interval. Distinct counts cannot be added and
        are null.
        """
        if not keys:
            return None
        partitions = {key: get_partition_key(self.query, key) for key in keys}
        others: dict[str, Any] = {
            "groups": len({get_group_id(self.query, key) for key in keys}),
            "totals": self.build_parts({key: (0, partitions[key]) for key in keys}),
        }
        if self.query.has_series:
            others["results"] = self.build_parts({key: (key[1], partitions[key]) for key in keys})
        return others

    def build_parts(self, parts: dict[GroupKey, Part]) -> list[Row]:
        """Return a row of sums for each part; `parts`: the part that each group belongs to."""
        sums = self.add_up(self.groups, parts)
        previous = self.add_up(self.previous, parts) if self.previous else {}
        return [
            {
                **(self.name_interval(part[0]) if part[0] else {}),
                **self.name_partition(part[1]),
                **self.build_sums(sums[part], previous.get(part)),
            }
            for part in sorted(sums)
        ]

    def add_up(self, groups: Groups, parts: dict[GroupKey, Part]) -> dict[Part, Sums]:
        """Return the sums of each part's groups."""
        added: dict[Part, Sums] = {}
        for key, part in parts.items():
            if key not in groups.sums:
                continue
            sums = added.setdefault(part, dict.fromkeys(self.query.measures))
            for name, measure in self.query.measures.items():
                value = groups.sums[key][name]
                if measure.additive and value is not None:
                    sums[name] = value if sums[name] is None else sums[name] + value
        return added

    def name_interval(self, bucket: int) -> Row:
        """Return the interval of a row, nothing without an interval."""
        interval = self.query.interval
        return {interval: format_label(self.groups.bounds[bucket - 1], interval, self.query.zone)} if interval else {}

    def name_partition(self, values: PartitionKey) -> Row:
        """Return the unit and the metric of a row, {} for a kind without them."""
        return dict(zip(self.query.partition, values, strict=True))

    def is_known_before(self, values: tuple[Any, ...] = ()) -> bool:
        """Return whether anything of the period before is stored: of a group's source, else of any source."""
        names = [dimension.name for dimension in self.query.dimensions]
        if values and "source" in names:
            return values[names.index("source")] not in self.unstored_sources
        return not self.query.sources or len(self.unstored_sources) < len(self.query.sources)

    def build_sums(self, sums: Sums, previous: Sums | None, *, is_known: bool | None = None) -> Row:
        """Return a row's sums and, in a comparison, those before, the difference, and it relative to those before.

        The relative change has 12 digits. It is null where there was nothing before; both are where a side is unknown.
        """
        row = self.render(sums)
        if self.previous is None:
            return row
        is_known = self.is_known_before() if is_known is None else is_known
        # Records of days before a source's first day may be stored: an operator can sync such days.
        unknown: Sums = dict.fromkeys(self.query.measures)
        before = previous or (get_zeros(self.query) if is_known else unknown)
        changes, ratios = {}, {}
        for name, measure in self.query.measures.items():
            change = subtract(sums[name], before[name])
            ratio = None if change is None or not before[name] else RATIO.divide(change, Decimal(before[name]))
            changes[name] = render_number(change, measure)
            ratios[name] = None if ratio is None else f"{ratio:f}"
        return {**row, "previous": self.render(before), "change": changes, "relative_change": ratios}

    def render(self, sums: Sums) -> Row:
        return {name: render_number(sums[name], measure) for name, measure in self.query.measures.items()}


def subtract(value: Any, before: Any) -> Decimal | None:
    """Return the exact difference, None where a side is unknown."""
    return None if value is None or before is None else subtract_exactly(Decimal(value), Decimal(before))


def render_number(value: Any, measure: Measure) -> Any:
    """Return an integer as such and any other number as a text with all its digits."""
    if value is None:
        return None
    return int(value) if measure.integer else f"{Decimal(value):f}"
