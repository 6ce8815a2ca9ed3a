"""dlt's rest_api source into PostgreSQL with merge; runs in the environment of requirements-bench.txt."""

import os
import sys
from datetime import date, timedelta
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

from tests.benchmarks.contenders import lane

LIST = "gitpod.v1.UsageService/ListEnvironmentUsageRecords"


def resource(name: str, first: date, end: date) -> dict[str, Any]:
    """Return the description of one listing `[first, end)`, paged by token in the body."""
    span = {"startTime": f"{first}T00:00:00Z", "endTime": f"{end}T00:00:00Z"}
    return {
        "name": name,
        "table_name": "environment_usage",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "path": LIST,
            "method": "POST",
            "json": {"filter": {"dateRange": span}, "pagination": {"pageSize": 100}},
            "data_selector": "records",
            "paginator": {
                "type": "cursor",
                "cursor_path": "pagination.nextToken",
                "cursor_body_path": "pagination.token",
            },
        },
    }


def source(base_url: str, first: date, days: int, listings: int) -> Any:
    """Return the source: one listing of all days, or several that dlt reads at the same time."""
    each = -(-days // listings)
    starts = [first + timedelta(days=offset) for offset in range(0, days, each)]
    last = first + timedelta(days=days)
    resources = [
        resource(f"usage_{number}", start, min(start + timedelta(days=each), last))
        for number, start in enumerate(starts)
    ]
    client = {"base_url": base_url, "auth": {"type": "bearer", "token": "sandbox-key"}}
    described = rest_api_source({"client": client, "resources": resources})
    if listings > 1:
        for each_resource in described.resources.values():
            each_resource.parallelize()
    return described


def main() -> None:
    """Race with the base URL, the first day, the number of days and of listings given as arguments."""
    base_url, first, days, listings = sys.argv[1:]
    destination = dlt.destinations.postgres(os.environ["DATABASE_URL"])
    pipeline = dlt.pipeline(
        "bench", pipelines_dir=os.environ["BENCH_SCRATCH"], destination=destination, dataset_name="bench"
    )
    described = source(base_url, date.fromisoformat(first), int(days), int(listings))

    def work() -> int:
        pipeline.run(described)
        counts = pipeline.last_trace.last_normalize_info.row_counts
        return int(counts["environment_usage"])

    lane.run(work)


if __name__ == "__main__":
    main()
