"""Merge: bring the records of one source day to exactly what the vendor now reports, in one transaction.

The spool is copied into a temporary table, and set-wise statements do the rest. Only what differs is written, so an
unchanged day gets no new row version. The statements use the day's own rows (by the index on source and instant) in
their partition, so their cost does not grow with the table. Where the vendor can move a record to another day, the
unique index of every partition is searched for the records that are new to the day.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from django.db import connection

from sync.engine.guard import GUARDED_RECORDS, Loss
from sync.engine.merge_sql import MergeStatements
from sync.engine.nameless import Nameless, adopt_ids, name_records
from sync.engine.spool import Spool
from usage.integrity import Mismatch, find_mismatches
from usage.models import SourceDay, UsageRecord
from usage.stored import build_parameters

RECORDS_LOCK: Final = 1_937_011_822


@dataclass
class MergeResult:
    """What a merge changed, in records.

    `moved`: by other day, how many of its records now belong to this day. `damaged`: by other day, what a check found
    different before the move. `takes_from_final`: whether a day that was ever final loses more than a few.
    """

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    returned: int = 0
    moved: dict[date, int] = field(default_factory=dict)
    damaged: dict[date, list[Mismatch]] = field(default_factory=dict)
    takes_from_final: bool = False

    @property
    def has_changes(self) -> bool:
        """Whether the day's records differ from before."""
        return bool(self.inserted or self.changed or self.withdrawn or self.returned)


class OtherDaysInvolved(Exception):
    """A read has records of other days, which are to be locked before anything is written; `days` are their dates."""

    def __init__(self, days: frozenset[date]) -> None:
        super().__init__(days)
        self.days = days


class DayMerge:
    """The merge of one spooled read into one source day, inside one transaction.

    Only `copy` may be called before the day is locked. `locked_days`: the other days that are locked, by date.
    """

    def __init__(self, kind: type[UsageRecord], source_day: SourceDay) -> None:
        self.kind = kind
        self.sql = MergeStatements(kind)
        self.params: dict[str, Any] = build_parameters(source_day)
        self.distinct = 0
        self.digest = ""
        self.merged = MergeResult()
        self.locked_days: dict[date, SourceDay] = {}
        self.other_days: frozenset[date] = frozenset()

    def copy(self, spool: Spool) -> None:
        """Copy what was read into the transaction's own table."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql.create_spool)
            with cursor.copy(self.sql.copy) as copy:
                copy.set_types(self.sql.wire_types)
                write_row = copy.write_row
                for row in spool.read_rows():
                    write_row(row)

    def execute(self, sql: str) -> int:
        """Run one statement for this day; returns the number of rows it touched."""
        with connection.cursor() as cursor:
            cursor.execute(sql, self.params)
            return int(cursor.rowcount)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one query for this day."""
        with connection.cursor() as cursor:
            cursor.execute(sql, self.params)
            return list(cursor.fetchall())

    def drop_repeated(self) -> None:
        """Keep the last row of each key."""
        self.execute(self.sql.drop_repeated)
        self.measure()

    def measure(self) -> None:
        """Set how many rows there are to merge, and their digest."""
        self.distinct, self.digest = self.fetch(self.sql.measure_spool)[0]

    def adopt_ids(self) -> Nameless:
        """Set the id of records that came without an id to that of the same record in the table."""
        adopted = adopt_ids(self.kind, self.sql.spool, self.params)
        if adopted.adopted:
            self.measure()
        return adopted

    def keep_measures(self) -> None:
        """Fill measures that the read rows lack with those of the stored records."""
        self.execute(self.sql.keep_measures)
        self.measure()

    def read_loss(self) -> Loss:
        """Return what a merge would remove, before anything is changed."""
        return Loss.from_row(self.kind, self.fetch(self.sql.loss)[0])

    def is_empty(self) -> bool:
        """Return whether no record of this day was ever stored."""
        return bool(self.fetch(self.sql.count_stored)[0][0] == 0)

    def insert_all(self) -> None:
        """Insert every row of an empty day; raises IntegrityError where a key comes twice."""
        self.measure()
        self.merged.inserted = self.execute(self.sql.insert)

    def apply(self, *, withdraw: bool, keep_old: bool) -> MergeResult:
        """Withdraw what vanished (unless the read was partial), update what differs, insert what is new.

        `keep_old`: the old values are kept as revisions (usage/revisions.py).
        """
        merged = self.merged = MergeResult()
        new_ids = name_records(self.kind, self.sql.spool, self.params, keep_old=keep_old)
        if withdraw:
            merged.withdrawn = self.execute(self.sql.withdraw_kept if keep_old else self.sql.withdraw)
        same = self.execute(self.sql.drop_unchanged)
        differing, merged.returned = self.fetch(self.sql.count_differing)[0]
        # A record that got its id may also differ in how the vendor writes a number; it is counted once.
        new_ids = min(new_ids, same)
        merged.unchanged, merged.changed = same - new_ids, differing + new_ids
        if differing or merged.returned:
            self.execute(self.sql.update_kept if keep_old else self.sql.update)
            self.execute(self.sql.drop_stored)
        if self.other_days:
            self.move_from_other_days()
        if self.fetch(self.sql.count_spool)[0][0]:
            merged.inserted = self.execute(self.sql.insert_missing)
        return merged

    def hold_records(self) -> None:
        """Let no other merge of the source store records until this merge ends, where they can move between days.

        No constraint spans partitions, and a merge does not see what another has inserted.
        """
        if not self.sql.day_in_key:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [RECORDS_LOCK, self.params["source"]])

    def find_other_days(self) -> frozenset[date]:
        """Return the other days that have a record of this read; also this day, if a record lies outside its bounds."""
        if not self.sql.day_in_key:
            self.other_days = frozenset(day for (day,) in self.fetch(self.sql.find_other_days))
            self.params["other_days"] = sorted(self.other_days)
        return self.other_days

    def require_other_days(self) -> None:
        """Raise OtherDaysInvolved unless every other day that has a record of this read is locked.

        Before anything is written: a statement that meets a record which another merge has changed waits for it.
        """
        self.require_locked(self.find_other_days() - {self.params["day"]})

    def require_locked(self, days: Set[date]) -> None:
        """Raise OtherDaysInvolved unless these days are locked."""
        if not days <= self.locked_days.keys():
            raise OtherDaysInvolved(frozenset(days | self.locked_days.keys()))

    def move_from_other_days(self) -> None:
        """Take over records of the source's other days: a record belongs to one day only."""
        for on, current, total in self.fetch(self.sql.count_elsewhere):
            if current and on != self.params["day"]:
                self.merged.moved[on] = current
            self.merged.changed += current
            self.merged.returned += total - current
        self.check_losing_days()
        self.execute(self.sql.move)
        self.execute(self.sql.drop_stored)

    def check_losing_days(self) -> None:
        """Check the days that lose records first: their new totals would hide earlier damage."""
        for on, moved in self.merged.moved.items():
            losing_day = self.locked_days[on]
            if mismatches := find_mismatches(self.kind, losing_day):
                self.merged.damaged[on] = mismatches
            if losing_day.finalized_at is not None and moved > GUARDED_RECORDS:
                self.merged.takes_from_final = True
