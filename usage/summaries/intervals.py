"""Intervals of a zone's calendar, from hours to years, as instants, and the period before a period."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from usage.days import midnight

INTERVALS: Final = ("hour", "day", "week", "month", "quarter", "year")
MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
MOST: Final = 20_000
HOUR: Final = timedelta(hours=1)


class TooMany(ValueError):
    """A range holds more intervals than one answer may."""


def months_on(first: date, months: int) -> date:
    """Return the first of the month so many months after `first`; raises ValueError off the calendar."""
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def first_date(on: date, interval: str) -> date:
    """Return the first date of the interval (day or longer) that holds a date; weeks begin on Monday."""
    if interval == "week":
        return on - timedelta(days=on.weekday())
    if interval in MONTHS:
        length = MONTHS[interval]
        return on.replace(month=(on.month - 1) // length * length + 1, day=1)
    return on


def next_date(first: date, interval: str) -> date:
    """Return the first date of the next interval."""
    if interval in MONTHS:
        return months_on(first, MONTHS[interval])
    return first + timedelta(days=7 if interval == "week" else 1)


def hour_start(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the start of the hour on the zone's clock that holds an instant (never on both sides of a change)."""
    local = instant.astimezone(zone)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    start = instant - past
    if start.astimezone(zone).utcoffset() == local.utcoffset():
        return start
    ahead = start - 2 * HOUR  # the clock was changed within the hour: walk up to it from before
    ahead -= timedelta(minutes=ahead.astimezone(zone).minute, seconds=ahead.astimezone(zone).second)
    while (following := next_hour(ahead, zone)) <= instant:
        ahead = following
    return ahead


def next_hour(start: datetime, zone: ZoneInfo) -> datetime:
    """Return when the hour that begins at `start` ends: at the next whole hour, or at a change that skips into one.

    Where the clock is put back by half an hour, the hour that is shown again is half an hour longer.
    """
    local = start.astimezone(zone)
    end = start + HOUR - timedelta(minutes=local.minute, seconds=local.second)
    shown = end.astimezone(zone)
    past = timedelta(minutes=shown.minute, seconds=shown.second)
    if past and (shown.date(), shown.hour) == (local.date(), local.hour):
        return end + HOUR - past
    return end


def bounds_of(interval: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the starts of the intervals that overlap `[start, end)`, and the end of the last, in UTC.

    Raises TooMany, and ValueError or OverflowError beyond the calendar.
    """
    if interval == "hour":
        bounds = [hour_start(start, zone)]
        while bounds[-1] < end and len(bounds) <= MOST:
            bounds.append(next_hour(bounds[-1], zone))
    else:
        on = first_date(start.astimezone(zone).date(), interval)
        bounds = [midnight(on, zone)]
        while bounds[-1] < end and len(bounds) <= MOST:
            on = next_date(on, interval)
            bounds.append(midnight(on, zone))
    if len(bounds) > MOST:
        raise TooMany(f"More than {MOST} intervals; ask for a shorter range or a longer interval.")
    return [bound.astimezone(UTC) for bound in bounds]


def label(start: datetime, interval: str, zone: ZoneInfo) -> str:
    """Return an interval's name: its first date, or for an hour its start with the zone's offset."""
    local = start.astimezone(zone)
    return local.isoformat() if interval == "hour" else local.date().isoformat()


def previous(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the period of the same length that ends where this one begins.

    Whole calendar months of the zone are compared with as many months, whole days with as many days, anything
    else with as much time.
    """
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    if midnight(first, zone) != start or midnight(last, zone) != end:
        return start - (end - start), start
    if first.day == last.day == 1 and first < last:
        months = (last.year - first.year) * 12 + last.month - first.month
        return midnight(months_on(first, -months), zone), start
    return midnight(first - (last - first), zone), start
