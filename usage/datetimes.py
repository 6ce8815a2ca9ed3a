"""Dates, RFC 3339 instants and time zones as text: parsed, resolved to instants, and written as JSON has them."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from usage.days import midnight

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# The + of an offset that was not written %2B arrives as a space, which has no other meaning here.
INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)([Zz]|[+\- ]\d{2}:\d{2})", re.ASCII)
# The input of a form that takes the last day of a range, where a parameter takes the day after it.
THROUGH = "_through"
EXPECTED = "a date (2026-01-31) or an RFC 3339 instant with its offset (2026-01-31T08:00:00Z)"
EXPECTED_ZONE = "an IANA time zone, e.g. UTC or Europe/Berlin"
UTC_ZONE = ZoneInfo("UTC")


def add_day(last: str) -> str:
    """Return the text of the date after a date, the end of a range with that last day; other text as it is."""
    return move_date(last, 1)


def subtract_day(end: str) -> str:
    """Return the text of the date before a date, the last day of a range with that end; other text as it is."""
    return move_date(end, -1)


def is_date(text: str) -> bool:
    """Return whether a text is a date as an address has it: `2026-01-31`."""
    try:
        return bool(DATE.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def move_date(text: str, days: int) -> str:
    """Return the text of the date so many days after a date; other text as it is."""
    try:
        return (date.fromisoformat(text) + timedelta(days=days)).isoformat() if DATE.fullmatch(text) else text
    except (ValueError, OverflowError):
        return text


def list_zones() -> list[str]:
    """Return the time zones that a form offers."""
    return sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")


def parse_zone(text: str) -> ZoneInfo:
    """Return the IANA zone of that name; raises ValueError for one that does not exist."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"“{text}” is not {EXPECTED_ZONE}.") from None


def parse_moment(text: str) -> date | datetime:
    """Return a date, or an aware instant in UTC (digits beyond microseconds are cut); raises ValueError."""
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
        if match := INSTANT.fullmatch(text):
            on, time, offset = match.groups()
            offset = offset.upper().replace(" ", "+")
            return datetime.fromisoformat(f"{on}T{time[:15]}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"“{text}” is not {EXPECTED}.")


def get_shared_zone(zones: Iterable[ZoneInfo]) -> ZoneInfo:
    """Return the zone of all, UTC where they differ or there are none."""
    distinct = set(zones)
    return distinct.pop() if len(distinct) == 1 else UTC_ZONE


def to_instant(moment: date | datetime, zone: ZoneInfo = UTC_ZONE) -> datetime:
    """Return an instant as it is and a date as its first instant in `zone`; raises ValueError beyond the calendar."""
    if isinstance(moment, datetime):
        return moment
    try:
        return midnight(moment, zone)
    except OverflowError:
        raise ValueError(f"“{moment}” lies beyond the calendar in {zone.key}.") from None


def get_local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the date that `zone` shows at an instant; at the calendar's ends, the instant's own."""
    try:
        return instant.astimezone(zone).date()
    except OverflowError:
        return instant.date()


def format_iso(moment: date | datetime | None) -> str | None:
    """Return a date or an instant as JSON has it: ISO 8601, instants in UTC with Z."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return moment.isoformat() if moment else None
