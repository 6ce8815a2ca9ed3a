"""Ona's total of runtime in a range: a second figure that can confirm a day but never refute it.

The vendor does not say whether the total counts by the stop of a run or by the time within the range, nor whether
running environments count. Nothing is assumed: only a total that agrees proves something.
"""

from typing import Annotated, Any

import msgspec

from sync.errors import LeaseLost, SyncError
from sync.http import VendorHTTP
from sync.vendors.base import Comparison, Page
from sync.vendors.decoding import INVALID_JSON
from sync.vendors.ona.connect import RUNTIME
from sync.vendors.ona.instants import build_date_range
from usage.days import Day
from usage.models import Verification

MICROSECONDS = 1_000_000
TOLERANCE_SECONDS = 1  # for a day: the vendor's figure has no fractions
MAX_REASON_LENGTH = 300

# int64 in protobuf's JSON: a string, or a number.
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,19}\Z")]


class RuntimeAnswer(msgspec.Struct, rename="camel"):
    """The vendor's answer. Protobuf's JSON leaves out zero, but a figure that is missing confirms nothing."""

    total_runtime_seconds: Seconds | None = None


decode_total = msgspec.json.Decoder(RuntimeAnswer).decode


class RuntimeSum:
    """The sum of the runtimes of one read, stop minus creation, and why it may be incomplete."""

    def __init__(self) -> None:
        self.microseconds = 0
        self.records = 0
        self.without_start = 0
        self.rejected = 0

    def add(self, page: Page) -> None:
        for row in page.rows:
            created_at, stopped_at = row[6], row[7]
            if created_at is None:
                self.without_start += 1
                continue
            runtime = stopped_at - created_at
            self.microseconds += (runtime.days * 86_400 + runtime.seconds) * MICROSECONDS + runtime.microseconds
        self.records += len(page.rows)
        self.rejected += len(page.rejected)

    @property
    def text(self) -> str:
        """The sum in seconds, with all its digits."""
        seconds, microseconds = divmod(self.microseconds, MICROSECONDS)
        return f"{seconds}.{microseconds:06d}"

    @property
    def gap(self) -> str:
        """Why the sum is incomplete, "" where it is complete."""
        if self.rejected:
            return f"{self.rejected} records were rejected."
        if self.without_start:
            return f"{self.without_start} of {self.records} records have no createdAt."
        return ""

    def equals(self, seconds: int) -> bool:
        """Return whether the vendor's total is the same, but for its rounding."""
        return abs(seconds * MICROSECONDS - self.microseconds) <= TOLERANCE_SECONDS * MICROSECONDS


def compare_runtime(http: VendorHTTP, day: Day, total: RuntimeSum, gap: str) -> Comparison:
    """Request the vendor's total of `day` once; verified where the complete sum of the runs read, `total`, equals it.

    `gap`: why the sum is incomplete, beside the reasons in `total.gap`. Any other answer of the vendor, or
    none, is stored with the day and changes nothing. Raises only LeaseLost.
    """
    seconds, reason = None, gap or total.gap
    try:
        seconds = parse_seconds(http, http.post_once(RUNTIME, encode_request(day)))
    except LeaseLost:
        raise
    except SyncError as error:
        reason = error.reason[:MAX_REASON_LENGTH]
    agrees = seconds is not None and not reason and total.equals(seconds)
    witness: dict[str, Any] = {
        "endpoint": RUNTIME.rpartition("/")[2],
        "vendor": None if seconds is None else str(seconds),
        "portal": total.text,
        "unit": "seconds",
        "agrees": agrees,
    }
    if reason:
        witness["reason"] = reason
    return Comparison(Verification.VERIFIED if agrees else Verification.NONE, [], witness)


def parse_seconds(http: VendorHTTP, body: bytes) -> int:
    """Return the total in an answer; raises InvalidResponse where it has none."""
    try:
        seconds = decode_total(body).total_runtime_seconds
    except INVALID_JSON as error:
        raise http.build_invalid_response(f"Ona's answer is not a total of runtime: {error}.", body) from None
    if seconds is None:
        raise http.build_invalid_response("Ona's answer holds no totalRuntimeSeconds.", body)
    return int(seconds)


def encode_request(day: Day) -> bytes:
    """Return the body that requests the runtime of a half-open range."""
    return msgspec.json.encode({"dateRange": build_date_range(day)})
