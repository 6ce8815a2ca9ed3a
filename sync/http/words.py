"""What went wrong on the way to a vendor, in words for people and without the credential."""

import random
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

LONGEST_MESSAGE = 300
# The fields that errors of JSON APIs give their reason in.
SPEAKING = ("message", "error", "detail", "errors", "exception", "title")
FAILURES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (socket.gaierror, "The name {host} could not be resolved (DNS)."),
    (ConnectionRefusedError, "{host} refused the connection: nothing listens there."),
    (ssl.SSLError, "No TLS connection to {host} came about: it may not speak TLS, or another version of it."),
    (httpx2.ConnectTimeout, "{host} could not be reached in time."),
    (httpx2.TimeoutException, "{host} did not answer within {timeout:g} seconds."),
    (httpx2.ProxyError, "The proxy on the way to {host} did not let the request through."),
    (
        (ConnectionError, httpx2.RemoteProtocolError),
        "{host} broke off the connection before its answer was complete.",
    ),
)
# What is wrong with a certificate, by OpenSSL's number for it.
CERTIFICATES = {
    9: "not valid yet, or the clock of this machine is wrong",
    10: "expired",
    18: "self-signed, so nobody vouches for it",
    19: "self-signed, so nobody vouches for it",
    20: "signed by nobody whom this machine trusts",
    21: "signed by nobody whom this machine trusts",
    62: "that of another host",
    64: "that of another host",
}
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


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
        """Return `text` with every appearance of the credential, also percent-encoded, blotted out."""
        return self._forms.sub("[credential]", text)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what led to it, the outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def of_failure(error: httpx2.HTTPError, host: str, timeout: float) -> tuple[str, bool]:
    """Return a sentence for a request that got no whole answer, and whether trying again may help."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = CERTIFICATES.get(cause.verify_code, cause.verify_message)
            return f"The TLS certificate of {host} is not to be trusted: {why}.", False
        for kind, sentence in FAILURES:
            if isinstance(cause, kind):
                return sentence.format(host=host, timeout=timeout), True
    return f"The connection to {host} failed ({type(error).__name__}).", True


def of_answer(body: bytes, content_type: str) -> str:
    """Return the vendor's own message in an error's `body`, on one line and short; "" where there is none."""
    try:
        message = spoken(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = "" if "html" in content_type or b"<" in body[:1024] else decoded(body)
    message = UNPRINTABLE.sub(" ", message).strip()
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE].rstrip()}…"


def spoken(found: Any) -> str:
    """Return the first text in a JSON error that gives its reason; "" where none does."""
    match found:
        case str():
            return found
        case [first, *_]:
            return spoken(first)
        case dict():
            return next(filter(None, (spoken(found.get(name)) for name in SPEAKING)), "")
    return ""


def decoded(body: bytes) -> str:
    """Return `body` as text, whatever it is."""
    return body[: 4 * LONGEST_MESSAGE].decode(errors="replace")


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After `header` asks to wait (RFC 9110, 10.2.3), if it does."""
    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def jittered(seconds: float) -> float:
    """Return `seconds` and a little more: workers told to wait equally long come back one by one."""
    return seconds + random.uniform(0, 0.5)  # noqa: S311 - not a secret
