"""Failures of a request to a vendor as errors with a code and a sentence, without the credential."""

import random
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpcore2
import msgspec

from sync.errors import ErrorCode
from sync.http.bounds import Bounds
from sync.http.deadline import DeadlineError

MAX_MESSAGE_LENGTH = 300
MAX_EXCERPT_LENGTH = 60
# The fields in which errors of JSON APIs give their reason.
MESSAGE_FIELDS = ("message", "error", "detail", "errors", "exception", "title")
Exceptions = type[BaseException] | tuple[type[BaseException], ...]
FAILURES: tuple[tuple[Exceptions, ErrorCode, str], ...] = (
    (socket.gaierror, ErrorCode.HOST_NOT_FOUND, "The name {host} could not be resolved (DNS)."),
    (ConnectionRefusedError, ErrorCode.CONNECTION_REFUSED, "{host} refused the connection: nothing listens there."),
    (
        ssl.SSLError,
        ErrorCode.TLS_FAILED,
        "No TLS connection to {host} came about: it may not speak TLS, or another version of it.",
    ),
    (
        DeadlineError,
        ErrorCode.RESPONSE_TIMEOUT,
        "{host} sent its answer too slowly: it was not there after {deadline:g} seconds.",
    ),
    (httpcore2.ConnectTimeout, ErrorCode.CONNECT_TIMEOUT, "{host} could not be reached in time."),
    (httpcore2.TimeoutException, ErrorCode.RESPONSE_TIMEOUT, "{host} did not answer within {timeout:g} seconds."),
    (
        httpcore2.ProxyError,
        ErrorCode.PROXY_FAILED,
        "The proxy on the way to {host} did not let the request through.",
    ),
    (
        (ConnectionError, httpcore2.RemoteProtocolError),
        ErrorCode.CONNECTION_BROKEN,
        "{host} broke off the connection before its answer was complete.",
    ),
)
# The faults of certificates by OpenSSL's numbers.
CERTIFICATES = {
    9: "not valid yet, or the clock of this machine is wrong",
    10: "expired",
    18: "self-signed, so no authority vouches for it",
    19: "self-signed, so no authority vouches for it",
    20: "signed by nobody whom this machine trusts",
    21: "signed by nobody whom this machine trusts",
    62: "that of another host",
    64: "that of another host",
}
CERTIFICATE_CODES = {
    10: ErrorCode.CERTIFICATE_EXPIRED,
    62: ErrorCode.CERTIFICATE_OTHER_HOST,
    64: ErrorCode.CERTIFICATE_OTHER_HOST,
}
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


class Failure(NamedTuple):
    """Why a request got no complete answer, and whether another attempt may help."""

    code: ErrorCode
    reason: str
    is_retryable: bool = True


class Secret:
    """A credential that keeps itself out of texts; its own `repr` shows nothing."""

    def __init__(self, authorization: str) -> None:
        self.authorization = authorization
        key = authorization.partition(" ")[2].strip() or authorization
        forms = [re.escape(form) for form in (authorization, key, quote(key, safe="")) if form]
        self._forms = re.compile("|".join(forms) or r"(?!)", re.IGNORECASE)

    def __repr__(self) -> str:
        return "Secret(…)"

    def redact(self, text: str) -> str:
        """Return `text` with `[credential]` for every appearance of the credential, also percent-encoded."""
        return self._forms.sub("[credential]", text)


def iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what led to it, the outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def describe_failure(error: Exception, host: str, bounds: Bounds) -> Failure:
    """Return what the exception of a connection means."""
    for cause in iterate_causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault = CERTIFICATES.get(cause.verify_code, cause.verify_message)
            code = CERTIFICATE_CODES.get(cause.verify_code, ErrorCode.CERTIFICATE_UNTRUSTED)
            return Failure(code, f"The TLS certificate of {host} is not to be trusted: {fault}.", is_retryable=False)
        for exceptions, code, sentence in FAILURES:
            if isinstance(cause, exceptions):
                reason = sentence.format(host=host, timeout=bounds.timeout, deadline=bounds.exchange_seconds)
                return Failure(code, reason)
    return Failure(ErrorCode.CONNECTION_BROKEN, f"The connection to {host} failed ({type(error).__name__}).")


def describe_body(body: bytes, content_type: str) -> str:
    """Return the vendor's own message in an error's `body`, on one line and short; "" where there is none."""
    try:
        message = find_message(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_html = "html" in content_type or b"<" in body[:1024]
        message = "" if is_html else body[: 4 * MAX_MESSAGE_LENGTH].decode(errors="replace")
    message = UNPRINTABLE.sub(" ", message).strip()
    return message if len(message) <= MAX_MESSAGE_LENGTH else f"{message[:MAX_MESSAGE_LENGTH].rstrip()}…"


def find_message(content: Any) -> str:
    """Return the first text in a JSON error that gives its reason; "" where none does."""
    match content:
        case str():
            return content
        case [first, *_]:
            return find_message(first)
        case dict():
            return next(filter(None, (find_message(content.get(name)) for name in MESSAGE_FIELDS)), "")
    return ""


def format_header(value: str) -> str:
    """Return the beginning of a header's value, printable, for a log."""
    printable = "".join(char if char.isprintable() else "\ufffd" for char in value[: MAX_EXCERPT_LENGTH + 1])
    return printable if len(printable) <= MAX_EXCERPT_LENGTH else f"{printable[:MAX_EXCERPT_LENGTH]}…"


def add_jitter(seconds: float) -> float:
    """Return `seconds` and a little more, so that workers with the same wait come back one after another."""
    return seconds + random.uniform(0, 0.5)  # noqa: S311 - not a secret
