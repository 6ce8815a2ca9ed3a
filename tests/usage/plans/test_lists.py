"""The plans of the usage lists: no filter of the API and no order on offer reads or sorts a whole table."""

import pytest
from django.db import connection
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.long_tables import ROWS, SEARCHES
from tests.support.plans import find_large_sorts, find_scans
from tests.support.users import client_of
from usage.admin.lists.environments import EnvironmentUsageAdmin
from usage.admin.lists.recipes import RecipeUsageAdmin
from usage.admin.lists.resources import ResourceUsageAdmin
from usage.models import KINDS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]
ADMINS = (EnvironmentUsageAdmin, ResourceUsageAdmin, RecipeUsageAdmin)


@pytest.fixture(autouse=True)
def _nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pages empty: their rows are fetched before, and to draw them takes half of the time."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")


def troubles(staff: Client, kind: str, query: dict[str, str]) -> list[str]:
    """Return what of the plan of a page reads or sorts as much as the whole table."""
    table = f"usage_{kind.replace('-', '')}"
    with CaptureQueriesContext(connection) as queries:
        assert staff.get(f"/admin/{table.replace('_', '/')}/", query).status_code == 200
    (sql,) = [one["sql"] for one in queries if f'FROM "{table}"' in one["sql"] and "LIMIT 51" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    scans = [node for node in find_scans(plan, table) if node["Node Type"] == "Seq Scan"]
    return [f"{kind} {query}: {node['Node Type']}" for node in (*scans, *find_large_sorts(plan, ROWS / 10))]


def test_no_filter_and_no_order_reads_or_sorts_a_whole_table() -> None:
    staff = client_of("viewer")
    orders = [
        (kind, {"ordering": sign + name, **month})
        for kind, model_admin in zip(KINDS, ADMINS, strict=True)
        for name in model_admin.viewset.orderings
        for sign in ("", "-")
        for month in ({}, {"from": "2026-01-01", "to": "2026-02-01"})
    ]
    filters = [(kind, query) for kind, found in SEARCHES.items() for query in found]
    ends = [(kind, {"before": "end"}) for kind in KINDS]
    assert [said for kind, query in (*orders, *filters, *ends) for said in troubles(staff, kind, query)] == []
