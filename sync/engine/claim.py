"""Claim: one worker takes one due day under a lease, with a new attempt number as its fencing token."""

import os
import socket
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now

from sync.errors import LeaseLost
from sync.models import LoadAttempt, SyncRun, SyncRunDay
from usage.days import Day
from usage.models import DayState, Source, SourceDay

NOTE_SECONDS = 2.0


def worker_name() -> str:
    """Return a name that tells people which process on which machine holds a day."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"


@dataclass
class Claim:
    """A day in the hands of one worker; `attempt` fences off whoever held it before."""

    source: Source
    source_day: SourceDay
    attempt: int
    worker: str
    started: float = field(default_factory=monotonic)
    renewed: float = field(default_factory=monotonic)
    noted: float = field(default_factory=monotonic)

    @property
    def day(self) -> Day:
        """The claimed day as a range of instants."""
        return Day(self.source_day.day, self.source.zone, self.source_day.starts_at, self.source_day.ends_at)

    @property
    def mine(self) -> QuerySet[SourceDay]:
        """The day's row, if this claim still holds it."""
        return SourceDay.objects.filter(pk=self.source_day.pk, attempt=self.attempt, state=DayState.LOADING)

    def renew(self) -> None:
        """Extend the lease once a third of it has passed; raises LeaseLost when another worker has the day."""
        if monotonic() - self.renewed < settings.PORTAL_LEASE_SECONDS / 3:
            return
        if not self.mine.update(lease_expires_at=lease_end()):
            raise LeaseLost(f"{self.source_day} was taken over by another worker.")
        self.renewed = monotonic()

    def note(self, fetched: int) -> None:
        """Tell those who watch how many records were read so far, every other second."""
        if monotonic() - self.noted >= NOTE_SECONDS:
            LoadAttempt.objects.filter(source_day=self.source_day, number=self.attempt).update(fetched=fetched)
            self.noted = monotonic()


def lease_end() -> object:
    """Return when a lease that starts now ends, by the database's clock, which all machines share."""
    return Now() + timedelta(seconds=settings.PORTAL_LEASE_SECONDS)


def claim_day(source_id: int, worker: str, run: SyncRun | None = None) -> Claim | None:
    """Take the next due day of a source, or of one `run` of it; None when there is none to take now.

    The source's row is locked for the moment of claiming, so that `max_concurrency` holds over all machines.
    A source that failed on its last reads is tried by one worker at a time.
    """
    with transaction.atomic():
        source = Source.objects.running().select_for_update(no_key=True).filter(pk=source_id).first()
        if source is None or is_paused(source) or not has_room(source):
            return None
        source_day = next_day(source, run)
        if source_day is None:
            return None
        return take(source, source_day, worker)


def is_paused(source: Source) -> bool:
    """Tell whether the vendor failed day after day and is left alone for a while."""
    return source.paused_until is not None and source.paused_until > database_now()


def database_now() -> datetime:
    """Return the database's clock, which all machines share."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def has_room(source: Source) -> bool:
    """Tell whether one more worker may read the source."""
    live = SourceDay.objects.filter(source=source, state=DayState.LOADING, lease_expires_at__gt=Now()).count()
    return live < (1 if source.failures else source.max_concurrency)


def next_day(source: Source, run: SyncRun | None) -> SourceDay | None:
    """Return the day to read next, locked: those that never failed first, the most recent first."""
    days = SourceDay.objects.claimable(Now()).filter(source=source)
    if run is not None:
        waiting = SyncRunDay.objects.filter(run=run, source_day=OuterRef("pk"), outcome=SyncRunDay.Outcome.WAITING)
        days = days.filter(Exists(waiting))
    return days.select_for_update(skip_locked=True, no_key=True).order_by("failures", "-day").first()


def take(source: Source, source_day: SourceDay, worker: str) -> Claim:
    """Write the lease and the new attempt; the attempt of a worker that died is closed as lost."""
    taken_over = source_day.state == DayState.LOADING
    SourceDay.objects.filter(pk=source_day.pk).update(
        state=DayState.LOADING,
        attempt=F("attempt") + 1,
        # A day that kills its workers goes behind the others.
        failures=F("failures") + (1 if taken_over else 0),
        lease_expires_at=lease_end(),
        leased_by=worker,
    )
    if taken_over:
        LoadAttempt.objects.filter(source_day=source_day, finished_at=None).update(
            outcome=LoadAttempt.Outcome.LOST,
            finished_at=Now(),
            error="The worker did not come back before its lease ended.",
        )
    source_day.refresh_from_db()
    LoadAttempt.objects.create(source_day=source_day, number=source_day.attempt, worker=worker)
    source_day.source = source
    return Claim(source, source_day, source_day.attempt, worker)
