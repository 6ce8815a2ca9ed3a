"""A day's sums as text: a sum is stored under its measure, or under its unit if it has no measure."""

from decimal import Decimal
from typing import Final

from usage.formatting import Amount, scale_amount
from usage.summaries.combined import QUANTITIES

MEASURES: Final = {
    key: (metric.replace("_", " "), unit)
    for quantities in QUANTITIES.values()
    for key, metric, unit in quantities
    if metric
}


def scale_sum(key: str, number: Decimal | None) -> Amount:
    """Return a sum, scaled for people: in `seconds` for `runtime_seconds`, in `GB` for `GB`."""
    return scale_amount(number, MEASURES[key][1] if key in MEASURES else key)


def format_sum(key: str, number: Decimal) -> str:
    """Return a sum with its unit and measure: `14.7 h of runtime`, `98.3 GB`, `1,204 tasks`."""
    amount, metric = scale_sum(key, number), MEASURES.get(key, ("", ""))[0]
    if not metric:
        return str(amount)
    return f"{amount.number} {metric}" if amount.unit in metric else f"{amount} of {metric}"


def format_exact_sum(key: str, number: Decimal) -> str:
    """Return a sum, scaled for people, with all its digits: `98.3 GB (98,304,111,872 bytes)`."""
    amount = scale_sum(key, number)
    return f"{amount} ({amount.exact})" if amount.exact else str(amount)


def get_sum_label(key: str) -> str:
    """Return what a sum is of: `runtime`, `tasks`, `jobs failed`, `minutes`."""
    return MEASURES[key][0] if key in MEASURES else key or "without a unit"
