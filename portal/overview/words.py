"""Amounts as a person reads them: hours beside exact seconds, gigabytes beside exact bytes, else the number."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from usage.admin.display import NOTHING, exact, rounded

SIZES: Final = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
STEP: Final = 1000
HOUR: Final = 3600
MOST_PER_CENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """A number to read, its unit, and all its digits where the first does not have them, else ''."""

    number: str
    unit: str
    exact: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".strip()


def shown(value: Decimal | None, unit: str) -> Shown:
    """Return an amount of a unit as it is shown."""
    if value is None:
        return Shown(NOTHING, "")
    if unit == "seconds" and abs(value) >= HOUR:
        return Shown(rounded(value / HOUR), "hours", f"{exact(value)} s")
    if unit.lower() == "bytes" and abs(value) >= STEP:
        return sized(value)
    said = rounded(value)
    return Shown(said, unit, "" if said == exact(value) else exact(value))


def sized(value: Decimal) -> Shown:
    """Return bytes in the largest unit that leaves at least one of it."""
    size = min((len(str(abs(int(value)))) - 1) // 3, len(SIZES) - 1)
    return Shown(rounded(value / STEP**size), SIZES[size], f"{exact(value)} bytes")


def growth(change: Decimal | None) -> str:
    """Return a change as `+12.3 %`, `−4 %`, `±0 %`; '' where it is not known."""
    if change is None:
        return ""
    if change > MOST_PER_CENT:
        return f"{exact(round(change / 100))} times more"
    said = round(change, 1)
    if not said:
        return "±0 %"
    return f"{'+' if said > 0 else '−'}{exact(abs(said))} %"
