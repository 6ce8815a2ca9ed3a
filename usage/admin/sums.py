"""A day's sums in words: they are kept by measure, or by their unit where that says what they are of."""

from typing import Final

from usage.summaries.overall import QUANTITIES

MEASURES: Final = {
    key: (metric.replace("_", " "), unit)
    for quantities in QUANTITIES.values()
    for key, metric, unit in quantities
    if metric
}


def unit_of(key: str) -> str:
    """Return the unit of a sum: `seconds` of `runtime_seconds`; a sum that is named by its unit has that."""
    return MEASURES[key][1] if key in MEASURES else key


def counted(key: str) -> str:
    """Return what stands behind the number of a sum: `seconds of runtime`, `tasks`, `jobs failed`, `GB`."""
    if key not in MEASURES:
        return key or "without a unit"
    metric, unit = MEASURES[key]
    return metric if unit in metric else f"{unit} of {metric}"
