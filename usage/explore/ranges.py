"""Ranges that have a name, such as last month: the dates they stand for today in a zone, `[first, end)`."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone

from usage.summaries.intervals import first_date, months_on, next_date

Range = tuple[date, date]


def this(interval: str) -> Callable[[date], Range]:
    """Return what makes the whole month, quarter or year that holds a date."""

    def made(today: date) -> Range:
        first = first_date(today, interval)
        return first, next_date(first, interval)

    return made


def last(interval: str, months: int) -> Callable[[date], Range]:
    """Return what makes the month, quarter or year before the one that holds a date."""

    def made(today: date) -> Range:
        end = first_date(today, interval)
        return months_on(end, -months), end

    return made


def days(number: int) -> Callable[[date], Range]:
    """Return what makes so many whole days, which end before a date: today is not over yet."""
    return lambda today: (today - timedelta(days=number), today)


RANGES: Final[dict[str, tuple[str, Callable[[date], Range]]]] = {
    "this-month": ("This month", this("month")),
    "last-month": ("Last month", last("month", 1)),
    "last-7-days": ("Last 7 days", days(7)),
    "last-30-days": ("Last 30 days", days(30)),
    "last-90-days": ("Last 90 days", days(90)),
    "this-quarter": ("This quarter", this("quarter")),
    "last-quarter": ("Last quarter", last("quarter", 3)),
    "this-year": ("This year", this("year")),
    "last-year": ("Last year", last("year", 12)),
}
USUAL: Final = "last-30-days"


def range_of(name: str, zone: ZoneInfo) -> Range:
    """Return the dates that a name stands for now; raises KeyError."""
    return RANGES[name][1](timezone.now().astimezone(zone).date())


def named(first: str, end: str, zone: ZoneInfo) -> str:
    """Return the name of the range of two written dates, '' for one that has none today."""
    return next(
        (name for name in RANGES if tuple(bound.isoformat() for bound in range_of(name, zone)) == (first, end)), ""
    )
