"""How far an export has come, for whoever asked for it: noted in the cache, where it expires by itself.

An export is known by its owner and an id that the owner's page made up; nobody else can ask for it. Notes that the
cache does not take are lost, and nothing else is: the export goes on.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

NOTED_EVERY: Final = 0.5  # seconds
KEPT: Final = 900  # seconds after the last that is to be heard of it

STARTING: Final = "starting"
SENDING: Final = "sending"
DONE: Final = "done"
BROKEN_OFF: Final = "broken"  # the portal failed midway
STOPPED: Final = "stopped"  # its owner stopped it on the page
LEFT: Final = "left"  # nobody took the rest: the browser's own cancel, or its end
WAITING: Final = "waiting"  # others are under way
REFUSED: Final = "refused"
ENDED: Final = frozenset({DONE, BROKEN_OFF, STOPPED, LEFT, REFUSED})


class StoppedByOwner(Exception):
    """The owner wants no more of an export."""


class Watch(Protocol):
    """Someone who is told how an export goes."""

    def rows(self, number: int) -> None:
        """Hear how many rows were read; may raise StoppedByOwner."""

    def ended(self, state: str) -> None:
        """Hear how it ended: DONE, BROKEN_OFF, STOPPED or LEFT."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of an export: `rows` sent of `about`, or of an estimate; `words` say why it was refused.

    `retry_at`: when one that waits may be asked for again, in seconds of the epoch.
    """

    state: str
    rows: int = 0
    about: int | None = None
    estimated: bool = False
    words: str = ""
    retry_at: float = 0


class Progress:
    """The notes on one export of one owner."""

    def __init__(self, owner: str, ident: str) -> None:
        self._key = f"export:{owner}:{ident}"
        self._note = Note(STARTING)
        self._noted_at = 0.0

    def found(self) -> Note | None:
        """Return what was noted last; None for nothing, or nothing any more."""
        kept: dict[str, Any] | None = unless_lost(lambda: cache.get(self._key))
        return Note(**kept) if kept else None

    def begins(self, about: int | None, estimated: bool) -> None:
        """Note that it begins, and how many rows are expected."""
        unless_lost(lambda: cache.delete(self._stop_key))
        self._keep(Note(STARTING, about=about, estimated=estimated))

    def waits(self, words: str, seconds: float) -> None:
        """Note that it did not begin, and may be asked for again after so many seconds."""
        self._keep(Note(WAITING, words=words, retry_at=time.time() + seconds))

    def refused(self, words: str) -> None:
        """Note that it does not begin, and why."""
        self._keep(Note(REFUSED, words=words))

    def rows(self, number: int) -> None:
        """Note how many rows were read, now and then; raises StoppedByOwner where the owner wants no more."""
        self._note = replace(self._note, state=SENDING, rows=number)
        if time.monotonic() - self._noted_at < NOTED_EVERY:
            return
        self._keep(self._note)
        if self._to_stop():
            raise StoppedByOwner

    def ended(self, state: str) -> None:
        """Note how it ended."""
        self._keep(replace(self._note, state=state))

    def stop(self) -> None:
        """Have it end with its next rows; one that waits is not begun."""
        note = self.found()
        if note is not None and note.state == WAITING:
            self._keep(Note(STOPPED))
            return
        unless_lost(lambda: cache.set(self._stop_key, 1, self._kept_for))

    def retried(self) -> None:
        """Note that one that waited is asked for again."""
        self._keep(Note(STARTING))

    @property
    def _stop_key(self) -> str:
        return f"{self._key}:stop"

    @property
    def _kept_for(self) -> int:
        return int(settings.PORTAL_EXPORT_SECONDS) + KEPT

    def _to_stop(self) -> bool:
        return unless_lost(lambda: cache.get(self._stop_key)) is not None

    def _keep(self, note: Note) -> None:
        self._note = note
        self._noted_at = time.monotonic()
        unless_lost(lambda: cache.set(self._key, asdict(note), self._kept_for))


def unless_lost(ask: Callable[[], Any]) -> Any:
    """Return what the cache gives, None where it does not answer."""
    try:
        return ask()
    except RedisError:
        return None
