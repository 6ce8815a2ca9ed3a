"""Cancel: release the days of a run that no worker has begun; a day that is being read is read to its end."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from sync.engine.claim import get_database_time
from sync.engine.logs import log_finished
from sync.errors import ErrorCode, SyncError
from sync.models import SyncRun, SyncRunDay
from usage.formatting import format_count
from usage.models import DayState, Source, SourceDay

WAITING = SyncRunDay.Outcome.WAITING


def cancel(run: SyncRun, cancelled_by: str) -> int:
    """Cancel a run and release its waiting days; returns how many.

    A day that another run waits for as well stays due. The schedule reads days that were never read at its next time,
    except those before the source's first day, which are deleted. The run ends once no worker reads a day for it.
    Raises SyncError where the run has ended already.
    """
    with transaction.atomic():
        # Claims lock the source before a day: while it is locked, no worker begins one.
        source = Source.objects.select_for_update(no_key=True).get(pk=run.source_id)
        days = lock_waiting_days(run)
        locked = SyncRun.objects.select_for_update(of=("self",), no_key=True).get(pk=run.pk)
        if locked.finished_at is not None or locked.cancelled_at is not None:
            raise SyncError("The run has ended already; there is nothing to cancel.")
        locked.run_days.filter(source_day__in=days).update(outcome=SyncRunDay.Outcome.DROPPED)
        restore_states(source, SourceDay.objects.filter(pk__in=days, state=DayState.DUE))
        close_run(locked, len(days), cancelled_by)
    return len(days)


def lock_waiting_days(run: SyncRun) -> list[int]:
    """Return the keys of the run's days that no worker has begun, locked: days are locked before runs."""
    days = SourceDay.objects.filter(run_days__run=run, run_days__outcome=WAITING).exclude(state=DayState.LOADING)
    return list(days.select_for_update(of=("self",), no_key=True).order_by("day").values_list("pk", flat=True))


def restore_states(source: Source, days: QuerySet[SourceDay]) -> None:
    """Set days to the state that they had before the run, which follows from what is stored of them."""
    waiting_run_days = SyncRunDay.objects.filter(source_day=OuterRef("pk"), outcome=WAITING)
    next_sync = get_database_time() + timedelta(minutes=source.interval_minutes)
    states: dict[DayState, dict[str, Any]] = {
        DayState.SUSPECT: {"suspicion__isnull": False},
        DayState.FAILED: {"failures__gt": 0},
        DayState.PARTIAL: {"rejected__gt": 0},
        DayState.LOADED: {"complete": True},
    }
    for state, conditions in states.items():
        days.filter(~Exists(waiting_run_days), **conditions).update(
            state=state, due_at=next_sync, shrink_accepted=False
        )
    delete_days(source, days.filter(~Exists(waiting_run_days), attempt=0, day__lt=source.backfill_from))
    days.filter(~Exists(waiting_run_days)).update(due_at=next_sync)


def delete_days(source: Source, days: QuerySet[SourceDay]) -> None:
    """Delete days before the source's first day that were requested and never tried."""
    keys = list(days.values_list("pk", flat=True))
    SyncRunDay.objects.filter(source_day__in=keys, run__source=source).delete()
    SourceDay.objects.filter(pk__in=keys).delete()


def close_run(run: SyncRun, dropped: int, cancelled_by: str) -> None:
    """Record who cancelled the run, and end it where no worker reads a day for it."""
    error = f"Cancelled by {cancelled_by}; {format_count(dropped, 'day')} went back unread."
    SyncRun.objects.filter(pk=run.pk).update(cancelled_at=Now(), error=error, error_code=ErrorCode.CANCELLED)
    if not run.run_days.filter(outcome=WAITING).exists():
        SyncRun.objects.filter(pk=run.pk).update(finished_at=Now())
        log_finished([run.pk])
