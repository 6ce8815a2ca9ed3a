"""The units of usage: in which unit people read each of them, and what it means.

Stored and exported quantities keep the vendor's unit with all digits; only what people read is scaled.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

HOURS: Final = "h"
GB_HOURS: Final = "GB·h"
SIZES: Final = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


@dataclass(frozen=True, slots=True)
class Unit:
    """A vendor's unit. `shown`: what people read, of which one is `size` of the unit; '' for sizes of data.

    For sizes of data `size` is how many bytes the unit is, and the largest of SIZES is read that suits the number.
    """

    shown: str
    size: Decimal
    meaning: str


# By their names in small letters: vendors write GB and GBS.
UNITS: Final = {
    "seconds": Unit(HOURS, Decimal(3600), "Hours of use; the vendor reports instants or seconds."),
    "minutes": Unit(
        HOURS, Decimal(60), "Hours that a thing was there, such as an instance; the vendor counts minutes."
    ),
    "hours": Unit(HOURS, Decimal(1), "Hours of use."),
    "gbminutes": Unit(GB_HOURS, Decimal(60), "One GB kept for one hour; the vendor counts each GB every minute."),
    "gbs": Unit(GB_HOURS, Decimal(3600), "One GB in use for one hour; the vendor counts each GB every second."),
    "bytes": Unit("", Decimal(1), "Data, such as traffic: 1 GB is 1,000,000,000 bytes."),
    "gb": Unit("", Decimal(10**9), "Data, such as traffic: 1 GB is 1,000,000,000 bytes."),
    "mls": Unit("MLS", Decimal(1), "Calls of functions, in the vendor's own unit."),
    "tasks": Unit("tasks", Decimal(1), "Actions that recipes ran, as the vendor counts them for its plan."),
    "jobs": Unit("jobs", Decimal(1), "Runs of recipes."),
}


def get_size_place(size: Decimal | int) -> int:
    """Return the index in SIZES of the largest unit that a number of bytes has at least one of."""
    return min((len(str(abs(int(size)))) - 1) // 3, len(SIZES) - 1)


def find_scale(unit: str, value: Decimal) -> tuple[str, Decimal]:
    """Return the unit in which people read a quantity, and how many of its own unit one of that is."""
    known = UNITS.get(unit.lower())
    if known is None:
        return unit, Decimal(1)
    if known.shown:
        return known.shown, known.size
    place = get_size_place(value * known.size)
    return SIZES[place], Decimal(1000**place) / known.size


def explain_units(units: Iterable[str]) -> dict[str, str]:
    """Return what units mean, each by what people read of it; unknown ones are left out."""
    known = {unit: UNITS[unit.lower()] for unit in units if unit.lower() in UNITS}
    return {
        unit if about.shown in (unit, "") else f"{about.shown} ({unit})": about.meaning for unit, about in known.items()
    }
