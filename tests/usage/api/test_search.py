"""Filters by name, size, tag and detail: exact against a search by hand, and read off an index however long the table."""

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

from tests.support.api_clients import API, bearer, get, refused, walk
from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.plans import analyze, clean_pending_lists, find_large_sorts, find_scans
from usage.models import ResourceUsage, Source

pytestmark = pytest.mark.django_db
several = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    return bearer()


def find_names(client: Client, **query: Any) -> set[str]:
    """Return the names of the resources that are found."""
    return {row["resource_name"] for row in get(client, "resource-usage/", **query)["results"]}


def find_tagged(client: Client, query: str) -> set[str]:
    """Return the names of the resources that a raw query finds."""
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
    errors = refused(client.get(f"{API}/resource-usage/", {"resource_name__contains": "qe\u0301"}))
    assert "at least 3 characters" in errors["resource_name__contains"][0]


def test_names_of_recipes_folders_and_workspaces_are_found_by_a_part(client: Client) -> None:
    RecipeUsageFactory(recipe_name="Sync orders", folder_name="Shop", workspace_name="Customer One")
    RecipeUsageFactory(recipe_name="Send bills", folder_name="Finance", workspace_name="Customer Two")

    def found(**query: str) -> list[str]:
        return [row["recipe_name"] for row in get(client, "recipe-usage/", **query)["results"]]

    assert found(recipe_name__contains="ORDER") == ["Sync orders"]
    assert found(folder_name__contains="finan") == ["Send bills"]
    assert found(workspace_name__contains="two") == ["Send bills"]
    assert found(workspace_name__contains="customer", recipe_name__contains="sync") == ["Sync orders"]


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
    errors = refused(client.get(f"{API}/{address}/?{query}"))
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
    assert refused(client.get(f"{API}/resource-usage/?tag=b:2&cursor={cursor}"))["cursor"]


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
    found = sorted(Decimal(row["consumed_quantity"]) for row in get(client, "resource-usage/", **query)["results"])
    wanted = [(COMPARED[name.rpartition("__")[2]], Decimal(value)) for name, value in query.items()]
    assert found == sorted(
        quantity for quantity in (*quantities, *edges) if all(compare(quantity, value) for compare, value in wanted)
    )


KEYS, VALUES = st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2", "x:y"])
TAGS = st.dictionaries(KEYS, VALUES | st.lists(VALUES, min_size=2, max_size=3))


@several
@given(
    rows=st.lists(TAGS, max_size=12),
    wanted=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3),
    mode=st.sampled_from(["and", "or"]),
)
def test_tags_find_exactly_what_a_search_by_hand_finds(
    client: Client, rows: list[dict[str, Any]], wanted: list[tuple[str, str]], mode: str
) -> None:
    ResourceUsage.objects.all().delete()
    source = SourceFactory()
    for number, tags in enumerate(rows):
        ResourceUsageFactory(source=source, resource_name=str(number), tags=tags)
    together = all if mode == "and" else any

    def has(tags: dict[str, Any], key: str, value: str) -> bool:
        held = tags.get(key, [])
        return value in held if isinstance(held, list) else held == value

    by_hand = {str(number) for number, tags in enumerate(rows) if together(has(tags, *one) for one in wanted)}
    query = "&".join(f"tag={key}:{value}" for key, value in wanted)
    assert find_tagged(client, f"{query}&tag_mode={mode}") == by_hand


def test_counts_runtimes_and_starts_have_bounds_and_what_is_unknown_is_within_none(client: Client) -> None:
    for hours in (1, 2, 3):
        EnvironmentUsageFactory(record_id=f"{hours}h", created_at=FIRST, stopped_at=FIRST + timedelta(hours=hours))
    EnvironmentUsageFactory(record_id="?", created_at=None, stopped_at=FIRST + timedelta(hours=9))
    for count in (5, None):
        RecipeUsageFactory(task_count=count)

    def runs(**query: str) -> set[str]:
        return {row["record_id"] for row in get(client, "environment-usage/", **query)["results"]}

    assert runs(runtime_seconds__gte="7200") == {"2h", "3h"}
    assert runs(runtime_seconds__gt="3600", runtime_seconds__lt="10800.000001") == {"2h", "3h"}
    assert runs(created_at__gte="2026-01-01") == {"1h", "2h", "3h"}
    assert runs(created_at__lt="2026-01-01") == set()
    assert runs(created_at__lt="2026-01-02", record_id="1h,?") == {"1h"}
    assert [row["task_count"] for row in get(client, "recipe-usage/", task_count__gte="0")["results"]] == [5]


def test_fields_choose_the_columns_and_their_order_in_lists_details_and_exports(client: Client) -> None:
    record = EnvironmentUsageFactory(source=SourceFactory(slug="a"))
    chosen = {"stopped_at", "source", "id"}
    (listed,) = get(client, "environment-usage/", fields="stopped_at, source,id")["results"]
    assert list(listed) == ["stopped_at", "source", "id"]
    assert set(get(client, f"environment-usage/{record.pk}/", fields="stopped_at,source,id")) == chosen
    export = client.get(f"{API}/environment-usage/", {"format": "csv", "fields": "source,id"})
    assert b"".join(export).startswith(b"source,id\r\n")
    assert refused(client.get(f"{API}/environment-usage/{record.pk}/?fields=x"))["fields"]
    assert get(client, "sources/", fields="slug")["results"] == [{"slug": "a"}]


def test_a_cursor_is_good_whatever_columns_are_chosen(client: Client) -> None:
    for _ in range(3):
        EnvironmentUsageFactory()
    pages = list(walk(client, "environment-usage/", fields="record_id", page_size="1"))
    assert len({row["record_id"] for page in pages for row in page}) == 3


ROWS = 50_000
FILLED: dict[str, str] = {
    "environmentusage": """
        INSERT INTO usage_environmentusage (source_id, day, record_id, environment_id, project_id, user_id, runner_id,
            environment_class_id, created_at, stopped_at, changed_at)
        SELECT %s, '2026-01-01', 'r' || g, 'e' || g %% 5000, 'p' || g %% 50, 'u' || g %% 500, 'n' || g %% 2000,
            'c' || g %% 1500, %s + (g - g %% 3600) * interval '1 second', %s + g * interval '1 second', %s
        FROM generate_series(1, %s) AS g""",
    "resourceusage": """
        INSERT INTO usage_resourceusage (source_id, day, resource_key, resource_type, billing_metric,
            consumed_quantity, consumed_unit, project_id, region_id, resource_id, resource_name, details, tags,
            first_seen, changed_at)
        SELECT %s, (%s + g / 500 * interval '1 day')::date, md5(g::text)::uuid, 't' || g %% 25, 'm' || g %% 400,
            g %% 3600 + 0.5, 'u' || g %% 900, g %% 300, g %% 1000, 'i' || g %% 5000, 'name-' || md5(g::text),
            jsonb_build_object('flavor', 'f' || g %% 700, 'last_size', g %% 800),
            jsonb_build_object('team', 't' || g %% 600, 'k' || g %% 500, 'v'), %s, %s
        FROM generate_series(1, %s) AS g""",
    "recipeusage": """
        INSERT INTO usage_recipeusage (source_id, day, workspace_id, external_id, workspace_name, recipe_id,
            recipe_name, folder_id, folder_name, starts_at, ends_at, task_count, job_succeeded_count, job_failed_count,
            recipe_count, changed_at)
        SELECT %s, '2026-01-01', g %% 300, 'x' || g %% 300, 'space-' || md5((g %% 300)::text), NULLIF(g %% 900, 0),
            'recipe-' || md5((g %% 900)::text), g %% 400, 'folder-' || md5((g %% 400)::text),
            %s + g * interval '1 minute', %s + (g + 60) * interval '1 minute', g %% 1000, g %% 900, g %% 800, g %% 700, %s
        FROM generate_series(1, %s) AS g""",
}


@pytest.fixture
def long_tables() -> None:
    """Fill every table of usage beyond what the planner would rather read whole."""
    source: Source = SourceFactory(slug="a")
    SourceFactory(slug="b")
    with connection.cursor() as cursor:
        for table, sql in FILLED.items():
            # Rows of tests that were rolled back would stay in the way.
            cursor.execute(f"TRUNCATE usage_{table}")
            cursor.execute(sql, [source.pk, FIRST, FIRST, FIRST, ROWS])
            clean_pending_lists(f"{table}_search")
            analyze(f"usage_{table}")


A_JANUARY_DAY = {"from": "2026-01-02", "to": "2026-01-03"}
ENVIRONMENTS: list[dict[str, str]] = [
    {"record_id": "r77"},
    {"runner_id": "n7"},
    {"environment_class_id": "c7"},
    {"runner_id": "nobody"},
    {"project_id": "p7", "user_id": "u7"},
    {"runtime_seconds__gte": "3599", **A_JANUARY_DAY},
    {"runtime_seconds__gte": "1000000000", **A_JANUARY_DAY},
    {"created_at__gte": "2026-01-01T10:00:00Z"},
    {"created_at__gte": "2026-01-05"},
    {"created_at__lt": "2026-01-01T02:00:00Z", "to": "2026-01-01T04:00:00Z"},
    {"source": "a"},
    {"source": "b"},
    {"include_withdrawn": "true"},
]
RESOURCES: list[dict[str, str]] = [
    {"resource_name__contains": "abcde"},
    {"resource_name__contains": "équipe"},
    {"resource_name": "name-none"},
    {"region_id": "7"},
    {"billing_metric": "m7"},
    {"consumed_unit": "u7"},
    {"resource_type": "t7"},
    {"project_id": "7"},
    {"resource_id": "i7"},
    {"consumed_quantity__gte": "3599", **A_JANUARY_DAY},
    {"consumed_quantity__gte": "100000", **A_JANUARY_DAY},
    {"flavor": "f7"},
    {"flavor": "none"},
    {"details.last_size": "7"},
    {"tag": "team:t7"},
    {"tag": "team:nobody"},
    {"tag_key": "k7"},
    {"first_seen__gte": "2026-01-01", "from": "2026-01-03", "to": "2026-01-05"},
    {"from": "2026-01-03", "to": "2026-01-05"},
]
A_DAY = {"from": "2026-01-20", "to": "2026-01-21"}
RECIPES: list[dict[str, str]] = [
    {"workspace_name__contains": "abc"},
    {"recipe_name__contains": "abcd"},
    {"recipe_name__contains": "équipe"},
    {"folder_name__contains": "nothing-like-it"},
    {"external_id": "x7"},
    {"workspace_id": "7"},
    {"recipe_id": "7"},
    {"folder_id": "7"},
    {"deleted_recipes": "only"},
    {"deleted_recipes": "exclude"},
    {"task_count__gte": "999", **A_DAY},
    {"job_failed_count__gt": "798", **A_DAY},
    {"job_succeeded_count__lt": "1", **A_DAY},
    {"recipe_count__gte": "5000", **A_DAY},
]
SEARCHES = {"environment-usage": ENVIRONMENTS, "resource-usage": RESOURCES, "recipe-usage": RECIPES}


def troubles(client: Client, kind: str, query: dict[str, str]) -> list[str]:
    """Return what of the plan of a page reads or sorts as much as the whole table."""
    with CaptureQueriesContext(connection) as queries:
        get(client, f"{kind}/", page_size="50", **query)
    (sql,) = [query["sql"] for query in queries if "row_to_json" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    table = f"usage_{kind.replace('-', '')}"
    scans = [node for node in find_scans(plan, table) if node["Node Type"] == "Seq Scan"]
    return [f"{kind} {query}: {node['Node Type']}" for node in (*scans, *find_large_sorts(plan, ROWS / 10))]


@pytest.mark.usefixtures("long_tables")
def test_no_filter_reads_or_sorts_a_whole_table(client: Client) -> None:
    assert [said for kind, found in SEARCHES.items() for query in found for said in troubles(client, kind, query)] == []


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
