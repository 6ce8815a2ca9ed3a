"""Rollups: keep what each source day adds up to equal to its records, and tell where it may be asked.

Works set-wise, one statement per kind and day. Call `write` inside the transaction that holds the day's lock
and changed its records; rows that need no change are not touched, so a day that did not change makes no row
version. Days stored before rollups existed are caught up day by day (`roll_up`); until then `rolled_up` says
no and questions over them are answered from the records.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from usage.days import dates, midnight
from usage.models import (
    KINDS,
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentProjectDay,
    EnvironmentUsage,
    EnvironmentUserDay,
    RecipeDay,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceProjectDay,
    Rollup,
    SourceDay,
    UsageRecord,
)

# The smaller one first, where a kind has several.
ROLLUPS: tuple[type[Rollup], ...] = (
    EnvironmentProjectDay,
    EnvironmentDay,
    EnvironmentUserDay,
    ResourceProjectDay,
    ResourceDay,
    RecipeWorkspaceDay,
    RecipeDay,
)
Table = type[Rollup] | type[EnvironmentAccrual]

# How a column is made from the records `t` of a group; any other is the sum of the records' column.
COUNTS = {"records": "count(*)", "records_without_runtime": "count(*) - count(t.runtime_seconds)"}
WITHIN = {
    "within": "sum(t.runtime_seconds) FILTER (WHERE t.created_at >= %(starts)s)",
    "runs_within": "count(*) FILTER (WHERE t.created_at >= %(starts)s AND t.stopped_at > t.created_at)",
}

# Only runs that began before their day are cut; `midnights` are the starts of `dates` and the end of the last.
ACCRUED = """
SELECT accrued_on, {dimensions}, sum(accrued_seconds) AS accrued_seconds, sum(runs)::bigint AS runs
FROM (
    SELECT %(day)s::date AS accrued_on, {dimensions}, within AS accrued_seconds, runs_within AS runs
    FROM fine WHERE within > 0
    UNION ALL
    SELECT on_date, {dimensions},
           EXTRACT(EPOCH FROM least(t.stopped_at, date_ends) - greatest(t.created_at, date_starts)), 1
    FROM {records} t
    CROSS JOIN LATERAL (
        SELECT width_bucket(t.created_at, %(midnights)s::timestamptz[]) AS first,
               width_bucket(t.stopped_at, %(midnights)s::timestamptz[]) AS last
    ) AS touched
    CROSS JOIN LATERAL unnest(
        (%(dates)s::date[])[first:last],
        (%(midnights)s::timestamptz[])[first:last],
        (%(midnights)s::timestamptz[])[first + 1:last + 1]
    ) AS cut(on_date, date_starts, date_ends)
    WHERE {of_day} AND t.withdrawn_at IS NULL AND t.created_at < %(starts)s AND t.stopped_at > date_starts
) AS parts
GROUP BY accrued_on, {dimensions}
"""


def of_one_day(kind: type[UsageRecord]) -> str:
    """Return the condition for the records `t` of one day; the bounds let the index on the instant find them."""
    condition = "t.source_id = %(source)s AND t.day = %(day)s"
    if kind.instant == "day":
        return condition
    return f"{condition} AND t.{kind.instant} >= %(starts)s AND t.{kind.instant} < %(ends)s"


class Statements:
    """The SQL of one kind's rollups, made once from their models."""

    def __init__(self, kind: type[UsageRecord]) -> None:
        self.kind = kind
        self.records = quoted(kind)
        self.rollups = [rollup for rollup in ROLLUPS if rollup.kind is kind]
        self.tables: list[Table] = [*self.rollups]
        if kind is EnvironmentUsage:
            self.tables.append(EnvironmentAccrual)
        makes = [f"now_{table._meta.model_name} AS ({self.now(table)})" for table in self.tables]
        beginning = f"WITH fine AS MATERIALIZED ({self.fine()}), {', '.join(makes)}"
        inserts = [f"{self.insert(table)} FROM now_{table._meta.model_name}" for table in self.tables]
        self.fill = chain(beginning, inserts)
        differing = [f"differing_{table._meta.model_name} AS ({self.differing(table)})" for table in self.tables]
        comparing = f"{beginning}, {', '.join(differing)}"
        self.mend = chain(comparing, [step for table in self.tables for step in self.steps(table)])
        self.compare = f"{comparing} " + " UNION ALL ".join(
            f"SELECT '{table._meta.model_name}', count(*) FROM differing_{table._meta.model_name}"
            for table in self.tables
        )
        filled = " OR ".join(f"EXISTS (SELECT FROM {quoted(table)} WHERE {OF_DAY})" for table in self.tables)
        oldest = "NULL::timestamptz"
        if kind is EnvironmentUsage:
            oldest = f"(SELECT min(t.created_at) FROM {self.records} t WHERE {of_one_day(kind)})"
        self.look = f"SELECT {filled}, {oldest}"

    def fine(self) -> str:
        """Return the query for the day's groups by every dimension some rollup has: the one look at all."""
        dimensions = list(dict.fromkeys(name for table in self.tables for name in table.dimensions))
        columns = list(dict.fromkeys(name for rollup in self.rollups for name in ("records", *rollup.sums)))
        made = {name: COUNTS.get(name, f"sum(t.{name})") for name in columns}
        if EnvironmentAccrual in self.tables:
            made |= WITHIN
        keys = ", ".join(f"t.{name}" for name in dimensions)
        sums = ", ".join(f"{how} AS {name}" for name, how in made.items())
        return (
            f"SELECT {keys}, {sums} FROM {self.records} t "
            f"WHERE {of_one_day(self.kind)} AND t.withdrawn_at IS NULL GROUP BY {keys}"
        )

    def now(self, table: Table) -> str:
        """Return the query for the rows that one rollup has to hold."""
        dimensions = ", ".join(table.dimensions)
        if table is EnvironmentAccrual:
            return ACCRUED.format(dimensions=dimensions, records=self.records, of_day=of_one_day(self.kind))
        counted = {"records", *COUNTS}
        sums = ", ".join(
            f"sum({name}){'::bigint' if name in counted else ''} AS {name}" for name in columns_of(table).sums
        )
        return f"SELECT {dimensions}, {sums} FROM fine GROUP BY {dimensions}"

    @staticmethod
    def insert(table: Table) -> str:
        """Return the beginning of the statement that stores rows of one rollup, up to their FROM."""
        names = ", ".join(columns_of(table).all)
        return f"INSERT INTO {quoted(table)} (source_id, day, {names}) SELECT %(source)s, %(day)s::date, {names}"

    @staticmethod
    def differing(table: Table) -> str:
        """Return the query for the groups that are not held as they are: `id` NULL, not held; sums NULL, gone."""
        columns = columns_of(table)
        keys, names = ", ".join(columns.keys), ", ".join(columns.all)
        due = [f"max({name}) FILTER (WHERE id IS NULL)" for name in columns.sums]
        held = [f"max({name}) FILTER (WHERE id IS NOT NULL)" for name in columns.sums]
        sums = ", ".join(f"{how} AS {name}" for name, how in zip(columns.sums, due, strict=True))
        return (
            f"SELECT max(id) AS id, {keys}, {sums} FROM ("
            f"SELECT id, {names} FROM {quoted(table)} WHERE {OF_DAY} "
            f"UNION ALL SELECT NULL, {names} FROM now_{table._meta.model_name}) AS both_sides "
            f"GROUP BY {keys} HAVING ROW({', '.join(due)}) IS DISTINCT FROM ROW({', '.join(held)})"
        )

    @staticmethod
    def steps(table: Table) -> list[str]:
        """Return what brings one rollup to what it has to hold: three statements over disjoint groups."""
        columns = columns_of(table)
        mine = f"d.id = r.id AND r.source_id = %(source)s AND r.day = %(day)s::date AND d.{columns.count}"
        assign = ", ".join(f"{name} = d.{name}" for name in columns.sums)
        found = f"differing_{table._meta.model_name} d"
        return [
            f"DELETE FROM {quoted(table)} r USING {found} WHERE {mine} IS NULL",
            f"UPDATE {quoted(table)} r SET {assign} FROM {found} WHERE {mine} IS NOT NULL",
            f"{Statements.insert(table)} FROM {found} WHERE d.id IS NULL",
        ]


OF_DAY = "source_id = %(source)s AND day = %(day)s::date"


@dataclass(frozen=True)
class Columns:
    """A rollup's columns: those that make a group, those that are summed, and the count that is never NULL."""

    keys: tuple[str, ...]
    sums: tuple[str, ...]
    count: str

    @property
    def all(self) -> tuple[str, ...]:
        """All of them, in one order."""
        return (*self.keys, *self.sums)


def columns_of(table: Table) -> Columns:
    """Return the columns of a rollup besides its id, source and day."""
    if table is EnvironmentAccrual:
        return Columns(("accrued_on", *table.dimensions), (*table.sums, "runs"), "runs")
    return Columns(table.dimensions, ("records", *table.sums), "records")


def quoted(model: type[UsageRecord] | Table) -> str:
    """Return the name of a model's table as SQL."""
    return connection.ops.quote_name(model._meta.db_table)


def chain(beginning: str, steps: list[str]) -> str:
    """Return one statement that does every step on what `beginning`, a WITH clause, has found."""
    earlier = "".join(f", step_{number} AS ({step})" for number, step in enumerate(steps[:-1]))
    return f"{beginning}{earlier} {steps[-1]}"


@cache
def statements(kind: type[UsageRecord]) -> Statements:
    """Return the statements of a kind of usage."""
    return Statements(kind)


def write(kind: type[UsageRecord], source_day: SourceDay) -> None:
    """Bring the rollups of one day to what its current records add up to, touching only rows that differ.

    Call it in the transaction that holds the day's lock, after its records were changed; the caller also sets
    and saves `source_day.rolled_up`.
    """
    sql = statements(kind)
    with connection.cursor() as cursor:
        filled, where = look(sql, source_day)
        # A new day lies beyond the planner's statistics: it expects one record, and would sort all there are.
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(sql.mend if filled else sql.fill, where)
        cursor.execute("SET LOCAL enable_sort TO DEFAULT")


def differences(kind: type[UsageRecord], source_day: SourceDay) -> dict[str, int]:
    """Return how many rows of each rollup (by model name) are not what the day's records add up to; {} if none."""
    sql = statements(kind)
    with connection.cursor() as cursor:
        _, where = look(sql, source_day)
        cursor.execute(sql.compare, where)
        return {name: count for name, count in cursor.fetchall() if count}


def look(sql: Statements, source_day: SourceDay) -> tuple[bool, dict[str, Any]]:
    """Return whether the day's rollups hold rows, and the parameters of its statements."""
    where: dict[str, Any] = {
        "source": source_day.source_id,
        "day": source_day.day,
        "starts": source_day.starts_at,
        "ends": source_day.ends_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql.look, where)
        filled, oldest = cursor.fetchone()
    if sql.kind is EnvironmentUsage:
        where |= calendar(source_day, min(oldest or source_day.starts_at, source_day.starts_at))
    return filled, where


def calendar(source_day: SourceDay, oldest: datetime) -> dict[str, list[Any]]:
    """Return the dates of the source's zone from that of `oldest` to the day, and their midnights, one more."""
    zone = source_day.source.zone
    found = list(dates(oldest.astimezone(zone).date(), source_day.day + timedelta(days=1)))
    return {"dates": found, "midnights": [*(midnight(on, zone) for on in found), source_day.ends_at]}


def fitting(kind: type[UsageRecord], columns: Collection[str]) -> type[Rollup] | None:
    """Return the smallest rollup of `kind` that keeps all these columns apart, or None.

    Every rollup also has `source`, `source_id` and `day`, which need not be among its dimensions.
    """
    asked = set(columns) - {"source", "source_id", "day"}
    return next((rollup for rollup in ROLLUPS if rollup.kind is kind and asked <= set(rollup.dimensions)), None)


def rolled_up(
    kind: type[UsageRecord] | None,  # noqa: ARG001 - today a day is rolled up for all kinds at once
    source_ids: Collection[int] | None,
    first: date | None,
    end: date | None,
) -> bool:
    """Tell whether the rollups of `kind` hold every source day of `[first, end)`; None leaves a side open.

    `kind` None means every kind, `source_ids` None every source. Days that hold no records count as rolled up.
    For accrued runtime ask with `end` None: a run that touches the range may belong to any later day.
    """
    lacking = to_roll_up()
    if source_ids is not None:
        lacking = lacking & Q(source_id__in=list(source_ids))
    if first is not None:
        lacking &= Q(day__gte=first)
    if end is not None:
        lacking &= Q(day__lt=end)
    return not SourceDay.objects.filter(lacking).exists()


def to_roll_up() -> Q:
    """Return the condition for days whose records no rollup holds yet."""
    return Q(rolled_up=False, records__gt=0)


def last_stop_day(source_ids: Collection[int], first: date, end: date) -> date:
    """Return a day that no run touching the dates `[first, end)` belongs after: the bound of a look at their records.

    It is the date before `end`, or later where runs that touch that date stopped later: a run that stopped after
    the range and touches any of it touches its last date. True where `rolled_up(…, first, None)`.
    """
    last = end - timedelta(days=1)
    touching = EnvironmentAccrual.objects.filter(source_id__in=list(source_ids), accrued_on=last)
    latest = touching.order_by("-day").values_list("day", flat=True).first()
    return max(last, first, latest or last)


def roll_up(seconds: float | None = None) -> int:
    """Write the rollups of days stored before there were any, newest first, one short transaction each.

    Stops after so many seconds, if given. Returns the number of days done. A day that is locked is being merged,
    which writes its rollups too. Any number of these may run at once, and stop at any instant.
    """
    until = None if seconds is None else monotonic() + seconds
    done = 0
    while (until is None or monotonic() < until) and roll_up_next():
        done += 1
    return done


def roll_up_next() -> SourceDay | None:
    """Write the rollups of the newest day that lacks them; returns it, or None where there is none."""
    with transaction.atomic():
        waiting = SourceDay.objects.filter(to_roll_up()).select_related("source").order_by("-day", "-source_id")
        day = waiting.select_for_update(of=("self",), no_key=True, skip_locked=True).first()
        if day is not None:
            for kind in KINDS.values():
                write(kind, day)
            SourceDay.objects.filter(pk=day.pk).update(rolled_up=True)
        return day


def check_day(pk: int) -> dict[str, int]:
    """Return how many rows of each rollup differ from the records of one day, which is held still meanwhile."""
    with transaction.atomic():
        found = SourceDay.objects.select_related("source").select_for_update(of=("self",), no_key=True)
        day = found.get(pk=pk)
        if not day.rolled_up and day.records:
            return {}
        return {name: count for kind in KINDS.values() for name, count in differences(kind, day).items()}


def ownerless() -> list[tuple[str, date, str]]:
    """Return (source, day, rollup) of rollup rows whose source day does not exist."""
    mine = SourceDay.objects.filter(source_id=OuterRef("source_id"), day=OuterRef("day"))
    tables: tuple[Any, ...] = (*ROLLUPS, EnvironmentAccrual)
    return [
        (slug, on, table._meta.model_name)
        for table in tables
        for slug, on in table.objects.exclude(Exists(mine)).values_list("source__slug", "day").distinct()
    ]
