"""Labels of a day's sums: a sum is stored under its measure, or under its unit if it has no measure."""

from typing import Final

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


def get_sum_label(key: str) -> str:
    """Return the words after the number of a sum: `seconds of runtime`, `tasks`, `jobs failed`, `GB`."""
    if key not in MEASURES:
        return key or "without a unit"
    metric, unit = MEASURES[key]
    return metric if unit in metric else f"{unit} of {metric}"
