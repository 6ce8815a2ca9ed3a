"""Other shapes in which a vendor might send the rows whose fields are not public (docs/vendors/workato.md)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

Row = dict[str, Any]

ALIASES: Final = {
    "task_count": "task_usage",
    "job_succeeded_count": "jobs_succeeded",
    "job_failed_count": "jobs_failed",
    "recipe_count": "recipes_count",
}
OTHER_ALIASES: Final = {"job_succeeded_count": "successful_jobs", "job_failed_count": "failed_jobs"}
UNKNOWN: Final = {name: f"x_{name.removesuffix('_count')}" for name in ALIASES}
BUCKET_FIELDS: Final = {
    "from",
    "to",
    "time",
    *ALIASES,
    *ALIASES.values(),
    *OTHER_ALIASES.values(),
    *UNKNOWN.values(),
}
SHAPES: Final = {
    "aliases": "other names for the metrics",
    "other_aliases": "still other names for the jobs",
    "time": "a bucket has its start alone, as `time`",
    "nested": "one row per workspace or recipe, with its buckets in a list named `usage`",
    "unknown": "metrics under unknown names",
    "incomplete": "no count of failed jobs",
}


def build_reshape(*shape: str) -> Callable[[Iterable[Row]], list[Row]]:
    """Return what the stand-in's `reshape` is set to for the names of SHAPES together."""
    return partial(reshape_rows, shape=frozenset(shape))


def reshape_rows(rows: Iterable[Row], shape: frozenset[str]) -> list[Row]:
    """Return flat rows in the shape that the names (of SHAPES) together describe."""
    reshaped = list(rows)
    for name, names in (("aliases", ALIASES), ("other_aliases", OTHER_ALIASES), ("unknown", UNKNOWN)):
        if name in shape:
            reshaped = [{names.get(field, field): value for field, value in row.items()} for row in reshaped]
    if "incomplete" in shape:
        reshaped = [{field: value for field, value in row.items() if "failed" not in field} for row in reshaped]
    if "time" in shape:
        reshaped = [
            {("time" if field == "from" else field): value for field, value in row.items() if field != "to"}
            for row in reshaped
        ]
    return nest_rows(reshaped) if "nested" in shape else reshaped


def nest_rows(rows: Iterable[Row]) -> list[Row]:
    """Return one row per workspace or recipe, its buckets in the list `usage`."""
    nested_rows: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        outer = {field: value for field, value in row.items() if field not in BUCKET_FIELDS}
        inner = {field: value for field, value in row.items() if field in BUCKET_FIELDS}
        nested_rows.setdefault(tuple(outer.values()), {**outer, "usage": []})["usage"].append(inner)
    return list(nested_rows.values())
