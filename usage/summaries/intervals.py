"""Intervals of a zone's calendar, from hours to years, as instants, and the baselines of comparisons."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from usage.days import Day, find_skipped_dates, midnight

INTERVALS: Final = ("hour", "day", "week", "month", "quarter", "year")
MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
# What a period is compared with; see `get_baseline`.
BASELINES: Final = ("previous", "last_month", "last_year", "same_weekday")
MAX_INTERVALS: Final = 20_000
HOUR: Final = timedelta(hours=1)
# No interval is longer, whatever clocks and calendars do.
LONGEST: Final = {
    "hour": timedelta(hours=2),
    "day": timedelta(days=2),
    "week": timedelta(days=9),
    "month": timedelta(days=32),
    "quarter": timedelta(days=94),
    "year": timedelta(days=367),
}


class TooManyIntervals(ValueError):
    """A range has more than MAX_INTERVALS."""

    def __init__(self) -> None:
        super().__init__(f"More than {MAX_INTERVALS} intervals; ask for a shorter range or a longer interval.")


class PeriodsOverlap(ValueError):
    """A range reaches into the period that it would be compared with."""


def list_intervals(smallest: str) -> tuple[str, ...]:
    """Return the intervals from the smallest that a kind of usage can be cut into."""
    return INTERVALS[INTERVALS.index(smallest) :]


def add_months(first: date, months: int) -> date:
    """Return the first of the month `months` after that of `first`; raises ValueError off the calendar."""
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def get_first_date(on: date, interval: str) -> date:
    """Return the first date of the interval (day or longer) of a date; weeks begin on Monday."""
    if interval == "week":
        return on - timedelta(days=on.weekday())
    if interval in MONTHS:
        length = MONTHS[interval]
        return on.replace(month=(on.month - 1) // length * length + 1, day=1)
    return on


def get_next_date(first: date, interval: str) -> date:
    """Return the first date of the next interval."""
    if interval in MONTHS:
        return add_months(first, MONTHS[interval])
    return first + timedelta(days=7 if interval == "week" else 1)


def get_hour_start(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the start of an instant's hour on the zone's clock (never on both sides of a change)."""
    local = instant.astimezone(zone)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    start = instant - past
    if start.astimezone(zone).utcoffset() == local.utcoffset():
        return start
    ahead = start - 2 * HOUR  # the clock changed within the hour: count the hours from before
    ahead -= timedelta(minutes=ahead.astimezone(zone).minute, seconds=ahead.astimezone(zone).second)
    while (following := get_next_hour(ahead, zone)) <= instant:
        ahead = following
    return ahead


def is_hour_start(instant: datetime, zone: ZoneInfo) -> bool:
    """Return whether an hour of a zone's clock begins at an instant; some begin at half past."""
    try:
        return get_hour_start(instant, zone) == instant
    except OverflowError:  # at an end of the calendar, where nothing is stored
        return True


def get_next_hour(start: datetime, zone: ZoneInfo) -> datetime:
    """Return when the hour that begins at `start` ends: at the next full hour, or at a change that skips into an hour.

    Where the clock is put back by half an hour, the hour that is shown again is half an hour longer.
    """
    local = start.astimezone(zone)
    end = start + HOUR - timedelta(minutes=local.minute, seconds=local.second)
    end_local = end.astimezone(zone)
    past = timedelta(minutes=end_local.minute, seconds=end_local.second)
    if past and (end_local.date(), end_local.hour) == (local.date(), local.hour):
        return end + HOUR - past
    return end


def cut_intervals(interval: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the starts of the intervals that overlap `[start, end)`, and the end of the last, in UTC.

    Raises TooManyIntervals, and ValueError or OverflowError beyond the calendar.
    """
    if end - start > MAX_INTERVALS * LONGEST[interval]:
        raise TooManyIntervals  # counting 20,000 of them takes half a second
    if interval == "hour":
        bounds = [get_hour_start(start, zone)]
        while bounds[-1] < end and len(bounds) <= MAX_INTERVALS:
            bounds.append(get_next_hour(bounds[-1], zone))
    else:
        on = get_first_date(Day.containing(start, zone).date, interval)
        bounds = [midnight(on, zone)]
        while bounds[-1] < end and len(bounds) <= MAX_INTERVALS:
            on = get_next_date(on, interval)
            bound = midnight(on, zone)
            if bound > bounds[-1]:  # a date that the zone skips is no interval
                bounds.append(bound)
    if len(bounds) > MAX_INTERVALS:
        raise TooManyIntervals
    return [bound.astimezone(UTC) for bound in bounds]


def format_label(start: datetime, interval: str, zone: ZoneInfo) -> str:
    """Return an interval's name: its first date, or for an hour its start with the zone's offset."""
    local = start.astimezone(zone)
    return local.isoformat() if interval == "hour" else get_first_date(local.date(), interval).isoformat()


def get_previous_period(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the period of the same length that ends where this one begins.

    Full calendar months of the zone are compared with as many months, full days with as many days, anything
    else with as much time.
    """
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    if midnight(first, zone) != start or midnight(last, zone) != end:
        return start - (end - start), start
    if first.day == last.day == 1 and first < last:
        months = (last.year - first.year) * 12 + last.month - first.month
        return midnight(add_months(first, -months), zone), start
    return midnight(go_back(first, count_days(first, last, zone), zone), zone), start


def count_days(first: date, end: date, zone: ZoneInfo) -> int:
    """Return how many days `zone` has in `[first, end)`."""
    return (end - first).days - len(find_skipped_dates(first, end, zone))


def go_back(first: date, days: int, zone: ZoneInfo) -> date:
    """Return the date from which on `zone` has `days` days before `first`."""
    begin = first - timedelta(days=days)
    while missing := days - count_days(begin, first, zone):
        begin -= timedelta(days=missing)
    return begin


def get_baseline(name: str, start: datetime, end: datetime, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """Return the period that `[start, end)` is compared with.

    `previous`: see `get_previous_period`. `last_month`, `last_year`: the same dates, the last of a shorter month in
    place of those that it lacks. `same_weekday`: as many full weeks before as the period reaches into. Of a period
    that is not over, these three take the days up to today. Raises PeriodsOverlap where the range is longer than a
    month or year, and ValueError and OverflowError beyond the calendar.
    """
    baseline = find_baseline(name, start, end, zone, now)
    if baseline[1] > start:
        raise PeriodsOverlap
    return baseline


def find_baseline(
    name: str, start: datetime, end: datetime, zone: ZoneInfo, now: datetime
) -> tuple[datetime, datetime]:
    """Return the period that `[start, end)` is compared with, also where the two overlap."""
    if name == "previous":
        return get_previous_period(start, end, zone)
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    if midnight(first, zone) != start or midnight(last, zone) != end:
        shifted = [
            datetime.combine(shift_date(name, first, last, on), instant.astimezone(zone).time(), zone)
            for on, instant in ((first, start), (last, end))
        ]
        return shifted[0].astimezone(UTC), max(shifted).astimezone(UTC)
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    final = (min(last, tomorrow) if first < tomorrow else last) - timedelta(days=1)
    begin, finish = (shift_date(name, first, last, on) for on in (first, final))
    return midnight(begin, zone), midnight(finish + timedelta(days=1), zone)


def shift_date(name: str, first: date, end: date, on: date) -> date:
    """Return the date that a date of `[first, end)` is compared with."""
    if name == "same_weekday":
        return on - timedelta(weeks=max(1, -(-(end - first).days // 7)))
    month = add_months(on.replace(day=1), -1 if name == "last_month" else -12)
    return min(month + timedelta(days=on.day - 1), add_months(month, 1) - timedelta(days=1))
