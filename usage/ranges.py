"""Ranges that have a name, such as last month: their dates today in a zone, `[first, end)`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone

from usage.datetimes import subtract_day
from usage.formatting import format_date, format_dates
from usage.links import PageLink
from usage.summaries.intervals import add_months, get_first_date, get_next_date

Range = tuple[date, date]


def get_current(interval: str, today: date) -> Range:
    """Return the full month, quarter or year of a date."""
    first = get_first_date(today, interval)
    return first, get_next_date(first, interval)


def get_previous(interval: str, months: int, today: date) -> Range:
    """Return the month, quarter or year before that of a date."""
    end = get_first_date(today, interval)
    return add_months(end, -months), end


def get_last_days(number: int, today: date) -> Range:
    """Return this number of days before a date: today is not over yet."""
    return today - timedelta(days=number), today


RANGES: Final[dict[str, tuple[str, Callable[[date], Range]]]] = {
    "this-month": ("This month", lambda today: get_current("month", today)),
    "last-month": ("Last month", lambda today: get_previous("month", 1, today)),
    "last-7-days": ("Last 7 days", lambda today: get_last_days(7, today)),
    "last-30-days": ("Last 30 days", lambda today: get_last_days(30, today)),
    "last-90-days": ("Last 90 days", lambda today: get_last_days(90, today)),
    "this-quarter": ("This quarter", lambda today: get_current("quarter", today)),
    "last-quarter": ("Last quarter", lambda today: get_previous("quarter", 3, today)),
    "this-year": ("This year", lambda today: get_current("year", today)),
    "last-year": ("Last year", lambda today: get_previous("year", 12, today)),
}
DEFAULT_RANGE: Final = "last-30-days"


def get_range(name: str, zone: ZoneInfo) -> Range:
    """Return the dates of a named range now; raises KeyError."""
    return RANGES[name][1](timezone.now().astimezone(zone).date())


def list_range_names(first: str, end: str, zone: ZoneInfo) -> list[str]:
    """Return the names that the range of two written dates has today: on 1 Dec, last month is the last 30 days too."""
    return [name for name in RANGES if tuple(bound.isoformat() for bound in get_range(name, zone)) == (first, end)]


def build_shortcuts(
    names: Iterable[str], current: tuple[str, str], zone: ZoneInfo, build_url: Callable[[str, str], str]
) -> list[PageLink]:
    """Return ranges as links; `current`: the bounds that are shown, as written; `build_url` takes two bounds."""
    shortcuts = []
    for name in names:
        first, end = (bound.isoformat() for bound in get_range(name, zone))
        shortcuts.append(PageLink(RANGES[name][0], build_url(first, end), (first, end) == current))
    return shortcuts


@dataclass(frozen=True, slots=True)
class RangeMenu:
    """The range of a page: its label, ranges with a name, and the addresses of the ranges beside it.

    `earlier`, `later`: '' where the range has no bounds to move.
    """

    label: str
    shortcuts: list[PageLink]
    earlier: str
    later: str


def build_range_menu(
    names: Iterable[str], bounds: tuple[str, str], zone: ZoneInfo, build_url: Callable[[str, str], str], any_time: str
) -> RangeMenu:
    """Return the menu of a range; `bounds` as written, `any_time`: the address of the page without a range."""
    shortcuts = build_shortcuts(names, bounds, zone, build_url)
    shortcuts.append(PageLink("Any time", any_time, not any(bounds)))
    dates = parse_dates(bounds)
    earlier, later = ((step_range(dates, sign) if dates else None) for sign in (-1, 1))
    return RangeMenu(
        describe_range(bounds),
        shortcuts,
        build_url(*map(str, earlier)) if earlier else "",
        build_url(*map(str, later)) if later else "",
    )


def parse_dates(bounds: tuple[str, str]) -> Range | None:
    """Return the bounds of a range where both are dates, the first before the second; else None."""
    try:
        first, end = (date.fromisoformat(bound) for bound in bounds)
    except ValueError:
        return None
    return (first, end) if first < end else None


def step_range(dates: Range, sign: int) -> Range | None:
    """Return the range of the same length before (-1) or after (1): of months as many months; None off the calendar."""
    first, end = dates
    try:
        if first.day == end.day == 1:
            months = sign * ((end.year - first.year) * 12 + end.month - first.month)
            return add_months(first, months), add_months(end, months)
        return first + sign * (end - first), end + sign * (end - first)
    except (ValueError, OverflowError):
        return None


def describe_range(bounds: tuple[str, str]) -> str:
    """Return a half-open range for people: `1 Nov 2026 – 30 Nov 2026`, `Since 1 Nov 2026`."""
    if dates := parse_dates(bounds):
        return format_dates(dates[0], dates[1] - timedelta(days=1))
    first, end = bounds
    since = f"Since {format_bound(first)}" if first else ""
    until = f"Through {format_bound(subtract_day(end))}" if end else ""
    if "T" in end.upper():
        until = f"Until {end}"
    return " · ".join(filter(None, (since, until))) or "Any time"


def format_bound(text: str) -> str:
    """Return a written date, formatted for people, any other text as it is."""
    try:
        return format_date(date.fromisoformat(text))
    except ValueError:
        return text
