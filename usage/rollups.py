"""Roll-ups: what each source day adds up to, kept equal to its records, so that summaries read few rows.

`write_rollups` replaces the rows of one day in the transaction that changed the day's records, so at every commit
the roll-ups equal the records. A day whose `rolled_up` is false is summarised from its records until `roll_up_days`
has caught up.
"""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from time import monotonic
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from usage.columns import FITS_DECIMAL
from usage.days import iterate_days
from usage.models import (
    KINDS,
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentUsage,
    RecipeDay,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    Rollup,
    Source,
    SourceDay,
    UsageRecord,
)
from usage.schema_state import hold_schema
from usage.stored import (
    RECORD_DIGEST,
    StoredDay,
    build_day_filter,
    build_parameters,
    build_row_hash,
    build_totals,
)

# The smaller roll-up first, where a kind has two.
ROLLUPS: Final[tuple[type[Rollup], ...]] = (
    EnvironmentDay,
    EnvironmentAccrual,
    ResourceDay,
    RecipeWorkspaceDay,
    RecipeDay,
)
NOT_ROLLED_UP: Final = Q(rolled_up=False, records__gt=0)

# The columns that count the records without a measure.
MISSING_COUNTS: Final = {
    "runtime_seconds": "records_without_runtime",
    **{measure: f"records_without_{measure}" for measure in RecipeUsage.optional_measures},
}
# How many records have a value that no Parquet decimal holds (usage/columns.py); those of other measures always fit.
BEYOND_COUNTS: Final = {"consumed_quantity": "records_beyond_decimal"}
# How a column is made from the records `t` of a group; any other is the sum of the records' column.
AGGREGATES: Final = {
    "records": "count(*)",
    **{column: f"count(*) FILTER (WHERE t.{measure} IS NULL)" for measure, column in MISSING_COUNTS.items()},
    **{
        column: f"count(*) FILTER (WHERE NOT {FITS_DECIMAL.format(f't.{measure}')})"
        for measure, column in BEYOND_COUNTS.items()
    },
    "digest": f"sum({RECORD_DIGEST})",
    "last_changed_at": "max(t.changed_at)",
}
# Runs cut at midnights: `midnights` are the starts of `dates` and the end of the last, which is the day itself. A run
# has a row for each date it lasted, with the `place` of the date; that of the day itself stands for the record. Of an
# array the planner expects 10 rows, of generate_series a thousand, which it would sort.
CUT_RUNS: Final = """
SELECT t.*, unnest(
    (%(places)s::int[])[width_bucket(coalesce(t.created_at, %(starts)s), %(midnights)s::timestamptz[]):]
) AS place FROM {source}"""
OF_THE_DAY: Final = "FILTER (WHERE t.place = cardinality(%(dates)s::date[]))"
ACCRUED_SECONDS: Final = """
EXTRACT(EPOCH FROM sum(CASE WHEN t.created_at IS NOT NULL THEN
    least(t.stopped_at, (%(midnights)s::timestamptz[])[t.place + 1])
    - greatest(t.created_at, (%(midnights)s::timestamptz[])[t.place]) END))"""
ACCRUED_ON: Final = "(%(dates)s::date[])[t.place]"


def write_rollups(kind: type[UsageRecord], source_day: SourceDay) -> StoredDay:
    """Replace the roll-ups of one day by what its current records add up to; returns the day's totals.

    Call it in the transaction that holds the day's lock, after its records were changed; the caller also sets and
    saves `source_day.rolled_up`.
    """
    params = build_rollup_params(kind, source_day)
    with connection.cursor() as cursor:
        for table in list_tables(kind):
            cursor.execute(f"DELETE FROM {quote(table)} WHERE source_id = %(source)s AND day = %(day)s", params)
        cursor.execute(build_write(kind), params)
        return StoredDay.from_row(cursor.fetchone())


def compare_rollups(kind: type[UsageRecord], source_day: SourceDay) -> tuple[StoredDay, dict[str, int]]:
    """Return the totals of a day's records, and how many rows of each roll-up (by model name) differ from them."""
    with connection.cursor() as cursor:
        cursor.execute(build_comparison(kind), build_rollup_params(kind, source_day))
        row = cursor.fetchone()
    counts = row[-len(list_tables(kind)) :]
    names = [str(table._meta.model_name) for table in list_tables(kind)]
    differences = {name: count for name, count in zip(names, counts, strict=True) if count}
    return StoredDay.from_row(row[: -len(counts)]), differences


def list_tables(kind: type[UsageRecord]) -> list[type[Rollup]]:
    """Return the roll-ups of a kind."""
    return [table for table in ROLLUPS if table.kind is kind]


def quote(model: type[UsageRecord] | type[Rollup]) -> str:
    """Return the name of a model's table as SQL."""
    return connection.ops.quote_name(model._meta.db_table)


def list_columns(table: type[Rollup]) -> tuple[str, ...]:
    """Return the columns of a roll-up in the order of `build_select`."""
    return ("source_id", "day", *table.dimensions, "records", *table.sums, *table.latest)


def build_groups(kind: type[UsageRecord]) -> str:
    """Return the CTE `groups`: a day's records by the dimensions of the kind's finest roll-up, in one scan.

    Its totals, its digest and its roll-ups are added up from them.
    """
    finest = list_tables(kind)[-1]
    keys = {name: f"t.{name}" for name in finest.dimensions} | {"is_current": "t.withdrawn_at IS NULL"}
    names = dict.fromkeys(name for table in list_tables(kind) for name in ("records", *table.sums, *table.latest))
    sums = {name: AGGREGATES.get(name, f"sum(t.{name})") for name in names} | {"hashes": f"sum({build_row_hash(kind)})"}
    source = f"{quote(kind)} t WHERE {build_day_filter(kind)}"
    if finest is EnvironmentAccrual:
        source = f"({CUT_RUNS.format(source=source)}) t"
        keys["accrued_on"] = "t.place"
        sums |= {name: f"{sums[name]} {OF_THE_DAY}" for name in ("records", "runtime_seconds", "digest", "hashes")}
        sums["accrued_seconds"] = ACCRUED_SECONDS
    columns = keys | sums | ({"accrued_on": ACCRUED_ON} if "accrued_on" in keys else {})
    select_list = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    return f"groups AS MATERIALIZED (SELECT {select_list} FROM {source} GROUP BY {', '.join(keys.values())})"


def build_select(table: type[Rollup]) -> str:
    """Return the SELECT of the rows that a roll-up has to hold of one day, from `groups`."""
    columns = {name: name for name in ("records", *table.sums, *table.latest)}
    dimensions, grouping = ", ".join(table.dimensions), ""
    if table is EnvironmentAccrual:
        columns["runtime_seconds"] = "accrued_seconds"
    if table is not list_tables(table.kind)[-1]:
        columns = {name: f"max({name})" if name in table.latest else f"sum({name})" for name in columns}
        grouping = f" GROUP BY {dimensions}"
    return (
        f"SELECT %(source)s, %(day)s::date, {dimensions}, {', '.join(columns.values())} "
        f"FROM groups WHERE is_current{grouping}"
    )


def build_write(kind: type[UsageRecord]) -> str:
    """Return the statement that stores the roll-ups of one day, and gives its totals."""
    writes = ", ".join(
        f"write_{place} AS (INSERT INTO {quote(table)} ({', '.join(list_columns(table))}) {build_select(table)})"
        for place, table in enumerate(list_tables(kind))
    )
    return f"WITH {build_groups(kind)}, {writes} {build_totals(kind)}"


def build_comparison(kind: type[UsageRecord]) -> str:
    """Return the SELECT of a day's totals, and of how many rows each roll-up lacks, has too many or with other sums."""
    differences = ", ".join(f"({build_difference(table)})" for table in list_tables(kind))
    return f"WITH {build_groups(kind)} SELECT totals.*, {differences} FROM ({build_totals(kind)}) AS totals"


def build_difference(table: type[Rollup]) -> str:
    """Return the SELECT of how many rows of a roll-up differ from `groups`."""
    keys, names = ", ".join(table.dimensions), ", ".join(list_columns(table))
    return (
        f"SELECT count(DISTINCT ROW({keys})) FROM (SELECT {keys} FROM ("
        f"SELECT *, 1 FROM ({build_select(table)}) AS due UNION ALL SELECT {names}, -1 FROM {quote(table)} "
        f"WHERE source_id = %(source)s AND day = %(day)s) AS either ({names}, side) "
        f"GROUP BY {names} HAVING sum(side) <> 0) AS differing"
    )


def build_rollup_params(kind: type[UsageRecord], source_day: SourceDay) -> dict[str, Any]:
    """Return the parameters of `build_select`."""
    params = build_parameters(source_day)
    if kind is not EnvironmentUsage:
        return params
    with connection.cursor() as cursor:
        oldest = f"SELECT min(t.created_at) FROM {quote(kind)} t WHERE {build_day_filter(kind)}"
        cursor.execute(oldest, params)
        (created_at,) = cursor.fetchone()
    return params | build_calendar(source_day, min(created_at or source_day.starts_at, source_day.starts_at))


def build_calendar(source_day: SourceDay, oldest: datetime) -> dict[str, list[Any]]:
    """Return the dates of the source's zone from `oldest` to the day, their midnights and the next, and places."""
    zone = source_day.source.zone
    days = list(iterate_days(oldest.astimezone(zone).date(), source_day.day + timedelta(days=1), zone))
    return {
        "dates": [day.date for day in days],
        "midnights": [*(day.start for day in days), source_day.ends_at],
        "places": list(range(1, len(days) + 1)),
    }


def choose_rollup(kind: type[UsageRecord], columns: Collection[str]) -> type[Rollup] | None:
    """Return the smallest roll-up of `kind` that has all these columns, None where there is none."""
    return next((rollup for rollup in list_tables(kind) if set(columns) <= set(list_columns(rollup))), None)


def is_rolled_up(source_ids: Collection[int] | None = None, first: date | None = None, end: date | None = None) -> bool:
    """Return whether the roll-ups have every source day of `[first, end)`; None leaves a side open.

    `source_ids` None means every source. Days without records count as rolled up. For accrued runtime leave `end`
    open: a run that touches the range may belong to any later day.
    """
    condition = NOT_ROLLED_UP
    if source_ids is not None:
        condition &= Q(source_id__in=list(source_ids))
    if first is not None:
        condition &= Q(day__gte=first)
    if end is not None:
        condition &= Q(day__lt=end)
    return not SourceDay.objects.filter(condition).exists()


def get_last_stop_day(source_ids: Collection[int], first: date, end: date) -> date:
    """Return a day that no run that touches the dates `[first, end)` belongs after.

    It is the date before `end`, or later where runs that touch that date stopped later: a run that stopped after
    the range and touches any of it touches its last date. True where `is_rolled_up(…, first, None)`.
    """
    last = end - timedelta(days=1)
    touching = EnvironmentAccrual.objects.filter(source_id__in=list(source_ids), accrued_on=last)
    latest = touching.order_by("-day").values_list("day", flat=True).first()
    return max(last, first, latest or last)


def roll_up_days(seconds: float | None = None) -> int:
    """Write the roll-ups of days that lack them, newest first, one short transaction each; returns how many.

    Stops after `seconds`, None for no limit. A locked day is being merged, which writes its roll-ups too. Several
    processes may run this at once, and stop at any instant.
    """
    until = None if seconds is None else monotonic() + seconds
    day_count = 0
    while (until is None or monotonic() < until) and roll_up_next_day():
        day_count += 1
    return day_count


def roll_up_next_day() -> SourceDay | None:
    """Write the roll-ups of the newest day that lacks them; returns it, or None where there is none."""
    with transaction.atomic():
        hold_schema()
        waiting = (
            SourceDay.objects.readable().filter(NOT_ROLLED_UP).select_related("source").order_by("-day", "-source_id")
        )
        day = waiting.select_for_update(of=("self",), no_key=True, skip_locked=True).first()
        if day is not None:
            for kind in KINDS.values():
                write_rollups(kind, day)
            SourceDay.objects.filter(pk=day.pk).update(rolled_up=True)
        return day


def check_rollups(pk: int) -> dict[str, int]:
    """Return how many rows of each roll-up differ from the records of one day, which is locked meanwhile.

    None of a day whose records were pruned: there is nothing to compare them with.
    """
    with transaction.atomic():
        days = SourceDay.objects.select_related("source").select_for_update(of=("self",), no_key=True)
        day = days.get(pk=pk)
        if day.pruned_at is not None or (not day.rolled_up and day.records):
            return {}
        return {name: count for kind in KINDS.values() for name, count in compare_rollups(kind, day)[1].items()}


def list_orphans() -> list[tuple[str, date, str]]:
    """Return (source, day, roll-up) of roll-up rows whose source day does not exist.

    The source is its slug, or its number where it does not exist either: no constraint holds that it does.
    """
    day = SourceDay.objects.filter(source_id=OuterRef("source_id"), day=OuterRef("day"))
    slugs = dict(Source.objects.values_list("pk", "slug"))
    return [
        (slugs.get(source_id, f"source {source_id}"), on, str(table._meta.model_name))
        for table in ROLLUPS
        for source_id, on in table.objects.exclude(Exists(day)).values_list("source_id", "day").distinct()
    ]
