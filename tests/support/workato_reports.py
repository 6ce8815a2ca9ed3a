"""Workato's reader and its vendor: the sandbox, or a scripted server."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.sandbox.world import World
from sync.vendors.base import VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.workato.schema import USAGE, build_row
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import connect_reader
from usage.days import Day
from usage.models import RecipeRow

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
BERLIN = "Europe/Berlin"
DAY = Day.of(date(2026, 10, 14), BERLIN)
NINE = "2026-10-14T09:00:00+02:00"
TEN = "2026-10-14T10:00:00+02:00"
WORKSPACE_HOUR = {
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
RECIPE_HOUR = {
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


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, zone=BERLIN)) as server:
        yield server


@pytest.fixture
def workato(sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader:
        yield reader


@pytest.fixture
def scripted_reader(httpserver: HTTPServer) -> Iterator[VendorReader]:
    with connect_reader("workato", httpserver.url_for("").rstrip("/"), zone=BERLIN, workspace_ids="7") as reader:
        yield reader


def serve_usage(server: HTTPServer, workspace_rows: Any, recipe_rows: Any) -> list[dict[str, Any]]:
    """Serve rows, or bytes, of workspaces and recipes; returns the list that collects the requests' bodies."""
    requests: list[dict[str, Any]] = []

    def respond(request: Request) -> Response:
        requests.append(json.loads(request.data))
        rows = recipe_rows if "group_by" in requests[-1] else workspace_rows
        body = rows if isinstance(rows, bytes) else json.dumps({"data": rows}).encode()
        return Response(body, content_type="application/json")

    server.expect_request(USAGE, method="POST").respond_with_handler(respond)
    return requests


def build_recipe_row(**changes: Any) -> RecipeRow:
    """Return the usual recipe's row with some fields changed; `...` removes a field."""
    fields = {
        name: value
        for name, value in (RECIPE_HOUR | {name.rstrip("_"): value for name, value in changes.items()}).items()
        if value is not ...
    }
    return build_row(decode_record(msgspec.Raw(msgspec.json.encode(fields))), DAY, by_recipe=True)


def sum_by_workspace_hour(rows: list[RecipeRow]) -> dict[tuple[int, datetime], list[int]]:
    """Return tasks, succeeded and failed jobs by workspace and hour."""
    sums: dict[tuple[int, datetime], list[int]] = {}
    for row in rows:
        counts = sums.setdefault((row.workspace_id, row.starts_at), [0, 0, 0])
        for index, number in enumerate((row.task_count, row.job_succeeded_count, row.job_failed_count)):
            counts[index] += number or 0
    return sums


def fetch_workspace_sums(sandbox: SandboxServer, day: Day) -> dict[tuple[int, datetime], list[int]]:
    """Return the vendor's sums by workspace and hour, from a query that groups by nothing else."""
    with connect_reader("workato", f"{sandbox.url}/workato", zone=str(day.zone)) as reader:
        response = reader.http.post(
            USAGE,
            msgspec.json.encode(
                {
                    "from": day.start.isoformat(timespec="milliseconds"),
                    "to": day.end.isoformat(timespec="milliseconds"),
                    "interval": "hour",
                    "workspace_ids": [workspace.id for workspace in list_workspaces(sandbox)],
                }
            ),
        )
    return {
        (row["workspace_id"], datetime.fromisoformat(row["from"])): [
            row["task_count"],
            row["job_succeeded_count"],
            row["job_failed_count"],
        ]
        for row in json.loads(response)["data"] or []
    }


def list_workspaces(sandbox: SandboxServer) -> list[Any]:
    return sandbox.upstream.vendors["workato"].history.account.workspaces  # type: ignore[attr-defined]


def list_requests(sandbox: SandboxServer) -> list[dict[str, Any]]:
    """Return the bodies of all requests for usage."""
    return [json.loads(request.body) for request in sandbox.stats.requests if request.path == USAGE]
