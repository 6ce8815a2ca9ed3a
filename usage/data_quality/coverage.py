"""Coverage: the state of a source's days, in numbers and in sentences."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connection
from django.db.models import (
    Aggregate,
    BigIntegerField,
    Count,
    Func,
    Max,
    Q,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from usage.data_quality.messages import AWAITS_CLOSE as AWAITS_CLOSE_TEXT
from usage.data_quality.messages import describe_through
from usage.formatting import format_count, format_date
from usage.models import DayState, Source, SourceDay
from usage.models.day_status import AWAITS_CLOSE, MISMATCHED, PARTIAL, SUSPECT, UNVERIFIED

# A run of complete days without a gap starts at `backfill_from`: as many days as lie before a day of the run have
# passed since it began, and after the first gap more have. Time is counted and not dates, as some zones skip
# one; to the nearest day, as some days are an hour longer or shorter.
COMPLETE_THROUGH = """
SELECT source_id, max(day)
FROM (
    SELECT days.source_id, days.day, row_number() OVER by_day AS place,
           first_value(days.day) OVER by_day = sources.backfill_from AS begun,
           days.starts_at - first_value(days.starts_at) OVER by_day AS passed
    FROM usage_sourceday AS days
    JOIN usage_source AS sources ON sources.id = days.source_id
    WHERE (days.complete OR %s AND days.accepted_at IS NOT NULL)
      AND days.day >= sources.backfill_from AND days.source_id = ANY(%s)
    WINDOW by_day AS (PARTITION BY days.source_id ORDER BY days.day)
) AS complete
WHERE begun AND round(date_part('epoch', passed) / 86400) = place - 1
GROUP BY source_id
"""


# After this time from its end, a day's findings count against its source: vendors correct recent days by themselves.
GRACE = timedelta(hours=24)
COUNTS: dict[str, Aggregate | Func] = {
    "days": Count("pk"),
    "held": Count("loaded_at"),
    "provisional": Count("pk", filter=Q(loaded_at__isnull=False, final=False)),
    "awaits_close": Count("pk", filter=AWAITS_CLOSE),
    "waiting": Count("pk", filter=Q(state=DayState.DUE, loaded_at=None)),
    "loading": Count("pk", filter=Q(state=DayState.LOADING)),
    "failed": Count("pk", filter=Q(state=DayState.FAILED)),
    "suspect": Count("pk", filter=Q(state=DayState.SUSPECT)),
    "partial": Count("pk", filter=Q(state=DayState.PARTIAL)),
    "unverified": Count("pk", filter=UNVERIFIED),
    "mismatched": Count("pk", filter=MISMATCHED),
    "accepted": Count("accepted_at"),
    "pruned": Count("pk", filter=Q(pruned_at__isnull=False, archived_at=None)),
    "archived": Count("archived_at"),
    "records_held": Coalesce(Sum("records", filter=Q(pruned_at=None)), 0, output_field=BigIntegerField()),
    "latest_read": Max("loaded_at"),
}


def build_lasting(now: datetime) -> dict[str, Aggregate]:
    """Return the aggregates that depend on `now`: days that are to be read, and lists of the dates with findings."""
    lasting = {
        "lasting_mismatched": MISMATCHED,
        "lasting_suspect": SUSPECT,
        "lasting_unverified": UNVERIFIED & Q(accepted_at=None),
        "lasting_partial": PARTIAL & Q(accepted_at=None),
    }
    past_grace = Q(ends_at__lte=now - GRACE)
    queued: dict[str, Aggregate] = {"queued": Count("pk", filter=Q(state=DayState.DUE, due_at__lte=now))}
    return queued | {
        name: ArrayAgg("day", filter=condition & past_grace, order_by="day", default=Value([]))
        for name, condition in lasting.items()
    }


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of a source's days.

    `complete_through`: the last day up to which every day from `backfill_from` on is complete, None where the
    first is not; `accounted_through`: the same, where incomplete days that a person accepted are no gap.
    `lasting_…`: the days whose findings count against the source. All others count days: `held` were read at least
    once, `provisional` of these are not final, `awaits_close` of those only wait for the closing read of their
    month, `waiting` are due and were never read, `queued` may be read now, `accepted` have findings that a person
    accepted, `pruned` have no records any more, `archived` have them in the lake alone.
    """

    complete_through: date | None = None
    accounted_through: date | None = None
    days: int = 0
    held: int = 0
    provisional: int = 0
    awaits_close: int = 0
    waiting: int = 0
    loading: int = 0
    queued: int = 0
    failed: int = 0
    suspect: int = 0
    partial: int = 0
    unverified: int = 0
    mismatched: int = 0
    accepted: int = 0
    pruned: int = 0
    archived: int = 0
    records_held: int = 0
    latest_read: datetime | None = None
    lasting_mismatched: Sequence[date] = ()
    lasting_suspect: Sequence[date] = ()
    lasting_unverified: Sequence[date] = ()
    lasting_partial: Sequence[date] = ()

    @property
    def troubled(self) -> int:
        """Days that may need a person: failed, suspect or partial."""
        return self.failed + self.suspect + self.partial

    @property
    def description(self) -> str:
        """The state in one sentence, e.g. `Complete through 20 Nov 2026; 2 days provisional; 1 failed.`"""
        if not self.held:
            waiting = f"; {format_count(self.waiting, 'day')} waiting" if self.waiting else ""
            return f"Nothing read yet{waiting}."
        through = self.complete_through
        first = describe_through(format_date(through)) if through else "Not complete from its first day on"
        counts = {
            "provisional": self.provisional - self.awaits_close,
            "waiting to be read": self.waiting,
            "being read": self.loading,
            "failed": self.failed,
            "suspect": self.suspect,
            "partial": self.partial,
            "unverified": self.unverified,
            "with stored records that differ": self.mismatched,
            "with findings that a person accepted": self.accepted,
            AWAITS_CLOSE_TEXT: self.awaits_close,
            "without their records, which were pruned": self.pruned,
            "whose records are archived": self.archived,
        }
        texts = [first, *(f"{format_count(count, 'day')} {label}" for label, count in counts.items() if count)]
        return f"{'; '.join(texts)}."


def get_coverage(sources: Iterable[Source]) -> dict[int, Coverage]:
    """Return the coverage of each source by its primary key, in two or three queries for any number of sources."""
    keys = [source.pk for source in sources]
    through = get_complete_through(keys)
    columns: dict[str, Any] = {**COUNTS, **build_lasting(timezone.now())}
    by_source = SourceDay.objects.filter(source__in=keys).order_by().values("source_id")
    rows: dict[int, dict[str, Any]] = {
        row["source_id"]: {name: row[name] for name in columns}
        for row in by_source.annotate(**columns).values("source_id", *columns)
    }
    accepted = [key for key, row in rows.items() if row["accepted"]]
    accounted = through | (get_complete_through(accepted, accepted=True) if accepted else {})
    return {
        key: Coverage(complete_through=through.get(key), accounted_through=accounted.get(key), **rows.get(key, {}))
        for key in keys
    }


def get_complete_through(source_keys: Collection[int], *, accepted: bool = False) -> dict[int, date]:
    """Return by source the last day of the unbroken run of complete days that starts at `backfill_from`.

    With `accepted`, days whose findings a person accepted count as complete.
    """
    with connection.cursor() as cursor:
        cursor.execute(COMPLETE_THROUGH, [accepted, list(source_keys)])
        return dict(cursor.fetchall())
