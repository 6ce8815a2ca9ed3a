"""Guard: what a read would remove from a day, and whether it is merged at once."""

from dataclasses import dataclass, field, replace
from typing import Any

from django.db import models

from usage.models import SourceDay, UsageRecord
from usage.stored import build_day_filter

# A read that would withdraw more than half of a day's records, and more than a few, is held back.
GUARDED_SHARE = 0.5
GUARDED_RECORDS = 10
# Vendors forget: a day that was ever final loses this share as a restatement; on anything more a person decides.
FINAL_SHARE = 0.01
MISSING_MEASURE = "missing_measure"


class Doubt(models.TextChoices):
    """Why a read is held back: what it would do to the records of the day."""

    SHRINK = "shrink", "It would withdraw more than half of the day's records."
    FORGOTTEN = "forgotten", "It would withdraw records of a day that was final."
    BLANK = "blank", "It would take values away from records of the day."
    NAMELESS = "nameless", "It has records without an id beside records that vanished."
    MOVED = "moved", "It would take records from another day that was final."


# A second read with the same result does not settle these: vendors repeat what they forgot.
FOR_A_PERSON = frozenset({Doubt.FORGOTTEN, Doubt.MOVED})


@dataclass(frozen=True)
class Loss:
    """What a read would remove from the current records of a day.

    `stored` and `reported` count records; `vanishing` are stored and were not read. `blanked`: by column, how many
    records that were read again would lose their value. `stored_measures` and `read_measures`: by measure, how many
    stored and read records have a value. `damaged`: the database lost records that the read does not bring back.
    """

    stored: int = 0
    reported: int = 0
    vanishing: int = 0
    blanked: dict[str, int] = field(default_factory=dict)
    stored_measures: dict[str, int] = field(default_factory=dict)
    read_measures: dict[str, int] = field(default_factory=dict)
    damaged: bool = False

    @classmethod
    def from_row(cls, kind: type[UsageRecord], row: tuple[Any, ...]) -> "Loss":
        """Return the loss of a row of `build_loss_statement`."""
        stored, reported, vanishing, *counts = row
        columns = [*kind.guarded, *kind.optional_measures]
        measures = kind.optional_measures
        blanked = dict(zip(columns, counts, strict=False))
        measure_counts = counts[len(columns) :]
        return cls(
            stored,
            reported,
            vanishing,
            blanked,
            dict(zip(measures, measure_counts[: len(measures)], strict=True)),
            dict(zip(measures, measure_counts[len(measures) :], strict=True)),
        )

    def exclude_new_ids(self, new_ids: int) -> "Loss":
        """Return the loss without records that only get their id."""
        return replace(self, vanishing=self.vanishing - new_ids) if new_ids else self

    def include_damage(self, records: int) -> "Loss":
        """Return the loss with the records that the database lost, out of so many that the day had.

        Otherwise damage in the database would hide that the vendor has forgotten these records.
        """
        lost_records = records - self.reported
        if lost_records <= self.vanishing:
            return self
        return replace(self, stored=max(records, self.stored), vanishing=lost_records, damaged=True)

    def find_doubt(self, day: SourceDay, kind: type[UsageRecord], *, withdraw: bool) -> Doubt | None:
        """Return why the read is held back; None where it is merged. `withdraw`: what vanished would be withdrawn."""
        if withdraw and self.is_forgotten(day):
            return Doubt.FORGOTTEN
        if withdraw and self.vanishing > GUARDED_RECORDS and self.vanishing > self.stored * GUARDED_SHARE:
            return Doubt.SHRINK
        return Doubt.BLANK if self.removes_values(kind) else None

    def removes_values(self, kind: type[UsageRecord]) -> bool:
        """Return whether more than a few records would lose a value."""
        return any(self.blanked[name] > GUARDED_RECORDS for name in kind.guarded)

    def may_add(self, kind: type[UsageRecord]) -> bool:
        """Return whether new and changed records are merged while a person decides on the withdrawals."""
        return self.adds_little and not self.damaged and not self.removes_values(kind)

    @property
    def adds_little(self) -> bool:
        """Whether few records are new; many beside vanished records may be the same records under other keys."""
        return self.reported - (self.stored - self.vanishing) <= GUARDED_RECORDS

    def is_forgotten(self, day: SourceDay) -> bool:
        """Return whether a day that was ever final would lose more than a restatement may."""
        is_small = self.vanishing <= GUARDED_RECORDS and self.vanishing <= self.stored * FINAL_SHARE
        return day.finalized_at is not None and not is_small

    def is_within(self, suspicion: dict[str, Any] | None) -> bool:
        """Return whether the loss is no larger than the loss that a person accepted."""
        if suspicion is None:
            return True
        accepted = suspicion.get("blanked", {})
        blanked = all(count <= accepted.get(name, 0) for name, count in self.blanked.items())
        return blanked and self.vanishing <= suspicion.get("would_withdraw", 0)

    def find_missing_measures(self) -> dict[str, dict[str, Any]]:
        """Return by measure, as a difference of the day, what the vendor no longer reports."""
        missing = {}
        for name, stored in self.stored_measures.items():
            read = self.read_measures[name]
            if self.reported and stored and (not read or self.blanked[name]):
                what = f"records with {name}"
                missing[name] = {"what": what, "vendor": str(read), "portal": str(stored), "code": MISSING_MEASURE}
        return missing


def build_loss_statement(kind: type[UsageRecord], table: str, spool: str, same: str) -> str:
    """Return the query for `Loss.from_row`; `same` joins a stored record `t` with the row `n` that was read."""
    key = next(name for name in kind.key if name != "day")
    missing = f"n.{key} IS NULL"
    lost = [
        f"count(*) FILTER (WHERE NOT {missing} AND {build_presence(kind, 't', name)} "
        f"AND NOT {build_presence(kind, 'n', name)})"
        for name in (*kind.guarded, *kind.optional_measures)
    ]
    stored = [f"count(t.{name})" for name in kind.optional_measures]
    read = [f"(SELECT count({name}) FROM {spool})" for name in kind.optional_measures]
    reported = f"(SELECT count(*) FROM {spool})"
    counts = ", ".join(["count(*)", reported, f"count(*) FILTER (WHERE {missing})", *lost, *stored, *read])
    return (
        f"SELECT {counts} FROM {table} t LEFT JOIN {spool} n ON {same} "
        f"WHERE {build_day_filter(kind)} AND t.withdrawn_at IS NULL"
    )


def build_presence(kind: type[UsageRecord], alias: str, name: str) -> str:
    """Return the condition that a column of `alias` has a value."""
    if isinstance(kind._meta.get_field(name), models.TextField):
        return f"({alias}.{name} <> '')"
    return f"({alias}.{name} IS NOT NULL)"
