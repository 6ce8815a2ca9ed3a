"""Nameless: match records without an id from the vendor with the stored records.

A nameless record is stored under a digest of its fields. When the vendor leaves out an id that it sent before, or
sends an id that it left out, the same record would be withdrawn under one name and inserted under another. So a read
row and a stored record whose names have no counterpart are the same record if all other columns are equal.
"""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from sync.engine.spool import build_spooled_values
from usage.models import UsageRecord
from usage.revisions import REVISE, build_insert
from usage.stored import build_day_filter


@dataclass(frozen=True)
class Nameless:
    """The result of matching records without an id, in counts.

    `adopted`: rows that took the name of their stored record. `new_ids`: records stored without an id whose id was read
    now; `name_records` stores it. `unmatched`: rows without an id that match no current record. `vanished`: current
    records without a row, except those of `new_ids`.
    """

    adopted: int = 0
    unmatched: int = 0
    vanished: int = 0
    new_ids: int = 0


class NamelessStatements:
    """The SQL of one kind and one spool table; `t` is the table of records, `n` what was read.

    The sides are joined without a filter, so by hash or merge, and paired by grouping. The cost is that of a sort,
    whatever the planner's statistics of the day.
    """

    def __init__(self, kind: type[UsageRecord], spool: str) -> None:
        self.spool = spool
        self.table = connection.ops.quote_name(kind._meta.db_table)
        (self.key,) = kind.key
        self.columns = build_spooled_values(kind)
        del self.columns[self.key]
        of_day = f"t.id = named.id AND {build_day_filter(kind)}"
        self.current = f"{build_day_filter(kind)} AND t.withdrawn_at IS NULL"
        self.detect = (
            f"SELECT EXISTS (SELECT FROM {spool} n WHERE {build_nameless(f'n.{self.key}')}), "
            f"EXISTS (SELECT FROM {self.table} t WHERE {self.current} AND {build_nameless(f't.{self.key}')})"
        )
        nameless = build_nameless("name")
        self.adopt = (
            f"WITH {self._build_pairs(f'id IS NOT NULL OR {nameless}')} "
            f"UPDATE {spool} n SET {self.key} = pairs.stored FROM pairs WHERE n.ctid = pairs.place"
        )
        new_ids = self._build_new_ids()
        self.count = (
            f"WITH {new_ids} SELECT count(*) FILTER (WHERE id IS NULL AND {nameless}), "
            "count(*) FILTER (WHERE id IS NOT NULL), (SELECT count(*) FROM named) FROM apart"
        )
        update = f"UPDATE {self.table} t SET {self.key} = named.read, {REVISE} FROM named WHERE {of_day}"
        insert = build_insert(kind, "t", "t.revision")
        revisions = f"kept AS ({insert} FROM {self.table} t JOIN named ON {of_day})"
        self.name = f"WITH {new_ids} {update}"
        self.name_kept = f"WITH {new_ids}, {revisions} {update}"

    def _build_apart(self) -> str:
        """Return the CTE of unmatched rows of both sides: `id` of a stored record, `place` (ctid) of a spooled row."""
        key = self.key
        columns = ", ".join(
            f"CASE WHEN t.id IS NULL THEN {incoming} ELSE t.{name} END AS {name}"
            for name, incoming in self.columns.items()
        )
        return (
            f"apart AS (SELECT t.id, n.ctid AS place, COALESCE(t.{key}, n.{key}) AS name, {columns} "
            f"FROM (SELECT * FROM {self.table} t WHERE {self.current}) t FULL JOIN {self.spool} n ON n.{key} = t.{key} "
            f"WHERE t.id IS NULL OR n.{key} IS NULL)"
        )

    def _build_pairs(self, candidates: str) -> str:
        """Return the CTEs that pair equal candidates of both sides: the first with the first, and so on."""
        same = ", ".join(self.columns)
        return (
            f"{self._build_apart()}, ranked AS (SELECT *, row_number() OVER (PARTITION BY id IS NULL, {same} "
            f"ORDER BY {build_nameless('name')}, name) AS rank FROM apart WHERE {candidates}), "
            "pairs AS (SELECT max(id) AS id, max(place) AS place, max(name) FILTER (WHERE id IS NOT NULL) AS stored, "
            f"max(name) FILTER (WHERE id IS NULL) AS read FROM ranked GROUP BY {same}, rank HAVING count(*) = 2)"
        )

    def _build_new_ids(self) -> str:
        """Return the CTEs of the records that were stored without an id, with the id that was read."""
        nameless = build_nameless("name")
        # An id that is stored already, withdrawn or on another day, is that of another record.
        return (
            f"{self._build_pairs(f'(id IS NOT NULL) = {nameless}')}, "
            "named AS (SELECT id, read FROM pairs WHERE NOT EXISTS "
            f"(SELECT FROM {self.table} t WHERE t.source_id = %(source)s AND t.{self.key} = pairs.read))"
        )


def build_nameless(name: str) -> str:
    """Return the condition that the portal made the name."""
    return f"starts_with({name}, %(prefix)s)"


def adopt_ids(kind: type[UsageRecord], spool_table: str, where: dict[str, Any]) -> Nameless:
    """Rename rows without an id to their current records of the day; each record is used once.

    Only the spool is changed. Call it inside the merge's transaction, once each name is in the spool only once.
    `where` has the parameters of the day: `source`, `day`, `starts` and `ends`.
    """
    if not kind.nameless_prefix:
        return Nameless()
    sql, params = NamelessStatements(kind, spool_table), where | {"prefix": kind.nameless_prefix}
    with connection.cursor() as cursor:
        cursor.execute(sql.detect, params)
        nameless_read, nameless_stored = cursor.fetchone()
        if not (nameless_read or nameless_stored):
            return Nameless()
        adopted = 0
        if nameless_read:
            cursor.execute(sql.adopt, params)
            adopted = cursor.rowcount
        cursor.execute(sql.count, params)
        unmatched, vanished, new_ids = cursor.fetchone()
        return Nameless(adopted, unmatched, vanished - new_ids, new_ids)


def name_records(kind: type[UsageRecord], spool_table: str, where: dict[str, Any], *, keep_old: bool) -> int:
    """Give current records that were stored without an id the id that was read; returns how many.

    It changes records, so call it after the guard, before anything is withdrawn. The rows then match unchanged by their
    ids. `keep_old`: the old values are kept as revisions.
    """
    if not kind.nameless_prefix:
        return 0
    sql, params = NamelessStatements(kind, spool_table), where | {"prefix": kind.nameless_prefix}
    with connection.cursor() as cursor:
        cursor.execute(sql.detect, params)
        if not cursor.fetchone()[1]:
            return 0
        cursor.execute(sql.name_kept if keep_old else sql.name, params)
        return int(cursor.rowcount)
