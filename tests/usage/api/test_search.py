"""Filters by name, size, tag and detail: exact against a search by hand."""

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_clients import API, get, get_problem_details, iterate_pages
from tests.support.api_clients import client as client
from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.long_tables import RESOURCES
from usage.models import ResourceUsage

pytestmark = pytest.mark.django_db
several = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def find_names(client: Client, **query: Any) -> set[str]:
    """Return the names of the resources that match."""
    return {row["resource_name"] for row in get(client, "resource-usage/", **query)["results"]}


def find_tagged(client: Client, query: str) -> set[str]:
    """Return the names of the resources that match a raw query string."""
    return {row["resource_name"] for row in client.get(f"{API}/resource-usage/?{query}").json()["results"]}


def test_a_part_of_a_name_is_found_in_any_case_and_wildcards_are_letters(client: Client) -> None:
    for name in ("Web-Server", "WEBCAM", "database", "50% off_sale", "500 off-sale", "Größe", "back\\slash"):
        ResourceUsageFactory(resource_name=name)
    assert find_names(client, resource_name__contains="web") == {"Web-Server", "WEBCAM"}
    assert find_names(client, resource_name__contains="0% o") == {"50% off_sale"}
    assert find_names(client, resource_name__contains="ff_sa") == {"50% off_sale"}
    assert find_names(client, resource_name__contains="GRÖSS") == {"Größe"}
    assert find_names(client, resource_name__contains="RÖß") == {"Größe"}
    assert find_names(client, resource_name__contains="K\\S") == {"back\\slash"}
    assert find_names(client, resource_name="database,WEBCAM") == {"database", "WEBCAM"}


def test_a_name_is_found_in_either_normal_form_and_in_folded_case(client: Client) -> None:
    composed, decomposed = "L'\u00e9quipe Paris", "L'e\u0301quipe Lyon"
    for name in (composed, decomposed, "STRASSE"):
        ResourceUsageFactory(resource_name=name)
    for text in ("\u00e9quipe", "e\u0301quipe", "\u00c9QUIPE", "E\u0301QUIPE"):
        assert find_names(client, resource_name__contains=text) == {composed, decomposed}
    ResourceUsageFactory(resource_name="Haupt-Straße")
    for text in ("straße", "strasse", "STRASSE"):
        assert find_names(client, resource_name__contains=text) == {"STRASSE", "Haupt-Straße"}
    assert find_names(client, resource_name__contains="sse") == {"STRASSE"}  # ße is too short for an index
    errors = get_problem_details(client.get(f"{API}/resource-usage/", {"resource_name__contains": "qe\u0301"}))
    assert "at least 3 characters" in errors["resource_name__contains"][0]


def test_names_of_recipes_folders_and_workspaces_are_found_by_a_part(client: Client) -> None:
    RecipeUsageFactory(recipe_name="Sync orders", folder_name="Shop", workspace_name="Customer One")
    RecipeUsageFactory(recipe_name="Send bills", folder_name="Finance", workspace_name="Customer Two")

    def find_recipes(**query: str) -> list[str]:
        return [row["recipe_name"] for row in get(client, "recipe-usage/", **query)["results"]]

    assert find_recipes(recipe_name__contains="ORDER") == ["Sync orders"]
    assert find_recipes(folder_name__contains="finan") == ["Send bills"]
    assert find_recipes(workspace_name__contains="two") == ["Send bills"]
    assert find_recipes(workspace_name__contains="customer", recipe_name__contains="sync") == ["Sync orders"]


@pytest.mark.parametrize(
    ("address", "query", "parameter", "message"),
    [
        ("resource-usage", "resource_name__contains=ab", "resource_name__contains", "at least 3 characters"),
        ("resource-usage", "tag=team", "tag", "is not a key and a value"),
        ("resource-usage", "tag=a:b&tag=:c", "tag", "“:c” is not a key and a value"),
        ("resource-usage", "tag=a:b&tag=", "tag", "Empty"),
        ("resource-usage", "tag=a:b%00", "tag", "Null characters"),
        pytest.param("resource-usage", f"tag=a:b&tag=a{':' * 100}", "tag", "At most 100 colons", id="colons"),
        pytest.param("resource-usage", f"flavor={'a,' * 500}a", "flavor", "At most 500 values.", id="values"),
        ("resource-usage", "tag_mode=xor", "tag_mode", "“xor” is not one of: and, or."),
        ("resource-usage", "details.flavour=g1", "details.flavour", "details.flavor"),
        ("resource-usage", "details.last_size=ten", "details.last_size", "whole number"),
        ("resource-usage", "consumed_quantity__gte=NaN", "consumed_quantity__gte", "is not a number"),
        ("resource-usage", "consumed_quantity__lt=1e5", "consumed_quantity__lt", "is not a number"),
        ("recipe-usage", "task_count__gt=many", "task_count__gt", "whole number"),
        ("environment-usage", "created_at__gte=now", "created_at__gte", "is not a date"),
        ("environment-usage", "fields=id,colour", "fields", "There is no “colour”; there are: id, source, day"),
        ("environment-usage", "fields=id,id", "fields", "named twice"),
    ],
)
def test_a_search_that_is_not_understood_is_refused_by_name(
    client: Client, address: str, query: str, parameter: str, message: str
) -> None:
    errors = get_problem_details(client.get(f"{API}/{address}/?{query}"))
    assert set(errors) == {"", parameter}
    assert message in errors[parameter][0]


def test_tags_combine_by_and_or_and_a_repeated_key_holds_each_of_its_values(client: Client) -> None:
    tagged: dict[str, dict[str, Any]] = {
        "one": {"team": "data"},
        "two": {"team": ["data", "web"], "env": "dev"},
        "three": {"env": "dev", "note": "a,b:c"},
        "none": {},
    }
    for name, tags in tagged.items():
        ResourceUsageFactory(resource_name=name, tags=tags)
    assert find_tagged(client, "tag=team:data") == {"one", "two"}
    assert find_tagged(client, "tag=team:data&tag=env:dev") == {"two"}
    assert find_tagged(client, "tag=team:data&tag=team:web") == {"two"}
    assert find_tagged(client, "tag=team:data&tag=env:dev&tag_mode=or") == {"one", "two", "three"}
    assert find_tagged(client, r"tag=note:a\,b:c") == {"three"}
    assert find_tagged(client, "tag=team:web,env:dev") == {"two"}
    assert find_tagged(client, "tag=team:dat") == set()
    assert find_tagged(client, "tag_key=note,team") == {"one", "two", "three"}


def test_rows_without_a_tag_its_value_or_a_detail_are_asked_for_as_none(client: Client) -> None:
    for name, tags, details in (
        ("one", {"team": "data"}, {"flavor": "small"}),
        ("two", {"team": ""}, {"flavor": None}),
        ("three", {"env": "dev", "a,b": "~none"}, {"flavor": ""}),
        ("four", {}, {}),
    ):
        ResourceUsageFactory(resource_name=name, tags=tags, details=details)
    assert find_tagged(client, "tag=~none") == find_tagged(client, "tag_key=~none") == {"four"}
    assert find_tagged(client, "tag=team:~none") == {"two", "three", "four"}
    assert find_tagged(client, "tag=team:~none&tag=env:dev") == {"three"}
    assert find_tagged(client, r"tag=a\,b:\~none") == find_tagged(client, r"tag_key=a\,b") == {"three"}
    assert find_tagged(client, "flavor=~none") == {"two", "three", "four"}
    assert find_tagged(client, "details.flavor=~none&details.flavor=small") == {"one", "two", "three", "four"}


def test_the_key_of_a_tag_may_hold_colons_as_its_value_may(client: Client) -> None:
    ResourceUsageFactory(resource_name="key", tags={"aws:team": "data"})
    ResourceUsageFactory(resource_name="value", tags={"aws": ["team:data", "x"]})
    ResourceUsageFactory(resource_name="other", tags={"aws": "team"})
    assert find_names(client, tag="aws:team:data") == {"key", "value"}
    assert find_names(client, tag="aws:team") == {"other"}


def test_a_cursor_is_bound_to_every_one_of_repeated_tags(client: Client) -> None:
    for _ in range(3):
        ResourceUsageFactory(tags={"a": "1", "b": "2"})
    cursor = client.get(f"{API}/resource-usage/?tag=a:1&tag=b:2&page_size=1").json()["next_cursor"]
    assert client.get(f"{API}/resource-usage/?tag=a:1&tag=b:2&cursor={cursor}").status_code == 200
    assert get_problem_details(client.get(f"{API}/resource-usage/?tag=b:2&cursor={cursor}"))["cursor"]


def test_details_are_compared_as_they_are_stored(client: Client) -> None:
    ResourceUsageFactory(resource_name="big", details={"flavor": "g2-4", "last_size": 10})
    ResourceUsageFactory(resource_name="text", details={"flavor": "g2", "last_size": "10"})
    ResourceUsageFactory(resource_name="volume", details={"volume_type": "standard", "attached_to_vm": "vm-1"})
    assert find_names(client, **{"details.flavor": "g2"}) == {"text"} == find_names(client, flavor="g2")
    assert find_names(client, flavor="g2,g2-4") == {"big", "text"}
    assert find_names(client, **{"details.last_size": "10"}) == {"big"}
    assert find_names(client, **{"details.volume_type": "standard", "details.attached_to_vm": "vm-1"}) == {"volume"}


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "gte": operator.ge,
    "gt": operator.gt,
    "lte": operator.le,
    "lt": operator.lt,
}


@several
@given(
    quantities=st.lists(st.decimals("-1000", "1000", places=20), max_size=12),
    bounds=st.lists(st.tuples(st.sampled_from(sorted(COMPARED)), st.decimals("-1000", "1000", places=20)), max_size=3),
)
def test_bounds_of_a_quantity_are_exact_to_the_last_digit(
    client: Client, quantities: list[Decimal], bounds: list[tuple[str, Decimal]]
) -> None:
    ResourceUsage.objects.all().delete()
    source = SourceFactory()
    query = {f"consumed_quantity__{bound}": f"{value:f}" for bound, value in bounds}
    edges = [Decimal(value) for value in query.values()]
    for quantity in (*quantities, *edges):
        ResourceUsageFactory(source=source, consumed_quantity=quantity)
    results = sorted(Decimal(row["consumed_quantity"]) for row in get(client, "resource-usage/", **query)["results"])
    conditions = [(COMPARED[name.rpartition("__")[2]], Decimal(value)) for name, value in query.items()]
    assert results == sorted(
        quantity for quantity in (*quantities, *edges) if all(compare(quantity, value) for compare, value in conditions)
    )


KEYS, VALUES = st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2", "x:y"])
TAGS = st.dictionaries(KEYS, VALUES | st.lists(VALUES, min_size=2, max_size=3))


@several
@given(
    rows=st.lists(TAGS, max_size=12),
    conditions=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3),
    mode=st.sampled_from(["and", "or"]),
)
def test_tags_find_exactly_what_a_search_by_hand_finds(
    client: Client, rows: list[dict[str, Any]], conditions: list[tuple[str, str]], mode: str
) -> None:
    ResourceUsage.objects.all().delete()
    source = SourceFactory()
    for number, tags in enumerate(rows):
        ResourceUsageFactory(source=source, resource_name=str(number), tags=tags)
    combine = all if mode == "and" else any

    def has_tag(tags: dict[str, Any], key: str, value: str) -> bool:
        tag_value = tags.get(key, [])
        return value in tag_value if isinstance(tag_value, list) else tag_value == value

    expected = {
        str(number)
        for number, tags in enumerate(rows)
        if combine(has_tag(tags, *condition) for condition in conditions)
    }
    query = "&".join(f"tag={key}:{value}" for key, value in conditions)
    assert find_tagged(client, f"{query}&tag_mode={mode}") == expected


def test_counts_runtimes_and_starts_have_bounds_and_what_is_unknown_is_within_none(client: Client) -> None:
    for hours in (1, 2, 3):
        EnvironmentUsageFactory(record_id=f"{hours}h", created_at=FIRST, stopped_at=FIRST + timedelta(hours=hours))
    EnvironmentUsageFactory(record_id="?", created_at=None, stopped_at=FIRST + timedelta(hours=9))
    for count in (5, None):
        RecipeUsageFactory(task_count=count)

    def find_runs(**query: str) -> set[str]:
        return {row["record_id"] for row in get(client, "environment-usage/", **query)["results"]}

    assert find_runs(runtime_seconds__gte="7200") == {"2h", "3h"}
    assert find_runs(runtime_seconds__gt="3600", runtime_seconds__lt="10800.000001") == {"2h", "3h"}
    assert find_runs(created_at__gte="2026-01-01") == {"1h", "2h", "3h"}
    assert find_runs(created_at__lt="2026-01-01") == set()
    assert find_runs(created_at__lt="2026-01-02", record_id="1h,?") == {"1h"}
    assert [row["task_count"] for row in get(client, "recipe-usage/", task_count__gte="0")["results"]] == [5]


def test_fields_choose_the_columns_and_their_order_in_lists_details_and_exports(client: Client) -> None:
    record = EnvironmentUsageFactory(source=SourceFactory(slug="a"))
    columns = {"stopped_at", "source", "id"}
    (row,) = get(client, "environment-usage/", fields="stopped_at, source,id")["results"]
    assert list(row) == ["stopped_at", "source", "id"]
    assert set(get(client, f"environment-usage/{record.pk}/", fields="stopped_at,source,id")) == columns
    export = client.get(f"{API}/environment-usage/", {"format": "csv", "fields": "source,id"})
    assert b"".join(export).startswith(b"source,id\r\n")
    assert get_problem_details(client.get(f"{API}/environment-usage/{record.pk}/?fields=x"))["fields"]
    assert get(client, "sources/", fields="slug")["results"] == [{"slug": "a"}]


def test_a_cursor_is_good_whatever_columns_are_chosen(client: Client) -> None:
    for _ in range(3):
        EnvironmentUsageFactory()
    pages = list(iterate_pages(client, "environment-usage/", fields="record_id", page_size="1"))
    assert len({row["record_id"] for page in pages for row in page}) == 3


@pytest.mark.parametrize(("kind", "factory"), [("resource-usage", ResourceUsageFactory)])
def test_any_filter_costs_one_query(client: Client, kind: str, factory: Any) -> None:
    factory(tags={"a": "1"})
    get(client, f"{kind}/")
    for query in RESOURCES:
        with CaptureQueriesContext(connection) as queries:
            get(client, f"{kind}/", **query)
        assert len([query for query in queries if "usage_resourceusage" in query["sql"]]) == 1


def test_ranges_of_when_a_resource_was_seen_are_half_open(client: Client) -> None:
    for hour in (1, 2, 3):
        ResourceUsageFactory(resource_name=str(hour), first_seen=datetime(2026, 1, 1, hour, tzinfo=UTC))
    assert find_names(client, first_seen__gte="2026-01-01T02:00:00Z", first_seen__lt="2026-01-01T03:00:00Z") == {"2"}
