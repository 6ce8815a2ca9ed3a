"""Calendar days of zones: each instant lies in exactly one, however clocks are changed; skipped dates are none."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from usage.days import Day, find_skipped_dates, iterate_dates, iterate_days, midnight
from usage.summaries.intervals import INTERVALS, cut_intervals, format_label, get_previous_period

SECOND = timedelta(seconds=1)
SKIPPED = [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]
# What is special about the dates: 23, 25, 23.5 and 24.5 hours, a midnight that is skipped or comes twice, an evening
# that comes twice, a date that is skipped, a date that came twice.
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29), 23),
    ("Europe/Berlin", date(2026, 10, 25), 25),
    ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
    ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
    ("America/Sao_Paulo", date(2018, 11, 4), 23),
    ("America/Sao_Paulo", date(2018, 2, 17), 25),
    ("America/Havana", date(2026, 3, 8), 23),
    ("America/Havana", date(2026, 11, 1), 25),
    ("Asia/Beirut", date(2026, 3, 29), 23),
    ("Asia/Beirut", date(2026, 10, 24), 25),
    ("America/St_Johns", date(2010, 11, 6), 24),
    ("America/Toronto", date(1919, 3, 30), 23.5),
    ("Pacific/Apia", date(2011, 12, 29), 24),
    ("Pacific/Apia", date(2011, 12, 30), 0),
    ("Pacific/Apia", date(2011, 12, 31), 24),
    ("Pacific/Kwajalein", date(1969, 9, 30), 47),
    ("Pacific/Kwajalein", date(1993, 8, 21), 0),
]


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_a_day_begins_when_its_date_is_first_shown_and_ends_where_the_next_begins(
    zone: str, on: date, hours: float
) -> None:
    day = Day.of(on, zone)
    assert day.hours == hours
    assert day.is_skipped == (not hours)
    for neighbor in iterate_days(on - timedelta(days=1), on + timedelta(days=2), day.zone):
        assert neighbor.start.astimezone(neighbor.zone).date() == neighbor.date
        assert (neighbor.start - SECOND).astimezone(neighbor.zone).date() < neighbor.date
    assert Day.of(on + timedelta(days=1), zone).start == day.end
    assert Day.of(on - timedelta(days=1), zone).end == day.start


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_every_instant_lies_in_its_day(zone: str, on: date, hours: float) -> None:
    start = midnight(on, ZoneInfo(zone)) - timedelta(days=1)
    for quarter in range(3 * 96):
        instant = start + quarter * timedelta(minutes=15)
        day = Day.containing(instant, zone)
        assert day.start <= instant < day.end


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_a_date_that_a_zone_skips_is_found_and_is_no_day(zone: str, on: date) -> None:
    tz = ZoneInfo(zone)
    assert find_skipped_dates(date(1990, 1, 1), date(2026, 1, 1), tz) == (on,)
    first, end = on - timedelta(days=2), on + timedelta(days=3)
    assert [day.date for day in iterate_days(first, end, tz)] == [
        calendar_date for calendar_date in iterate_dates(first, end) if calendar_date != on
    ]


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_intervals_follow_each_other_and_none_is_named_twice(zone: str, on: date, hours: float, interval: str) -> None:
    tz = ZoneInfo(zone)
    start, end = midnight(on, tz) - timedelta(hours=30, minutes=7), midnight(on, tz) + timedelta(hours=55)
    bounds = cut_intervals(interval, tz, start, end)
    assert all(earlier < later for earlier, later in pairwise(bounds))
    assert bounds[0] <= start < bounds[1]
    assert bounds[-2] < end <= bounds[-1]
    labels = [format_label(bound, interval, tz) for bound in bounds[:-1]]
    assert len(set(labels)) == len(labels)
    if interval == "day":
        assert labels == [str(day.date) for day in iterate_days(date.fromisoformat(labels[0]), on, tz)] + [
            str(day.date) for day in iterate_days(on, date.fromisoformat(labels[-1]) + timedelta(days=1), tz)
        ]


def test_an_interval_is_named_by_its_first_date_also_where_the_zone_skips_that() -> None:
    tz = ZoneInfo("Pacific/Apia")
    instant = midnight(date(2011, 12, 30), tz)
    assert format_label(instant, "month", tz) == "2011-12-01"
    assert format_label(instant, "week", tz) == "2011-12-26"


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_as_many_days_are_compared_where_one_date_is_skipped(zone: str, on: date) -> None:
    tz = ZoneInfo(zone)
    after = on + timedelta(days=1)
    start, end = get_previous_period(midnight(after, tz), midnight(after + timedelta(days=3), tz), tz)
    assert (start, end) == (midnight(on - timedelta(days=3), tz), midnight(after, tz))
    assert datetime(1990, 1, 1, tzinfo=UTC) < start
