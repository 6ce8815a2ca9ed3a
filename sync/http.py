"""The one way out of the portal: HTTP to a vendor, bounded, retried, rate limited and only to allowed hosts."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


class Limiter(Protocol):
    """What asks for permission before every request; sync/limiter.py has the real one."""

    def acquire(self) -> None:
        """Wait until a request may be made; raise PutOff where that takes longer than a worker may wait."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one request may cost.

    `timeout`: seconds without a byte from the vendor; `max_bytes`: of one body, unpacked; `attempts`: of one
    request, the first included; `longest_wait`: the longest Retry-After in seconds that a worker sleeps for;
    `total_seconds`: of all attempts of one request together.
    """

    timeout: float = 45.0
    max_bytes: int = 64 * 1024 * 1024
    attempts: int = 6
    longest_wait: float = 30.0
    total_seconds: float = 120.0

    @classmethod
    def from_settings(cls) -> Self:
        """Return the bounds that the PORTAL_HTTP_… settings give."""
        raise NotImplementedError


@dataclass(slots=True)
class HTTPStats:
    """What talking to the vendor cost: requests sent (retries included), retries among them, bytes received."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0


class VendorHTTP:
    """One read's connection to one vendor; a context manager, closed at the end of the read.

    `authorization` is the whole value of the Authorization header; it is kept out of `repr`, logs and errors.
    `hosts` are the vendor's own; `allowed_hosts` are those that the settings add (`host` or `host:port`), the
    only ones that may be spoken to without TLS. `before_request` is called before every request, retries
    included, and what it raises passes through.
    """

    def __init__(
        self,
        base_url: str,
        authorization: str,
        *,
        hosts: Collection[str],
        allowed_hosts: Collection[str] = (),
        bounds: Bounds | None = None,
        limiter: Limiter | None = None,
        before_request: Callable[[], None] | None = None,
    ) -> None:
        raise NotImplementedError

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> bytes:
        """Return the body of the answer to `GET {base_url}{path}`; raises the errors of sync/errors.py."""
        raise NotImplementedError

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer to the JSON `body` sent to `POST {base_url}{path}`; raises as `get`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let the connection go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
