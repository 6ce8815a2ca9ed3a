"""Changes of a source that reach its days: another calendar, its removal, and its retirement.

A day that was loaded is never deleted. Days that were only planned are, with their attempts.
"""

from collections.abc import Collection, Mapping
from datetime import date

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from sync.engine.cancel import WAITING, cancel, restore_states
from sync.engine.logs import log_finished
from sync.engine.plan import resume
from sync.errors import SyncError
from sync.models import LoadAttempt, SyncRun, SyncRunDay
from sync.sources import ProbeResult, probe
from usage.days import Day, get_today
from usage.formatting import format_date
from usage.models import DayState, Source, SourceDay

CANCELLED_BY = "a change of the source"


def has_loaded_days(source: Source) -> bool:
    """Return whether a day of the source was ever loaded: its calendar is then fixed, and it can only be retired."""
    return source.pk is not None and source.days.filter(loaded_at__isnull=False).exists()


def has_archived_days(source: Source) -> bool:
    """Return whether records of the source are in the lake alone, which knows them by its slug."""
    return source.pk is not None and source.days.filter(archived_at__isnull=False).exists()


def save_source(source: Source, columns: Collection[str]) -> None:
    """Save `columns` of a stored source; with another vendor or time zone its planned days are made anew.

    Raises SyncError where a day is loaded or being read.
    """
    with transaction.atomic():
        stored = lock_source(source)
        if (stored.vendor, stored.time_zone) == (source.vendor, source.time_zone):
            source.save(update_fields=columns)
            return
        require_no_loaded_days(stored)
        end_runs(stored)
        attempts = dict(stored.days.values_list("day", "attempt"))
        discard_days(stored.days.all())
        source.save(update_fields=columns)
        plan_anew(source, attempts)


def plan_anew(source: Source, attempts: Mapping[date, int]) -> None:
    """Create days with the bounds of the source's present zone; `attempts`: the last attempt at each of them.

    A worker that still reads a replaced day has a lower number than any claim of the new day.
    """
    today = get_today(source.zone)
    days = [Day.of(on, source.zone) for on in attempts if on <= today]
    SourceDay.objects.bulk_create(
        SourceDay(source=source, day=day.date, starts_at=day.start, ends_at=day.end, attempt=attempts[day.date] + 1)
        for day in days
        if not day.is_skipped
    )


def delete_source(source: Source) -> None:
    """Delete a source of which no day was loaded, with its runs; raises SyncError for any other source."""
    with transaction.atomic():
        stored = lock_source(source)
        require_no_loaded_days(stored)
        end_runs(stored)
        discard_days(stored.days.all())
        SyncRun.objects.filter(source=stored).delete()
        stored.delete()


def get_first_possible_last_day(source: Source) -> date | None:
    """Return the latest day that was loaded, before which a source cannot be retired; None where none was."""
    days = source.days.filter(loaded_at__isnull=False).order_by("-day")
    return days.values_list("day", flat=True).first()


def retire(source: Source, last_day: date) -> None:
    """Retire a source: nothing is synced, no day after `last_day` is expected, and its credential is deleted.

    Raises SyncError for a day that is not possible, and while a day is being read.
    """
    with transaction.atomic():
        stored = lock_source(source)
        require_no_reading(stored)
        earliest, today = get_first_possible_last_day(stored), get_today(stored.zone)
        if earliest is None:
            raise SyncError("No day of this source was loaded: delete it, or switch it off.")
        if not earliest <= last_day <= today:
            first = f"{format_date(earliest)}, the latest that is stored,"
            raise SyncError(f"A last day from {first} to {format_date(today)} is allowed.")
        # A worker that did not come back has left a day behind.
        stored.days.filter(state=DayState.LOADING).update(state=DayState.DUE, lease_expires_at=None)
        end_runs(stored)
        discard_days(stored.days.filter(day__gt=last_day))
        restore_states(stored, stored.days.filter(state=DayState.DUE, loaded_at__isnull=False))
        stored.enabled, stored.retired_after = False, last_day
        stored.credential = stored.credential_env = ""
        stored.save(update_fields=["enabled", "retired_after", "credential", "credential_env", "updated_at"])
        Source.objects.filter(pk=stored.pk).update(
            halted_at=None, halt_reason="", halt_code="", paused_until=None, failures=0
        )


def bring_back(source: Source) -> None:
    """Expect days of a retired source again; it stays switched off until it has a credential."""
    with transaction.atomic():
        stored = lock_source(source)
        stored.retired_after = None
        stored.save(update_fields=["retired_after", "updated_at"])


def resume_if_connected(source: Source) -> ProbeResult:
    """Test the connection of a halted source, and resume it where the vendor answers as it should."""
    result = probe(source)
    if result.ok:
        resume(source)
    return result


def lock_source(source: Source) -> Source:
    """Return the stored source, locked, so that no worker claims a day of it meanwhile."""
    return Source.objects.select_for_update().get(pk=source.pk)


def require_no_loaded_days(source: Source) -> None:
    """Raise SyncError where a day was loaded or is being read."""
    if has_loaded_days(source):
        raise SyncError(f"Days of {source.slug} are stored. Retire it in place of deleting it.")
    require_no_reading(source)


def require_no_reading(source: Source) -> None:
    """Raise SyncError while a worker reads a day of the source."""
    if source.days.filter(state=DayState.LOADING, lease_expires_at__gt=Now()).exists():
        raise SyncError(f"A day of {source.slug} is being read. Switch it off and try again in a few minutes.")


def end_runs(source: Source) -> None:
    """Cancel the open runs of a source that no worker reads; none of them waits for a day afterwards."""
    for run in SyncRun.objects.filter(source=source, finished_at=None, cancelled_at=None).order_by("pk"):
        cancel(run, CANCELLED_BY)
    SyncRunDay.objects.filter(run__source=source, outcome=WAITING).update(outcome=SyncRunDay.Outcome.DROPPED)
    open_runs = list(SyncRun.objects.filter(source=source, finished_at=None).values_list("pk", flat=True))
    SyncRun.objects.filter(pk__in=open_runs).update(finished_at=Now())
    log_finished(open_runs)


def discard_days(days: QuerySet[SourceDay]) -> None:
    """Delete days that were never loaded, with their attempts."""
    unloaded = days.filter(loaded_at=None).order_by("day").select_for_update(of=("self",))
    keys = list(unloaded.values_list("pk", flat=True))
    SyncRunDay.objects.filter(source_day__in=keys).delete()
    LoadAttempt.objects.filter(source_day__in=keys).delete()
    SourceDay.objects.filter(pk__in=keys).delete()
