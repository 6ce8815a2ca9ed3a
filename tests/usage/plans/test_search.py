"""The plans of the API's lists: no filter reads or sorts a whole table."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.api_clients import create_api_client, get
from tests.support.long_tables import ROWS, SEARCHES
from tests.support.plans import find_large_sorts, find_scans

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]


def find_large_reads(client: Client, kind: str, query: dict[str, str]) -> list[str]:
    """Return the nodes in the plan of a page that read or sort as much as the whole table."""
    with CaptureQueriesContext(connection) as queries:
        get(client, f"{kind}/", page_size="50", **query)
    (sql,) = [query["sql"] for query in queries if "row_to_json" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    table = f"usage_{kind.replace('-', '')}"
    scans = [node for node in find_scans(plan, table) if node["Node Type"] == "Seq Scan"]
    return [f"{kind} {query}: {node['Node Type']}" for node in (*scans, *find_large_sorts(plan, ROWS / 10))]


def test_no_filter_reads_or_sorts_a_whole_table() -> None:
    client = create_api_client()
    assert [
        problem
        for kind, searches in SEARCHES.items()
        for query in searches
        for problem in find_large_reads(client, kind, query)
    ] == []
