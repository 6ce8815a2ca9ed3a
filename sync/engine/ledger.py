"""Record: how an attempt ended, on the day, the attempt, the runs that wait for it, and the source."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from sync.engine.claim import Claim, database_now
from sync.engine.merge import Merged, Shrink
from sync.engine.spool import Spool
from sync.errors import PutOff, SyncError
from sync.http import HTTPStats
from sync.models import COUNTED, LoadAttempt, SyncRun, SyncRunDay
from sync.vendors.base import Checked
from usage.models import DayState, RejectedRecord, Source, SourceDay

FIRST_BACK_OFF = timedelta(minutes=1)
LONGEST_BACK_OFF = timedelta(hours=6)
# A source that failed this often in a row, over different days and with no success between, is left alone a while.
FAILURES_BEFORE_PAUSE = 3
LONGEST_PAUSE = timedelta(minutes=30)
SECOND_LOOK = timedelta(minutes=15)


@dataclass
class Reading:
    """What is known of an attempt while it runs."""

    claim: Claim
    http: HTTPStats = field(default_factory=HTTPStats)
    fetched: int = 0
    reached: datetime | None = None

    @property
    def seconds(self) -> float:
        """How long the attempt has taken so far."""
        return monotonic() - self.claim.started


def succeed(
    reading: Reading,
    day: SourceDay,
    spool: Spool,
    checked: Checked,
    merged: Merged,
    outcome: LoadAttempt.Outcome,
) -> str:
    """Write a read that was merged; inside the merge's transaction, with `day` locked. Returns the outcome."""
    reached = reading.reached or database_now()
    source = reading.claim.source
    note_rejected(day, reading.claim.attempt, spool)
    day.covered_until = min(reached, day.ends_at)
    day.loaded_at = reached
    day.complete = day.covered_until >= day.ends_at and not spool.rejected_count
    day.final = day.complete and reached >= day.ends_at + timedelta(days=source.look_back_days)
    day.rejected = spool.rejected_count
    day.verification, day.differences = checked.verification, checked.differences
    day.suspicion, day.shrink_accepted = None, False
    day.failures, day.error = 0, ""
    day.state, day.due_at = next_state(day, source, reached)
    if day.state == DayState.PARTIAL:
        outcome = LoadAttempt.Outcome.PARTIAL
        day.error = f"{spool.rejected_count} of {reading.fetched} records were rejected."
    release(day)
    # Before the runs, as everybody locks them: two workers that end at once never wait for each other.
    if source.failures or source.paused_until is not None:
        Source.objects.filter(pk=source.pk).update(failures=0, paused_until=None)
    close_attempt(reading, outcome, day.error, merged, rejected=spool.rejected_count)
    return outcome


def next_state(day: SourceDay, source: Source, reached: datetime) -> tuple[DayState, datetime]:
    """Return the state after a merge and when the day is to be read again.

    A day that is not over stays due; a partial day is tried again with its source, later only once a day.
    """
    interval = timedelta(minutes=source.interval_minutes)
    if day.rejected:
        old = reached >= day.ends_at + timedelta(days=source.look_back_days)
        return DayState.PARTIAL, reached + (timedelta(days=1) if old else interval)
    if day.covered_until is not None and day.covered_until < day.ends_at:
        return DayState.DUE, reached + interval
    return DayState.LOADED, reached


def suspect(reading: Reading, day: SourceDay, shrink: Shrink, digest: str) -> str:
    """Write a read that the guard held back; nothing of the day's records has changed. Returns the outcome."""
    now = database_now()
    reported = reading.fetched
    day.state = DayState.SUSPECT
    day.due_at = now + min(SECOND_LOOK, timedelta(minutes=reading.claim.source.interval_minutes))
    day.suspicion = {
        "held": shrink.held,
        "reported": reported,
        "would_withdraw": shrink.vanishing,
        "digest": digest,
        "read_at": now.isoformat(),
    }
    day.error = (
        f"The vendor now reports {reported} records; {shrink.vanishing} of the {shrink.held} held would be withdrawn. "
        "Nothing was changed; a second read that agrees, or a person, decides."
    )
    release(day)
    close_attempt(reading, LoadAttempt.Outcome.SUSPECT, day.error, failed=True)
    return LoadAttempt.Outcome.SUSPECT


def release(day: SourceDay) -> None:
    """Write the day and end its lease."""
    day.lease_expires_at, day.leased_by = None, ""
    day.save()


def fail(reading: Reading, error: SyncError) -> None:
    """Write a read that failed: the day is tried again after a growing wait, other days go on."""
    claim = reading.claim
    failures = claim.source_day.failures + 1
    wait = max(back_off(failures), timedelta(seconds=error.retry_after or 0))
    with transaction.atomic():
        ended = claim.mine.update(
            state=DayState.FAILED,
            failures=failures,
            due_at=Now() + wait,
            error=error.reason,
            lease_expires_at=None,
            leased_by="",
        )
        if not ended:
            close_attempt(reading, LoadAttempt.Outcome.LOST, error.reason)
            return
        count_failure(claim.source)
        close_attempt(reading, LoadAttempt.Outcome.FAILED, error.reason, failed=True)


def count_failure(source: Source) -> None:
    """Count a failure on the source, and pause it when it fails whatever the day."""
    Source.objects.filter(pk=source.pk).update(failures=F("failures") + 1)
    failures = Source.objects.values_list("failures", flat=True).get(pk=source.pk)
    if failures >= FAILURES_BEFORE_PAUSE:
        pause = min(back_off(failures - FAILURES_BEFORE_PAUSE + 1), LONGEST_PAUSE)
        Source.objects.filter(pk=source.pk).update(paused_until=Now() + pause)


def back_off(failures: int) -> timedelta:
    """Return the wait after so many failures in a row: doubling, bounded, and jittered by a quarter."""
    wait: timedelta = min(FIRST_BACK_OFF * 2 ** min(failures - 1, 20), LONGEST_BACK_OFF)
    return wait * random.uniform(0.75, 1.25)  # noqa: S311


def put_off(reading: Reading, error: PutOff) -> None:
    """Write a read that has to wait for the source's request rate; that is no failure."""
    wait = timedelta(seconds=error.retry_after or 30)
    with transaction.atomic():
        reading.claim.mine.update(state=DayState.DUE, due_at=Now() + wait, lease_expires_at=None, leased_by="")
        close_attempt(reading, LoadAttempt.Outcome.DEFERRED, error.reason)


def halt(reading: Reading, error: SyncError) -> None:
    """Stop the source, with a reason for people, and end every run that waits for it; its days stay due."""
    claim = reading.claim
    with transaction.atomic():
        claim.mine.update(state=DayState.DUE, due_at=Now(), error=error.reason, lease_expires_at=None, leased_by="")
        Source.objects.filter(pk=claim.source.pk, halted_at=None).update(halted_at=Now(), halt_reason=error.reason)
        close_attempt(reading, LoadAttempt.Outcome.FAILED, error.reason, failed=True)
        waiting = SyncRunDay.objects.filter(run__source=claim.source, outcome=SyncRunDay.Outcome.WAITING)
        end_run_days(waiting, failed=True, error=error.reason)


def close_attempt(
    reading: Reading,
    outcome: LoadAttempt.Outcome,
    error: str = "",
    merged: Merged | None = None,
    *,
    rejected: int = 0,
    failed: bool = False,
) -> None:
    """Complete the attempt's row and the runs that waited for the day.

    A lost attempt leaves the runs alone: the worker that took the day over answers for them.
    """
    counts = counted(reading, merged or Merged(), rejected)
    claim = reading.claim
    LoadAttempt.objects.filter(source_day=claim.source_day, number=claim.attempt).update(
        outcome=outcome, error=error, finished_at=Now(), **counts
    )
    waiting = SyncRunDay.objects.filter(source_day=claim.source_day, outcome=SyncRunDay.Outcome.WAITING)
    if outcome == LoadAttempt.Outcome.LOST:
        return
    runs = list(waiting.values_list("run_id", flat=True))
    grown = {name: F(name) + value for name, value in counts.items() if value}
    if runs and grown:
        SyncRun.objects.filter(pk__in=runs).order_by("pk").update(**grown)
    if outcome != LoadAttempt.Outcome.DEFERRED:
        end_run_days(waiting, failed=failed, error=error)


def counted(reading: Reading, merged: Merged, rejected: int) -> dict[str, Any]:
    """Return the columns of `Counts` for one attempt."""
    counts = {
        "requests": reading.http.requests,
        "retries": reading.http.retries,
        "bytes": reading.http.bytes,
        "fetched": reading.fetched,
        "inserted": merged.inserted,
        "changed": merged.changed,
        "unchanged": merged.unchanged,
        "withdrawn": merged.withdrawn,
        "returned": merged.returned,
        "rejected": rejected,
        "seconds": Decimal(f"{reading.seconds:.3f}"),
    }
    assert counts.keys() == set(COUNTED)  # noqa: S101
    return counts


def end_run_days(waiting: QuerySet[SyncRunDay], *, failed: bool, error: str) -> None:
    """Mark the waiting days of runs as ended, and each run that waits for nothing more as finished."""
    ended: dict[int, int] = {}
    for run_id in list(waiting.values_list("run_id", flat=True)):
        ended[run_id] = ended.get(run_id, 0) + 1
    if not ended:
        return
    outcome = SyncRunDay.Outcome.FAILED if failed else SyncRunDay.Outcome.DONE
    waiting.update(outcome=outcome)
    column = "days_failed" if failed else "days_done"
    for run_id, days in sorted(ended.items()):
        told: dict[str, Any] = {"error": error} if failed else {}
        SyncRun.objects.filter(pk=run_id).update(**{column: F(column) + days}, **told)
    still = SyncRunDay.objects.filter(outcome=SyncRunDay.Outcome.WAITING).values("run_id")
    SyncRun.objects.filter(pk__in=ended, finished_at=None).exclude(pk__in=still).update(finished_at=Now())


def note_rejected(day: SourceDay, attempt: int, spool: Spool) -> None:
    """Bring the day's rejected records to what this read met; those it no longer meets are resolved."""
    met = [
        RejectedRecord(
            source_day=day,
            payload=one.payload.replace("\x00", "\\u0000"),
            payload_digest=digest,
            reason=one.reason,
            attempt=attempt,
            last_seen_at=Now(),
        )
        for digest, one in spool.rejected.items()
    ]
    if met:
        RejectedRecord.objects.bulk_create(
            met,
            update_conflicts=True,
            unique_fields=["source_day", "payload_digest"],
            update_fields=["reason", "attempt", "last_seen_at", "resolved_at"],
        )
    if met or day.rejected:
        gone = RejectedRecord.objects.filter(source_day=day, resolved_at=None).exclude(
            payload_digest__in=spool.rejected
        )
        gone.update(resolved_at=Now())
