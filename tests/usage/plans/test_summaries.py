"""The plans of summaries: a range is read from an index, and no record where the days are rolled up."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.api_clients import create_api_client, get
from tests.support.plans import find_scans, iterate_nodes
from usage.models import SourceDay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]
RANGE = {"from": "2026-01-05", "to": "2026-01-07"}
READ_RAW: list[tuple[str, dict[str, str]]] = [
    ("environment-usage", {"group_by": "environment_id,day"}),
    ("environment-usage", {"group_by": "hour"}),
    ("environment-usage", {"group_by": "project_id", "measures": "users"}),
    ("environment-usage", {"basis": "accrued", "group_by": "environment_id,day"}),
    ("resource-usage", {"group_by": "resource_id"}),
    ("resource-usage", {"group_by": "tag:team,day"}),
    ("recipe-usage", {"group_by": "hour"}),
]
ROLLED: list[tuple[str, dict[str, str]]] = [
    ("environment-usage", {"group_by": "project_id,month"}),
    ("environment-usage", {"group_by": "user_id"}),
    ("environment-usage", {"basis": "accrued", "group_by": "project_id,day", "measures": "runtime_seconds"}),
    ("resource-usage", {"group_by": "project_id,month"}),
    ("recipe-usage", {"group_by": "recipe_id,day"}),
]


def explain(client: Client, kind: str, query: dict[str, str]) -> list[dict[str, Any]]:
    """Return the plan of every query that a summary makes of records or of their rollups."""
    with CaptureQueriesContext(connection) as queries:
        get(client, f"{kind}/summary/", **RANGE, **query)
    plans = []
    with connection.cursor() as cursor:
        for sql in (entry["sql"] for entry in queries if "GROUP" in entry["sql"] and "SELECT" in entry["sql"]):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
            plans.append(cursor.fetchone()[0][0]["Plan"])
    return plans


def find_reads(plans: list[dict[str, Any]], kind: str) -> list[str]:
    """Return how the records of a kind are read."""
    table = f"usage_{kind.replace('-', '')}"
    return [node["Node Type"] for plan in plans for node in find_scans(plan, table)]


def test_a_range_of_records_is_read_off_an_index() -> None:
    SourceDay.objects.update(rolled_up=False)
    client = create_api_client()
    for kind, query in READ_RAW:
        node_types = find_reads(explain(client, kind, query), kind)
        assert node_types, (kind, query)
        assert "Seq Scan" not in node_types, (kind, query)


def test_where_rollups_hold_the_days_no_record_is_read() -> None:
    client = create_api_client()
    for kind, query in ROLLED:
        plans = explain(client, kind, query)
        assert find_reads(plans, kind) == [], (kind, query)
        assert any(node.get("Relation Name") for plan in plans for node in iterate_nodes(plan)), (kind, query)
