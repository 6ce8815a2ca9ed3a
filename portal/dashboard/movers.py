"""What stands out: the projects and workspaces whose usage changed most, counted over complete days alone.

Two comparisons: each source's latest complete day with the same weekday a week before, and the days of that day's
month with the same days of the month before. Amounts of different units are never compared: what ranks is the share
of its unit's total by which something moved. The sums come from the roll-ups of these days, and are cached until a day
is read again, so their cost does not depend on the number of records.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from typing import Any, Final

from django.core.cache import cache as django_cache
from django.db import connection

from usage.days import iterate_dates
from usage.directory.access import NameAccess
from usage.directory.lookup import find_names
from usage.models import (
    EnvironmentDay,
    EnvironmentUsage,
    NameKind,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceUsage,
    Rollup,
    Source,
    SourceDay,
    UsageRecord,
)
from usage.timeouts import QueryTimeout, limit_query_time

WEEK: Final = timedelta(days=7)
SECONDS: Final = 2.0
CACHE_SECONDS: Final = 86_400
MAX_MOVERS: Final = 5  # of a comparison
MAX_MOVERS_PER_UNIT: Final = 2  # so that no unit takes all the lines
MIN_SHARE: Final = Decimal("0.01")  # of the unit's total
MAX_AGE: Final = timedelta(days=14)  # a latest complete day before this is no news

MOVERS_SQL: Final = """
WITH spans AS (
    SELECT * FROM unnest(%(sources)s::bigint[], %(days)s::date[], %(periods)s::text[], %(is_now)s::boolean[])
        AS span (source_id, day, period, is_now)
), sums AS (
    SELECT span.period, t.source_id, t.{key} AS key, {label} AS label, {metric} AS metric, {unit} AS unit,
           coalesce(sum(t.{measure}) FILTER (WHERE span.is_now), 0) AS now,
           coalesce(sum(t.{measure}) FILTER (WHERE NOT span.is_now), 0) AS before
    FROM spans AS span JOIN {table} AS t ON t.source_id = span.source_id AND t.day = span.day
    GROUP BY 1, 2, 3, 5, 6
), ranked AS (
    SELECT *, abs(now - before) / nullif(greatest(sum(now) OVER unit_sums, sum(before) OVER unit_sums), 0) AS share,
           row_number() OVER (
               PARTITION BY period, source_id, unit ORDER BY abs(now - before) DESC, key, metric
           ) AS place
    FROM sums WINDOW unit_sums AS (PARTITION BY period, source_id, unit)
)
SELECT period, source_id, coalesce(key::text, ''), label, metric, unit, now, before, share FROM ranked
WHERE place <= %(max_movers)s AND share >= %(min_share)s
"""


@dataclass(frozen=True, slots=True)
class MoverSubject:
    """What moves in a kind of usage: the roll-up, the column of the ids, and SQL of metric and unit.

    `label`: SQL of a name, over the rows of an id, for what the directory does not name.
    """

    rollup: type[Rollup]
    key: str
    kind: NameKind
    measure: str
    metric: str
    unit: str
    label: str = "''"


SUBJECTS: Final[dict[type[UsageRecord], MoverSubject]] = {
    EnvironmentUsage: MoverSubject(
        EnvironmentDay, "project_id", NameKind.PROJECT, "runtime_seconds", "'runtime'", "'seconds'"
    ),
    ResourceUsage: MoverSubject(
        ResourceDay, "project_id", NameKind.PROJECT, "consumed_quantity", "t.billing_metric", "t.consumed_unit"
    ),
    RecipeUsage: MoverSubject(
        RecipeWorkspaceDay,
        "workspace_id",
        NameKind.WORKSPACE,
        "task_count",
        "'tasks'",
        "'tasks'",
        "max(t.workspace_name)",
    ),
}


@dataclass(frozen=True, slots=True)
class ComparedDays:
    """The days of a source that are compared: `pairs` of (day, its day before), both complete.

    `expected`: how many pairs there would be if every day were complete.
    """

    pairs: Sequence[tuple[date, date]]
    expected: int


@dataclass(frozen=True, slots=True)
class SourceComparison:
    """The complete days of a source: the latest with the same weekday before, and its month with the month before.

    `version` changes whenever a day of the source is read again.
    """

    source: Source
    week: ComparedDays
    month: ComparedDays
    version: str = ""


@dataclass(frozen=True, slots=True)
class Mover:
    """Something whose usage changed: `share` is by how much of its unit's total. `name` '' where it has none."""

    comparison: SourceComparison
    kind: type[UsageRecord]
    key: str
    name: str
    metric: str
    unit: str
    now: Decimal
    before: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True)
class Movers:
    """The largest movers of both comparisons; `too_slow`: they took longer than a page may wait."""

    week: Sequence[Mover] = ()
    month: Sequence[Mover] = ()
    comparisons: Sequence[SourceComparison] = ()
    too_slow: bool = False


def find_movers(sources: Mapping[Source, type[UsageRecord]], todays: Mapping[int, date], names: NameAccess) -> Movers:
    """Return what moved most at the sources, each mapped to the kind that it reports."""
    comparisons = build_comparisons(list(sources), todays)
    try:
        with limit_query_time(SECONDS):
            period_movers = [
                period_mover
                for kind, subject in SUBJECTS.items()
                if (
                    kind_comparisons := [comparison for comparison in comparisons if sources[comparison.source] is kind]
                )
                for period_mover in fetch_movers(kind, subject, kind_comparisons, names)
            ]
    except QueryTimeout:
        return Movers(comparisons=comparisons, too_slow=True)
    return Movers(
        week=select_largest(mover for period, mover in period_movers if period == "week"),
        month=select_largest(mover for period, mover in period_movers if period == "month"),
        comparisons=comparisons,
    )


def build_comparisons(sources: Sequence[Source], todays: Mapping[int, date]) -> list[SourceComparison]:
    """Return the comparisons of each source that has a recent complete day, in one query."""
    if not sources:
        return []
    earliest = min(get_month_before(get_month_before(today)) for today in todays.values())
    complete: dict[int, dict[date, tuple[Any, ...]]] = {source.pk: {} for source in sources}
    days = SourceDay.objects.filter(source__in=sources, day__gte=earliest, complete=True).exclude(
        rolled_up=False, records__gt=0
    )
    reads = days.order_by("source_id", "day").values_list("source_id", "day", "attempt", "stored_digest", "loaded_at")
    for source_id, day, *read in reads:
        complete[source_id][day] = tuple(read)
    return [
        comparison
        for source in sources
        if (comparison := build_comparison(source, complete[source.pk], todays[source.pk])) is not None
    ]


def build_comparison(source: Source, complete: Mapping[date, Any], today: date) -> SourceComparison | None:
    """Return the comparisons of a source; None where no recent day is complete."""
    latest = max((day for day in complete if today - MAX_AGE <= day < today), default=None)
    if latest is None:
        return None
    first = latest.replace(day=1)
    days = iterate_dates(first, latest + timedelta(days=1))
    month = [(day, before) for day in days if (before := get_same_day_before(day)) is not None]
    return SourceComparison(
        source=source,
        week=select_pairs([(latest, latest - WEEK)], complete),
        month=select_pairs(month, complete),
        version=hash_text(repr(complete)),
    )


def select_pairs(pairs: Sequence[tuple[date, date]], complete: Mapping[date, Any]) -> ComparedDays:
    """Return the pairs of days that are both complete."""
    return ComparedDays([pair for pair in pairs if set(pair) <= complete.keys()], len(pairs))


def hash_text(text: str) -> str:
    """Return a short digest of a text."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def get_month_before(day: date) -> date:
    """Return the first day of the month before that of a day."""
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def get_same_day_before(day: date) -> date | None:
    """Return the same day of the month before; None where that month is shorter."""
    before = get_month_before(day)
    same_day = before + timedelta(days=day.day - 1)
    return same_day if same_day.month == before.month else None


def fetch_movers(
    kind: type[UsageRecord], subject: MoverSubject, comparisons: Sequence[SourceComparison], names: NameAccess
) -> Iterator[tuple[str, Mover]]:
    """Yield the largest movers of each unit of sources of a kind, each with its period: `week` or `month`."""
    by_source = {comparison.source.pk: comparison for comparison in comparisons}
    rows = fetch_rows(subject, comparisons)
    directory_names = find_names({subject.kind: {row[2] for row in rows}}, list(by_source), names)
    for period, source_id, key, label, metric, unit, now, before, share in rows:
        name = directory_names.get(subject.kind, key, source_id) or label
        yield period, Mover(by_source[source_id], kind, key, name, metric, unit, now, before, share)


def fetch_rows(subject: MoverSubject, comparisons: Sequence[SourceComparison]) -> list[tuple[Any, ...]]:
    """Return the rows of the statement, from the cache where no day of the sources was read since."""
    spans = [span for comparison in comparisons for span in list_spans(comparison)]
    if not spans:
        return []
    versions = [(comparison.source.pk, comparison.version) for comparison in comparisons]
    key = f"movers:{hash_text(repr((subject.key, subject.measure, versions, spans)))}"
    rows: list[tuple[Any, ...]] | None = django_cache.get(key)
    if rows is None:
        source_ids, days, periods, is_now = zip(*spans, strict=True)
        params = {"sources": list(source_ids), "days": list(days), "periods": list(periods), "is_now": list(is_now)}
        with connection.cursor() as cursor:
            cursor.execute(
                build_statement(subject), {**params, "max_movers": MAX_MOVERS_PER_UNIT, "min_share": MIN_SHARE}
            )
            rows = cursor.fetchall()
        django_cache.set(key, rows, CACHE_SECONDS)
    return rows


@cache
def build_statement(subject: MoverSubject) -> str:
    """Return the statement that finds the movers of a kind; all names are the portal's own."""
    table = connection.ops.quote_name(subject.rollup._meta.db_table)
    return MOVERS_SQL.format(
        key=subject.key,
        label=subject.label,
        metric=subject.metric,
        unit=subject.unit,
        measure=subject.measure,
        table=table,
    )


def list_spans(comparison: SourceComparison) -> Iterator[tuple[int, date, str, bool]]:
    """Yield the compared days of a source: its id, the day, the period, and whether it is the later day."""
    for period, compared in (("week", comparison.week), ("month", comparison.month)):
        for day, before in compared.pairs:
            yield comparison.source.pk, day, period, True
            yield comparison.source.pk, before, period, False


def select_largest(movers: Iterable[Mover]) -> list[Mover]:
    """Return those that moved most of their unit's total."""

    def rank(mover: Mover) -> Any:
        return -mover.share, mover.comparison.source.slug, mover.key, mover.metric

    return sorted(movers, key=rank)[:MAX_MOVERS]
