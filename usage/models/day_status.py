"""The states of a source day: its place in the queue, its verification, and the status that both come to."""

from datetime import date, datetime, timedelta

from django.db import models
from django.db.models import Case, DateTimeField, DurationField, ExpressionWrapper, F, Q, Value, When
from django.db.models.functions import Now

TODAY_OPEN = "today still open"


class DayState(models.TextChoices):
    """The state of a day in the queue; `loaded_at`, `complete` and `verification` describe its stored records."""

    DUE = "due", "Due"
    LOADING = "loading", "Loading"
    LOADED = "loaded", "Loaded"
    PARTIAL = "partial", "Partial"
    SUSPECT = "suspect", "Suspect"
    FAILED = "failed", "Failed"


class Verification(models.TextChoices):
    """Whether the records agree with the vendor's own checksum."""

    NONE = "none", "Vendor gives no checksum"
    VERIFIED = "verified", "Verified"
    UNVERIFIED = "unverified", "Unverified"


class DayStatus(models.TextChoices):
    """The status of a day, the same on every page; computed by `build_status_case`, never stored.

    The last three and MISSING are days without a row; see `get_status_without_row`.
    """

    FINAL = "final", "complete, final"
    AWAITS_CLOSE = "awaits_close", "complete, final after the closing sync of its month"
    PROVISIONAL = "provisional", "complete, provisional"
    EMPTY = "empty", "complete, no usage"
    INCOMPLETE = "incomplete", "incomplete, synced before its end"
    PENDING = "pending", "in progress, not synced yet"
    LOADING = "loading", "being synced"
    UNVERIFIED_ACCEPTED = "unverified_accepted", "unverified, accepted"
    PARTIAL_ACCEPTED = "partial_accepted", "partial, accepted"
    UNVERIFIED = "unverified", "unverified"
    PARTIAL = "partial", "partial"
    SUSPECT = "suspect", "suspect"
    MISMATCHED = "mismatched", "mismatched"
    FAILED = "failed", "failed"
    WAITING = "waiting", "never synced, waiting"
    MISSING = "missing", "never synced"
    PRUNED = "pruned", "records pruned"
    ARCHIVED = "archived", "records archived"
    BEFORE_BACKFILL = "before_backfill", "before the first day"
    RETIRED = "retired", "after the last day"
    FUTURE = "future", "in the future"


# Days that say whether the vendor's totals agree.
COMPLETE_STATUSES = frozenset(
    {
        DayStatus.FINAL,
        DayStatus.AWAITS_CLOSE,
        DayStatus.PROVISIONAL,
        DayStatus.EMPTY,
        DayStatus.PRUNED,
        DayStatus.ARCHIVED,
    }
)
SUSPECT = Q(state=DayState.SUSPECT) | Q(suspicion__isnull=False)
UNVERIFIED = Q(verification=Verification.UNVERIFIED)
PARTIAL = Q(state=DayState.PARTIAL) | Q(rejected__gt=0)
MISMATCHED = Q(mismatch__isnull=False)
ACCEPTED = Q(accepted_at__isnull=False)
LOOK_BACK_ENDS = ExpressionWrapper(
    F("ends_at")
    + ExpressionWrapper(F("source__look_back_days") * Value(timedelta(days=1)), output_field=DurationField()),
    output_field=DateTimeField(),
)
# The day is sound and past its look-back, and only the closing read of its month is to come.
AWAITS_CLOSE = (
    Q(state=DayState.LOADED, complete=True, final=False, loaded_at__gte=LOOK_BACK_ENDS)
    & Q(mismatch__isnull=True, suspicion__isnull=True)
    & ~UNVERIFIED
)


def build_status_case(now: datetime | Now) -> Case:
    """Return the DayStatus of a row as an SQL expression; the first condition that holds decides."""
    is_over = Q(ends_at__lte=now)
    # An ended day can lack a merge and still be unverified: its last read lacked values that are stored.
    unverified = UNVERIFIED & (Q(complete=True) | is_over)
    conditions = (
        (Q(starts_at__gt=now), DayStatus.FUTURE),
        # A day that is archived can be found different in the lake.
        (Q(archived_at__isnull=False) & ~MISMATCHED, DayStatus.ARCHIVED),
        (Q(pruned_at__isnull=False, archived_at=None), DayStatus.PRUNED),
        (Q(state=DayState.FAILED), DayStatus.FAILED),
        (SUSPECT, DayStatus.SUSPECT),
        (MISMATCHED, DayStatus.MISMATCHED),
        (Q(state=DayState.PARTIAL) & ACCEPTED, DayStatus.PARTIAL_ACCEPTED),
        (Q(state=DayState.PARTIAL), DayStatus.PARTIAL),
        (Q(state=DayState.LOADING, complete=False), DayStatus.LOADING),
        (Q(loaded_at=None) & ~is_over, DayStatus.PENDING),
        (Q(loaded_at=None), DayStatus.WAITING),
        (unverified & ACCEPTED, DayStatus.UNVERIFIED_ACCEPTED),
        (unverified, DayStatus.UNVERIFIED),
        (Q(complete=False), DayStatus.INCOMPLETE),
        (AWAITS_CLOSE & Q(records__gt=0), DayStatus.AWAITS_CLOSE),
        (~AWAITS_CLOSE & Q(final=False), DayStatus.PROVISIONAL),
        (Q(records=0), DayStatus.EMPTY),
    )
    return Case(
        *(When(condition, then=Value(status.value)) for condition, status in conditions),
        default=Value(DayStatus.FINAL.value),
        output_field=models.CharField(),
    )


def get_status_without_row(day: date, first: date, retired_after: date | None, *, today: date) -> DayStatus:
    """Return the status of a day that was never planned; `first` is the source's first day, `today` its date.

    `retired_after`: the last day of a source that is retired.
    """
    if retired_after is not None and day > retired_after:
        return DayStatus.RETIRED
    if day > today:
        return DayStatus.FUTURE
    if day < first:
        return DayStatus.BEFORE_BACKFILL
    return DayStatus.PENDING if day == today else DayStatus.MISSING
