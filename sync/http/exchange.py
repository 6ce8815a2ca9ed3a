"""One request to a vendor and its answer: bounded, under one deadline, never repeated."""

import threading
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

import httpcore2
import httpx2

from sync.errors import ErrorCode, VendorUnavailable
from sync.http import errors, network
from sync.http.body import NETWORK_ERRORS, IncompleteBody, check_complete, read_body, read_excerpt
from sync.http.bounds import Bounds, HTTPStats
from sync.http.deadline import DEADLINE, Deadline

CONNECT_SECONDS = 10.0
MAX_CONCURRENT = 4  # requests under way
METHOD_KEEPING_REDIRECTS = frozenset({307, 308})
REDIRECTS = METHOD_KEEPING_REDIRECTS | {301, 302, 303}


class AttemptFailed(VendorUnavailable):
    """One attempt that failed, and whether another may help."""

    def __init__(
        self, reason: str, *, code: ErrorCode, retry_after: float | None = None, is_retryable: bool = True
    ) -> None:
        super().__init__(reason, code=code, retry_after=retry_after)
        self.is_retryable = is_retryable


class VendorResponse(NamedTuple):
    """The answer to one request.

    `body` is decompressed: complete for a success, the beginning for an error, empty for a redirect.
    """

    status: int
    headers: httpx2.Headers
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class VendorConnections:
    """The connections of one read, which its threads share."""

    def __init__(self, base: httpx2.URL, secret: errors.Secret, bounds: Bounds, stats: HTTPStats) -> None:
        self.host = base.netloc.decode()
        self.bounds = bounds
        self.stats = stats
        self._secret = secret
        self._is_abandoned = threading.Event()
        self._exchanges = 0
        self._lock = threading.Lock()
        # Made once: a large part of what a request costs is making its headers.
        self._headers = build_headers(self.host, secret.authorization)
        timeout = bounds.timeout
        self._timeouts = {"connect": min(CONNECT_SECONDS, timeout), "read": timeout, "write": timeout}
        self._pool = network.open_pool(base, MAX_CONCURRENT)

    def close(self) -> None:
        """Release the connections; those that are in use end within a second and are not waited for."""
        self._is_abandoned.set()
        self._close_unused()

    def check_open(self) -> None:
        """Raise VendorUnavailable once the read has ended."""
        if self._is_abandoned.is_set():
            raise VendorUnavailable("The read was given up.")

    def send(self, method: str, url: httpx2.URL, content: bytes) -> VendorResponse:
        """Return one answer; raises AttemptFailed where none came complete, InvalidResponse where it is too large."""
        headers = self._headers[method]
        request = httpcore2.Request(
            method,
            network.build_url(url),
            headers=[*headers, (b"Content-Length", b"%d" % len(content))] if content else headers,
            content=content,
            extensions={"timeout": self._timeouts},
        )
        with self._exchange() as deadline:
            try:
                with closing(self._pool.handle_request(request)) as response:
                    return self._read(response, deadline)
            except IncompleteBody as error:
                raise AttemptFailed(f"{self.host} {error}.", code=ErrorCode.CONNECTION_BROKEN) from None
            except NETWORK_ERRORS as error:
                code, reason, is_retryable = errors.describe_failure(error, self.host, self.bounds)
                raise AttemptFailed(self._secret.redact(reason), code=code, is_retryable=is_retryable) from None

    def _read(self, response: httpcore2.Response, deadline: Deadline) -> VendorResponse:
        """Read as much of the body as the status makes worth reading."""
        status, headers = response.status, httpx2.Headers(response.headers)
        stream = cast("Iterable[bytes]", response.stream)
        if status in REDIRECTS:
            return VendorResponse(status, headers)
        if not 200 <= status < 300:
            return VendorResponse(status, headers, read_excerpt(stream, headers, self.bounds, deadline))
        content, size = read_body(stream, headers, self.bounds, deadline)
        check_complete(content, headers.get("content-type", ""))
        self.stats.add(bytes=size)
        return VendorResponse(status, headers, content)

    @contextmanager
    def _exchange(self) -> Iterator[Deadline]:
        """Yield the deadline of one request and its answer; raises VendorUnavailable once the read has ended."""
        deadline = Deadline(self.bounds, self._is_abandoned)
        with self._lock:
            self._exchanges += 1
        token = DEADLINE.set(deadline)
        try:
            self.check_open()
            self.stats.add(requests=1)
            yield deadline
        finally:
            DEADLINE.reset(token)
            with self._lock:
                self._exchanges -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        """Close the connections once the read has ended and no thread uses any of them."""
        # A thread that reads from a closed connection would read from the next file or socket with its number.
        with self._lock:
            is_unused = self._is_abandoned.is_set() and not self._exchanges
        if is_unused:
            self._pool.close()


def build_headers(host: str, authorization: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return the headers of every request by its method."""
    headers = {
        "Host": host,
        "User-Agent": get_user_agent(),
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Authorization": authorization,
    }
    return {
        "GET": httpx2.Headers(headers).raw,
        "POST": httpx2.Headers(headers | {"Content-Type": "application/json"}).raw,
    }


@cache
def get_user_agent() -> str:
    """Return how the portal introduces itself: `usage-portal/<version>`."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return f"{project['name']}/{project['version']}"
