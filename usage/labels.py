"""The labels of the columns, measures, intervals and filters of usage, the same on every page."""

from typing import Final

LABELS: Final = {
    "records": "Records",
    "runtime_seconds": "Runtime",
    "records_without_runtime": "Records without runtime",
    "consumed_quantity": "Consumed",
    "task_count": "Tasks",
    "job_succeeded_count": "Jobs succeeded",
    "job_failed_count": "Jobs failed",
    "external_id": "External id",
    "environment_class_id": "Class",
    "from": "From",
    "to": "To, not included",
    "tz": "Time zone",
    "tag_mode": "Several tags",
    "tag_key": "Tag key",
    "include_withdrawn": "Withdrawn records",
    "updated_since": "Changed at or after",
}
BOUNDS: Final = {"__gte": "at least", "__gt": "more than", "__lte": "at most", "__lt": "less than"}
TIME_BOUNDS: Final = {"__gte": "at or after", "__lt": "before"}
TIMES: Final = ("created_at", "first_seen", "last_seen")


def get_label(name: str) -> str:
    """Return the label of a column, dimension (`tag:team`, `details.flavor`), measure, interval or filter."""
    if name in LABELS:
        return LABELS[name]
    if name.startswith("tag:"):
        return f"Tag {name.removeprefix('tag:')}"
    if name.endswith("__contains"):
        return f"{get_label(name.removesuffix('__contains'))} contains"
    for ending, suffix in (TIME_BOUNDS if name.startswith(TIMES) else BOUNDS).items():
        if name.endswith(ending):
            # `Created at or after`: the column's own "at" is part of the suffix.
            return f"{get_label(name.removesuffix(ending)).removesuffix(' at')} {suffix}"
    text = name.removeprefix("details.") if name.startswith("details.") else name.removesuffix("_id")
    return text.replace("__", " ").replace("_", " ").capitalize()
