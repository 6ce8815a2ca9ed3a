"""Exact arithmetic: Python's own context keeps 28 digits, and sums of quantities have more."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import Final

# Stored numbers have up to 1,000 digits on either side of the point; no sum of them has more than this.
DIGITS: Final = 4_000
EXACT: Final = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
WIDE: Final = Context(prec=DIGITS, traps=[InvalidOperation])


def add_exactly(numbers: Iterable[Decimal]) -> Decimal:
    """Return the sum of numbers with all their digits; 0 of none."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def subtract_exactly(number: Decimal, less: Decimal) -> Decimal:
    """Return the difference with all its digits."""
    return EXACT.subtract(number, less)


def round_to_places(number: Decimal, places: int) -> Decimal:
    """Return a number of any size rounded to decimal places, half to even."""
    return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN, WIDE)
