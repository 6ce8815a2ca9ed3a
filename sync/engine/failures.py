"""Record a read that was not merged: failed, halted, deferred or lost."""

import random
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from sync.engine.attempts import (
    Ending,
    RunningAttempt,
    close_attempt,
    count_attempt,
    end_run_days,
    write_attempt,
    write_runs,
)
from sync.engine.merge import MergeResult
from sync.engine.recording import Steps, record, try_step
from sync.errors import LeaseLost, ReadDeferred, SyncError
from sync.models import LoadAttempt, SyncRunDay
from usage.models import DayState, Source

FIRST_BACK_OFF = timedelta(minutes=1)
LONGEST_BACK_OFF = timedelta(hours=6)
# A source pauses after this many failures in a row, over different days and with no success between them.
FAILURES_BEFORE_PAUSE = 3
LONGEST_PAUSE = timedelta(minutes=30)
DEFER_WAIT = timedelta(seconds=30)


def fail(attempt: RunningAttempt, error: SyncError) -> None:
    """Record a failed read: the day is tried again after a growing wait, other days go on."""
    claim = attempt.claim
    failures = claim.source_day.failures + 1
    wait = max(compute_back_off(failures), timedelta(seconds=error.retry_after or 0))
    columns = {"state": DayState.FAILED, "failures": failures, "due_at": Now() + wait, **describe_error(error)}
    end_attempt(attempt, columns, LoadAttempt.Outcome.FAILED, error, {"source": partial(count_failure, claim.source)})


def halt(attempt: RunningAttempt, error: SyncError) -> None:
    """Halt the source until a person resumes it, and end every run that waits for it; its days stay due."""
    source = attempt.claim.source
    columns = {"state": DayState.DUE, "due_at": Now(), **describe_error(error)}
    before = {"source": partial(mark_halted, source, error)}
    after = {"other days": partial(end_waiting, source, error)}
    end_attempt(attempt, columns, LoadAttempt.Outcome.FAILED, error, before, after)


def defer(attempt: RunningAttempt, error: ReadDeferred) -> None:
    """Record a read that has to wait for the source's request rate, which is no failure."""
    wait = timedelta(seconds=error.retry_after or 0) or DEFER_WAIT
    columns = {"state": DayState.DUE, "due_at": Now() + wait}
    end_attempt(attempt, columns, LoadAttempt.Outcome.DEFERRED, error)


def lose(attempt: RunningAttempt, error: LeaseLost) -> None:
    """Record a read whose day another worker has taken over; that worker ends the runs."""
    ending = Ending.from_error(LoadAttempt.Outcome.LOST, error)
    try_step("attempt", partial(close_attempt, attempt, ending))


def end_attempt(
    attempt: RunningAttempt,
    columns: Mapping[str, Any],
    outcome: LoadAttempt.Outcome,
    error: SyncError,
    before: Steps = MappingProxyType({}),
    after: Steps = MappingProxyType({}),
) -> None:
    """Write the day's `columns`, the attempt and the runs that wait for the day, between `before` and `after`."""
    claim, counts = attempt.claim, count_attempt(attempt, MergeResult(), 0)
    ending = Ending.from_error(outcome, error)
    steps: Steps = {
        **before,
        "attempt": partial(write_attempt, claim, ending, counts),
        "runs": partial(write_runs, claim, ending, counts),
        **after,
    }
    lost = Ending.from_error(LoadAttempt.Outcome.LOST, error)
    record(claim, columns, steps, {"attempt": partial(write_attempt, claim, lost, counts)})


def reset_failures(source: Source) -> None:
    """Count no failures of a source that the vendor answered.

    Not in the merge's transaction, which has locked days: every writer locks the source before its days.
    """
    Source.objects.filter(pk=source.pk).update(failures=0, paused_until=None)


def describe_error(error: SyncError) -> dict[str, Any]:
    """Return the columns that tell of an error on a day."""
    return {"error": error.reason, "error_code": error.code}


def halt_source(source: Source, error: SyncError) -> None:
    """Halt a source that no worker is reading."""
    with transaction.atomic():
        mark_halted(source, error)
        end_waiting(source, error)


def mark_halted(source: Source, error: SyncError) -> None:
    """Keep workers and planner from a source until a person resumes it."""
    halted = {"halted_at": Now(), "halt_reason": error.reason, "halt_code": error.code}
    Source.objects.filter(pk=source.pk, halted_at=None).update(**halted)


def end_waiting(source: Source, error: SyncError) -> None:
    """End every run that waits for days of a source; the days stay due."""
    waiting_run_days = SyncRunDay.objects.filter(run__source=source, outcome=SyncRunDay.Outcome.WAITING)
    end_run_days(waiting_run_days, Ending.from_error(LoadAttempt.Outcome.FAILED, error))


def count_failure(source: Source) -> None:
    """Count a failure on the source, and pause the source once several days failed in a row."""
    Source.objects.filter(pk=source.pk).update(failures=F("failures") + 1)
    failures = Source.objects.values_list("failures", flat=True).get(pk=source.pk)
    if failures >= FAILURES_BEFORE_PAUSE:
        pause = min(compute_back_off(failures - FAILURES_BEFORE_PAUSE + 1), LONGEST_PAUSE)
        Source.objects.filter(pk=source.pk).update(paused_until=Now() + pause)


def compute_back_off(failures: int) -> timedelta:
    """Return the wait after so many failures in a row: doubling, bounded, and jittered by a quarter."""
    wait: timedelta = min(FIRST_BACK_OFF * 2 ** min(failures - 1, 20), LONGEST_BACK_OFF)
    return wait * random.uniform(0.75, 1.25)  # noqa: S311
