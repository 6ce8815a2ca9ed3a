"""Why a read of a vendor did not succeed; every reason is a sentence a person understands, and holds no secret."""


class SyncError(Exception):
    """A read that failed; the day is tried again later, with back-off."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class VendorUnavailable(SyncError):
    """The vendor did not answer, or kept answering 429 or 5xx, through every retry.

    `retry_after`: the seconds the vendor last asked to wait, if it did.
    """


class WrongShape(SyncError):
    """An answer that is not what the contract promises: wrong JSON, a repeated page token, too few rows.

    `payload`: the beginning of what came instead, for the person who looks into it.
    """

    def __init__(self, reason: str, *, payload: str = "") -> None:
        super().__init__(reason)
        self.payload = payload[:2000]


class RequestRefused(SyncError):
    """The vendor answered 4xx to a request (not 401, 403, 429): asking again the same way is of no use soon."""


class AuthenticationRefused(SyncError):
    """401 or 403, or no credential at hand: the source stops at once, until a person mends it."""


class HostNotAllowed(SyncError):
    """A request would have gone to a host that is neither the vendor's own nor allowed by the settings."""


class ListingShifted(SyncError):
    """The listing changed while it was paged through, so the read starts over."""


class PutOff(SyncError):
    """The source's request rate is used up for longer than a worker may wait; no failure, only later."""


class LeaseLost(SyncError):
    """Another worker has taken the day over; this one must change nothing."""
