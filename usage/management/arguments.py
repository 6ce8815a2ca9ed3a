"""Types of the arguments of commands: their errors say what is allowed."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date
from typing import Final

from usage.datetimes import DATE

LARGEST_PORT: Final = 65_535


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

    def parse_number(text: str) -> int:
        try:
            if least <= int(text) <= most:
                return int(text)
        except ValueError:
            pass
        raise ArgumentTypeError(f"“{text}” is not a whole number from {least} to {most}.")

    return parse_number


parse_port: Final = build_number_type(0, LARGEST_PORT)
