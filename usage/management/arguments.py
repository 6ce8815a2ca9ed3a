"""Types of the arguments of commands: their errors say what is allowed."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date
from typing import Final, TypeVar

from usage.datetimes import DATE

LARGEST_PORT: Final = 65_535
T = TypeVar("T", int, float)


def parse_date(text: str) -> date:
    """Return a date; raises ArgumentTypeError for any other text."""
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ArgumentTypeError(f"“{text}” is not a date; give one such as 2026-11-01.")


def build_number_type(least: int, most: int) -> Callable[[str], int]:
    """Return the type of whole numbers from `least` to `most`; it raises ArgumentTypeError."""
    return build_range_type(int, "whole number", least, most)


def build_decimal_type(least: int, most: int) -> Callable[[str], float]:
    """Return the type of numbers from `least` to `most`, with decimals or without; it raises ArgumentTypeError."""
    return build_range_type(float, "number", least, most)


def build_range_type(number_type: Callable[[str], T], name: str, least: int, most: int) -> Callable[[str], T]:
    """Return the type of numbers from `least` to `most`; it raises ArgumentTypeError."""

    def parse_number(text: str) -> T:
        try:
            number = number_type(text)
            if least <= number <= most:
                return number
        except ValueError:
            pass
        raise ArgumentTypeError(f"“{text}” is not a {name} from {least} to {most}.")

    return parse_number


parse_port: Final = build_number_type(0, LARGEST_PORT)
