"""The progress of a run: days, records, rate and time left."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from sync.models import LoadAttempt, SyncRun
from usage.models import DayState, SourceDay

# The last minutes show how fast a run is now.
RECENT = timedelta(minutes=5)
SEEN_ATTEMPTS = 500
# A worker claims a day within seconds; a run that waits longer is explained.
PATIENCE = timedelta(minutes=2)
Outcome = LoadAttempt.Outcome
READ = frozenset(Outcome) - {Outcome.RUNNING, Outcome.DEFERRED, Outcome.LOST}


@dataclass(frozen=True, slots=True)
class Progress:
    """One run at one instant.

    `records`: fetched so far, including days that are being read; `reading`: how many these are. `per_second`: the rate
    of the last minutes, or of the run once it has ended. `left`: at that rate, None before the first day ended.
    """

    run: SyncRun
    now: datetime
    records: int
    reading: int
    per_second: float | None
    left: timedelta | None

    @property
    def ended(self) -> bool:
        """Whether the run waits for no day."""
        return self.run.finished_at is not None

    @property
    def days_ended(self) -> int:
        """Days that were read or failed."""
        return self.run.days_done + self.run.days_failed

    @property
    def took(self) -> timedelta:
        """From its request to its end, or until now."""
        return (self.run.finished_at or self.now) - self.run.created_at

    @property
    def quarter(self) -> int:
        """How many quarters of its days have ended, 5 once the run has: a screen reader announces each."""
        return 5 if self.ended else 4 * self.days_ended // max(self.run.days_total, 1)

    @property
    def hold_up(self) -> str:
        """Why the run does not progress, in a sentence; "" where it does or has just begun."""
        source = self.run.source
        if self.ended or self.reading:
            return ""
        if not source.enabled:
            return "The source is switched off: the run goes on when it is switched on."
        if source.is_paused(self.now):
            return f"The vendor failed day after day, so it is left alone until {source.paused_until:%H:%M} UTC."
        if self.per_second is None and self.took > PATIENCE:
            return "No worker has begun it yet. If that lasts, check that workers run."
        return ""


def measure_progress(run: SyncRun) -> Progress:
    """Return the progress of a run in two queries beside the run and its source, or none once it has ended."""
    now = timezone.now()
    if run.finished_at is not None:
        seconds = (run.finished_at - run.created_at).total_seconds()
        return Progress(run, now, run.fetched, 0, run.fetched / seconds if seconds else None, None)
    reading = fetch_running_attempts(run)
    recent = fetch_recent_attempts(run, now)
    started = min((attempt.started_at for attempt in (*recent, *reading)), default=None)
    if started is None:
        return Progress(run, now, run.fetched, 0, None, None)
    seconds = max((now - started).total_seconds(), 1.0)
    unfinished = sum(attempt.fetched for attempt in reading)
    per_second = (sum(attempt.fetched for attempt in recent) + unfinished) / seconds
    left = estimate_time_left(run, recent, seconds)
    return Progress(run, now, run.fetched + unfinished, len(reading), per_second, left)


def estimate_time_left(run: SyncRun, recent: list[LoadAttempt], seconds: float) -> timedelta | None:
    """Return the time for the remaining days at the rate of the `recent` attempts; None where none has ended."""
    ended = sum(attempt.outcome in READ for attempt in recent)
    left = run.days_total - run.days_done - run.days_failed
    return timedelta(seconds=left * seconds / ended) if ended else None


def fetch_running_attempts(run: SyncRun) -> list[LoadAttempt]:
    """Return the running attempts at days of a run."""
    days = SourceDay.objects.filter(source=run.source_id, state=DayState.LOADING, run_days__run=run)
    attempts = LoadAttempt.objects.filter(source_day__in=days, finished_at=None).order_by("number")
    return list({attempt.source_day_id: attempt for attempt in attempts}.values())


def fetch_recent_attempts(run: SyncRun, now: datetime) -> list[LoadAttempt]:
    """Return the latest attempts at days of a run that ended in the last minutes."""
    since = max(now - RECENT, run.created_at - timedelta(seconds=1))
    ended = LoadAttempt.objects.filter(
        started_at__gt=since, finished_at__isnull=False, source_day__run_days__run=run
    ).order_by("-started_at")
    return list(ended[:SEEN_ATTEMPTS])
