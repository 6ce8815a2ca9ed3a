"""Bounds of requests to a vendor, and what they cost."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, Self


class Limiter(Protocol):
    """Called before every request; `sync.limiter.SourceLimiter` implements it."""

    def acquire(self) -> None:
        """Wait until a request may be made; raise ReadDeferred where that takes longer than a worker may wait."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one request may cost.

    `timeout`: seconds without a byte from the vendor. `max_bytes`: of one body, unpacked. `attempts`: of one
    request, the first included. `longest_wait`: the longest Retry-After, in seconds, that a worker sleeps for.
    `total_seconds`: after which no further attempt begins.

    `exchange_seconds` is the one deadline of an attempt: name, connection, TLS, request, headers and body. Only
    a body that moves may go on after it: every `progress_bytes` of it, as they travel, allow `progress_seconds`
    more. So a slow vendor may take as long as it likes for a large day if it sends 256 KiB a minute (4.4 KB/s),
    and a body of the default `max_bytes`, not packed, ends after less than five hours at the latest.

    `error_bytes` and `error_seconds` bound the body of an error, which is only read for its message.
    """

    timeout: float = 45.0
    max_bytes: int = 64 * 1024 * 1024
    attempts: int = 6
    longest_wait: float = 30.0
    total_seconds: float = 120.0
    exchange_seconds: float = 90.0
    progress_bytes: int = 256 * 1024
    progress_seconds: float = 60.0
    error_bytes: int = 64 * 1024
    error_seconds: float = 5.0

    @classmethod
    def from_settings(cls) -> Self:
        """Return the bounds of the PORTAL_HTTP_… settings."""
        from django.conf import settings

        return cls(
            timeout=settings.PORTAL_HTTP_TIMEOUT_SECONDS,
            max_bytes=settings.PORTAL_HTTP_MAX_BYTES,
            attempts=settings.PORTAL_HTTP_ATTEMPTS,
            exchange_seconds=2 * settings.PORTAL_HTTP_TIMEOUT_SECONDS,
        )


@dataclass(slots=True)
class HTTPStats:
    """Requests sent, retries among them, and bytes of bodies as they travelled."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, requests: int = 0, retries: int = 0, bytes: int = 0) -> None:  # noqa: A002 - the column's name
        """Add the costs of a thread."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes += bytes
