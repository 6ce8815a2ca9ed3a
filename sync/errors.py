"""Errors of a read: a code that the portal acts on, and a sentence for people without any secret.

The sentence says what happened, with its figures. What a person can do about it belongs to the code and is in
`sync.messages`. Nothing parses a sentence.
"""

import enum
import math
import re
from datetime import timedelta
from typing import ClassVar

LONGEST_RETRY_AFTER = timedelta(hours=6).total_seconds()
# A reason is stored with every day, attempt and run that it ends.
LONGEST_REASON = 2000
LONGEST_PAYLOAD = 2000
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ErrorCode(enum.StrEnum):
    """What kind of failure it is. Stored with days, attempts, runs and halted sources; 40 characters at most."""

    # The way to the vendor.
    HOST_NOT_FOUND = "host_not_found"
    CONNECTION_REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    RESPONSE_TIMEOUT = "response_timeout"
    CONNECTION_BROKEN = "connection_broken"
    PROXY_FAILED = "proxy_failed"
    TLS_FAILED = "tls_failed"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_OTHER_HOST = "certificate_other_host"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    # What the vendor answers.
    VENDOR_UNAVAILABLE = "vendor_unavailable"
    RATE_LIMITED = "rate_limited"
    CREDENTIAL_REJECTED = "credential_rejected"
    PERMISSION_MISSING = "permission_missing"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    REQUEST_REJECTED = "request_rejected"
    REDIRECTED = "redirected"
    INVALID_RESPONSE = "invalid_response"
    LISTING_CHANGED = "listing_changed"
    TIME_ZONE_MISMATCH = "time_zone_mismatch"
    # How the source is set up.
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_LOCKED = "credential_locked"
    VARIABLE_NOT_ALLOWED = "variable_not_allowed"
    HOST_NOT_ALLOWED = "host_not_allowed"
    BASE_URL_INVALID = "base_url_invalid"
    OPTIONS_INVALID = "options_invalid"
    VENDOR_UNKNOWN = "vendor_unknown"
    TIME_ZONE_UNKNOWN = "time_zone_unknown"
    # What the portal makes of a read.
    RECORDS_REJECTED = "records_rejected"
    MEASURES_MISSING = "measures_missing"
    SUSPECT = "suspect"
    RATE_EXHAUSTED = "rate_exhausted"
    # The portal itself.
    LIMITER_UNAVAILABLE = "limiter_unavailable"
    LEASE_LOST = "lease_lost"
    SCHEMA_DIFFERS = "schema_differs"
    SPOOL_FAILED = "spool_failed"
    UNEXPECTED = "unexpected"
    # A request of a person.
    REQUEST_INVALID = "request_invalid"
    CANCELLED = "cancelled"


def clean_reason(reason: str) -> str:
    """Return a reason as the database and the log can store it: bounded, no NUL, no lone surrogate, never empty."""
    text = reason[: LONGEST_REASON + 1]
    text = UNSTORABLE.sub("\ufffd", text).strip()
    if len(text) > LONGEST_REASON:
        return f"{text[:LONGEST_REASON]}… (cut, of {len(reason)} characters)"
    return text or "No reason was given."


def bound_wait(seconds: float | None) -> float | None:
    """Return `seconds` from 0 to LONGEST_RETRY_AFTER, so that an instant can be computed; None for NaN."""
    if seconds is None:
        return None
    # Bounded first: an integer of 400 digits does not fit a float.
    wait = min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
    return None if math.isnan(wait) else wait


class SyncError(Exception):
    """A read that failed; the day is tried again later, with back-off.

    `code`: by default that of the class. `retry_after`: the seconds to wait at least, bounded from 0 to
    LONGEST_RETRY_AFTER. `payload`: the beginning of an answer that could not be read, for the person who examines it.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.REQUEST_INVALID

    def __init__(
        self, reason: str, *, code: ErrorCode | None = None, retry_after: float | None = None, payload: str = ""
    ) -> None:
        self.reason = clean_reason(reason)
        super().__init__(self.reason)
        self.code = code or self.default_code
        self.retry_after = bound_wait(retry_after)
        self.payload = payload[:LONGEST_PAYLOAD]


class VendorUnavailable(SyncError):
    """The vendor did not answer, or kept answering 429 or 5xx, through every retry.

    `retry_after`: the last Retry-After of the vendor in seconds, if any.
    """

    default_code = ErrorCode.VENDOR_UNAVAILABLE


class InvalidResponse(SyncError):
    """An answer that is not what the contract promises: wrong JSON, a repeated page token, too few rows."""

    default_code = ErrorCode.INVALID_RESPONSE


class RequestRejected(SyncError):
    """The vendor answered 4xx (not 401, 403, 429): the same request will not succeed soon."""

    default_code = ErrorCode.REQUEST_REJECTED


class CredentialError(SyncError):
    """401 or 403, or no usable credential: the source stops until a person corrects it."""

    default_code = ErrorCode.CREDENTIAL_REJECTED


class SourceMisconfigured(SyncError):
    """The source cannot be read as it is set up: it stops until a person changes that."""

    default_code = ErrorCode.OPTIONS_INVALID


class OptionsError(SyncError):
    """A vendor's own option is not allowed; `option` is "" where the problem does not lie with a single option."""

    default_code = ErrorCode.OPTIONS_INVALID

    def __init__(self, vendor: str, option: str, problem: str) -> None:
        self.option = option
        self.problem = problem
        super().__init__(f"Options of {vendor}: {f'{option}: ' if option else ''}{problem}")


class HostNotAllowed(SyncError):
    """A request would have gone to a host that is neither the vendor's own nor allowed by the settings."""

    default_code = ErrorCode.HOST_NOT_ALLOWED


class ListingChanged(SyncError):
    """The listing changed while it was paged through, so the read starts over."""

    default_code = ErrorCode.LISTING_CHANGED


class ReadDeferred(SyncError):
    """The source's request rate is used up for longer than a worker may wait: no failure, only later.

    The code LIMITER_UNAVAILABLE means that the rate could not be checked, which is logged as a warning; SCHEMA_DIFFERS
    that the portal was upgraded meanwhile.
    """

    default_code = ErrorCode.RATE_EXHAUSTED


class LeaseLost(SyncError):
    """Another worker has taken the day over; this worker must change nothing."""

    default_code = ErrorCode.LEASE_LOST


class SpoolError(SyncError):
    """The local file in which a read waits for its merge could not be written or read, for example on a full disk."""

    default_code = ErrorCode.SPOOL_FAILED

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The worker cannot use its temporary file ({error.strerror or type(error).__name__}): nothing of the "
            "day was changed. Free space where temporary files are kept (TMPDIR)."
        )
