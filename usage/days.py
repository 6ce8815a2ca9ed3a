"""Calendar days of a time zone as half-open ranges of instants.

A day has 23, 24 or 25 hours, half an hour more or less in some zones, and none where a zone skips its date.
Zones become instants here and in Python only: PostgreSQL has a list of zones of its own, which may lack a zone.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
CHUNK_DAYS = 28


@dataclass(frozen=True, slots=True)
class Day:
    """One calendar day of a zone: `[start, end)` in aware UTC instants; both are the same for a skipped date."""

    date: dt.date
    zone: ZoneInfo
    start: dt.datetime
    end: dt.datetime

    @property
    def hours(self) -> float:
        """Length in hours: 23 or 25 where a zone changes its offset by an hour, 23.5 or 24.5 by half an hour."""
        return (self.end - self.start) / HOUR

    @property
    def is_skipped(self) -> bool:
        """Whether the zone never shows this date: Samoa went from 29 to 31 December 2011."""
        return self.start == self.end

    @classmethod
    def of(cls, on: dt.date, zone: str | ZoneInfo) -> "Day":
        """Return the day `on` of `zone`; raises ZoneInfoNotFoundError for a zone that does not exist."""
        zone = ZoneInfo(zone) if isinstance(zone, str) else zone
        return cls(on, zone, midnight(on, zone), midnight(on + timedelta(days=1), zone))

    def final_from(self, look_back_days: int) -> dt.datetime:
        """Return the first instant at which a read is final: the look-back has passed, and that of its month too."""
        return max(self.end, midnight(first_of_next_month(self.date), self.zone)) + timedelta(days=look_back_days)

    @classmethod
    def containing(cls, instant: dt.datetime, zone: str | ZoneInfo) -> "Day":
        """Return the day of `zone` that `instant` (aware) falls in.

        Where clocks are put back over midnight, the evening that is shown again belongs to the day that has begun.
        """
        zone = ZoneInfo(zone) if isinstance(zone, str) else zone
        day = cls.of(instant.astimezone(zone).date(), zone)
        return day if instant < day.end else cls.of(day.date + timedelta(days=1), zone)


def get_today(zone: ZoneInfo, now: dt.datetime | None = None) -> dt.date:
    """Return the date in `zone` at the aware instant `now`, by default the current instant."""
    return (now or dt.datetime.now(UTC)).astimezone(zone).date()


@lru_cache(maxsize=4096)
def midnight(on: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first instant of the date `on` in `zone`, in UTC.

    Where clocks skip midnight, the day starts at the instant at which they do; where midnight comes twice, at the
    first. A skipped date starts where the next date does.
    """
    wall = dt.datetime(on.year, on.month, on.day)  # noqa: DTZ001 (what the zone's clocks show)
    start = wall.replace(tzinfo=zone).astimezone(UTC)
    local = start.astimezone(zone).replace(tzinfo=None)
    return start if local == wall else find_change(start - (local - wall), start, zone)


def find_change(before: dt.datetime, after: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return the instant in `(before, after]` at which `zone` changes its offset, to the second."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > SECOND:
        between = before + (after - before) // (2 * SECOND) * SECOND
        if between.astimezone(zone).utcoffset() == offset:
            after = between
        else:
            before = between
    return after


def first_of_next_month(on: dt.date) -> dt.date:
    """Return the first date of the month after that of `on`."""
    return (on.replace(day=1) + timedelta(days=32)).replace(day=1)


def iterate_dates(first: dt.date, end: dt.date) -> Iterator[dt.date]:
    """Yield the dates of the half-open range `[first, end)`."""
    for offset in range((end - first).days):
        yield first + timedelta(days=offset)


def iterate_days(first: dt.date, end: dt.date, zone: ZoneInfo) -> Iterator[Day]:
    """Yield the days of `[first, end)` that `zone` has; skipped dates are left out."""
    days = (Day.of(on, zone) for on in iterate_dates(first, end))
    return (day for day in days if not day.is_skipped)


@lru_cache(maxsize=1024)
def find_skipped_dates(first: dt.date, end: dt.date, zone: ZoneInfo) -> tuple[dt.date, ...]:
    """Return the dates of `[first, end)` that `zone` skips, ascending; most zones skip none."""
    skipped: list[dt.date] = []
    while first < end:
        after = first + timedelta(days=min(CHUNK_DAYS, (end - first).days))
        # Only four weeks that last a day less can hold such a date: ten years take some milliseconds.
        shortfall = (after - first) - (midnight(after, zone) - midnight(first, zone))
        if shortfall > 12 * HOUR:
            skipped += [on for on in iterate_dates(first, after) if Day.of(on, zone).is_skipped]
        first = after
    return tuple(skipped)
