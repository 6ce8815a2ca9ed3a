"""What PostgreSQL's plans of queries on usage read and sort; tests store usage in January 2026."""

from collections.abc import Iterator
from typing import Any

from django.db import connection

MONTH = "2026_01"


def iterate_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's node and all below it."""
    yield node
    for below in node.get("Plans", ()):
        yield from iterate_nodes(below)


def find_scans(plan: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Return the nodes that read the month of a usage table that has rows."""
    return [node for node in iterate_nodes(plan) if node.get("Relation Name") == f"{table}_{MONTH}"]


def find_large_sorts(plan: dict[str, Any], rows: float) -> list[dict[str, Any]]:
    """Return the nodes of a plan that was carried out that sort more rows than so many at once."""
    sorts = [node for node in iterate_nodes(plan) if node["Node Type"] == "Sort"]
    return [node for node in sorts if node["Plans"][0]["Actual Rows"] > rows]


def analyze(table: str) -> None:
    """Give the planner the statistics of a filled table, and those of the sources that it is joined to.

    A vacuum of sources whose tests were rolled back notes a table of no rows, with which the planner estimates 200
    sources for every join.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE usage_source, {table}")


def clean_pending_lists(index: str) -> None:
    """Bring a GIN index of a usage table up to date."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT gin_clean_pending_list(inhrelid) FROM pg_inherits WHERE inhparent = %s::regclass", [index]
        )
