"""The progress of an export, for the page that follows it: kept in the cache, where it expires by itself.

An export is known by its owner and an id that the owner's page made up; no other person can read it. A cache that does
not answer is empty (portal/cache.py): the progress is lost and the export continues.
"""

import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache

SAVE_SECONDS: Final = 0.5
KEEP_SECONDS: Final = 900  # after the last change


class ExportState(StrEnum):
    """Where an export stands."""

    STARTING = "starting"
    SENDING = "sending"
    DONE = "done"
    BROKEN_OFF = "broken"  # the portal failed midway
    STOPPED = "stopped"  # its owner cancelled it on the page
    ABANDONED = "left"  # the reader took no more: the browser's own cancel, or its end
    WAITING = "waiting"  # other exports are under way
    REFUSED = "refused"

    @property
    def is_final(self) -> bool:
        return self not in {ExportState.STARTING, ExportState.SENDING, ExportState.WAITING}


class StoppedByOwner(Exception):
    """The owner has cancelled the export."""


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """What is known of an export: `rows` sent of `total`, which may be an estimate.

    `reason` says why it was refused, `alternative` names a format that would be accepted.
    `retry_at`: when a waiting export may be requested again, in seconds since the epoch.
    """

    state: ExportState
    rows: int = 0
    total: int | None = None
    estimated: bool = False
    reason: str = ""
    alternative: str = ""
    retry_at: float = 0


class ExportTracker:
    """Stores the progress of one export of one owner."""

    def __init__(self, owner: str, export_id: str) -> None:
        self._key = f"export:{owner}:{export_id}"
        self._progress = ExportProgress(ExportState.STARTING)
        self._saved_at = 0.0

    def load(self) -> ExportProgress | None:
        """Return the last progress that was saved; None if there is none, or none any more."""
        stored: dict[str, Any] | None = cache.get(self._key)
        return ExportProgress(**stored | {"state": ExportState(stored["state"])}) if stored else None

    def record_start(self, total: int | None, *, estimated: bool) -> None:
        """Save that it starts, and how many rows are expected."""
        cache.delete(self._stop_key)
        self._save(ExportProgress(ExportState.STARTING, total=total, estimated=estimated))

    def record_wait(self, reason: str, seconds: float) -> None:
        """Save that it did not start, and may be requested again after so many seconds."""
        self._save(ExportProgress(ExportState.WAITING, reason=reason, retry_at=time.time() + seconds))

    def record_refusal(self, reason: str, alternative: str = "") -> None:
        """Save that it does not start, why, and in which format it would."""
        self._save(ExportProgress(ExportState.REFUSED, reason=reason, alternative=alternative))

    def record_rows(self, number: int) -> None:
        """Save how many rows were read, now and then; raises StoppedByOwner where the owner has cancelled it."""
        self._progress = replace(self._progress, state=ExportState.SENDING, rows=number)
        if time.monotonic() - self._saved_at < SAVE_SECONDS:
            return
        self._save(self._progress)
        if cache.get(self._stop_key) is not None:
            raise StoppedByOwner

    def record_end(self, state: ExportState) -> None:
        """Save how it ended: DONE, BROKEN_OFF, STOPPED or ABANDONED."""
        self._save(replace(self._progress, state=state))

    def record_retry(self) -> None:
        """Save that a waiting export is requested again."""
        self._save(ExportProgress(ExportState.STARTING))

    def request_stop(self) -> None:
        """Have it end with its next rows; a waiting export does not start."""
        progress = self.load()
        if progress is not None and progress.state == ExportState.WAITING:
            self._save(ExportProgress(ExportState.STOPPED))
            return
        cache.set(self._stop_key, 1, self._keep_seconds)

    @property
    def _stop_key(self) -> str:
        return f"{self._key}:stop"

    @property
    def _keep_seconds(self) -> int:
        return int(settings.PORTAL_EXPORT_SECONDS) + KEEP_SECONDS

    def _save(self, progress: ExportProgress) -> None:
        self._progress = progress
        self._saved_at = time.monotonic()
        cache.set(self._key, asdict(progress), self._keep_seconds)
