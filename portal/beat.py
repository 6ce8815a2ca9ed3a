"""Celery beat's schedule, kept in memory: a tick each PORTAL_TICK_SECONDS that carries the database's time."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import beat
from django.conf import settings

from sync.heartbeats import Heartbeat, record_heartbeat

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def format_database_time() -> str:
    """Return the database's time in ISO 8601; workers drop messages by its age."""
    from sync.engine.claim import get_database_time
    from sync.engine.recording import revive_connection

    # Beat runs for months: a restart of the database may have ended its connection.
    revive_connection()
    return get_database_time().isoformat()


class Scheduler(beat.Scheduler):
    """A single static entry; nothing is written to disk, so a restarted beat ticks at once."""

    def setup_schedule(self) -> None:
        """Make the tick the only entry of the schedule."""
        entry: dict[str, Any] = {
            "task": "sync.tasks.tick",
            "schedule": timedelta(seconds=settings.PORTAL_TICK_SECONDS),
            "args": (beat.BeatLazyFunc(format_database_time),),
            "last_run_at": LONG_AGO,
        }
        self.merge_inplace({"tick": entry})  # type: ignore[dict-item]  # a dict is what celery takes

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; an entry that last ran in the future is due too, since the clock was set back."""
        ahead = [entry for entry in self.schedule.values() if (entry.last_run_at or LONG_AGO) > entry.default_now()]
        for entry in ahead:
            entry.last_run_at = LONG_AGO
        if ahead:
            self.populate_heap()
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Send a task; beat is alive as long as it can send."""
        result = super().apply_async(*args, **kwargs)
        record_heartbeat(Heartbeat.BEAT)
        return result
