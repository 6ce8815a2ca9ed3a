"""Quantities as people say them, beside the exact number: durations, sizes, and sizes held for a time."""

from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage.admin.display import duration, exact, quantity, rounded
from usage.exactly import to_places

SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
GIGABYTES_HELD = {"gbminutes": Decimal(60), "gbs": Decimal(3600)}  # of the unit to the GB·h


def human(value: Decimal | int | None, unit: str) -> str:
    """Return a quantity in words, e.g. `1 d 0 h`, `98.3 GB`, `1,175 GB·h`; '' where its unit says enough."""
    if value is None:
        return ""
    value, unit = Decimal(value), unit.lower()
    if unit in SECONDS and value >= 60 / SECONDS[unit]:
        return duration(value * SECONDS[unit])
    if unit in {"bytes", "gb"}:
        return size(value * 10**9 if unit == "gb" else value)
    if unit in GIGABYTES_HELD:
        return f"{three_digits(value / GIGABYTES_HELD[unit])} GB·h"
    return ""


def size(value: Decimal) -> str:
    """Return bytes in the unit that leaves one to three digits before the point; '' below a thousand."""
    place = 0
    while abs(value) >= 1000 and place < len(SIZES) - 1:
        value, place = value / 1000, place + 1
    return f"{three_digits(value)} {SIZES[place]}" if place else ""


def three_digits(value: Decimal) -> str:
    """Return a number to three digits, its whole part in full: `1,175`, `98.3`, `0.512`."""
    places = max(0, 2 - value.adjusted()) if value else 0
    return exact(to_places(value, min(places, 6)))


def beneath(value: Decimal | int, unit: str) -> list[str]:
    """Return what stands below a rounded quantity: all its digits where some were cut, and the quantity in words."""
    value = Decimal(value)
    digits = "" if rounded(value) == exact(value) else exact(value)
    return [text for text in (digits, human(value, unit)) if text]


def consumed(value: Decimal | int | None, unit: str, sign: str = "", after: str = "") -> SafeString:
    """Return a quantity as a right-aligned cell: rounded with its unit, and below it what `beneath` says.

    A change has a sign before its numbers, and what it is of the whole after them.
    """
    if value is None:
        return quantity(None)
    below = format_html_join(" ", "<span>{}{}</span>", ((sign, text) for text in beneath(value, unit)))
    return format_html(
        '<span class="number">{}{}{}{}{}</span>',
        sign,
        rounded(Decimal(value)),
        format_html(' <span class="unit">{}</span>', unit) if unit else "",
        after,
        format_html('<span class="in-words">{}</span>', below) if below else "",
    )
