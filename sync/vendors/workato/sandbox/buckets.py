"""The intervals of the Workato stand-in: a range cut at the calendar of the account's time zone."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sync.vendors.workato.request import Interval
from sync.vendors.workato.sandbox.history import History
from usage.days import midnight

HOUR = timedelta(hours=1)
YEAR = timedelta(days=370)


class Buckets:
    """The half-open buckets of `[start, end)`; the first and the last are cut to the range (assumed).

    Weeks begin on Monday (assumed). Hours follow each other in real time: when clocks are set back, the hour
    that comes twice is two buckets, which differ in their offset.
    """

    def __init__(self, start: datetime, end: datetime, interval: Interval, history: History) -> None:
        zone = history.zone
        # Nothing happened outside of history, so its calendar and a year around it are all that is cut up.
        first = max(start, history.get_start() - YEAR)
        last = min(end, datetime.fromtimestamp(history.get_known_end(), UTC) + YEAR)
        cuts = [cut for cut in iterate_boundaries(first, last, interval, zone) if start < cut < end]
        self.edges = [start, *cuts, end]
        self.seconds = [edge.timestamp() for edge in self.edges]
        self.texts = [edge.astimezone(zone).isoformat(timespec="milliseconds") for edge in self.edges]

    def find_bucket(self, second: int) -> int:
        """Return the number of the bucket that a second since 1970 falls in, -1 outside the range."""
        number = bisect_right(self.seconds, second) - 1
        return number if number < len(self.edges) - 1 else -1


def iterate_boundaries(start: datetime, end: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the instants at which the calendar of `zone` begins a new interval, up to `end`."""
    if interval == "hour":
        yield from iterate_hours(start, end, zone)
    elif interval != "none":
        on = start.astimezone(zone).date()
        while (cut := midnight(on, zone)) < end:
            if is_interval_start(interval, on):
                yield cut
            on += timedelta(days=1)


def is_interval_start(interval: Interval, on: date) -> bool:
    """Return whether an interval begins on a date."""
    match interval:
        case "year":
            return (on.month, on.day) == (1, 1)
        case "month":
            return on.day == 1
        case "week":
            return on.isoweekday() == 1
        case _:
            return True


def iterate_hours(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the beginnings of the hours that the clocks of `zone` show.

    Where clocks are changed by half an hour, what is left of the hour, or comes again of it, is half an hour that
    begins at half past (assumed).
    """
    cut = start.astimezone(UTC)
    while cut < end:
        shown = cut.astimezone(zone)
        cut += HOUR - timedelta(minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond)
        yield cut
