"""The deadline of an exchange with a vendor, which its connection keeps wherever it waits."""

from contextvars import ContextVar
from threading import Event
from time import monotonic

import httpcore2

from sync.errors import VendorUnavailable
from sync.http.bounds import Bounds


class DeadlineError(httpcore2.TimeoutException):
    """The exchange took longer than it may, although single bytes may still arrive."""


class Deadline:
    """Until when an exchange may go on, and whether its outcome is still needed."""

    def __init__(self, bounds: Bounds, is_abandoned: Event) -> None:
        self._bounds = bounds
        self._is_abandoned = is_abandoned
        self._ends = monotonic() + bounds.exchange_seconds
        self._new_bytes = 0

    def seconds_left(self) -> float:
        """Return more than 0; raises DeadlineError at the deadline, VendorUnavailable once the read has ended."""
        if self._is_abandoned.is_set():
            raise VendorUnavailable("The read was given up.")
        left = self._ends - monotonic()
        if left <= 0:
            raise DeadlineError
        return left

    def record_progress(self, size: int) -> None:
        """Extend the deadline with every `progress_bytes` of a body that have arrived."""
        self._new_bytes += size
        if self._new_bytes >= self._bounds.progress_bytes:
            self._new_bytes = 0
            self._ends = max(self._ends, monotonic() + self._bounds.progress_seconds)

    def shorten(self, seconds: float) -> None:
        """Let the exchange end within `seconds`, if it does not end sooner."""
        self._ends = min(self._ends, monotonic() + seconds)


# Each thread has one exchange at a time, and the connection it gets from the pool may be older.
DEADLINE: ContextVar[Deadline] = ContextVar("DEADLINE")
