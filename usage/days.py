"""Calendar days of a time zone as half-open ranges of instants; a day is 23, 24 or 25 hours long."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Day:
    """One calendar day of a zone: `[start, end)` in aware UTC instants."""

    date: dt.date
    zone: ZoneInfo
    start: dt.datetime
    end: dt.datetime

    @property
    def hours(self) -> int:
        """Length in hours: 23, 24 or 25 where a zone changes its offset by an hour."""
        return round((self.end - self.start).total_seconds() / 3600)

    @classmethod
    def of(cls, on: dt.date, zone: str | ZoneInfo) -> "Day":
        """Return the day `on` of `zone`; raises ZoneInfoNotFoundError for a zone that does not exist."""
        zone = ZoneInfo(zone) if isinstance(zone, str) else zone
        return cls(on, zone, midnight(on, zone), midnight(on + timedelta(days=1), zone))

    @classmethod
    def containing(cls, instant: dt.datetime, zone: str | ZoneInfo) -> "Day":
        """Return the day of `zone` that `instant` (aware) falls in."""
        zone = ZoneInfo(zone) if isinstance(zone, str) else zone
        return cls.of(instant.astimezone(zone).date(), zone)


@lru_cache(maxsize=4096)
def midnight(on: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first instant of the date `on` in `zone`, in UTC.

    Where clocks skip midnight itself (some zones change at 00:00), the day starts at the first instant that
    the zone shows as that date.
    """
    start = dt.datetime(on.year, on.month, on.day, tzinfo=zone).astimezone(UTC)
    while start.astimezone(zone).date() < on:
        start += timedelta(minutes=15)
    return start


def dates(first: dt.date, end: dt.date) -> Iterator[dt.date]:
    """Yield the dates of the half-open range `[first, end)`."""
    for offset in range((end - first).days):
        yield first + timedelta(days=offset)
