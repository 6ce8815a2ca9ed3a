"""What a person may write for a point in time: a date, meaning its start in a zone, or an RFC 3339 instant."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from usage.days import midnight

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# The + of an offset that was not written %2B arrives as a space; nothing else could be meant by it.
INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)([Zz]|[+\- ]\d{2}:\d{2})", re.ASCII)
# The input of a form that takes the last day of a range, where a parameter takes the day after it.
THROUGH = "_through"
EXPECTED = "a date (2026-01-31) or an RFC 3339 instant with its offset (2026-01-31T08:00:00Z)"
EXPECTED_ZONE = "an IANA time zone, e.g. UTC or Europe/Berlin"


def end_after(last: str) -> str:
    """Return the end of a range whose last day is written, a day later; what is no such day as it is."""
    try:
        return (date.fromisoformat(last) + timedelta(days=1)).isoformat() if DATE.fullmatch(last) else last
    except (ValueError, OverflowError):
        return last


def last_before(end: str) -> str:
    """Return the last day of a range whose end is written as a date; what is no such day as it is."""
    try:
        return (date.fromisoformat(end) - timedelta(days=1)).isoformat() if DATE.fullmatch(end) else end
    except (ValueError, OverflowError):
        return end


def as_zone(text: str) -> ZoneInfo:
    """Return the IANA zone of that name; raises ValueError for one that does not exist."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"“{text}” is not {EXPECTED_ZONE}.") from None


def as_moment(text: str) -> date | datetime:
    """Return a date, or an aware instant in UTC (digits beyond microseconds are cut); raises ValueError."""
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
        if found := INSTANT.fullmatch(text):
            on, time, offset = found.groups()
            offset = offset.upper().replace(" ", "+")
            return datetime.fromisoformat(f"{on}T{time[:15]}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"“{text}” is not {EXPECTED}.")


def in_zone(moment: date | datetime, zone: ZoneInfo) -> datetime:
    """Return the instant that is meant: the first one of a date in `zone`; raises ValueError beyond the calendar."""
    if isinstance(moment, datetime):
        return moment
    try:
        return midnight(moment, zone)
    except OverflowError:
        raise ValueError(f"“{moment}” lies beyond the calendar in {zone.key}.") from None
