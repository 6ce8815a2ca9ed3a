"""Claim: one worker leases one due day; the new attempt number is its fencing token."""

import os
import socket
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from sync.engine.totals import add_to_total
from sync.errors import ErrorCode, LeaseLost
from sync.models import LoadAttempt, Subject, SyncRun, SyncRunDay
from usage.days import Day
from usage.models import DayState, Directory, Source, SourceDay

PROGRESS_SECONDS = 2.0
LONGEST_NAME = 200
LEASE_ENDED = "The worker did not come back before its lease ended."


def get_worker_name() -> str:
    """Return the machine, process and thread of a worker, for people."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"[:LONGEST_NAME]


@dataclass
class Claim:
    """A day leased by one worker; `attempt` is the fencing token: earlier workers have a lower number."""

    source: Source
    source_day: SourceDay
    attempt: int
    worker: str
    run_ids: list[int] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=monotonic)
    renewed_at: float = field(default_factory=monotonic)
    progress_stored_at: float = field(default_factory=monotonic)

    @property
    def day(self) -> Day:
        """The claimed day as a range of instants."""
        return Day(self.source_day.day, self.source.zone, self.source_day.starts_at, self.source_day.ends_at)

    @property
    def leased_day(self) -> QuerySet[SourceDay]:
        """The day's row; empty once another worker has the day."""
        return SourceDay.objects.filter(pk=self.source_day.pk, attempt=self.attempt, state=DayState.LOADING)

    def renew(self) -> None:
        """Extend the lease once a third of it has passed; raises LeaseLost when another worker has the day."""
        if monotonic() - self.renewed_at < settings.PORTAL_LEASE_SECONDS / 3:
            return
        if not self.leased_day.update(lease_expires_at=get_lease_end()):
            raise LeaseLost(f"{self.source_day} was taken over by another worker.")
        self.renewed_at = monotonic()

    def report_progress(self, fetched: int) -> None:
        """Store how many records were read so far, at most every PROGRESS_SECONDS."""
        if monotonic() - self.progress_stored_at >= PROGRESS_SECONDS:
            LoadAttempt.objects.filter(source_day=self.source_day, number=self.attempt).update(fetched=fetched)
            self.progress_stored_at = monotonic()


def get_lease_end() -> object:
    """Return the end of a lease that starts now, as an expression on the database's clock."""
    return Now() + timedelta(seconds=settings.PORTAL_LEASE_SECONDS)


def claim_day(source_id: int, worker: str, run: SyncRun | None = None) -> Claim | None:
    """Lease the next due day of a source, or of one `run` of it; None when there is none to lease now.

    The source's row is locked while a day is claimed, so that `max_concurrency` holds over all machines. A source
    whose last reads failed is read by one worker at a time.
    """
    with transaction.atomic():
        source = Source.objects.running().select_for_update(no_key=True).filter(pk=source_id).first()
        if source is None or is_paused(source) or count_free_slots(source) <= 0:
            return None
        source_day = get_next_day(source, run)
        return None if source_day is None else lease_day(source, source_day, worker)


def is_paused(source: Source) -> bool:
    """Return whether the source is paused by the database's clock, which is only asked where it may be."""
    return source.paused_until is not None and source.is_paused(get_database_time())


def get_database_time() -> datetime:
    """Return the time of the database's clock, the only clock that all machines share."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def count_free_slots(source: Source, *, for_names: bool = False) -> int:
    """Return how many more workers may read the source now.

    Reading its names needs a slot as well. Days leave one of several slots free for names that wait, or a long backfill
    would keep them waiting.
    """
    slots = 1 if source.failures else source.max_concurrency
    leased_days = SourceDay.objects.filter(source=source, state=DayState.LOADING, lease_expires_at__gt=Now()).count()
    name_reads = Directory.objects.filter(source=source, lease_expires_at__gt=Now()).count()
    if not for_names and not name_reads and slots > 1:
        name_reads = SyncRun.objects.filter(source=source, subject=Subject.NAMES, finished_at=None).count()
    return slots - leased_days - name_reads


def get_next_day(source: Source, run: SyncRun | None) -> SourceDay | None:
    """Return the day to read next, locked: those that never failed first, the most recent first."""
    days = SourceDay.objects.claimable().filter(source=source)
    if run is not None:
        waiting_run_days = SyncRunDay.objects.filter(
            run=run, source_day=OuterRef("pk"), outcome=SyncRunDay.Outcome.WAITING
        )
        days = days.filter(Exists(waiting_run_days))
    return days.select_for_update(skip_locked=True, no_key=True).order_by("failures", "-day").first()


def lease_day(source: Source, source_day: SourceDay, worker: str) -> Claim:
    """Write the lease and the new attempt, and end the attempt of a worker that died."""
    is_taken_over = source_day.state == DayState.LOADING
    source_day.state = DayState.LOADING
    source_day.attempt += 1
    if is_taken_over:
        # A day that kills its workers goes behind the other days, with a reason.
        source_day.failures += 1
        source_day.error, source_day.error_code = LEASE_ENDED, ErrorCode.LEASE_LOST
    columns = {name: getattr(source_day, name) for name in ("state", "attempt", "failures", "error", "error_code")}
    leased = SourceDay.objects.filter(pk=source_day.pk)  # which is locked: nobody has changed it since it was read
    leased.update(**columns, lease_expires_at=get_lease_end(), leased_by=worker)
    # An attempt without an end belongs to a worker that died or could not reach the database.
    lost_attempts = LoadAttempt.objects.filter(source_day=source_day, finished_at=None).update(
        outcome=LoadAttempt.Outcome.LOST, finished_at=Now(), error=LEASE_ENDED, error_code=ErrorCode.LEASE_LOST
    )
    if lost_attempts:
        add_to_total(source, LoadAttempt.Outcome.LOST, lost_attempts)
    LoadAttempt.objects.create(source_day=source_day, number=source_day.attempt, worker=worker)
    source_day.source = source
    waiting_run_days = SyncRunDay.objects.filter(source_day=source_day, outcome=SyncRunDay.Outcome.WAITING)
    request_ids_by_run = dict(waiting_run_days.order_by("run_id").values_list("run_id", "run__request_id"))
    request_ids = list(dict.fromkeys(filter(None, request_ids_by_run.values())))
    return Claim(source, source_day, source_day.attempt, worker, list(request_ids_by_run), request_ids)
