"""Retry-After: the wait that a vendor requests, and the longest wait that the portal accepts."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from sync.errors import LONGEST_RETRY_AFTER

NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)
# A number is an instant where it lies about now, as seconds or milliseconds since 1970; as a wait it would be decades.
EPOCH_UNITS = (1, 1000)
LONGEST_PAST = timedelta(days=1).total_seconds()
LONGEST_FUTURE = timedelta(days=366).total_seconds()


def parse_retry_after(header: str, now: datetime | None = None) -> float:
    """Return the wait of the header in seconds from `now`, from 0 to LONGEST_RETRY_AFTER.

    It may be seconds, also with a fraction, or a date in any of the three forms of HTTP (RFC 9110, 5.6.7 and
    10.2.3), or an instant as seconds or milliseconds since 1970, which some vendors send. Raises ValueError for
    anything else.
    """
    now = now or datetime.now(UTC)
    text = header.strip()
    wait = parse_number(text, now.timestamp()) if NUMBER.fullmatch(text) else parse_date(text, now)
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER)


def parse_number(text: str, now: float) -> float:
    """Return the seconds to wait; `now` is in seconds since 1970."""
    number = float(text)  # Infinity where it has hundreds of digits.
    for unit in EPOCH_UNITS:
        wait = number / unit - now
        if -LONGEST_PAST <= wait <= LONGEST_FUTURE:
            return wait
    return number


def parse_date(text: str, now: datetime) -> float:
    """Return the seconds until a date; raises ValueError where it is none."""
    try:
        until = parsedate_to_datetime(text)
        # The asctime form names no zone; all three are in UTC.
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return (until - now).total_seconds()
    except (OverflowError, IndexError, TypeError) as error:
        raise ValueError("This is no date.") from error
