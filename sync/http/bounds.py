"""How much talking to a vendor may cost, and what it did cost."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, Self


class Limiter(Protocol):
    """What is asked before every request; `sync.limiter.SourceLimiter` is the real one."""

    def acquire(self) -> None:
        """Wait until a request may be made; raise PutOff where that takes longer than a worker may wait."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one request may cost.

    `timeout`: seconds without a byte from the vendor; `max_bytes`: of one body, unpacked; `attempts`: of one
    request, the first included; `longest_wait`: the longest Retry-After, in seconds, that a worker sleeps
    for; `total_seconds`: after which no further attempt begins and no body is read on.
    """

    timeout: float = 45.0
    max_bytes: int = 64 * 1024 * 1024
    attempts: int = 6
    longest_wait: float = 30.0
    total_seconds: float = 120.0

    @classmethod
    def from_settings(cls) -> Self:
        """Return the bounds that the PORTAL_HTTP_… settings give."""
        from django.conf import settings

        return cls(
            timeout=settings.PORTAL_HTTP_TIMEOUT_SECONDS,
            max_bytes=settings.PORTAL_HTTP_MAX_BYTES,
            attempts=settings.PORTAL_HTTP_ATTEMPTS,
        )


@dataclass(slots=True)
class HTTPStats:
    """What was spent: requests sent, retries among them, bytes of bodies as they travelled."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, requests: int = 0, retries: int = 0, bytes: int = 0) -> None:  # noqa: A002 - the column's name
        """Count what one of several threads spent."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes += bytes
