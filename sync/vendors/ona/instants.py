"""Instants as nanoseconds since 1970-01-01T00:00:00Z: Ona's timestamps have nine fractional digits, datetimes six."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from sync.vendors.decoding import EARLIEST, LATEST
from usage.days import Day

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = 1_000_000_000
MICROSECOND: Final = 1000
FRACTION: Final = re.compile(r"\.([0-9]{1,9})")


def to_nanoseconds(instant: datetime) -> int:
    """Return an aware instant in nanoseconds."""
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * MICROSECOND


def build_timestamp(nanoseconds: int) -> Timestamp:
    """Return an instant as protobuf has it."""
    seconds, nanos = divmod(nanoseconds, SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def build_date_range(day: Day) -> dict[str, str]:
    """Return a day as the `dateRange` of a request, which is half-open too."""
    start, end = (instant.isoformat().replace("+00:00", "Z") for instant in (day.start, day.end))
    return {"startTime": start, "endTime": end}


def floor(nanoseconds: int) -> datetime:
    """Return an instant cut to microseconds, within EARLIEST and LATEST: every zone has days to either side of them."""
    try:
        return min(max(EPOCH + timedelta(microseconds=nanoseconds // MICROSECOND), EARLIEST), LATEST)
    except OverflowError:
        return LATEST if nanoseconds > 0 else EARLIEST


def ceil(nanoseconds: int) -> datetime:
    """Return an instant rounded up to microseconds, within EARLIEST and LATEST."""
    return floor(nanoseconds + MICROSECOND - 1)


def restore_nanoseconds(text: Any, instant: datetime) -> int:
    """Return `instant` in nanoseconds, with all fractional digits of `text`, the vendor's own, if it is an instant."""
    stored = to_nanoseconds(instant)
    if not isinstance(text, str):
        return stored
    fraction = FRACTION.search(text)
    return stored if fraction is None else stored - stored % SECOND + int(fraction[1].ljust(9, "0"))
