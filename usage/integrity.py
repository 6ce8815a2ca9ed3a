"""Integrity: compare the stored records of a day with the counts, sums, digest and roll-ups of its last merge."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from usage.data_quality import VENDOR_KINDS
from usage.models import SourceDay, UsageRecord
from usage.rollups import compare_rollups
from usage.stored import StoredDay, read_stored_day

FIGURES = ("records", "withdrawn", "sums", "digest")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference: `code` is records, withdrawn, sums, digest or rollups; `expected` is what the merge noted.

    Of an archived day also archive (columns of its records, or revisions, differ) and lake (it cannot be read there).
    """

    code: str
    expected: Any
    stored: Any

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "expected": self.expected, "stored": self.stored}

    def __str__(self) -> str:
        if self.code == "digest":
            return "the records differ from those that were read"
        if self.code == "rollups":
            return "; ".join(f"{count} rows of {name} differ" for name, count in self.stored.items())
        if self.code == "archive":
            return "columns, withdrawn records or revisions in the lake differ from those that were archived"
        if self.code == "lake":
            return str(self.stored)
        return f"{self.code}: {self.stored} stored, {self.expected} expected"


def check_day(pk: int, *, skip_locked: bool = False) -> list[Mismatch] | None:
    """Return the differences of a day, which is locked meanwhile.

    None where it was never read, its records were pruned, its vendor is unknown, or, with `skip_locked`, a merge has
    locked it.
    """
    days = SourceDay.objects.readable().filter(pk=pk, loaded_at__isnull=False)
    return check_locked(days, find_mismatches, skip_locked=skip_locked)


def check_locked(
    days: QuerySet[SourceDay],
    find: Callable[[type[UsageRecord], SourceDay], list[Mismatch]],
    *,
    skip_locked: bool,
) -> list[Mismatch] | None:
    """Return what `find` returns for the only day of `days`, which is locked meanwhile.

    None where there is none, its vendor is unknown, or, with `skip_locked`, another transaction has locked it.
    """
    with transaction.atomic():
        locked = days.select_related("source").select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)
        day = locked.first()
        kind = VENDOR_KINDS.get(day.source.vendor) if day else None
        return None if day is None or kind is None else find(kind, day)


def find_mismatches(kind: type[UsageRecord], day: SourceDay) -> list[Mismatch]:
    """Return the differences between the stored records of a locked day, its notes and its roll-ups."""
    # Until a day is rolled up, no summary reads its roll-ups.
    stored, rows = compare_rollups(kind, day) if day.rolled_up else (read_stored_day(kind, day), {})
    mismatches = compare_stored(day, stored)
    if rows:
        mismatches.append(Mismatch("rollups", None, rows))
    return mismatches


def compare_stored(day: SourceDay, stored: StoredDay) -> list[Mismatch]:
    """Return the differences between what records of a day add up to, and its notes."""
    expected = StoredDay.from_day(day)
    pairs: Iterable[tuple[str, Any, Any]] = ((name, getattr(expected, name), getattr(stored, name)) for name in FIGURES)
    return [Mismatch(name, recorded, current) for name, recorded, current in pairs if recorded != current]
