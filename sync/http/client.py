"""The HTTP client of a read: requests to one vendor, bounded, retried and counted."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import httpx2
import structlog

from sync.errors import CredentialError, ErrorCode, HostNotAllowed, InvalidResponse, RequestRejected, VendorUnavailable
from sync.http import address, errors
from sync.http.background import BackgroundThreads
from sync.http.bounds import Bounds, HTTPStats, Limiter
from sync.http.exchange import (
    MAX_CONCURRENT,
    METHOD_KEEPING_REDIRECTS,
    REDIRECTS,
    AttemptFailed,
    VendorConnections,
    VendorResponse,
)
from sync.http.retry_after import parse_retry_after
from sync.tracing import annotate_span, open_span

logger = structlog.get_logger(__name__)

RENEW_SECONDS = 1.0
MAX_REDIRECTS = 3
RETRIED_STATUSES = frozenset({408, 425, 429})


class VendorHTTP:
    """One read's connection to one vendor; a context manager, closed at the end of the read.

    Requests run in background threads, so that the thread that made this object can renew its lease whatever they
    wait for: a name, a connection, a slow body, their turn, or the time of a Retry-After.

    `authorization` is the value of the Authorization header; it is never in `repr`, logs and errors.
    `hosts` are the vendor's own; `allowed_hosts` are those that the settings add (`host` or `host:port`), the
    only hosts that may be contacted without TLS. `before_request` is called before every request and every second
    until its answer is there, by the thread that made this object only; what it raises passes through, and closing
    then ends all requests that are under way. Raises HostNotAllowed where `base_url` leads elsewhere, and
    CredentialError where the credential cannot be sent.
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
        if not (authorization.isascii() and authorization.isprintable()):
            raise CredentialError(
                "The credential holds characters that no header can carry.", code=ErrorCode.CREDENTIAL_MALFORMED
            )
        self.base = address.parse_base_url(base_url, hosts, allowed_hosts)
        self.host = self.base.netloc.decode()
        self.bounds = bounds or Bounds.from_settings()
        self.stats = HTTPStats()
        self._secret = errors.Secret(authorization)
        self._limiter = limiter
        self._before_request = before_request
        self._owner = threading.get_ident()
        self._connections = VendorConnections(self.base, self._secret, self.bounds, self.stats)
        self._threads = BackgroundThreads(MAX_CONCURRENT)
        self._urls: dict[str, httpx2.URL] = {}

    def __repr__(self) -> str:
        return f"VendorHTTP({str(self.base)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections; requests that are under way end within a second and are not waited for."""
        self._connections.close()
        self._threads.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> bytes:
        """Return the body of the answer to `GET {base_url}{path}`.

        Raises VendorUnavailable once every attempt failed, CredentialError on 401 and 403,
        RequestRejected on any other 4xx, HostNotAllowed on a redirect to elsewhere, InvalidResponse on an answer
        that is too large, and whatever the limiter and `before_request` raise.
        """
        url = self._build_url(path)
        return self._wait(self._begin("GET", url.copy_merge_params(params) if params else url, b""))

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer to `POST {base_url}{path}` with JSON `body`; raises as `get`."""
        return self._wait(self._begin("POST", self._build_url(path), body))

    def post_once(self, path: str, body: bytes) -> bytes:
        """Return as `post` does, after a single attempt: for an answer that is not needed."""
        self._renew()
        return self._wait(self._threads.submit(self._attempt, "POST", self._build_url(path), body))

    def post_ahead(self, path: str, body: bytes) -> Callable[[], bytes]:
        """Begin a `post` in the background, MAX_CONCURRENT of them at most; returns a function that waits for it.

        Beginning and waiting belong to the thread that made this object: `before_request` is called there.
        """
        answer = self._begin("POST", self._build_url(path), body)
        return lambda: self._wait(answer)

    def redact(self, text: str) -> str:
        """Return `text`, which a vendor sent, without the credential."""
        return self._secret.redact(text)

    def build_invalid_response(
        self, reason: str, answer: bytes, code: ErrorCode = ErrorCode.INVALID_RESPONSE
    ) -> InvalidResponse:
        """Return the error of an `answer` that is not what the contract promises, with its beginning."""
        # Text columns of PostgreSQL cannot hold NUL.
        excerpt = answer[:4000].decode(errors="replace").replace("\x00", "\ufffd")
        return InvalidResponse(self.redact(reason), code=code, payload=self.redact(excerpt))

    def _begin(self, method: str, url: httpx2.URL, content: bytes) -> Future[bytes]:
        self._renew()
        return self._threads.submit(self._request, method, url, content)

    def _wait(self, answer: Future[bytes]) -> bytes:
        while not answer.done():
            try:
                return answer.result(timeout=RENEW_SECONDS)
            except TimeoutError:
                self._renew()
        return answer.result()

    def _renew(self) -> None:
        """Call `before_request`, but from its own thread only: a lease is renewed over that thread's connection."""
        if self._before_request and threading.get_ident() == self._owner:
            self._before_request()

    def _build_url(self, path: str) -> httpx2.URL:
        if path not in self._urls:
            self._urls[path] = httpx2.URL(f"{self.base}{path}")
        return self._urls[path]

    def _request(self, method: str, url: httpx2.URL, content: bytes) -> bytes:
        """Send the request until there is an answer, a reason to stop, or no attempt left."""
        started = time.monotonic()
        try:
            return self._attempt(method, url, content)
        except AttemptFailed as error:
            # Retrying is prepared only now: it costs a tenth of a request, and nearly every request succeeds at once.
            failure = error
        seconds_left = self.bounds.total_seconds - (time.monotonic() - started)
        return self._retry(failure, method, url, content, max(seconds_left, 0.001))

    def _retry(self, first: AttemptFailed, method: str, url: httpx2.URL, content: bytes, seconds: float) -> bytes:
        """Repeat the request for `seconds` after the failure of the first attempt, which counts."""
        import stamina  # once in a process, and not in a process that reads nothing

        attempts = 1
        try:
            for attempt in stamina.retry_context(
                self._wait_before_next,
                attempts=self.bounds.attempts,
                timeout=seconds,
                wait_initial=0.2,
                wait_max=15.0,
            ):
                with attempt:
                    attempts = attempt.num
                    if attempts == 1:
                        raise first
                    self.stats.add(retries=1)
                    return self._attempt(method, url, content)
        except AttemptFailed as failure:
            suffix = f" Gave up after {attempts} attempts." if attempts > 1 else ""
            raise VendorUnavailable(
                failure.reason + suffix, code=failure.code, retry_after=failure.retry_after
            ) from None
        raise AssertionError("stamina ends with an answer or an error")

    def _wait_before_next(self, error: Exception) -> bool | float:
        """Tell stamina whether to try again, and after how many seconds where the vendor has set that."""
        if not isinstance(error, AttemptFailed) or not error.is_retryable:
            return False
        if error.retry_after is None:
            return True
        return error.retry_after <= self.bounds.longest_wait and errors.add_jitter(error.retry_after)

    def _attempt(self, method: str, url: httpx2.URL, content: bytes) -> bytes:
        """Send one request, and follow redirects within the vendor's own address."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(method, url, content)
            if response.status not in REDIRECTS:
                return self._check_status(response)
            url = self._resolve_redirect(method, url, response)
        raise RequestRejected(
            f"{self.host} redirected the request more than {MAX_REDIRECTS} times.", code=ErrorCode.REDIRECTED
        )

    def _send(self, method: str, url: httpx2.URL, content: bytes) -> VendorResponse:
        """Return one answer, requested when it is this request's turn."""
        self._connections.check_open()
        if self._limiter:
            self._limiter.acquire()
        facts = {"http.request.method": method, "server.address": self.base.host}
        with open_span(f"{method} {self.base.host}", "CLIENT", facts):
            response = self._connections.send(method, url, content)
            annotate_span({"http.response.status_code": response.status})
        return response

    def _check_status(self, response: VendorResponse) -> bytes:
        """Return the body of a success; raises the error of any other status."""
        if response.is_success:
            return response.body
        status = response.status
        message = self.redact(errors.describe_body(response.body, response.headers.get("content-type", "")))
        detail = f"HTTP {status}: {message}" if message else f"HTTP {status}"
        if status == 401:
            raise CredentialError(f"{self.host} does not accept the credential ({detail}).")
        if status == 403:
            raise CredentialError(
                f"The credential may not read this at {self.host} ({detail}).", code=ErrorCode.PERMISSION_MISSING
            )
        if status in RETRIED_STATUSES or status >= 500:
            is_limited = status == 429
            raise AttemptFailed(
                f"{self.host} {'asks for fewer requests' if is_limited else 'cannot answer now'} ({detail}).",
                code=ErrorCode.RATE_LIMITED if is_limited else ErrorCode.VENDOR_UNAVAILABLE,
                retry_after=self._get_retry_after(response.headers),
            )
        code = ErrorCode.ENDPOINT_NOT_FOUND if status in {404, 405} else ErrorCode.REQUEST_REJECTED
        raise RequestRejected(f"{self.host} refused the request ({detail}).", code=code)

    def _get_retry_after(self, headers: httpx2.Headers) -> float | None:
        """Return the seconds of Retry-After; None where it is missing or makes no sense."""
        header = headers.get("retry-after", "").strip()
        if not header:
            return None
        try:
            return parse_retry_after(header)
        except ValueError:
            excerpt = errors.format_header(self.redact(header))
            logger.warning("Retry-After ignored: it is neither seconds nor a date", host=self.host, header=excerpt)
            return None

    def _resolve_redirect(self, method: str, url: httpx2.URL, response: VendorResponse) -> httpx2.URL:
        """Return where a redirect leads, which is the same scheme, host and port or nowhere."""
        status, code = response.status, ErrorCode.REDIRECTED
        try:
            target = url.join(response.headers.get("location", ""))
        except httpx2.InvalidURL:
            raise RequestRejected(f"{self.host} redirected the request to nowhere.", code=code) from None
        if address.get_url_origin(target) != address.get_url_origin(self.base):
            reason = self.redact(f"{self.host} redirects to {target.host}: not followed.")
            raise HostNotAllowed(reason, code=code)
        if method != "GET" and status not in METHOD_KEEPING_REDIRECTS:
            reason = f"{self.host} redirects (HTTP {status}); is the base URL right?"
            raise RequestRejected(reason, code=code)
        return target
