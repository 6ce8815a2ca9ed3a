"""A vendor's connection: requests that are bounded, retried and counted, and go nowhere else."""

import ssl
import threading
import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import stamina

from sync.errors import AuthenticationRefused, HostNotAllowed, RequestRefused, VendorUnavailable, WrongShape
from sync.http import address, body, words
from sync.http.bounds import Bounds, HTTPStats, Limiter

CONNECT_SECONDS = 10.0
AT_ONCE = 4  # requests in the background
RENEW_SECONDS = 1.0
REDIRECTS = 3
RETRIED = frozenset({408, 425, 429})
KEEPING_METHOD = frozenset({307, 308})
REDIRECTING = KEEPING_METHOD | {301, 302, 303}


class Unanswered(VendorUnavailable):
    """One attempt that failed; `again` tells whether another may help."""

    def __init__(self, reason: str, *, retry_after: float | None = None, again: bool = True) -> None:
        super().__init__(reason, retry_after=retry_after)
        self.again = again


class VendorHTTP:
    """One read's connection to one vendor; a context manager, closed at the end of the read.

    `authorization` is the whole value of the Authorization header; it is kept out of `repr`, logs and errors.
    `hosts` are the vendor's own; `allowed_hosts` are those that the settings add (`host` or `host:port`), the
    only ones that may be spoken to without TLS. `before_request` is called before every request, retries
    included, and what it raises passes through. Raises HostNotAllowed where `base_url` leads elsewhere, and
    AuthenticationRefused where the credential cannot be sent.
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
            raise AuthenticationRefused("The credential holds characters that no header can carry.")
        self.base = address.checked_base(base_url, hosts, allowed_hosts)
        self.host = self.base.netloc.decode()
        self.bounds = bounds or Bounds.from_settings()
        self.stats = HTTPStats()
        self._secret = words.Secret(authorization)
        self._limiter = limiter
        self._before_request = before_request
        self._owner = threading.get_ident()
        self._ahead: ThreadPoolExecutor | None = None
        self._urls: dict[str, httpx2.URL] = {}
        headers = {
            "Host": self.host,
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": authorization,
        }
        # Made once: a large part of what a request costs is making its headers.
        self._headers = {
            "GET": httpx2.Headers(headers),
            "POST": httpx2.Headers(headers | {"Content-Type": "application/json"}),
        }
        self._client = httpx2.Client(
            verify=tls(),
            timeout=httpx2.Timeout(self.bounds.timeout, connect=min(CONNECT_SECONDS, self.bounds.timeout)),
            limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
        )

    def __repr__(self) -> str:
        return f"VendorHTTP({str(self.base)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go; requests in the background are not waited for."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> bytes:
        """Return the body of the answer to `GET {base_url}{path}`.

        Raises VendorUnavailable once every attempt failed, AuthenticationRefused on 401 and 403,
        RequestRefused on any other 4xx, HostNotAllowed on a redirect to elsewhere, WrongShape on an answer
        that is too large, and whatever the limiter and `before_request` raise.
        """
        url = self._url(path)
        return self._answer("GET", url.copy_merge_params(params) if params else url, b"")

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer to `POST {base_url}{path}` with JSON `body`; raises as `get`."""
        return self._answer("POST", self._url(path), body)

    def post_ahead(self, path: str, body: bytes) -> Callable[[], bytes]:
        """Begin a `post` in the background, AT_ONCE of them at most; returns what waits for its outcome.

        Beginning and waiting belong to the thread that made this object: `before_request` is called there.
        """
        self._renew()
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="vendor-http")
        asked = self._ahead.submit(self.post, path, body)
        return lambda: self._outcome(asked)

    def redact(self, text: str) -> str:
        """Return `text` without the credential, for whoever keeps or shows what a vendor sent."""
        return self._secret.redact(text)

    def wrong_shape(self, reason: str, answer: bytes) -> WrongShape:
        """Return the error of an `answer` that is not what the contract promises, with its beginning."""
        # Text columns of PostgreSQL cannot hold NUL.
        excerpt = answer[:4000].decode(errors="replace").replace("\x00", "\ufffd")
        return WrongShape(self.redact(reason), payload=self.redact(excerpt))

    def _outcome(self, asked: Future[bytes]) -> bytes:
        while not wait([asked], timeout=RENEW_SECONDS).done:
            self._renew()
        return asked.result()

    def _renew(self) -> None:
        """Call `before_request`, but from its own thread only: a lease is renewed over that thread's connection."""
        if self._before_request and threading.get_ident() == self._owner:
            self._before_request()

    def _url(self, path: str) -> httpx2.URL:
        if path not in self._urls:
            self._urls[path] = httpx2.URL(f"{self.base}{path}")
        return self._urls[path]

    def _answer(self, method: str, url: httpx2.URL, content: bytes) -> bytes:
        """Ask until there is an answer, a reason not to ask again, or no attempt left."""
        deadline = time.monotonic() + self.bounds.total_seconds
        try:
            return self._attempt(method, url, content, deadline)
        except Unanswered as failure:
            # Retrying is prepared only now: nearly every request is answered at once, and it costs a tenth of one.
            first = failure
        return self._again(first, method, url, content, deadline)

    def _again(self, first: Unanswered, method: str, url: httpx2.URL, content: bytes, deadline: float) -> bytes:
        """Ask again after the failure of the first attempt, which counts as one."""
        attempts = 1
        try:
            for attempt in stamina.retry_context(
                self._wait_before_next,
                attempts=self.bounds.attempts,
                timeout=max(deadline - time.monotonic(), 0.001),
                wait_initial=0.2,
                wait_max=15.0,
            ):
                with attempt:
                    attempts = attempt.num
                    if attempts == 1:
                        raise first
                    self.stats.add(retries=1)
                    return self._attempt(method, url, content, deadline)
        except Unanswered as failure:
            often = f" Gave up after {attempts} attempts." if attempts > 1 else ""
            raise VendorUnavailable(failure.reason + often, retry_after=failure.retry_after) from None
        raise AssertionError("stamina ends with an answer or an error")

    def _wait_before_next(self, error: Exception) -> bool | float:
        """Tell stamina whether to ask again, and after how many seconds where the vendor said so."""
        if not isinstance(error, Unanswered) or not error.again:
            return False
        if error.retry_after is None:
            return True
        return error.retry_after <= self.bounds.longest_wait and words.jittered(error.retry_after)

    def _attempt(self, method: str, url: httpx2.URL, content: bytes, deadline: float) -> bytes:
        """Send one request, and follow redirects within the vendor's own address."""
        for _ in range(REDIRECTS + 1):
            response, answer = self._send(method, url, content, deadline)
            if response.status_code not in REDIRECTING:
                return self._judged(response, answer)
            url = self._redirected(method, url, response)
        raise RequestRefused(f"{self.host} redirected the request more than {REDIRECTS} times.")

    def _send(self, method: str, url: httpx2.URL, content: bytes, deadline: float) -> tuple[httpx2.Response, bytes]:
        """Return one answer and its body, read within the bounds."""
        self._renew()
        if self._limiter:
            self._limiter.acquire()
        self.stats.add(requests=1)
        request = httpx2.Request(method, url, headers=self._headers[method], content=content or None)
        try:
            response = self._client.send(request, stream=True)
            try:
                answer, size = body.read(response, self.bounds.max_bytes, deadline)
            finally:
                response.close()
            if response.is_success:  # any other answer says all there is to say by its status
                body.must_be_whole(answer, response.headers.get("content-type", ""))
        except body.CutError as cut:
            raise Unanswered(f"{self.host} {cut}.") from None
        except httpx2.HTTPError as error:
            reason, again = words.of_failure(error, self.host, self.bounds.timeout)
            raise Unanswered(self.redact(reason), again=again) from None
        self.stats.add(bytes=size)
        return response, answer

    def _judged(self, response: httpx2.Response, answer: bytes) -> bytes:
        """Return the `answer` of a success; raise what any other status means."""
        status = response.status_code
        if 200 <= status < 300:
            return answer
        said = self.redact(words.of_answer(answer, response.headers.get("content-type", "")))
        told = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status == 401:
            raise AuthenticationRefused(f"{self.host} does not accept the credential ({told}).")
        if status == 403:
            raise AuthenticationRefused(f"The credential may not read this at {self.host} ({told}).")
        if status in RETRIED or status >= 500:
            wait = words.retry_after(response.headers.get("retry-after"))
            why = "asks for fewer requests" if status == 429 else "cannot answer now"
            raise Unanswered(f"{self.host} {why} ({told}).", retry_after=wait)
        raise RequestRefused(f"{self.host} refused the request ({told}).")

    def _redirected(self, method: str, url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
        """Return where a redirect leads, which is the same scheme, host and port or nowhere."""
        status = response.status_code
        try:
            target = url.join(response.headers.get("location", ""))
        except httpx2.InvalidURL:
            raise RequestRefused(f"{self.host} redirected the request to nowhere.") from None
        if address.origin(target) != address.origin(self.base):
            raise HostNotAllowed(self.redact(f"{self.host} redirects to {target.host}: not followed."))
        if method != "GET" and status not in KEEPING_METHOD:
            raise RequestRefused(f"{self.host} redirects (HTTP {status}); is the base URL right?")
        return target


@cache
def tls() -> ssl.SSLContext:
    """Return the one TLS context of this process: making one costs more than many requests."""
    return httpx2.create_ssl_context()


@cache
def user_agent() -> str:
    """Return how the portal introduces itself: `usage-portal/<version>`."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return f"{project['name']}/{project['version']}"
