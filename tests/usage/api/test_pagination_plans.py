"""Keyset pagination of a long table: pages are read from an index, and a deep page costs the same as the first."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from tests.support.api_clients import client as client
from tests.support.api_clients import get
from tests.support.database import keep_rows
from tests.support.factories import SourceFactory
from tests.support.plans import analyze, find_large_sorts, find_scans
from tests.usage.api.test_pagination import START, build_deep_cursor
from usage.models import EnvironmentUsage, Source

pytestmark = pytest.mark.django_db
ROWS = 60_000


@pytest.fixture(scope="module", autouse=True)
def long_table(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill the table beyond what the planner would rather sort: a run a second, every eleventh withdrawn."""
    with keep_rows(django_db_blocker):
        source: Source = SourceFactory(slug="a")
        with connection.cursor() as cursor:
            # Rows of tests that were rolled back would stay in the way.
            cursor.execute("TRUNCATE usage_environmentusage")
            cursor.execute(
                """
                INSERT INTO usage_environmentusage
                    (source_id, day, record_id, environment_id, project_id, user_id, stopped_at, changed_at, withdrawn_at)
                SELECT %s, (%s + g * interval '1 second')::date, 'r' || g, 'e' || g %% 5000, 'p' || g %% 50,
                       'u' || g %% 500, %s + g * interval '1 second', %s + g * interval '1 second',
                       CASE WHEN g %% 11 = 0 THEN now() END
                FROM generate_series(1, %s) AS g
                """,
                [source.pk, START, START, START, ROWS],
            )
        analyze("usage_environmentusage")
        yield


def get_page_sql(client: Client, **query: str) -> str:
    """Return the SQL of one page."""
    with CaptureQueriesContext(connection) as queries:
        get(client, "environment-usage/", **query)
    (sql,) = [query["sql"] for query in queries if "row_to_json" in query["sql"]]
    return sql


def explain(sql: str) -> dict[str, Any]:
    """Return the plan of an executed query, with its buffers."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
        plan: dict[str, Any] = cursor.fetchone()[0][0]["Plan"]
    return plan


def get_scan(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the node that reads the usage table; joining the few sources is another."""
    (node,) = find_scans(plan, "usage_environmentusage")
    return node


def count_buffers(plan: dict[str, Any]) -> int:
    """Return how many pages of the usage table and its index were touched."""
    return int(get_scan(plan)["Shared Hit Blocks"]) + int(get_scan(plan)["Shared Read Blocks"])


@pytest.mark.parametrize("ordering", ["-stopped_at", "stopped_at", "changed_at", "-project_id", "environment_id"])
def test_a_page_is_read_off_an_index_without_a_sort_and_a_deep_one_costs_what_the_first_does(
    client: Client, ordering: str
) -> None:
    first = explain(get_page_sql(client, ordering=ordering, page_size="50"))
    deep = explain(
        get_page_sql(
            client, ordering=ordering, page_size="50", cursor=build_deep_cursor(client, ordering, ROWS - 5_000)
        )
    )
    for plan in (first, deep):
        assert get_scan(plan)["Node Type"] in {"Index Scan", "Index Only Scan"}, plan
        assert find_large_sorts(plan, 1_000) == [], plan
    assert count_buffers(deep) <= 1.3 * count_buffers(first) + 20


def test_a_page_of_changes_does_not_read_all_that_one_merge_stored(client: Client) -> None:
    EnvironmentUsage.objects.update(changed_at=START)
    analyze("usage_environmentusage")

    for ordering in ("changed_at", "-changed_at"):
        cursor = build_deep_cursor(client, ordering, ROWS // 2)
        deep = explain(get_page_sql(client, ordering=ordering, page_size="50", cursor=cursor))
        assert get_scan(deep)["Node Type"] == "Index Scan", deep
        assert get_scan(deep)["Actual Rows"] < 1_000, deep


@pytest.mark.parametrize(
    "query",
    [
        {"from_": "2026-01-01T08:00:00Z", "to": "2026-01-01T09:00:00Z"},
        {"project_id": "p7"},
        {"project_id": "p7", "from_": "2026-01-01T08:00:00Z"},
        {"updated_since": "2026-01-01T16:00:00Z", "ordering": "changed_at", "include_withdrawn": "true"},
        {"source": "a"},
    ],
)
def test_a_filtered_page_does_not_read_or_sort_the_whole_table(client: Client, query: dict[str, str]) -> None:
    plan = explain(get_page_sql(client, page_size="50", **query))
    assert get_scan(plan)["Node Type"] in {"Index Scan", "Index Only Scan"}, plan
    assert find_large_sorts(plan, 1_000) == [], plan
    assert count_buffers(plan) < 600
