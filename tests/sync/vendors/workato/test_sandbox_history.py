"""What days of the Workato stand-in hold, and how they change and go wrong."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import httpx2
import pytest

from sync.sandbox.world import Edit, World
from sync.vendors.workato.sandbox import Sandbox
from tests.support.sandbox_server import SandboxServer
from tests.support.stand_in import OneTimeFaults, parse_content
from tests.support.workato_sandbox import (
    DAY,
    METRICS,
    NOW,
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
from tests.support.workato_shapes import SHAPES, build_reshape
from usage.days import Day


def test_the_same_seed_gives_the_same_history_and_another_one_another(world: World) -> None:
    body: Row = {**build_range(DAY), "interval": "hour"}
    ids = [workspace["id"] for workspace in list_all_workspaces(Sandbox(world))]
    rows = query_usage(Sandbox(world), **body, workspace_ids=ids)
    assert rows == query_usage(Sandbox(World(now=lambda: NOW)), **body, workspace_ids=ids)
    assert rows == query_usage(Sandbox(World(now=lambda: NOW + timedelta(days=20))), **body, workspace_ids=ids)
    assert rows != query_usage(Sandbox(World(seed=2, now=lambda: NOW)), **body)


def test_today_grows_and_its_jobs_are_counted_once_wherever_they_fall(world: World, vendor: Sandbox) -> None:
    body: Row = {**build_range(date(2026, 11, 20), date(2026, 11, 25)), "interval": "hour"}
    counts = []
    for hour in range(0, 30, 3):
        world.set_clock(NOW + timedelta(hours=hour))
        jobs = sum_metrics(query_usage(vendor, **body)).get((), [0, 0, 0])
        counts.append(jobs[1] + jobs[2])
        assert all(datetime.fromisoformat(row["from"]) < world.now() for row in query_usage(vendor, **body))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_jobs_move_to_the_hour_of_their_retry_within_the_last_day(world: World, vendor: Sandbox) -> None:
    body: Row = {**build_range(DAY), "interval": "hour", "group_by": "recipe"}
    midnight = Day.of(DAY, world.zone).end
    world.set_clock(midnight)
    first_sums = sum_metrics(query_usage(vendor, **body), "recipe_id", "from")
    world.set_clock(midnight + timedelta(hours=21, minutes=5))
    settled_sums = sum_metrics(query_usage(vendor, **body), "recipe_id", "from")
    moved = [key for key in first_sums if key in settled_sums and first_sums[key] != settled_sums[key]]
    assert moved
    assert all(first_sums[key][2] == settled_sums[key][2] + 1 for key in moved)
    world.set_clock(midnight + timedelta(days=5))
    later_sums = sum_metrics(query_usage(vendor, **body), "recipe_id", "from")
    assert all(settled_sums[key] == counts for key, counts in later_sums.items())


def test_office_days_are_busier_than_weekends(vendor: Sandbox) -> None:
    friday, sunday = (
        query_usage(vendor, **build_range(date(2026, 11, 6))),
        query_usage(vendor, **build_range(date(2026, 11, 8))),
    )
    assert sum(row["task_count"] for row in friday) > 2 * sum(row["task_count"] for row in sunday)


def read_around_edit(world: World, vendor: Sandbox, edit: Edit) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """Return the recipe hours of DAY before and after an edit; bare sums keep up, other days stay."""
    body: Row = {"interval": "hour", "group_by": "recipe"}
    before = {(row["recipe_id"], row["from"]): row for row in query_usage(vendor, **body)}
    neighbours = query_usage(vendor, **build_range(DAY + timedelta(days=1)), **body)
    world.edits["workato", DAY] = edit
    assert query_usage(vendor, **build_range(DAY + timedelta(days=1)), **body) == neighbours
    rows = query_usage(vendor, **body)
    assert sum_metrics(query_usage(vendor, group_by="workspace"), "workspace_id") == sum_metrics(rows, "workspace_id")
    after = {(row["recipe_id"], row["from"]): row for row in rows}
    world.edits.clear()
    return before, after


def test_a_day_can_be_restated_lose_rows_gain_rows_and_lose_them_all(world: World, vendor: Sandbox) -> None:
    before, after = read_around_edit(world, vendor, Edit(restated=0.2))
    changed = [key for key in before if before[key] != after[key]]
    assert before.keys() == after.keys()
    assert 0.1 < len(changed) / len(before) < 0.3
    before, after = read_around_edit(world, vendor, Edit(vanished=0.2))
    assert 0.1 < 1 - len(after) / len(before) < 0.3
    assert after.items() <= before.items()
    before, after = read_around_edit(world, vendor, Edit(late=0.1))
    assert before.items() < after.items()
    assert not read_around_edit(world, vendor, Edit(emptied=True))[1]


def test_some_rows_of_a_day_or_one_of_an_answer_can_be_bad(world: World, vendor: Sandbox) -> None:
    body: Row = {"interval": "hour", "group_by": "recipe"}
    plain = query_usage(vendor, **body)
    spoilt_once = query_usage(vendor, **body, faults=OneTimeFaults("bad_record"))
    assert len([1 for a, b in zip(plain, spoilt_once, strict=True) if a != b]) == 1
    world.edits["workato", DAY] = Edit(bad=0.1)
    spoilt = query_usage(vendor, **body)
    assert 0.05 < len([1 for a, b in zip(plain, spoilt, strict=True) if a != b]) / len(plain) < 0.15
    assert query_usage(vendor, **body) == spoilt


def test_a_day_can_have_any_number_of_recipe_hours_even_when_clocks_change(world: World) -> None:
    vendor = Sandbox(world)
    for count in (0, 1, 20, 1_003, 20_000):
        world.records_per_day = count
        for on in (DAY, date(2026, 10, 25), date(2026, 3, 29)):
            rows = query_usage(vendor, **build_range(on), interval="hour", group_by="recipe")
            assert len({(row["recipe_id"], row["from"]) for row in rows}) == len(rows) == count
    assert sum_metrics(query_usage(vendor), "workspace_id") == sum_metrics(
        query_usage(vendor, group_by="recipe"), "workspace_id"
    )


def test_rows_come_in_the_other_shapes_a_tolerant_reader_takes(vendor: Sandbox) -> None:
    body: Row = {"interval": "hour", "group_by": "recipe"}
    plain = query_usage(vendor, **body)
    rows_by_shape = {}
    for name in SHAPES:
        vendor.reshape = build_reshape(name)
        rows_by_shape[name] = query_usage(vendor, **body)
    assert [row["task_usage"] for row in rows_by_shape["aliases"]] == [row["task_count"] for row in plain]
    assert {"jobs_succeeded", "jobs_failed"} <= rows_by_shape["aliases"][0].keys()
    assert {"successful_jobs", "failed_jobs", "task_count"} <= rows_by_shape["other_aliases"][0].keys()
    assert [row["time"] for row in rows_by_shape["time"]] == [row["from"] for row in plain]
    assert not {"from", "to"} & rows_by_shape["time"][0].keys()
    flat = [
        {**{name: value for name, value in row.items() if name != "usage"}, **bucket}
        for row in rows_by_shape["nested"]
        for bucket in row["usage"]
    ]
    assert flat == plain
    assert len({row["recipe_id"] for row in rows_by_shape["nested"]}) == len(rows_by_shape["nested"]) < len(plain)
    assert not {*METRICS, "recipe_count"} & rows_by_shape["unknown"][0].keys()
    assert "job_failed_count" not in rows_by_shape["incomplete"][0]
    vendor.reshape = build_reshape("nested", "aliases", "time")
    bucket = query_usage(vendor, interval="hour")[0]["usage"][0]
    assert bucket.keys() == {"time", "task_usage", "jobs_succeeded", "jobs_failed", "recipes_count"}


def test_errors_of_the_server_come_in_the_vendors_shape(vendor: Sandbox) -> None:
    assert parse_content(vendor.build_error(429, "Too many requests")) == {"message": "Too many requests"}
    assert parse_content(vendor.build_error(500, "Oops")).keys() == {"message", "id"}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW)) as running:
        yield running


def test_a_plain_client_reads_it_over_http(server: SandboxServer) -> None:
    headers = {"Authorization": "Bearer sandbox-key"}
    with httpx2.Client(base_url=f"{server.url}/workato", headers=headers) as client:
        listed_workspaces = client.get(WORKSPACES, params={"page": 1, "per_page": 100}).json()["result"]
        ids = [workspace["id"] for workspace in listed_workspaces]
        body: Row = {**build_range(DAY), "workspace_ids": ids, "interval": "hour"}
        by_body = client.post(USAGE, json=body).json()["data"]
        by_query = client.post(USAGE, params=body).json()["data"]
        assert by_body == by_query == query_usage(Sandbox(server.world), interval="hour")
        response = client.post(USAGE, json={})
        assert (response.status_code, response.json()["message"]) == (400, "Missing required fields: from, to")
        assert client.get(WORKSPACES, headers={"Authorization": "Bearer no"}).status_code == 401
