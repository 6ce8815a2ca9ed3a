"""Arithmetic to the last digit: Python's own context keeps 28 digits, and sums of quantities have more."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import Final

# More than any sum of numbers has that are kept, 1,000 digits on either side of the point.
DIGITS: Final = 4_000
EXACTLY: Final = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
WIDE: Final = Context(prec=DIGITS, traps=[InvalidOperation])


def total(numbers: Iterable[Decimal]) -> Decimal:
    """Return the sum of numbers with all their digits; 0 of none."""
    whole = Decimal(0)
    for number in numbers:
        whole = EXACTLY.add(whole, number)
    return whole


def difference(number: Decimal, less: Decimal) -> Decimal:
    """Return what is left of a number, with all its digits."""
    return EXACTLY.subtract(number, less)


def to_places(number: Decimal, places: int) -> Decimal:
    """Return a number to so many decimal places, half to the even digit, however large it is."""
    return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN, WIDE)
