"""Merge: bring the records of one source day to exactly what the vendor now reports, in one transaction.

Works set-wise on the spool's temporary table. Only what differs is written, so reading an unchanged day makes
no row version. The statements keep to the day's own rows (by the index on source and instant) and to the
unique key, so their cost does not grow with the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import msgspec
from django.db import connection

from usage.models import SourceDay, UsageRecord
from usage.revisions import keep

# A read that would withdraw more than half of a day's records, and more than a few, is not believed at once.
GUARDED_SHARE = 0.5
GUARDED_RECORDS = 10


@dataclass
class Merged:
    """What a merge changed, in records; `moved` counts per other day what now belongs to this one."""

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    returned: int = 0
    moved: dict[date, int] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        """Whether the day's records differ from before."""
        return bool(self.inserted or self.changed or self.withdrawn or self.returned)


@dataclass(frozen=True)
class Shrink:
    """How many of the day's records held now would be withdrawn by what was read."""

    held: int
    vanishing: int

    @property
    def suspicious(self) -> bool:
        """Whether the guard holds the merge back (design.md, Guard)."""
        return self.vanishing > GUARDED_RECORDS and self.vanishing > self.held * GUARDED_SHARE


class Statements:
    """The SQL of one kind of usage, made once from its model: `t` is the table, `n` what was read."""

    def __init__(self, kind: type[UsageRecord]) -> None:
        meta = kind._meta
        self.table = connection.ops.quote_name(meta.db_table)
        self.spool = f"pg_temp.spool_{meta.model_name}"
        columns = list(kind.row._fields)  # type: ignore[attr-defined]
        key = [name for name in kind.key if name != "day"]
        json = {name for name in columns if meta.get_field(name).get_internal_type() == "JSONField"}
        incoming = {name: f"COALESCE(n.{name}::jsonb, '{{}}')" if name in json else f"n.{name}" for name in columns}
        rest = [name for name in columns if name not in key]
        same = " AND ".join(self._same(name, nullable=meta.get_field(name).null) for name in key)
        differs = f"({', '.join(f't.{c}' for c in rest)}) IS DISTINCT FROM ({', '.join(incoming[c] for c in rest)})"
        assign = ", ".join(f"{name} = {incoming[name]}" for name in rest)
        revise = "revision = t.revision + 1, changed_at = statement_timestamp()"
        of_day = of_one_day(kind)
        keys = ", ".join(key)
        self.day_in_key = "day" in kind.key

        self.count_spool = f"SELECT count(*) FROM {self.spool}"
        self.count_held = f"SELECT count(*) FROM {self.table} t WHERE {of_day}"
        self.insert = (
            f"INSERT INTO {self.table} (source_id, day, first_seen_at, changed_at, {', '.join(columns)}) "
            "SELECT %(source)s, %(day)s, statement_timestamp(), statement_timestamp(), "
            f"{', '.join(incoming[name] for name in columns)} FROM {self.spool} n "
            "ON CONFLICT DO NOTHING"
        )
        # The last of several rows with one key is the vendor's latest word.
        self.drop_repeated = (
            f"DELETE FROM {self.spool} n USING (SELECT {keys}, max(ctid) AS last FROM {self.spool} "
            f"GROUP BY {keys} HAVING count(*) > 1) t WHERE {same} AND n.ctid <> t.last"
        )
        self.shrink = (
            f"SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM {self.spool} n WHERE {same})) "
            f"FROM {self.table} t WHERE {of_day} AND t.withdrawn_at IS NULL"
        )
        self.withdraw = (
            f"UPDATE {self.table} t SET withdrawn_at = statement_timestamp(), {revise} "
            f"WHERE {of_day} AND t.withdrawn_at IS NULL AND NOT EXISTS (SELECT FROM {self.spool} n WHERE {same})"
        )
        # What was before, kept in the statement that replaces it: the two can not part, and agree on the instant.
        gone = ", ".join(f"t.{name}" for name in ("id", "source_id", "revision", "day", *columns))
        self.withdraw_kept = (
            f"WITH gone AS ({self.withdraw} RETURNING {gone}, NULL::timestamptz AS withdrawn_at) "
            f"{keep(kind, 'gone', 'gone.revision - 1')} FROM gone"
        )
        self.drop_unchanged = (
            f"DELETE FROM {self.spool} n USING {self.table} t "
            f"WHERE {of_day} AND {same} AND t.withdrawn_at IS NULL AND NOT ({differs})"
        )
        self.count_differing = (
            "SELECT count(*) FILTER (WHERE t.withdrawn_at IS NULL), count(*) FILTER (WHERE t.withdrawn_at IS NOT NULL) "
            f"FROM {self.table} t JOIN {self.spool} n ON {same} WHERE {of_day}"
        )
        self.update = (
            f"UPDATE {self.table} t SET {assign}, withdrawn_at = NULL, {revise} "
            f"FROM {self.spool} n WHERE {of_day} AND {same}"
        )
        old = f"{keep(kind, 't', 't.revision')} FROM {self.table} t JOIN {self.spool} n ON"
        self.update_kept = f"WITH kept AS ({old} {same} WHERE {of_day}) {self.update}"
        self.drop_held = f"DELETE FROM {self.spool} n USING {self.table} t WHERE {of_day} AND {same}"
        elsewhere = f"t.source_id = %(source)s AND t.day <> %(day)s AND {same}"
        self.count_elsewhere = (
            f"SELECT t.day, count(*) FILTER (WHERE t.withdrawn_at IS NULL), count(*) FROM {self.table} t "
            f"JOIN {self.spool} n ON {elsewhere} GROUP BY t.day ORDER BY t.day"
        )
        self.move = (
            f"WITH kept AS ({old} {elsewhere}) "
            f"UPDATE {self.table} t SET {assign}, day = %(day)s, withdrawn_at = NULL, {revise} "
            f"FROM {self.spool} n WHERE {elsewhere}"
        )
        self.sums = sums_statement(kind, self.table)

    @staticmethod
    def _same(name: str, *, nullable: bool) -> str:
        if nullable:
            return f"COALESCE(t.{name}, -1) = COALESCE(n.{name}, -1)"
        return f"t.{name} = n.{name}"


def of_one_day(kind: type[UsageRecord]) -> str:
    """Return the condition for the records `t` of one day; the bounds let the index on the instant find them."""
    condition = "t.source_id = %(source)s AND t.day = %(day)s"
    if kind.instant == "day":
        return condition
    return f"{condition} AND t.{kind.instant} >= %(starts)s AND t.{kind.instant} < %(ends)s"


def sums_statement(kind: type[UsageRecord], table: str) -> str:
    """Return the query for (current records, withdrawn records, sums as text by measure or unit) of one day."""
    of_day = of_one_day(kind)
    if kind.unit:
        total = f"sum({kind.measures[0]})"
        sums = (
            f"(SELECT jsonb_object_agg(unit, total::text) FROM (SELECT {kind.unit} AS unit, {total} AS total "
            f"FROM {table} t WHERE {of_day} AND withdrawn_at IS NULL GROUP BY 1) AS by_unit)"
        )
    else:
        pairs = ", ".join(
            f"'{name}', (sum({name}) FILTER (WHERE withdrawn_at IS NULL))::text" for name in kind.measures
        )
        sums = f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
    return (
        f"SELECT count(*) FILTER (WHERE withdrawn_at IS NULL), count(*) FILTER (WHERE withdrawn_at IS NOT NULL), "
        f"COALESCE({sums}, '{{}}') FROM {table} t WHERE {of_day}"
    )


@cache
def statements(kind: type[UsageRecord]) -> Statements:
    """Return the statements of a kind of usage."""
    return Statements(kind)


class DayMerge:
    """The merge of one spooled read into one source day; call inside the transaction that fenced the day."""

    def __init__(self, kind: type[UsageRecord], source_day: SourceDay) -> None:
        self.kind = kind
        self.sql = statements(kind)
        self.where: dict[str, Any] = {
            "source": source_day.source_id,
            "day": source_day.day,
            "starts": source_day.starts_at,
            "ends": source_day.ends_at,
        }
        self.distinct = 0
        self.merged = Merged()

    def execute(self, sql: str) -> int:
        """Run one statement for this day; returns the number of rows it touched."""
        with connection.cursor() as cursor:
            cursor.execute(sql, self.where)
            return int(cursor.rowcount)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one query for this day."""
        with connection.cursor() as cursor:
            cursor.execute(sql, self.where)
            return list(cursor.fetchall())

    def drop_repeated(self) -> None:
        """Keep one row per key of what was read."""
        self.execute(self.sql.drop_repeated)
        self.distinct = self.fetch(self.sql.count_spool)[0][0]

    def shrink(self) -> Shrink:
        """Return what a merge would withdraw, before anything is changed."""
        held, vanishing = self.fetch(self.sql.shrink)[0]
        return Shrink(held, vanishing)

    def holds_nothing(self) -> bool:
        """Tell whether no record of this day was ever stored."""
        return bool(self.fetch(self.sql.count_held)[0][0] == 0)

    def insert_all(self, spooled: int) -> bool:
        """Insert every spooled row of a day that holds nothing yet; False when some key is taken already."""
        self.distinct = spooled
        self.merged.inserted = self.execute(self.sql.insert)
        return self.merged.inserted == spooled

    def apply(self, *, withdraw: bool, keep_old: bool) -> Merged:
        """Withdraw what vanished (unless the read was partial), update what differs, insert what is new.

        `keep_old`: what records were before stays as their revisions (usage/revisions.py).
        """
        merged = self.merged = Merged()
        if withdraw:
            merged.withdrawn = self.execute(self.sql.withdraw_kept if keep_old else self.sql.withdraw)
        merged.unchanged = self.execute(self.sql.drop_unchanged)
        merged.changed, merged.returned = self.fetch(self.sql.count_differing)[0]
        if merged.changed or merged.returned:
            self.execute(self.sql.update_kept if keep_old else self.sql.update)
            self.execute(self.sql.drop_held)
        left = self.fetch(self.sql.count_spool)[0][0]
        if left:
            merged.inserted = self.execute(self.sql.insert)
        if merged.inserted < left and not self.sql.day_in_key:
            self.move_in()
        return merged

    def move_in(self) -> None:
        """Take over records that another day of the source held: a record belongs to one day only."""
        for other, current, all_of_them in self.fetch(self.sql.count_elsewhere):
            if current:
                self.merged.moved[other] = current
            self.merged.changed += current
            self.merged.returned += all_of_them - current
        self.execute(self.sql.move)

    def totals(self) -> tuple[int, int, dict[str, str]]:
        """Return the day's current and withdrawn records, and its sums as text by measure or unit."""
        current, withdrawn, sums = self.fetch(self.sql.sums)[0]
        return current, withdrawn, msgspec.json.decode(sums)


def days_of(source_id: int, days: Iterable[date]) -> list[SourceDay]:
    """Return the other days a merge took records from, locked in a fixed order."""
    found = SourceDay.objects.filter(source_id=source_id, day__in=list(days))
    return list(found.select_for_update(no_key=True).order_by("day"))
