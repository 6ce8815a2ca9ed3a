"""The total of runtime beside the listing."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from sync.sandbox.world import Edit, World
from sync.vendors.ona.instants import SECOND, build_timestamp, to_nanoseconds
from sync.vendors.ona.sandbox import RUNTIME, Sandbox
from sync.vendors.ona.sandbox.runs import Run
from sync.vendors.ona.usage_pb2 import (
    DateRange,
    GetEnvironmentRuntimeRequest,
    GetEnvironmentRuntimeResponse,
)
from tests.support import ona_sdk_1x
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import END, KEY, START, build_filter, get_error, list_pages

DAY = timedelta(days=1)


def sum_runtime(runs: list[Run]) -> int:
    """Return the whole seconds of the runs whose start is known."""
    return sum(run.stopped_at - run.created_at for run in runs if run.created_at is not None) // SECOND


def get_total(client: httpx2.Client, **params: Any) -> int:
    response = client.post(RUNTIME, json=build_filter(**params)).raise_for_status().json()
    return int(response.get("totalRuntimeSeconds", 0))


def test_the_total_is_the_runtime_of_the_runs_that_stopped_in_the_range(client: httpx2.Client, ona: Sandbox):
    assert get_total(client) == sum_runtime(ona.list_runs(START, END)) > 1_000_000
    part = {"start": START + timedelta(hours=11), "end": START + timedelta(hours=29, seconds=7)}
    assert get_total(client, **part) == sum_runtime(ona.list_runs(part["start"], part["end"]))


def test_the_total_may_be_of_a_project_and_a_team_that_nobody_knows_has_none(client: httpx2.Client, ona: Sandbox):
    project = ona.list_runs(START, END)[5].environment.project_id
    assert (
        0 < get_total(client, projectId=project) == sum_runtime(ona.list_runs(START, END, project)) < get_total(client)
    )
    assert get_total(client, teamId="team-1") == 0


def test_the_total_is_of_the_day_as_it_is_now(client: httpx2.Client, ona: Sandbox, world: World):
    before = get_total(client)
    world.edits["ona", START.date()] = Edit(vanished=0.2, late=0.05)
    assert get_total(client) == sum_runtime(ona.list_runs(START, END)) != before


def test_a_run_that_came_while_somebody_paged_is_in_the_total(client: httpx2.Client, ona: Sandbox, sandbox: Any):
    before = get_total(client)
    sandbox.faults.next("growth")
    list_pages(client)
    assert get_total(client) == sum_runtime(ona.list_runs(START, END)) == before + 900


def test_a_total_of_zero_is_left_out_as_protobuf_does(client: httpx2.Client, world: World):
    world.edits["ona", START.date()] = Edit(emptied=True)
    assert client.post(RUNTIME, json=build_filter(end=START + timedelta(hours=1))).json().keys() <= {"trend"}


def test_the_modern_sdk_reads_the_total_that_the_listing_adds_up_to(sandbox: SandboxServer, ona: Sandbox):
    base_url = f"{sandbox.url}/ona/api"
    listing = ona_sdk_1x.list_records(base_url, KEY, START, END, 100)
    records = [record for page in listing["pages"] for record in page]
    seconds = sum(record["stopped_at"] - record["created_at"] for record in records if record["created_at"]) // SECOND
    response = ona_sdk_1x.get_runtime(base_url, KEY, START, END)
    assert response["error"] is None
    assert response["seconds"] == seconds > 0

    before = sum_runtime(ona.list_runs(START - DAY, START))
    assert response["trend"] == pytest.approx((seconds - before) / before)
    project = ona.list_runs(START, END)[0].environment.project_id
    project_total = ona_sdk_1x.get_runtime(base_url, KEY, START, END, project)
    assert project_total["seconds"] == sum_runtime(ona.list_runs(START, END, project))
    assert ona_sdk_1x.get_runtime(base_url, KEY, START, END, team_id="team-1")["seconds"] == 0


def test_the_total_can_count_otherwise_than_the_listing_or_be_missing(client: httpx2.Client, sandbox: SandboxServer):
    plain = get_total(client)
    sandbox.faults.next("other_total")
    assert 0 < get_total(client) < plain
    sandbox.faults.next("no_total")
    assert get_error(client.post(RUNTIME, json=build_filter())) == (501, "unimplemented")
    assert get_total(client) == plain


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dateRange": {}},
        {"dateRange": {"startTime": "yesterday"}},
        build_filter(END, START),
        build_filter(projectId=7),
        [],
    ],
    ids=str,
)
def test_a_request_for_a_total_that_breaks_the_contract_is_an_invalid_argument(client: httpx2.Client, body: Any):
    assert get_error(client.post(RUNTIME, json=body)) == (400, "invalid_argument")


def test_a_request_for_a_total_needs_the_credential(sandbox: SandboxServer):
    response = httpx2.post(f"{sandbox.url}/ona{RUNTIME}", json=build_filter())
    assert get_error(response) == (401, "unauthenticated")


def test_the_total_is_the_same_in_json_and_protobuf(client: httpx2.Client):
    dates = DateRange(start_time=build_timestamp(to_nanoseconds(START)), end_time=build_timestamp(to_nanoseconds(END)))
    body = GetEnvironmentRuntimeRequest(date_range=dates).SerializeToString()
    response = client.post(RUNTIME, content=body, headers={"Content-Type": "application/proto"})
    total = GetEnvironmentRuntimeResponse.FromString(response.content)
    assert total.total_runtime_seconds == get_total(client) > 0
