"""A day's sums as text: a sum is stored under its measure, or under its unit if it has no measure."""

from decimal import Decimal
from typing import Final

from usage.formatting import NOTHING, format_hours, format_number, format_quantity, format_rounded
from usage.summaries.combined import QUANTITIES

MEASURES: Final = {
    key: (metric.replace("_", " "), unit)
    for quantities in QUANTITIES.values()
    for key, metric, unit in quantities
    if metric
}


def get_sum_unit(key: str) -> str:
    """Return the unit of a sum: `seconds` for `runtime_seconds`, `GB` for `GB`."""
    return MEASURES[key][1] if key in MEASURES else key


def format_sum(key: str, number: Decimal | None) -> str:
    """Return the rounded number of a sum, runtime in hours: `14.7`, `1,440.5`; `–` for None."""
    if number is None:
        return NOTHING
    return format_hours(number).removesuffix(" h") if get_sum_unit(key) == "seconds" else format_rounded(number)


def format_exact_sum(key: str, number: Decimal) -> str:
    """Return a sum with all its digits and in a larger unit: `98,304,111,872 (98.3 GB)`, `14.7 (53,041.123456 s)`."""
    if get_sum_unit(key) == "seconds":
        return f"{format_sum(key, number)} ({format_number(number)} s)"
    scaled = format_quantity(number, get_sum_unit(key))
    return f"{format_number(number)} ({scaled})" if scaled else format_number(number)


def get_sum_label(key: str) -> str:
    """Return the words after the number of a sum: `h of runtime`, `tasks`, `jobs failed`, `GB`."""
    if key not in MEASURES:
        return key or "without a unit"
    metric, unit = MEASURES[key]
    unit = "h" if unit == "seconds" else unit
    return metric if unit in metric else f"{unit} of {metric}"
