"""How much of a source's days is held and how far it can be trusted, in numbers and in words."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection
from django.db.models import Aggregate, BigIntegerField, Count, Func, Max, Q, Sum
from django.db.models.functions import Coalesce

from usage.models import DayState, Source, SourceDay, Verification

# A run of complete days without a gap starts at the first day to hold: a day's distance from that first
# day is its row number among the complete ones, and after the first gap it never is again.
COMPLETE_THROUGH = """
SELECT source_id, max(day)
FROM (
    SELECT days.source_id, days.day, sources.backfill_from,
           row_number() OVER (PARTITION BY days.source_id ORDER BY days.day) AS place
    FROM usage_sourceday AS days
    JOIN usage_source AS sources ON sources.id = days.source_id
    WHERE days.complete AND days.day >= sources.backfill_from AND days.source_id = ANY(%s)
) AS complete
WHERE day = backfill_from + place::int - 1
GROUP BY source_id
"""


TROUBLES = (DayState.FAILED, DayState.SUSPECT, DayState.PARTIAL)

COUNTS: dict[str, Aggregate | Func] = {
    "days": Count("pk"),
    "held": Count("loaded_at"),
    "provisional": Count("pk", filter=Q(loaded_at__isnull=False, final=False)),
    "waiting": Count("pk", filter=Q(state=DayState.DUE, loaded_at=None)),
    "loading": Count("pk", filter=Q(state=DayState.LOADING)),
    "failed": Count("pk", filter=Q(state=DayState.FAILED)),
    "suspect": Count("pk", filter=Q(state=DayState.SUSPECT)),
    "partial": Count("pk", filter=Q(state=DayState.PARTIAL)),
    "unverified": Count("pk", filter=Q(verification=Verification.UNVERIFIED)),
    "records_held": Coalesce(Sum("records"), 0, output_field=BigIntegerField()),
    "latest_read": Max("loaded_at"),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of a source's days.

    `complete_through`: the last day up to which every day from `backfill_from` on is complete, None where not
    even the first is. All others count days: `held` were read at least once, `provisional` were and will be
    read again by themselves, `waiting` are due and were never read.
    """

    complete_through: date | None = None
    days: int = 0
    held: int = 0
    provisional: int = 0
    waiting: int = 0
    loading: int = 0
    failed: int = 0
    suspect: int = 0
    partial: int = 0
    unverified: int = 0
    records_held: int = 0
    latest_read: datetime | None = None

    @property
    def troubled(self) -> int:
        """Days that may need a person: failed, suspect or partial."""
        return self.failed + self.suspect + self.partial

    @property
    def words(self) -> str:
        """The state in one sentence, e.g. `Complete through 20 Nov 2026; 2 days provisional; 1 failed.`"""
        if not self.held:
            return f"Nothing read yet; {days_in_words(self.waiting)} waiting." if self.waiting else "Nothing read yet."
        through = self.complete_through
        first = f"Complete through {through.day} {through:%b %Y}" if through else "Not complete from its first day on"
        counts = {
            "provisional": self.provisional,
            "waiting to be read": self.waiting,
            "being read": self.loading,
            "failed": self.failed,
            "suspect": self.suspect,
            "partial": self.partial,
            "unverified": self.unverified,
        }
        return "; ".join([first, *(f"{days_in_words(n)} {what}" for what, n in counts.items() if n)]) + "."


def days_in_words(number: int) -> str:
    """Return `1 day`, `2 days` or `1,200 days`."""
    return f"{number:,} day" if number == 1 else f"{number:,} days"


def coverage_of(sources: Iterable[Source]) -> dict[int, Coverage]:
    """Return the coverage of each source by its primary key, in two queries however many there are."""
    keys = [source.pk for source in sources]
    through = complete_through(keys)
    by_source = SourceDay.objects.filter(source__in=keys).order_by().values("source_id")
    rows: dict[int, dict[str, Any]] = {
        row["source_id"]: {name: row[name] for name in COUNTS}
        for row in by_source.annotate(**COUNTS).values("source_id", *COUNTS)
    }
    return {key: Coverage(complete_through=through.get(key), **rows.get(key, {})) for key in keys}


def complete_through(source_keys: Collection[int]) -> dict[int, date]:
    """Return by source the last day of the unbroken run of complete days that starts at `backfill_from`."""
    with connection.cursor() as cursor:
        cursor.execute(COMPLETE_THROUGH, [list(source_keys)])
        return dict(cursor.fetchall())


def trust_in_words(day: SourceDay) -> str:
    """Return how far a day can be trusted, in one sentence, e.g. `Complete; verified; final.`"""
    if day.loaded_at is None:
        return f"Never read; {day.get_state_display().lower()}."
    said = ["Complete" if day.complete else "Not complete"]
    if day.verification != Verification.NONE:
        said.append("agrees with the vendor's checksum" if day.verification == Verification.VERIFIED else "unverified")
    said.append("final" if day.final else "provisional")
    if day.state in TROUBLES:
        said.append(day.get_state_display().lower())
    if day.restated_at:
        said.append(f"restated {day.restated_at.day} {day.restated_at:%b %Y}")
    return "; ".join(said) + "."
