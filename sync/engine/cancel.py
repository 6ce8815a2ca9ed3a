"""Cancel: give back the days of a run that no worker has begun; a day that is being read is read to its end."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from sync.engine.claim import database_now
from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay
from usage.coverage import days_in_words
from usage.models import DayState, Source, SourceDay

WAITING = SyncRunDay.Outcome.WAITING


def cancel(run: SyncRun, cancelled_by: str) -> int:
    """Take back a run's wish for the days that wait; returns how many days went back.

    A day that another run waits for as well stays due. Days never read that the source is to hold stay with the
    schedule, which comes to them at its next time; those before its first day are forgotten. The run ends once
    no worker reads a day for it any more. Raises SyncError where the run has ended already.
    """
    with transaction.atomic():
        # Claims lock the source before a day: while this holds it, no worker begins one.
        source = Source.objects.select_for_update(no_key=True).get(pk=run.source_id)
        locked = SyncRun.objects.select_for_update(of=("self",), no_key=True).get(pk=run.pk)
        if locked.finished_at is not None or locked.cancelled_at is not None:
            raise SyncError("The run has ended already; there is nothing to cancel.")
        given_back = drop(locked)
        hand_back(source, SourceDay.objects.filter(pk__in=given_back, state=DayState.DUE))
        close(locked, len(given_back), cancelled_by)
    return len(given_back)


def drop(run: SyncRun) -> list[int]:
    """Let the run wait for no day that is still to be begun; returns those days' keys."""
    days = SourceDay.objects.filter(run_days__run=run, run_days__outcome=WAITING).exclude(state=DayState.LOADING)
    keys = list(days.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    run.run_days.filter(source_day__in=keys).update(outcome=SyncRunDay.Outcome.DROPPED)
    return keys


def hand_back(source: Source, days: QuerySet[SourceDay]) -> None:
    """Put days where they would be without the run: what is held of a day tells how it stood."""
    wanted = SyncRunDay.objects.filter(source_day=OuterRef("pk"), outcome=WAITING)
    later = database_now() + timedelta(minutes=source.interval_minutes)
    stood: dict[DayState, dict[str, Any]] = {
        DayState.SUSPECT: {"suspicion__isnull": False},
        DayState.FAILED: {"failures__gt": 0},
        DayState.PARTIAL: {"rejected__gt": 0},
        DayState.LOADED: {"complete": True},
    }
    for state, told in stood.items():
        free = days.filter(~Exists(wanted), **told)
        free.update(state=state, due_at=later, shrink_accepted=False)
    forget(source, days.filter(~Exists(wanted), attempt=0, day__lt=source.backfill_from))
    days.filter(~Exists(wanted)).update(due_at=later)


def forget(source: Source, days: QuerySet[SourceDay]) -> None:
    """Delete days outside of what the source is to hold that were asked for and never tried."""
    keys = list(days.values_list("pk", flat=True))
    SyncRunDay.objects.filter(source_day__in=keys, run__source=source).delete()
    SourceDay.objects.filter(pk__in=keys).delete()


def close(run: SyncRun, given_back: int, cancelled_by: str) -> None:
    """Note who cancelled the run, and end it where no worker reads a day for it."""
    error = f"Cancelled by {cancelled_by}; {days_in_words(given_back)} went back unread."
    SyncRun.objects.filter(pk=run.pk).update(cancelled_at=Now(), error=error)
    if not run.run_days.filter(outcome=WAITING).exists():
        SyncRun.objects.filter(pk=run.pk).update(finished_at=Now())
