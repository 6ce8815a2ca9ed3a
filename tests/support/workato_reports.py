"""Workato's reader and its vendor: the sandbox, or a server that answers as it is told."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
import stamina
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.sandbox.server import SandboxServer
from sync.sandbox.world import World
from sync.vendors.base import VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.workato.schema import USAGE, build_row
from tests.support.read_day import connect_reader
from usage.days import Day
from usage.models import RecipeRow

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
BERLIN = "Europe/Berlin"
DAY = Day.of(date(2026, 10, 14), BERLIN)
NINE = "2026-10-14T09:00:00+02:00"
TEN = "2026-10-14T10:00:00+02:00"
BARE = {
    "workspace_id": 7,
    "external_id": "cust-7",
    "workspace_name": "Acme",
    "from": NINE,
    "to": TEN,
    "task_count": 10,
    "job_succeeded_count": 5,
    "job_failed_count": 1,
    "recipe_count": 2,
}
RECIPE = {
    "workspace_id": 7,
    "external_id": "cust-7",
    "workspace_name": "Acme",
    "recipe_id": 70,
    "recipe_name": "Sync orders",
    "folder_id": 3,
    "folder_name": "Orders",
    "from": NINE,
    "to": TEN,
    "task_count": 10,
    "job_succeeded_count": 5,
    "job_failed_count": 1,
}


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, zone=BERLIN)) as server:
        yield server


@pytest.fixture
def workato(sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader:
        yield reader


@pytest.fixture
def scripted(httpserver: HTTPServer) -> Iterator[VendorReader]:
    with connect_reader("workato", httpserver.url_for("").rstrip("/"), zone=BERLIN, workspace_ids="7") as reader:
        yield reader


def answering(server: HTTPServer, bare: Any, recipes: Any) -> list[dict[str, Any]]:
    """Let a server give these rows (or these bytes); returns the list that gets the requests."""
    asked: list[dict[str, Any]] = []

    def answer(request: Request) -> Response:
        asked.append(json.loads(request.data))
        given = recipes if "group_by" in asked[-1] else bare
        body = given if isinstance(given, bytes) else json.dumps({"data": given}).encode()
        return Response(body, content_type="application/json")

    server.expect_request(USAGE, method="POST").respond_with_handler(answer)
    return asked


def read_row(**changes: Any) -> RecipeRow:
    """Return the usual recipe's row with some fields changed; `...` takes a field out."""
    fields = {
        name: value
        for name, value in (RECIPE | {name.rstrip("_"): value for name, value in changes.items()}).items()
        if value is not ...
    }
    return build_row(decode_record(msgspec.Raw(msgspec.json.encode(fields))), DAY, by_recipe=True)


def sums(found: list[RecipeRow]) -> dict[tuple[int, datetime], list[int]]:
    """Return tasks, succeeded and failed jobs by workspace and hour."""
    summed: dict[tuple[int, datetime], list[int]] = {}
    for one in found:
        cell = summed.setdefault((one.workspace_id, one.starts_at), [0, 0, 0])
        for place, number in enumerate((one.task_count, one.job_succeeded_count, one.job_failed_count)):
            cell[place] += number or 0
    return summed


def fetch_bare_sums(sandbox: SandboxServer, day: Day) -> dict[tuple[int, datetime], list[int]]:
    """Return what the vendor says of every workspace and hour when it is asked for nothing else."""
    with connect_reader("workato", f"{sandbox.url}/workato", zone=str(day.zone)) as reader:
        answer = reader.http.post(
            USAGE,
            msgspec.json.encode(
                {
                    "from": day.start.isoformat(timespec="milliseconds"),
                    "to": day.end.isoformat(timespec="milliseconds"),
                    "interval": "hour",
                    "workspace_ids": [one.id for one in workspaces(sandbox)],
                }
            ),
        )
    return {
        (one["workspace_id"], datetime.fromisoformat(one["from"])): [
            one["task_count"],
            one["job_succeeded_count"],
            one["job_failed_count"],
        ]
        for one in json.loads(answer)["data"] or []
    }


def workspaces(sandbox: SandboxServer) -> list[Any]:
    return sandbox.upstream.vendors["workato"].history.account.workspaces  # type: ignore[attr-defined]


def list_requests(sandbox: SandboxServer) -> list[dict[str, Any]]:
    """Return the bodies of all requests for usage."""
    return [json.loads(seen.body) for seen in sandbox.stats.requests if seen.path == USAGE]
