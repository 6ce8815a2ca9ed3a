"""The plans of the usage lists: no filter of the API and no order on offer reads or sorts a whole table."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.long_tables import ROWS, SEARCHES
from tests.support.plans import find_large_sorts, find_scans
from tests.support.users import sign_in_as
from usage.admin.lists.environments import EnvironmentUsageAdmin
from usage.admin.lists.recipes import RecipeUsageAdmin
from usage.admin.lists.resources import ResourceUsageAdmin
from usage.models import KINDS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]
ADMINS = (EnvironmentUsageAdmin, ResourceUsageAdmin, RecipeUsageAdmin)


def find_large_reads(staff: Client, kind: str, query: dict[str, str]) -> list[str]:
    """Return the nodes in the plan of a page that read or sort as much as the whole table."""
    table = f"usage_{kind.replace('-', '')}"
    with CaptureQueriesContext(connection) as queries:
        assert staff.get(f"/admin/{table.replace('_', '/')}/", query).status_code == 200
    (sql,) = [entry["sql"] for entry in queries if f'FROM "{table}"' in entry["sql"] and "LIMIT 51" in entry["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    scans = [node for node in find_scans(plan, table) if node["Node Type"] == "Seq Scan"]
    return [f"{kind} {query}: {node['Node Type']}" for node in (*scans, *find_large_sorts(plan, ROWS / 10))]


def test_no_filter_and_no_order_reads_or_sorts_a_whole_table() -> None:
    staff = sign_in_as("viewer")
    orders = [
        (kind, {"ordering": sign + name, **month})
        for kind, model_admin in zip(KINDS, ADMINS, strict=True)
        for name in model_admin.viewset.orderings
        for sign in ("", "-")
        for month in ({}, {"from": "2026-01-01", "to": "2026-02-01"})
    ]
    filters = [(kind, query) for kind, searches in SEARCHES.items() for query in searches]
    ends = [(kind, {"before": "end"}) for kind in KINDS]
    assert [
        problem for kind, query in (*orders, *filters, *ends) for problem in find_large_reads(staff, kind, query)
    ] == []
