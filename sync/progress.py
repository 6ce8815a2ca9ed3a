"""How far a run is: days, records, how fast, how long still; for people who watch it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from sync.models import LoadAttempt, SyncRun
from usage.models import DayState, SourceDay

# What happened in the last minutes tells how fast a run is now.
RECENT = timedelta(minutes=5)
SEEN_ATTEMPTS = 500
# A worker takes a day within seconds; a run that nobody begins for so long needs a word.
PATIENCE = timedelta(minutes=2)
Outcome = LoadAttempt.Outcome
READ = frozenset({Outcome.LOADED, Outcome.UNCHANGED, Outcome.PARTIAL, Outcome.SUSPECT, Outcome.FAILED})


@dataclass(frozen=True, slots=True)
class Progress:
    """One run at one instant.

    `records`: fetched so far, those of days that are being read included. `per_second`: records at the pace of the
    last minutes, of the whole run once it has ended. `left`: at that pace, None where no day says how long one takes.
    """

    run: SyncRun
    now: datetime
    records: int
    reading: int
    per_second: float | None
    left: timedelta | None

    @property
    def ended(self) -> bool:
        """Whether it waits for no day any more."""
        return self.run.finished_at is not None

    @property
    def days_ended(self) -> int:
        """Days read, or tried in vain."""
        return self.run.days_done + self.run.days_failed

    @property
    def took(self) -> timedelta:
        """From when it was asked for to its end, or until now."""
        return (self.run.finished_at or self.now) - self.run.created_at

    @property
    def quarter(self) -> int:
        """How many quarters of its days have ended, 5 once it has ended itself: what is worth saying aloud."""
        return 5 if self.ended else 4 * self.days_ended // max(self.run.days_total, 1)

    @property
    def hold_up(self) -> str:
        """Why nothing moves, in a sentence; '' where it moves or is only about to."""
        source = self.run.source
        if self.ended or self.reading:
            return ""
        if not source.enabled:
            return "The source is switched off: the run goes on when it is switched on."
        if source.paused_until is not None and source.paused_until > self.now:
            return f"The vendor failed day after day, so it is left alone until {source.paused_until:%H:%M} UTC."
        if self.per_second is None and self.took > PATIENCE:
            return "No worker has begun it yet. Where that lasts, see whether workers run."
        return ""


def progress_of(run: SyncRun) -> Progress:
    """Return how far a run is, in two queries beside the run and its source, one where it has ended."""
    now = timezone.now()
    if run.finished_at is not None:
        seconds = (run.finished_at - run.created_at).total_seconds()
        return Progress(run, now, run.fetched, 0, run.fetched / seconds if seconds else None, None)
    reading = being_read(run)
    recent = recent_attempts(run, now)
    began = min((attempt.started_at for attempt in (*recent, *reading)), default=None)
    if began is None:
        return Progress(run, now, run.fetched, 0, None, None)
    seconds = max((now - began).total_seconds(), 1.0)
    under_way = sum(attempt.fetched for attempt in reading)
    per_second = (sum(attempt.fetched for attempt in recent) + under_way) / seconds
    return Progress(run, now, run.fetched + under_way, len(reading), per_second, time_left(run, recent, seconds))


def time_left(run: SyncRun, recent: list[LoadAttempt], seconds: float) -> timedelta | None:
    """Return how long the days that are left take at the pace of the `recent` ones; None where none has ended."""
    ended = sum(attempt.outcome in READ for attempt in recent)
    left = run.days_total - run.days_done - run.days_failed
    return timedelta(seconds=left * seconds / ended) if ended else None


def being_read(run: SyncRun) -> list[LoadAttempt]:
    """Return the attempts at days of a run that are under way."""
    days = SourceDay.objects.filter(source=run.source_id, state=DayState.LOADING, run_days__run=run)
    attempts = LoadAttempt.objects.filter(source_day__in=days, finished_at=None).order_by("number")
    return list({attempt.source_day_id: attempt for attempt in attempts}.values())


def recent_attempts(run: SyncRun, now: datetime) -> list[LoadAttempt]:
    """Return the latest attempts at days of a run that have ended, of the last minutes."""
    since = max(now - RECENT, run.created_at - timedelta(seconds=1))
    ended = LoadAttempt.objects.filter(
        started_at__gt=since, finished_at__isnull=False, source_day__run_days__run=run
    ).order_by("-started_at")
    return list(ended[:SEEN_ATTEMPTS])


def in_words(time: timedelta) -> str:
    """Return a time as people say it, rounded up: `less than a minute`, `about 4 minutes`, `about 2 hours`."""
    seconds = time.total_seconds()
    if seconds < 45:
        return "less than a minute"
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * 1.5 or name == "minute":
            number = max(1, round(seconds / size))
            return f"about {number:,} {name}{'' if number == 1 else 's'}"
    raise AssertionError("a minute is the smallest")
