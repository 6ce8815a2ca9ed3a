"""Examples of answers of summaries, for the schema."""

from typing import Any, Final

META: Final[dict[str, Any]] = {
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-12-01T00:00:00Z",
    "tz": "UTC",
    "complete": False,
    "complete_through": "2026-11-20",
    "missing_days": {"total": 0, "days": []},
    "partial_days": {"total": 1, "days": [{"source": "production", "day": "2026-11-21", "accepted": None}]},
    "open_days": {"total": 1, "days": [{"source": "production", "day": "2026-11-22"}]},
    "suspect_days": {"total": 0, "days": []},
    "unverified_days": {
        "total": 1,
        "days": [
            {
                "source": "production",
                "day": "2026-11-03",
                "accepted": {"reason": "The vendor knows of the difference.", "at": "2026-11-05T09:12:00Z"},
            }
        ],
    },
    "mismatched_days": {"total": 0, "days": []},
    "pruned_days": {"total": 0, "days": [], "rolled_up": False},
    "archived_days": {"total": 0, "days": [], "answered_from": None},
    "later_sources": [],
    "source_zones": {},
    "provisional_from": "2026-11-01",
    "unsettled_from": "2026-11-18",
    "restated_since": "2026-11-19T04:12:09Z",
    "as_of": "2026-11-22T06:30:00Z",
}
# By the kind of usage: `group_by`, a row's dimensions, its sums, the total's sums, and those of the others.
LINES: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]]] = {
    "environment-usage": (
        "project_id,month",
        {"month": "2026-11-01", "project_id": "0195a1c2-7d3e-7b11-9c4f-2f6d1a8e5b90", "project_name": "payments"},
        {"records": 412, "runtime_seconds": "1483200.250000", "records_without_runtime": 3},
        {"records": 530, "runtime_seconds": "1733200.750000", "records_without_runtime": 3},
        {"records": 118, "runtime_seconds": "250000.500000", "records_without_runtime": 0},
    ),
    "resource-usage": (
        "project_id,month",
        {
            "month": "2026-11-01",
            "project_id": 1186,
            "project_name": "web-shop",
            "billing_metric": "volume_ssd",
            "consumed_unit": "gbminutes",
        },
        {"records": 60, "consumed_quantity": "8640000.125"},
        {"records": 75, "consumed_quantity": "9000000.5"},
        {"records": 15, "consumed_quantity": "359999.375"},
    ),
    "recipe-usage": (
        "workspace_id,month",
        {"month": "2026-11-01", "workspace_id": 501, "workspace_name": "Acme Logistics"},
        {"records": 720, "task_count": 86400, "job_succeeded_count": 2100, "job_failed_count": 12},
        {"records": 900, "task_count": 90000, "job_succeeded_count": 2500, "job_failed_count": 14},
        {"records": 180, "task_count": 3600, "job_succeeded_count": 400, "job_failed_count": 2},
    ),
}
OVERALL: Final[dict[str, Any]] = {
    "meta": META,
    "totals": [
        {"vendor": "gcore", "metric": "volume_ssd", "unit": "gbminutes", "quantity": "8640000.125", "records": 60}
    ],
    "results": [
        {
            "vendor": "gcore",
            "source": "production",
            "service": "volume",
            "service_name": None,
            "metric": "volume_ssd",
            "unit": "gbminutes",
            "quantity": "8640000.125",
            "records": 60,
        }
    ],
}


def build_summary_example(kind: str) -> dict[str, Any]:
    """Return an answer about a kind, as with `limit=1`."""
    _, values, sums, total_sums, other_sums = LINES[kind]
    partition_values = {name: value for name, value in values.items() if name in {"billing_metric", "consumed_unit"}}
    others = {
        "groups": 4,
        "totals": [{**partition_values, **other_sums}],
        "results": [{"month": values["month"], **partition_values, **other_sums}],
    }
    return {
        "meta": META,
        "totals": [{**partition_values, **total_sums}],
        "results": [{**values, **sums}],
        "others": others,
    }
