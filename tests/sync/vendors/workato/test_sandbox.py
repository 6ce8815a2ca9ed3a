"""The Workato stand-in keeps the contract: intervals, zones, filters and refusals."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from sync.sandbox.world import Edit, World
from sync.vendors.workato.sandbox import Sandbox
from tests.support.stand_in import OneTimeFaults, parse_content, send_request
from tests.support.workato_sandbox import (
    DAY,
    METRICS,
    USAGE,
    WORKSPACES,
    Row,
    build_range,
    list_all_workspaces,
    query_usage,
    sum_metrics,
)
from tests.support.workato_sandbox import vendor as vendor
from tests.support.workato_sandbox import world as world
from usage.days import Day

OF_WORKSPACE = {"workspace_id", "external_id", "workspace_name", "from", "to", *METRICS}
OF_RECIPE = {"recipe_id", "recipe_name", "folder_id", "folder_name"}


def get_error(vendor: Sandbox, body: Any, query: Row | None = None) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error."""
    response = send_request(vendor, USAGE, body, authorization="Bearer sandbox-key", query=query)
    assert response.status >= 400
    error: dict[str, Any] = parse_content(response)
    assert isinstance(error["message"], str)
    return response.status, error


def test_workspaces_are_listed_by_page(vendor: Sandbox, world: World) -> None:
    listed_workspaces = list_all_workspaces(vendor)
    assert 10 <= len(listed_workspaces) <= 15
    assert any(workspace["external_id"] is None for workspace in listed_workspaces)
    assert any(not workspace["name"].isascii() for workspace in listed_workspaces)
    pages = [list_workspaces(vendor, page=page, per_page=5) for page in (1, 2, 3, 4)]
    assert [workspace for page in pages for workspace in page] == listed_workspaces
    assert list_workspaces(vendor, page=99) == []
    world.records_per_day = 100_000
    assert len(list_workspaces(vendor)) == len(list_workspaces(vendor, per_page=500)) == 100
    many_workspaces = list_all_workspaces(vendor)
    assert len({workspace["id"] for workspace in many_workspaces}) == len(many_workspaces) > 100
    first, second = list_workspaces(vendor), list_workspaces(vendor, page=2, faults=OneTimeFaults("duplicate"))
    assert second[0] == first[-1]


def list_workspaces(vendor: Sandbox, faults: OneTimeFaults | None = None, **query: int) -> list[Row]:
    response = send_request(
        vendor, WORKSPACES, authorization="Bearer sandbox-key", method="GET", query=query, faults=faults
    )
    assert response.status == 200
    page: list[Row] = parse_content(response)["result"]
    return page


def test_a_page_number_that_is_none_is_refused(vendor: Sandbox) -> None:
    for query in ({"page": 0}, {"page": "x"}, {"per_page": -1}):
        response = send_request(vendor, WORKSPACES, authorization="Bearer sandbox-key", method="GET", query=query)
        assert response.status == 400


def test_rows_are_flat_and_have_exactly_their_fields(vendor: Sandbox) -> None:
    for row in query_usage(vendor, interval="hour"):
        assert row.keys() == OF_WORKSPACE | {"recipe_count"}
        assert row["recipe_count"] > 0
    for row in query_usage(vendor, interval="hour", group_by="recipe"):
        assert row.keys() == OF_WORKSPACE | OF_RECIPE
        assert all(type(row[metric]) is int and row[metric] >= 0 for metric in METRICS)
        assert row["job_succeeded_count"] + row["job_failed_count"] > 0


def test_empty_buckets_are_left_out_and_no_rows_are_null(vendor: Sandbox, world: World) -> None:
    rows = query_usage(vendor, interval="hour", group_by="recipe")
    assert len({row["recipe_id"] for row in rows}) * 24 > len(rows) > 300
    body: Row = {**build_range(world.first_day - timedelta(days=9)), "workspace_ids": [1], "interval": "hour"}
    response = send_request(vendor, USAGE, body, authorization="Bearer sandbox-key")
    assert (response.status, parse_content(response)) == (200, {"data": None})


@pytest.mark.parametrize("group", [{}, {"group_by": "recipe"}])
def test_every_interval_has_the_sums_of_its_hours(vendor: Sandbox, group: Row) -> None:
    body = build_range(DAY - timedelta(days=12), DAY)
    ids = ("workspace_id", "recipe_id") if group else ("workspace_id",)
    hours = query_usage(vendor, **body, interval="hour", **group)
    for interval, bounds in {"none": 1, "year": 1, "month": 2, "week": 3, "day": 13}.items():
        rows = query_usage(vendor, **body, interval=interval, **group)
        assert sum_metrics(rows, *ids) == sum_metrics(hours, *ids), interval
        edges = sorted({(row["from"], row["to"]) for row in rows})
        assert edges[0][0] == body["from"], interval
        assert edges[-1][1] == body["to"], interval
        assert all(edge[1] == following[0] for edge, following in pairwise(edges)), interval
        assert len(edges) == bounds, interval
        by_bucket: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in hours:
            start = next(edge for edge in edges if edge[0] <= row["from"] < edge[1])
            key = (*(row[name] for name in ids), *start)
            by_bucket[key] = [a + row[m] for a, m in zip(by_bucket[key], METRICS, strict=True)]
        assert sum_metrics(rows, *ids, "from", "to") == by_bucket, interval


def test_hours_of_a_day_on_which_clocks_change_are_23_and_25(world: World) -> None:
    for on, expected in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (DAY, 24)):
        rows = query_usage(Sandbox(world), **build_range(on), interval="hour")
        starts = sorted({datetime.fromisoformat(row["from"]) for row in rows})
        assert len(starts) == expected
        assert all(end - start == timedelta(hours=1) for start, end in pairwise(starts))
        assert all(start.astimezone(Day.of(on, world.zone).zone).date() == on for start in starts)
        offsets = {row["from"][-6:] for row in rows}
        assert offsets == ({"+01:00"} if expected == 24 else {"+01:00", "+02:00"})
        days = query_usage(Sandbox(world), **build_range(on), interval="day")
        assert {(row["from"], row["to"]) for row in days} == {tuple(build_range(on).values())}


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"])
def test_buckets_follow_the_accounts_zone(world: World, zone: str) -> None:
    world.zone = zone
    vendor = Sandbox(world)
    rows = query_usage(vendor, **build_range(DAY, zone=zone), interval="hour")
    assert all(row["from"][13:] == row["to"][13:] == f":00:00.000{row['from'][-6:]}" for row in rows)
    assert all(row["from"].startswith(str(DAY)) for row in rows)
    assert len({row["from"] for row in rows}) == 24
    two_days = query_usage(vendor, **build_range(DAY, DAY + timedelta(days=1), zone), interval="day")
    one_day = query_usage(vendor, **build_range(DAY, zone=zone))
    assert sum_metrics(one_day, "workspace_id") == sum_metrics(
        [row for row in two_days if row["from"].startswith(str(DAY))], "workspace_id"
    )
    world.edits["workato", DAY] = Edit(emptied=True)
    assert {
        row["from"][:10]
        for row in query_usage(vendor, **build_range(DAY, DAY + timedelta(days=1), zone), interval="hour")
    } == {str(DAY + timedelta(days=1))}


def test_a_range_may_begin_and_end_anywhere_and_in_utc(vendor: Sandbox) -> None:
    expected = sum_metrics(query_usage(vendor), "workspace_id")
    utc: Row = {"from": "2026-11-09T23:00:00.000Z", "to": "2026-11-10T23:00:00.000Z"}
    assert sum_metrics(query_usage(vendor, **utc), "workspace_id") == expected
    first = query_usage(vendor, **{**utc, "to": "2026-11-10T10:17:23.456Z"})
    second = query_usage(vendor, **{**utc, "from": "2026-11-10T10:17:23.456Z"})
    assert sum_metrics([*first, *second], "workspace_id") == expected
    part: Row = {"from": "2026-11-10T08:30:00.000Z", "to": "2026-11-10T10:15:00.000Z"}
    hours = query_usage(vendor, **part, interval="hour")
    assert {(row["from"][11:16], row["to"][11:16]) for row in hours} == {
        ("09:30", "10:00"),
        ("10:00", "11:00"),
        ("11:00", "11:15"),
    }


def test_a_range_may_be_far_longer_than_history() -> None:
    vendor = Sandbox(World(days=30, now=lambda: datetime(2026, 1, 15, tzinfo=UTC)))
    forever: Row = {"from": "2000-01-01T00:00:00.000Z", "to": "2100-01-01T00:00:00.000Z"}
    rows = query_usage(vendor, **forever)
    assert {(row["from"], row["to"]) for row in rows} == {
        ("2000-01-01T01:00:00.000+01:00", "2100-01-01T01:00:00.000+01:00")
    }
    years = query_usage(vendor, **forever, interval="year")
    assert sum_metrics(years, "workspace_id") == sum_metrics(rows, "workspace_id")
    assert {row["from"] for row in years} == {"2025-01-01T00:00:00.000+01:00", "2026-01-01T00:00:00.000+01:00"}


def test_recipe_count_is_the_distinct_recipes_of_a_bucket(vendor: Sandbox) -> None:
    body: Row = {**build_range(DAY - timedelta(days=3), DAY), "interval": "day"}
    recipes: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for row in query_usage(vendor, **body, group_by="recipe"):
        recipes[row["workspace_id"], row["from"]].add(row["recipe_id"])
    buckets = query_usage(vendor, **body, group_by="workspace")
    assert {(row["workspace_id"], row["from"]): row["recipe_count"] for row in buckets} == {
        key: len(recipe_ids) for key, recipe_ids in recipes.items()
    }


def test_deleted_recipes_count_in_the_bare_question_only(vendor: Sandbox) -> None:
    body: Row = {**build_range(DAY - timedelta(days=30), DAY), "interval": "day"}
    workspace_sums = sum_metrics(query_usage(vendor, **body), "workspace_id", "from")
    recipes = sum_metrics(query_usage(vendor, **body, group_by="recipe"), "workspace_id", "from")
    differing = [key for key in workspace_sums if workspace_sums[key] != recipes.get(key)]
    assert differing
    assert all(workspace_sums[key][0] >= counts[0] for key, counts in recipes.items())
    assert sum_metrics(query_usage(vendor, **body, group_by="workspace"), "workspace_id", "from") == recipes
    folders = [row["folder_id"] for row in query_usage(vendor, **body, group_by="recipe")]
    assert sum_metrics(query_usage(vendor, **body, folder_ids=sorted(set(folders))), "workspace_id", "from") == recipes


def test_a_recipe_is_listed_until_it_is_deleted_and_then_only_in_the_bare_sums(world: World, vendor: Sandbox) -> None:
    workspace_sums = sum_metrics(query_usage(vendor), "workspace_id")
    now = sum_metrics(query_usage(vendor, group_by="recipe"), "workspace_id", "recipe_id")
    world.set_clock(datetime(2026, 11, 12, tzinfo=UTC))
    then = sum_metrics(query_usage(vendor, group_by="recipe"), "workspace_id", "recipe_id")
    assert sum_metrics(query_usage(vendor), "workspace_id") == workspace_sums
    assert now.items() < then.items()
    for workspace in {workspace for workspace, _ in then.keys() - now.keys()}:
        listed_then = sum(tasks for (owner, _), (tasks, *_) in then.items() if owner == workspace)
        assert listed_then <= workspace_sums[workspace,][0]


def test_recipes_and_folders_are_filtered_by_id_and_by_name(vendor: Sandbox) -> None:
    rows = query_usage(vendor, group_by="recipe")
    recipes = sorted({row["recipe_id"] for row in rows})[3:9]
    folders = sorted({row["folder_id"] for row in rows})[3:9]
    assert query_usage(vendor, group_by="recipe", recipe_ids=recipes) == [
        row for row in rows if row["recipe_id"] in recipes
    ]
    assert query_usage(vendor, group_by="recipe", folder_ids=folders) == [
        row for row in rows if row["folder_id"] in folders
    ]
    for name in ("recipe_name", "folder_name"):
        for part in ("Inv", "orders", "Orders", "übertragen", "Büro", "%%%", "書の同", "a*c"):
            pattern: Row = {f"{name}_pattern": part}
            expected = [row for row in rows if part in row[name]]
            assert query_usage(vendor, group_by="recipe", **pattern) == expected
    assert query_usage(vendor, group_by="recipe", recipe_name_pattern="order")
    assert not query_usage(vendor, group_by="recipe", recipe_name_pattern="ORDER")
    both = query_usage(vendor, group_by="recipe", recipe_name_pattern="Invoice", folder_ids=[rows[0]["folder_id"]])
    assert all("Invoice" in row["recipe_name"] for row in both)


def test_workspaces_are_chosen_by_id_or_by_external_id(vendor: Sandbox) -> None:
    rows = query_usage(vendor)
    first, second, *_ = [workspace for workspace in list_all_workspaces(vendor) if workspace["external_id"]]
    assert query_usage(vendor, workspace_ids=[first["id"]]) == [
        row for row in rows if row["workspace_id"] == first["id"]
    ]
    assert query_usage(vendor, external_ids=[second["external_id"]]) == [
        row for row in rows if row["external_id"] == second["external_id"]
    ]
    either = query_usage(vendor, workspace_ids=[first["id"]], external_ids=[second["external_id"]])
    assert {row["workspace_id"] for row in either} == {first["id"], second["id"]}
    assert query_usage(vendor, workspace_ids=[first["id"], 5]) == query_usage(vendor, workspace_ids=[first["id"]])


def test_the_fields_may_come_in_the_query_instead(vendor: Sandbox) -> None:
    ids = [workspace["id"] for workspace in list_all_workspaces(vendor)][:3]
    body: Row = {**build_range(DAY), "workspace_ids": ids, "interval": "hour"}
    expected = parse_content(send_request(vendor, USAGE, body, authorization="Bearer sandbox-key"))
    lists: list[Row] = [
        {"workspace_ids": ids},
        {"workspace_ids[]": ids},
        {"workspace_ids": ",".join(map(str, ids))},
    ]
    for id_params in lists:
        query = {**build_range(DAY), **id_params, "interval": "hour"}
        response = send_request(vendor, USAGE, authorization="Bearer sandbox-key", query=query)
        assert parse_content(response) == expected
    both = send_request(
        vendor,
        USAGE,
        {"workspace_ids": ids, "interval": "hour"},
        authorization="Bearer sandbox-key",
        query=build_range(DAY),
    )
    assert parse_content(both) == expected


@pytest.mark.parametrize(
    ("status", "field", "body"),
    [
        (400, "from", {"from": None}),
        (400, "to", {"to": None}),
        (400, "", {"workspace_ids": None}),
        (422, "from", {"from": "2026-11-10"}),
        (422, "from", {"from": "2026-11-10T00:00:00Z"}),
        (422, "from", {"from": "2026-11-10T00:00:00.000"}),
        (422, "from", {"from": "2026-13-10T00:00:00.000Z"}),
        (422, "from", {"from": "0001-01-01T00:00:00.000+14:00"}),
        (422, "to", {"to": 5}),
        (422, "to", {"to": "2026-11-09T23:00:00.000Z"}),
        (422, "interval", {"interval": "minute"}),
        (422, "group_by", {"group_by": "folder"}),
        (422, "workspace_ids", {"workspace_ids": 5}),
        (422, "workspace_ids", {"workspace_ids": ["x"]}),
        (422, "recipe_name_pattern", {"recipe_name_pattern": "ab"}),
        (422, "folder_name_pattern", {"folder_name_pattern": ""}),
        (422, "recipe_name_pattern", {"recipe_name_pattern": "abc", "recipe_ids": [1]}),
        (422, "folder_name_pattern", {"folder_name_pattern": "abc", "folder_ids": [1]}),
    ],
)
def test_what_the_vendor_does_not_take_is_refused_by_name(vendor: Sandbox, status: int, field: str, body: Row) -> None:
    response_status, error = get_error(vendor, {**build_range(DAY), "workspace_ids": [1], **body})
    assert response_status == status
    assert [problem["field"] for problem in error.get("errors", [])] == ([field] if field else [])


def test_a_body_that_is_no_json_object_is_a_400(vendor: Sandbox) -> None:
    for body in (b"{", b"[]", b"5", b"\xff"):
        assert get_error(vendor, body, build_range(DAY))[0] == 400


def test_the_token_is_asked_for(vendor: Sandbox) -> None:
    for authorization in ("", "sandbox-key", "Bearer other", "APIKey sandbox-key"):
        for path, method in ((USAGE, "POST"), (WORKSPACES, "GET")):
            response = send_request(vendor, path, {}, authorization=authorization, method=method)
            assert (response.status, parse_content(response)) == (401, {"message": "Unauthorized"})


def test_other_paths_and_methods_are_not_found(vendor: Sandbox) -> None:
    for path, method in ((USAGE, "GET"), (WORKSPACES, "POST"), ("/api/other", "GET")):
        response = send_request(vendor, path, {}, authorization="Bearer sandbox-key", method=method)
        assert (response.status, parse_content(response)) == (404, {"message": "Not found"})
