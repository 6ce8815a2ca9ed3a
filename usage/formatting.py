"""Numbers, quantities, dates and instants as text for people; every page, report and sentence formats them here."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.utils import timezone

from usage.decimals import round_to_places
from usage.units import HOURS, SIZES, find_scale, get_size_place

NOTHING: Final = "–"
MINUS: Final = "\N{MINUS SIGN}"
PLACES: Final = 2
SHORT_SIZES: Final = ((10**9, "G"), (10**6, "M"))
HOUR: Final = 3600
UNITS_OF_TIME: Final = ((86400, "day"), (3600, "hour"), (60, "minute"))
Number = Decimal | int


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity scaled for reading: the number, its unit, and all digits where the number has not all, else ''."""

    number: str
    unit: str
    exact: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".strip()


# Numbers


def format_number(value: Number | None) -> str:
    """Return a number with all its digits, grouped, without trailing zeros: `1,234.5`; `–` for None."""
    if value is None:
        return NOTHING
    if not isinstance(value, Decimal):
        return f"{value:,}"
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_rounded(value: Number | None) -> str:
    """Return a number with two decimal places, or with three digits where it is below one; `–` for None."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    if number == number.to_integral_value():
        return format_number(number)
    return format_number(round_to_places(number, PLACES if abs(number) >= 1 else PLACES - number.adjusted()))


def format_three_digits(value: Decimal) -> str:
    """Return a number with three digits, its integer part in full: `1,175`, `98.3`, `0.512`."""
    places = max(0, 2 - value.adjusted()) if value else 0
    return format_number(round_to_places(value, min(places, 6)))


def format_signed(value: Number) -> str:
    """Return a number with its sign: `+9`, `−1,204.5`, `±0`."""
    return f"{get_sign(value)}{format_number(abs(value) if isinstance(value, int) else value.copy_abs())}"


def get_sign(value: Number) -> str:
    """Return `+`, `−`, or `±` for zero."""
    return ("+" if value > 0 else MINUS) if value else "±"


def format_percent(share: Decimal | None, *, signed: bool = False) -> str:
    """Return a share of one as a percentage with one decimal place: `12.5 %`, signed `+12.5 %`; `–` for None."""
    if share is None:
        return NOTHING
    percent = round_to_places(share * 100, 1)
    sign = MINUS if percent < 0 else "+" if signed and percent else ""
    return f"{sign}{percent.copy_abs():,f} %"


def format_count(number: int, singular: str, plural: str = "") -> str:
    """Return a number of things: `1 day`, `2 days`, `1,200 days`."""
    return f"{number:,} {pluralize(number, singular, plural)}"


def pluralize(number: int, singular: str, plural: str = "") -> str:
    """Return the singular or plural for a number; the plural adds `s` by default."""
    return singular if number == 1 else plural or f"{singular}s"


def format_short_number(number: int) -> str:
    """Return a number in at most five characters: `1,204`, `12.0k`, `120k`, `3.4M`."""
    for size, sign in SHORT_SIZES:
        if number >= size:
            return f"{number / size:.1f}{sign}"
    if number >= 100_000:
        return f"{number // 1000}k"
    return f"{number / 1000:.1f}k" if number >= 10_000 else f"{number:,}"


def format_rate(per_second: float) -> str:
    """Return a rate with two digits: `0.4`, `12`, `3,100`."""
    return f"{per_second:.1f}" if per_second < 10 else f"{round_to_two_digits(round(per_second)):,}"


def round_to_two_digits(number: int) -> int:
    """Return an integer rounded to its two leading digits."""
    return round(number, 2 - len(str(number)))


# Quantities with a unit


def format_hours(seconds: Number | None) -> str:
    """Return seconds of usage as hours with one decimal place: `13,168.7 h`; two digits below one: `0.25 h`."""
    if seconds is None:
        return NOTHING
    hours = Decimal(seconds) / HOUR
    places = 1 if abs(hours) >= 1 or not hours else 1 - hours.adjusted()
    return f"{format_number(round_to_places(hours, places))} h"


def format_duration(seconds: Number | None) -> str:
    """Return seconds in their two largest units: `3 d 4 h`, `4 h 12 min`, `12 min 5 s`, `5.2 s`; `–` for None."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{format_number(round(Decimal(seconds), 1))} s"
    total = int(seconds)
    days, hours, minutes = total // 86400, total % 86400 // HOUR, total % HOUR // 60
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {total % 60} s"


def format_lag(seconds: float) -> str:
    """Return how far a standby is behind: `3.2 s behind`."""
    return f"{format_duration(Decimal(seconds))} behind"


def format_size(size: Number) -> str:
    """Return bytes with three digits in the largest unit: `98.3 GB`; '' below 1,000 bytes."""
    place = get_size_place(size)
    return f"{format_three_digits(Decimal(size) / 1000**place)} {SIZES[place]}" if place else ""


def scale_amount(value: Number | None, unit: str) -> Amount:
    """Return a quantity, scaled for people: `13,168.7 h`, `1,175 GB·h`, `98.3 GB`, `1,204 tasks`."""
    if value is None:
        return Amount(NOTHING, "")
    value = Decimal(value)
    shown_unit, size = find_scale(unit, value)
    if shown_unit == HOURS:
        number = format_hours(value / size * HOUR).removesuffix(" h")
    else:
        number = format_rounded(value) if shown_unit == unit else format_three_digits(value / size)
    is_whole = not value or (shown_unit == unit and number == format_number(value))
    vendor_unit = {"seconds": "s"}.get(unit, unit)
    return Amount(number, shown_unit, "" if is_whole else f"{format_number(value)} {vendor_unit}".strip())


# Dates and instants; instants are shown in UTC


def format_date(day: date | str) -> str:
    """Return a date, given as such or as ISO 8601 text: `3 Nov 2026`."""
    day = date.fromisoformat(day) if isinstance(day, str) else day
    return f"{day.day} {day:%b %Y}"


def format_long_date(day: date) -> str:
    """Return a date with the month in full: `3 November 2026`."""
    return f"{day.day} {day:%B %Y}"


def format_dates(first: date, last: date) -> str:
    """Return the dates from `first` to `last`, both included: `3 Nov 2026`, `1 Nov 2026 – 30 Nov 2026`."""
    return format_date(first) if first == last else f"{format_date(first)} – {format_date(last)}"


def format_instant(instant: datetime | str) -> str:
    """Return an instant to the minute, given as such or as ISO 8601 text: `3 Nov 2026 14:05 UTC`."""
    instant = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return f"{format_date(instant.astimezone(UTC))} {instant.astimezone(UTC):%H:%M} UTC"


def format_timestamp(instant: datetime | None) -> str:
    """Return an instant to the second, to be sorted and compared: `2026-11-03 14:05:09`; `–` for None."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if instant else NOTHING


def format_exact_timestamp(instant: datetime) -> str:
    """Return an instant with all its digits: `2026-11-03 14:05:09.25 UTC`."""
    digits = f"{instant.microsecond:06d}".rstrip("0")
    return f"{format_timestamp(instant)}{'.' if digits else ''}{digits} UTC"


def format_age(instant: datetime | None) -> str:
    """Return how long ago an instant was, in one unit: `just now`, `5 minutes ago`, `2 days ago`; `never` for None."""
    if instant is None:
        return "never"
    seconds = (timezone.now() - instant).total_seconds()
    largest_unit = next(((size, name) for size, name in UNITS_OF_TIME if seconds >= size), None)
    return f"{format_count(int(seconds // largest_unit[0]), largest_unit[1])} ago" if largest_unit else "just now"


def format_days_ahead(instant: datetime) -> str:
    """Return how many days ahead an instant is: `today`, `tomorrow`, `in 5 days`."""
    days = (instant.date() - timezone.now().date()).days
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")


def format_remaining(time: timedelta) -> str:
    """Return an estimate of a time: `less than a minute`, `about 4 minutes`, `about 2 hours`."""
    seconds = time.total_seconds()
    if seconds < 45:
        return "less than a minute"
    size, name = next((size, name) for size, name in UNITS_OF_TIME if seconds >= size * 1.5 or name == "minute")
    return f"about {format_count(max(1, round(seconds / size)), name)}"


def format_interval(label: str, interval: str) -> str:
    """Return an interval of a summary: `2026-11-03 Tue`, `week of 2026-11-02`, `Nov 2026`, `Q4 2026`, `2026`."""
    if interval == "hour":
        return f"{datetime.fromisoformat(label):%Y-%m-%d %H:%M %z}"
    first = date.fromisoformat(label)
    names = {
        "month": f"{first:%b %Y}",
        "quarter": f"Q{(first.month + 2) // 3} {first.year}",
        "year": f"{first.year}",
        "week": f"week of {first}",
    }
    return names.get(interval, f"{first} {first:%a}")
