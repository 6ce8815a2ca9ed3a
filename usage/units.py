"""The units of usage: the unit on pages for each of them, and its meaning.

Stored and exported quantities have the vendor's unit and all digits; only pages scale them.
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
    """A vendor's unit. `label`: the unit on pages, which is `size` of the vendor's unit; '' for sizes of data.

    For sizes of data `size` is the unit in bytes, and pages use the largest of SIZES that suits the number.
    """

    label: str
    size: Decimal
    meaning: str


# By their names in lower case: vendors write GB and GBS.
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
    """Return the index in SIZES of the largest unit that is not more than a number of bytes."""
    return min((len(str(abs(int(size)))) - 1) // 3, len(SIZES) - 1)


def find_scale(unit: str, value: Decimal) -> tuple[str, Decimal]:
    """Return the unit of a quantity on pages, and its size in the quantity's own unit."""
    definition = UNITS.get(unit.lower())
    if definition is None:
        return unit, Decimal(1)
    if definition.label:
        return definition.label, definition.size
    place = get_size_place(value * definition.size)
    return SIZES[place], Decimal(1000**place) / definition.size


def explain_units(units: Iterable[str]) -> dict[str, str]:
    """Return the meanings of units by their labels on pages; unknown units are left out."""
    definitions = {unit: UNITS[unit.lower()] for unit in units if unit.lower() in UNITS}
    return {
        unit if definition.label in (unit, "") else f"{definition.label} ({unit})": definition.meaning
        for unit, definition in definitions.items()
    }
