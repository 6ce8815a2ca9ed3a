"""Lists and details of the API: exact fields, one query each, read from an index at any length of the table."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.dateparse import parse_datetime

from portal.urls import router
from sync.models import SyncRun, Trigger
from tests.support.api_clients import API, get
from tests.support.factories import (
    FIRST_DAY,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.summaries import client as client
from usage.api.views import ReadViewSet
from usage.models import RejectedRecord, Restatement, Source, UsageRecord

pytestmark = pytest.mark.django_db
FACTORIES: dict[str, Any] = {
    "environment-usage": EnvironmentUsageFactory,
    "resource-usage": ResourceUsageFactory,
    "recipe-usage": RecipeUsageFactory,
}
VIEWS: dict[str, Any] = {basename: view for _, view, basename in router.registry}


def is_same_value(rendered: Any, serialized: Any) -> bool:
    """Return whether two JSON values mean the same; instants may be written with or without their zeros."""
    if isinstance(rendered, str) and rendered.endswith("Z") and serialized is not None:
        return parse_datetime(rendered) == parse_datetime(serialized)
    return bool(rendered == serialized)


@pytest.mark.parametrize("kind", FACTORIES)
def test_postgresql_renders_exactly_what_the_documented_serializer_says(client: Client, kind: str) -> None:
    extra = {"naïve": [1, {"a": None}], "quote": '"\\\n\t', "number": 12345678901234567890}
    record = FACTORIES[kind](extra=extra)
    record.refresh_from_db()
    serializer = VIEWS[kind].serializer_class
    assert serializer is not None
    expected = json.loads(json.dumps(serializer(record).data, default=str))
    (row,) = get(client, f"{kind}/")["results"]
    assert list(row) == list(expected)
    assert [name for name in expected if not is_same_value(row[name], expected[name])] == []
    assert get(client, f"{kind}/{record.pk}/") == row


def test_numbers_keep_every_digit_and_instants_end_in_z(client: Client) -> None:
    quantity = Decimal("12345678901234567890.123456789012345678901234567890")
    ResourceUsageFactory(consumed_quantity=quantity, last_seen=datetime(2026, 1, 1, 23, 59, 59, 123456, tzinfo=UTC))
    (row,) = get(client, "resource-usage/")["results"]
    assert row["consumed_quantity"] == str(quantity)
    assert row["last_seen"] == "2026-01-01T23:59:59.123456Z"
    assert row["project_id"] == 11
    assert row["day"] == "2026-01-01"


def test_a_missing_count_is_null_and_never_zero(client: Client) -> None:
    RecipeUsageFactory(recipe_id=None, task_count=None)
    (row,) = get(client, "recipe-usage/")["results"]
    assert row["task_count"] is None
    assert row["recipe_id"] is None


def test_a_withdrawn_record_is_left_out_of_lists_and_still_has_its_address(client: Client) -> None:
    record = EnvironmentUsageFactory(withdrawn_at=datetime(2026, 1, 5, tzinfo=UTC))
    assert get(client, "environment-usage/")["results"] == []
    (row,) = get(client, "environment-usage/", include_withdrawn="true")["results"]
    assert row["withdrawn_at"] == "2026-01-05T00:00:00Z"
    assert get(client, f"environment-usage/{record.pk}/") == row


def test_nothing_of_a_credential_or_of_options_is_in_any_answer(client: Client) -> None:
    SourceFactory(slug="a", credential="hidden-1", credential_env="", options={"token": "hidden-2"})
    SourceFactory(slug="b", credential_env="PORTAL_VENDOR_HIDDEN_3")
    content = client.get(f"{API}/sources/").content + client.get(f"{API}/sources/a/").content
    assert b"hidden" not in content.lower()
    assert b"credential" not in content


def create_sync_rows() -> None:
    """Create a row of each of two sources in every list about syncing."""
    for slug in ("left", "right"):
        day = SourceDayFactory(source__slug=slug, day=FIRST_DAY)
        Restatement.objects.create(source_day=day, attempt=2, records_before=3, records_after=4)
        RejectedRecord.objects.create(source_day=day, payload="{", payload_digest="d", reason="no JSON", attempt=1)
        SyncRun.objects.create(source=day.source, trigger=Trigger.API, from_day=day.day, to_day=day.day.replace(day=2))


@pytest.mark.parametrize("address", ["sources", "sources/left/days", "sync-runs", "restatements", "rejected-records"])
def test_lists_of_how_usage_gets_in_lead_to_details_that_say_the_same(client: Client, address: str) -> None:
    create_sync_rows()
    results = get(client, f"{address}/")["results"]
    assert {row.get("source", row.get("slug")) for row in results} <= {"left", "right"}
    for row in results:
        key = row.get("id") if address != "sources" else row["slug"]
        key = row["day"] if address.endswith("days") else key
        lag = {"lag_seconds": row.get("lag_seconds")}
        assert get(client, f"{address}/{key}/") | lag == row | lag


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("rows", [0, 1, 30])
def test_a_list_costs_one_query_besides_the_tokens_and_its_last_page_another(
    client: Client, kind: str, rows: int
) -> None:
    source = SourceFactory()
    FACTORIES[kind].create_batch(rows, source=source)
    with CaptureQueriesContext(connection) as queries:
        assert len(get(client, f"{kind}/", page_size="25", from_="2026-01-01")["results"]) == min(rows, 25)
    assert len(queries) == 2 + (rows < 25), [query["sql"] for query in queries]


def test_names_of_sources_cost_one_query_more_and_a_count_another(client: Client) -> None:
    EnvironmentUsageFactory(source__slug="a")
    with CaptureQueriesContext(connection) as queries:
        assert get(client, "environment-usage/", source="a", vendor="acme", count="exact")["count"] == 1
    assert len(queries) == 6, [query["sql"] for query in queries]  # two of them for the archived days of the last page


def test_every_list_declares_a_default_among_total_orderings() -> None:
    for view in VIEWS.values():
        assert view.ordering.removeprefix("-") in view.orderings
        assert issubclass(view, ReadViewSet)


def list_index_columns(kind: type[UsageRecord]) -> set[tuple[str, ...]]:
    """Return the columns of the table's B-tree indexes, in their order."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, kind._meta.db_table)
    return {
        tuple(constraint["columns"])
        for constraint in constraints.values()
        if constraint["index"] or constraint["unique"]
    }


@pytest.mark.parametrize("kind", FACTORIES)
def test_every_ordering_of_usage_is_held_by_an_index_and_ends_in_the_key(kind: str) -> None:
    view = VIEWS[kind]
    model: type[UsageRecord] = view.queryset.model
    for columns in view.orderings.values():
        assert columns[-1] in {"id", model.key[-1]}
        indexes = {
            tuple("source_id" if name == "source" else name for name in index) for index in list_index_columns(model)
        }
        # Rows that are equal in an index's columns are sorted by the rest, at most a day's of one type. That of
        # changes has a block of ids, an expression, in place of the id.
        assert indexes & {columns, columns[:-1], columns[:2], (columns[0], None)}
        assert not [name for name in columns if model._meta.get_field(name).null]


def test_the_link_of_a_record_does_not_exist_for_an_unknown_key(client: Client) -> None:
    SourceFactory(slug="a")
    for address in ("environment-usage/1", "sources/b", "sources/a/days/2026-01-01", "sources/a/days/2026-02-31"):
        response = client.get(f"{API}/{address}/")
        assert response.status_code == 404, address
        assert response["Content-Type"] == "application/problem+json"
    assert Source.objects.count() == 1
