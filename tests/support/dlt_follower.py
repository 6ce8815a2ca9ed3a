"""A warehouse loader: dlt's rest_api source follows every change of the portal into PostgreSQL.

Runs in the environment of requirements-api.txt: `python -m tests.support.dlt_follower ADDRESS DATABASE DATASET DIRECTORY`, with
a portal token in PORTAL_TOKEN; it follows once for each line that it reads, and prints how many rows of each kind came. It uses what
docs/api.md documents about following changes; dlt keeps its state under DIRECTORY and in DATABASE.
"""

import os
import sys
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

KINDS = ("environment-usage", "resource-usage", "recipe-usage")
BEGINNING = "2000-01-01T00:00:00Z"


def build_resource(kind: str) -> dict[str, Any]:
    """Return the description of one list: its changes since the last one held, page by page, oldest first."""
    return {
        "name": kind.replace("-", "_"),
        "primary_key": "id",
        "write_disposition": "merge",
        "max_table_nesting": 0,
        # Seen before the first of them is withdrawn.
        "columns": {"withdrawn_at": {"data_type": "timestamp", "nullable": True}},
        "endpoint": {
            "path": f"{kind}/",
            "params": {"include_withdrawn": "true", "ordering": "changed_at", "page_size": 25},
            "data_selector": "results",
            "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
            "incremental": {
                "cursor_path": "changed_at",
                "start_param": "updated_since",
                "initial_value": BEGINNING,
                "row_order": "asc",
            },
        },
    }


def main() -> None:
    """Follow once for each line of the input, from where the last run ended."""
    for _ in sys.stdin:
        follow(*sys.argv[1:])


def follow(address: str, database: str, dataset: str, directory: str) -> None:
    """Follow once, by a pipeline whose only state is what it stored."""
    client = {"base_url": address, "auth": {"type": "bearer", "token": os.environ["PORTAL_TOKEN"]}}
    source = rest_api_source({"client": client, "resources": [build_resource(kind) for kind in KINDS]})
    pipeline = dlt.pipeline(
        "follower",
        pipelines_dir=directory,
        destination=dlt.destinations.postgres(database),
        dataset_name=dataset,
    )
    pipeline.run(source)
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(*(counts.get(kind.replace("-", "_"), 0) for kind in KINDS), flush=True)


if __name__ == "__main__":
    main()
