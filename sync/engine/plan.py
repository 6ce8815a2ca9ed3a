"""Plan: which days are to be read now, because the schedule, a retry or a person says so."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay, Trigger
from usage.days import Day, dates
from usage.models import DayState, Source, SourceDay

LONGEST_REQUEST_DAYS = 3700
EARLIEST = date(1990, 1, 1)  # nothing was sold by usage before; a slip of the year asks for no millennia


def plan_due() -> list[SyncRun]:
    """Mark what the schedule makes due, for every source whose time has come, and retries for all of them."""
    runs = [plan_retries(source) for source in Source.objects.running()]
    due = Source.objects.running().filter(Q(next_sync_at=None) | Q(next_sync_at__lte=Now()))
    runs += [plan_source(source.pk) for source in due]
    return [run for run in runs if run is not None]


def plan_source(source_id: int) -> SyncRun | None:
    """Mark the days of one source due by its schedule; returns the run, or None where nothing is to be read."""
    with transaction.atomic():
        source = Source.objects.running().select_for_update(no_key=True).filter(pk=source_id).first()
        if source is None or (source.next_sync_at is not None and source.next_sync_at > timezone.now()):
            return None
        days = scheduled_days(source).exclude(run_days__outcome=SyncRunDay.Outcome.WAITING)
        return open_run(source, days, Trigger.SCHEDULE)


def plan_now(source: Source, trigger: Trigger, requested_by: str = "") -> SyncRun | None:
    """Do now, for a person, what the schedule would do at its next time; failed days are tried again too.

    Raises SyncError where the source is switched off or halted.
    """
    with transaction.atomic():
        locked = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        check_running(locked)
        Source.objects.filter(pk=source.pk).update(paused_until=None)
        troubled = Q(state__in=[DayState.FAILED, DayState.SUSPECT, DayState.PARTIAL])
        lost = Q(state=DayState.LOADING)
        return open_run(locked, scheduled_days(locked, or_else=troubled | lost), trigger, requested_by)


def plan_retries(source: Source) -> SyncRun | None:
    """Mark failed, suspect and partial days due whose back-off has passed."""
    waiting = [DayState.FAILED, DayState.SUSPECT, DayState.PARTIAL]
    with transaction.atomic():
        days = SourceDay.objects.filter(source=source, state__in=waiting, due_at__lte=Now())
        return open_run(source, days, Trigger.RETRY)


def scheduled_days(source: Source, or_else: Q | None = None) -> QuerySet[SourceDay]:
    """Return the days that the schedule reads now (design.md, Plan), and set when it comes back.

    Never read ones; loaded ones until one read has happened after their look-back; those of the previous month
    until one read has happened after it closed (its end plus the look-back). `or_else` adds others.
    """
    now = timezone.now()
    Source.objects.filter(pk=source.pk).update(next_sync_at=now + timedelta(minutes=source.interval_minutes))
    ensure_days(source, source.backfill_from, today(source) + timedelta(days=1))
    look_back_ends: Any = ExpressionWrapper(
        F("ends_at") + timedelta(days=source.look_back_days), output_field=DateTimeField()
    )
    first_of_month = today(source).replace(day=1)
    closed_at = Day.of(first_of_month, source.zone).start + timedelta(days=source.look_back_days)
    again = Q(loaded_at__lt=look_back_ends)
    if now >= closed_at:
        last_month = (first_of_month - timedelta(days=1)).replace(day=1)
        again |= Q(day__gte=last_month, day__lt=first_of_month, loaded_at__lt=closed_at)
    chosen = Q(state=DayState.DUE) | (Q(state=DayState.LOADED) & again) | (or_else or Q(pk=None))
    return SourceDay.objects.filter(chosen, source=source, day__gte=source.backfill_from)


def open_run(source: Source, days: QuerySet[SourceDay], trigger: Trigger, requested_by: str = "") -> SyncRun | None:
    """Make `days` due now and return the new run that waits for them; None where there are none."""
    chosen = list(days.select_for_update(of=("self",), no_key=True).order_by("day"))
    if not chosen:
        return None
    return run_over(source, chosen, chosen[0].day, chosen[-1].day + timedelta(days=1), trigger, requested_by)


def run_over(
    source: Source, chosen: list[SourceDay], first: date, end: date, trigger: Trigger, requested_by: str
) -> SyncRun:
    """Create a run over locked days; a day that is being read just now is waited for, not read twice."""
    run = SyncRun.objects.create(
        source=source,
        trigger=trigger,
        requested_by=requested_by,
        from_day=first,
        to_day=end,
        days_total=len(chosen),
    )
    SyncRunDay.objects.bulk_create(SyncRunDay(run=run, source_day=day) for day in chosen)
    queued = [day.pk for day in chosen if day.state != DayState.LOADING]
    SourceDay.objects.filter(pk__in=queued).update(state=DayState.DUE, due_at=Now())
    return run


def request_sync(source: Source, from_day: date, to_day: date, trigger: Trigger, requested_by: str = "") -> SyncRun:
    """Ask for the days `[from_day, to_day)` of a source to be read again; returns the run that waits for them.

    A second request for the range of a run that has not ended joins that run. Raises SyncError, in words for
    the person who asked, where the range is empty, too long or in the future, or the source is not read.
    """
    check_range(source, from_day, to_day)
    with transaction.atomic():
        locked = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        check_running(locked)
        same = SyncRun.objects.filter(source=source, from_day=from_day, to_day=to_day)
        running = same.filter(finished_at=None, cancelled_at=None).first()
        if running is not None:
            return running
        ensure_days(source, from_day, to_day)
        Source.objects.filter(pk=source.pk).update(paused_until=None)
        days = SourceDay.objects.filter(source=source, day__gte=from_day, day__lt=to_day)
        chosen = list(days.select_for_update(no_key=True).order_by("day"))
        return run_over(source, chosen, from_day, to_day, trigger, requested_by)


def check_range(source: Source, from_day: date, to_day: date) -> None:
    """Raise SyncError for a range that cannot be read."""
    if from_day >= to_day:
        raise SyncError(f"The range is empty: its end {to_day} (exclusive) must lie after {from_day}.")
    if from_day < EARLIEST:
        raise SyncError(f"The range begins too early: {EARLIEST} is the first day that can be read.")
    if to_day > today(source) + timedelta(days=1):
        latest = today(source) + timedelta(days=1)
        raise SyncError(f"The range reaches into the future: its end (exclusive) may be {latest} at most.")
    if (to_day - from_day).days > LONGEST_REQUEST_DAYS:
        raise SyncError(f"The range is too long: {LONGEST_REQUEST_DAYS} days at most.")


def check_running(source: Source) -> None:
    """Raise SyncError for a source that is switched off or halted."""
    if not source.enabled:
        raise SyncError(f"{source.slug} is switched off; enable it first.")
    if source.halted_at is not None:
        raise SyncError(f"{source.slug} is halted: {source.halt_reason} Mend that and resume it first.")


def reread(days: Iterable[SourceDay], trigger: Trigger, requested_by: str = "") -> list[SyncRun]:
    """Ask for single days to be read again; returns one run for each source among them."""
    chosen = list(days)
    sources = {day.source_id: day.source for day in chosen}
    runs = []
    with transaction.atomic():
        for source in sources.values():
            check_running(source)
            mine = SourceDay.objects.filter(pk__in=[day.pk for day in chosen if day.source_id == source.pk])
            runs.append(open_run(source, mine, trigger, requested_by))
    return [run for run in runs if run is not None]


def accept_shrink(day: SourceDay, requested_by: str = "") -> SyncRun | None:
    """Take a person's word that the vendor is right about a suspect day: the next read is merged as it comes."""
    with transaction.atomic():
        suspect = SourceDay.objects.filter(pk=day.pk, state=DayState.SUSPECT)
        if not suspect.update(shrink_accepted=True):
            raise SyncError(f"{day} is not suspect; there is nothing to accept.")
        return open_run(day.source, suspect, Trigger.ADMIN, requested_by)


def resume(source: Source) -> None:
    """Let a halted or paused source be read again, from the next tick on."""
    Source.objects.filter(pk=source.pk).update(
        halted_at=None, halt_reason="", paused_until=None, failures=0, next_sync_at=None
    )


def ensure_days(source: Source, first: date, end: date) -> None:
    """Make sure that a row exists for every day of `[first, end)`; new ones are due at once."""
    known = set(SourceDay.objects.filter(source=source, day__gte=first, day__lt=end).values_list("day", flat=True))
    missing = (Day.of(on, source.zone) for on in dates(first, end) if on not in known)
    SourceDay.objects.bulk_create(
        (SourceDay(source=source, day=day.date, starts_at=day.start, ends_at=day.end, due_at=Now()) for day in missing),
        batch_size=1000,
        ignore_conflicts=True,
    )


def today(source: Source) -> date:
    """Return the date it is now in the source's zone."""
    return timezone.now().astimezone(source.zone).date()
