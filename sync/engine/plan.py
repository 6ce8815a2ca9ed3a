"""Plan: choose the days to read now, for the schedule, a retry or a person."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import OperationalError, transaction
from django.db.models import Count, DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now, TruncMonth

from sync.engine.claim import get_database_time
from sync.engine.clamp import clamp_waits
from sync.engine.connect import find_misconfiguration
from sync.engine.failures import count_failure, halt_source
from sync.engine.logs import get_request_id, log_planned
from sync.engine.recording import log_safely, try_step
from sync.errors import SyncError
from sync.models import Subject, SyncRun, SyncRunDay, Trigger
from usage.data_quality import VENDOR_KINDS
from usage.days import Day, first_of_next_month, get_today, iterate_dates, iterate_days, midnight
from usage.formatting import format_dates
from usage.models import DayState, Source, SourceDay, Verification
from usage.partitions import ensure_partitions

logger = structlog.get_logger(__name__)

LONGEST_REQUEST_DAYS = 3700
EARLIEST = date(1990, 1, 1)  # no vendor had usage before; a mistyped year must not request millennia

# Loaded days with a problem: by the vendor's checksum, and by a check of the stored records.
UNVERIFIED = Q(state=DayState.LOADED, verification=Verification.UNVERIFIED, accepted_at=None)
MISMATCHED = Q(state__in=[DayState.LOADED, DayState.PARTIAL], mismatch__isnull=False)
# Days without a problem: a read after their month's close makes them final.
SOUND = Q(state=DayState.LOADED, complete=True, mismatch__isnull=True) & ~Q(verification=Verification.UNVERIFIED)


def plan_due() -> list[SyncRun]:
    """Plan every running source: what its schedule makes due, checks and retries; returns the new runs."""
    try_step("clamp waits", clamp_waits)
    runs = []
    for source in Source.objects.running():
        runs += plan_safely(source)
    return runs


def plan_safely(source: Source) -> list[SyncRun]:
    """Plan one source; an error is counted on the source, and the other sources are still planned."""
    try:
        if error := find_misconfiguration(source):
            halt_source(source, error)
            return []
        runs = [plan_checks(source), plan_retries(source)]
        if is_due(source):
            runs.append(plan_source(source.pk))
        return [run for run in runs if run is not None]
    except Exception:  # noqa: BLE001  # one source never stops other sources
        log_safely(logger.exception, "planning failed", source=source.slug)
        try_step("source", partial(count_failure, source))
        return []


def is_due(source: Source) -> bool:
    """Return whether the source's next scheduled read has come."""
    return source.next_sync_at is None or source.next_sync_at <= get_database_time()


def plan_source(source_id: int) -> SyncRun | None:
    """Make the scheduled days of one source due; returns the run, or None where there are none."""
    ensure_months(Source.objects.get(pk=source_id))
    with transaction.atomic():
        source = Source.objects.running().select_for_update(no_key=True).filter(pk=source_id).first()
        if source is None or not is_due(source):
            return None
        days = select_scheduled_days(source).exclude(run_days__outcome=SyncRunDay.Outcome.WAITING)
        return open_run(source, days, Trigger.SCHEDULE)


def plan_now(source: Source, trigger: Trigger, requested_by: str = "") -> SyncRun | None:
    """Do now what the schedule would do at its next time, and try failed days again.

    Raises SyncError where the source is switched off or halted.
    """
    ensure_months(source)
    with transaction.atomic():
        locked = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        check_running(locked)
        Source.objects.filter(pk=source.pk).update(paused_until=None)
        problems = Q(state__in=[DayState.FAILED, DayState.SUSPECT, DayState.PARTIAL]) | UNVERIFIED | MISMATCHED
        leased = Q(state=DayState.LOADING)
        return open_run(locked, select_scheduled_days(locked, or_else=problems | leased), trigger, requested_by)


def plan_retries(source: Source) -> SyncRun | None:
    """Make failed, suspect, partial and unverified days due whose wait has passed, unless a person accepted them.

    Also outside the look-back: a problem lasts until a read resolves it or a person accepts the findings.
    """
    unresolved = (
        Q(state__in=[DayState.FAILED, DayState.SUSPECT]) | Q(state=DayState.PARTIAL, accepted_at=None) | UNVERIFIED
    )
    with transaction.atomic():
        return open_run(source, SourceDay.objects.filter(unresolved, source=source, due_at__lte=Now()), Trigger.RETRY)


def plan_checks(source: Source) -> SyncRun | None:
    """Make days due whose stored records differ from what was read."""
    with transaction.atomic():
        return open_run(source, SourceDay.objects.filter(MISMATCHED, source=source, due_at__lte=Now()), Trigger.CHECK)


def select_scheduled_days(source: Source, or_else: Q | None = None) -> QuerySet[SourceDay]:
    """Return the days that the schedule reads now, and set its next time.

    These are days that were never read, and days until one read after their look-back and one after their month
    closed (its end plus the look-back). `or_else` adds other days.
    """
    now = get_database_time()
    Source.objects.filter(pk=source.pk).update(next_sync_at=now + timedelta(minutes=source.interval_minutes))
    ensure_days(source, source.backfill_from, get_today(source.zone, now) + timedelta(days=1))
    look_back_ends: Any = ExpressionWrapper(
        F("ends_at") + timedelta(days=source.look_back_days), output_field=DateTimeField()
    )
    # Retries read a partial day until a person accepts it.
    settled = Q(state=DayState.LOADED) | Q(state=DayState.PARTIAL, accepted_at__isnull=False)
    needs_reread = Q(loaded_at__lt=look_back_ends) | build_closing_condition(source, now)
    scheduled = Q(state=DayState.DUE) | (settled & needs_reread) | (or_else or Q(pk=None))
    return SourceDay.objects.filter(scheduled, source=source, day__gte=source.backfill_from)


def build_closing_condition(source: Source, now: datetime) -> Q:
    """Return the condition for days of closed months that were not read since their month closed.

    Usually those of the last month, more after an outage. A sound day that was read and is not final counts too: a
    cancelled run dropped it before its second look, or the look-back was shortened.
    """
    condition = Q(pk=None)
    first_of_month = get_today(source.zone, now).replace(day=1)
    unsettled = SourceDay.objects.filter(source=source, final=False, loaded_at__isnull=False, day__lt=first_of_month)
    for month in unsettled.dates("day", "month"):
        next_month = first_of_next_month(month)
        closed_at = midnight(next_month, source.zone) + timedelta(days=source.look_back_days)
        if now >= closed_at:
            unread = Q(loaded_at__lt=closed_at) | Q(SOUND, final=False)
            condition |= Q(unread, day__gte=month, day__lt=next_month)
    return condition


def open_run(source: Source, days: QuerySet[SourceDay], trigger: Trigger, requested_by: str = "") -> SyncRun | None:
    """Make `days` due now and return the new run that waits for them; None where there are none.

    Days whose records were pruned are left out: they are never read again.
    """
    locked_days = list(days.filter(pruned_at=None).select_for_update(of=("self",), no_key=True).order_by("day"))
    if not locked_days:
        return None
    end = locked_days[-1].day + timedelta(days=1)
    return create_run(source, locked_days, locked_days[0].day, end, trigger, requested_by)


def create_run(
    source: Source, days: list[SourceDay], first: date, end: date, trigger: Trigger, requested_by: str
) -> SyncRun:
    """Create a run over locked days; it waits for a day that is being read, which is not read twice."""
    run = SyncRun.objects.create(
        source=source,
        trigger=trigger,
        requested_by=requested_by,
        request_id=get_request_id(),
        from_day=first,
        to_day=end,
        days_total=len(days),
    )
    SyncRunDay.objects.bulk_create(SyncRunDay(run=run, source_day=day) for day in days)
    queued_keys = [day.pk for day in days if day.state != DayState.LOADING]
    SourceDay.objects.filter(pk__in=queued_keys).update(state=DayState.DUE, due_at=Now())
    log_planned(run)
    return run


def request_sync(source: Source, from_day: date, to_day: date, trigger: Trigger, requested_by: str = "") -> SyncRun:
    """Make the days `[from_day, to_day)` of a source due; returns the run that waits for them.

    A second request for the range of an unfinished run returns that run. Raises SyncError, with a sentence for
    the requester, where the range is empty, too long or in the future, or has a day whose records were pruned, or where
    the source is not read.
    """
    check_range(source, from_day, to_day)
    check_pruned(SourceDay.objects.filter(source=source, day__gte=from_day, day__lt=to_day))
    ensure_months(source, from_day, to_day)
    with transaction.atomic():
        locked = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        check_running(locked)
        same_range = SyncRun.objects.filter(source=source, subject=Subject.DAYS, from_day=from_day, to_day=to_day)
        unfinished_run = same_range.filter(finished_at=None, cancelled_at=None).first()
        if unfinished_run is not None:
            return unfinished_run
        ensure_days(source, from_day, to_day)
        Source.objects.filter(pk=source.pk).update(paused_until=None)
        days = SourceDay.objects.filter(source=source, day__gte=from_day, day__lt=to_day)
        locked_days = list(days.select_for_update(no_key=True).order_by("day"))
        check_pruned(days)
        return create_run(source, locked_days, from_day, to_day, trigger, requested_by)


def check_range(source: Source, from_day: date, to_day: date) -> None:
    """Raise SyncError for a range that cannot be read."""
    if from_day >= to_day:
        raise SyncError(f"The range is empty: its end {to_day} (exclusive) must lie after {from_day}.")
    if from_day < EARLIEST:
        raise SyncError(f"The range begins too early: {EARLIEST} is the first day that can be read.")
    latest = get_today(source.zone, get_database_time()) + timedelta(days=1)
    if to_day > latest:
        raise SyncError(f"The range reaches into the future: its end (exclusive) may be {latest} at most.")
    if (to_day - from_day).days > LONGEST_REQUEST_DAYS:
        raise SyncError(f"The range is too long: {LONGEST_REQUEST_DAYS} days at most.")
    if next(iterate_days(from_day, to_day, source.zone), None) is None:
        raise SyncError(f"The range holds no day: the clocks of {source.time_zone} skip {from_day}.")


def check_pruned(days: QuerySet[SourceDay]) -> None:
    """Raise SyncError that names the first month of which records of `days` were pruned or archived."""
    pruned = days.filter(pruned_at__isnull=False).order_by("day").first()
    if pruned is None:
        return
    records = f"The records of {pruned.source.slug} of {pruned.day:%Y-%m}"
    if pruned.archived_at is None:
        raise SyncError(f"{records} were pruned; {pruned.day} is never read again.")
    archived = days.filter(archived_at__isnull=False, day__lt=first_of_next_month(pruned.day))
    archived_dates = format_dates(pruned.day, archived.latest("day").day)
    raise SyncError(
        f"{records} are archived: {archived_dates}. Before these days can be read again, an administrator has to bring "
        f"the month back: manage.py restore_archive {pruned.day:%Y-%m}"
    )


def check_running(source: Source) -> None:
    """Raise SyncError for a source that is switched off, halted, or cannot be read as it is set up."""
    if source.retired_after is not None:
        raise SyncError(f"{source.slug} is retired; bring it back first.")
    if not source.enabled:
        raise SyncError(f"{source.slug} is switched off; enable it first.")
    if source.halted_at is not None:
        raise SyncError(f"{source.slug} is halted: {source.halt_reason} Resolve that and resume it first.")
    if error := find_misconfiguration(source):
        raise error


def reread(days: Iterable[SourceDay], trigger: Trigger, requested_by: str = "") -> list[SyncRun]:
    """Make single days due; returns one run for each of their sources.

    Raises SyncError for a source that is not read, and for a day whose records were pruned.
    """
    source_days = list(days)
    sources = {day.source_id: day.source for day in source_days}
    runs = []
    with transaction.atomic():
        for source in sources.values():
            check_running(source)
            own_days = SourceDay.objects.filter(pk__in=[day.pk for day in source_days if day.source_id == source.pk])
            check_pruned(own_days)
            runs.append(open_run(source, own_days, trigger, requested_by))
    return [run for run in runs if run is not None]


def accept_shrink(day: SourceDay, requested_by: str = "") -> SyncRun | None:
    """Accept that the vendor is right about a suspect day: its next read is merged as it is."""
    with transaction.atomic():
        suspect = SourceDay.objects.filter(pk=day.pk, state=DayState.SUSPECT)
        if not suspect.update(shrink_accepted=True):
            raise SyncError(f"{day} is not suspect; there is nothing to accept.")
        return open_run(day.source, suspect, Trigger.ADMIN, requested_by)


def resume(source: Source) -> None:
    """Let a halted or paused source be read again, from the next tick on."""
    Source.objects.filter(pk=source.pk).update(
        halted_at=None, halt_reason="", halt_code="", paused_until=None, failures=0, next_sync_at=None
    )


def ensure_months(source: Source, first: date | None = None, end: date | None = None) -> None:
    """Create the partitions of the days `[first, end)`, by default of all days that the schedule has.

    Call it before the transaction that plans the days. Raises SyncError where another session holds the table.
    """
    kind = VENDOR_KINDS.get(source.vendor)
    if kind is None:
        return
    tomorrow = get_today(source.zone, get_database_time()) + timedelta(days=1)
    first = first or source.backfill_from
    try:
        ensure_partitions(kind, first, end or tomorrow, skip=list_pruned_months(source, first))
    except OperationalError as error:
        raise SyncError(f"The tables of {kind._meta.verbose_name_plural} are locked; try again later.") from error


def list_pruned_months(source: Source, first: date) -> set[date]:
    """Return the months whose days from `first` on were all pruned."""
    pruned = SourceDay.objects.filter(source=source, pruned_at__isnull=False, day__gte=first).order_by()
    counts = pruned.annotate(month=TruncMonth("day")).values_list("month").annotate(Count("pk"))
    return {month for month, count in counts if count == (first_of_next_month(month) - max(month, first)).days}


def ensure_days(source: Source, first: date, end: date) -> None:
    """Create the missing rows of the days `[first, end)` that the source's zone has; new days are due."""
    stored_days = SourceDay.objects.filter(source=source, day__gte=first, day__lt=end)
    stored_dates = set(stored_days.values_list("day", flat=True))
    zone = source.zone
    days = (Day.of(on, zone) for on in iterate_dates(first, end) if on not in stored_dates)
    missing = (day for day in days if not day.is_skipped)
    SourceDay.objects.bulk_create(
        (SourceDay(source=source, day=day.date, starts_at=day.start, ends_at=day.end, due_at=Now()) for day in missing),
        batch_size=1000,
        ignore_conflicts=True,
    )
