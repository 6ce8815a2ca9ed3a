"""The Workato stand-in, called without HTTP."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from sync.sandbox.world import World
from sync.vendors.workato.sandbox import Sandbox
from tests.support.stand_in import OneTimeFaults, parse_content, send_request
from usage.days import Day

USAGE = "/api/v2/managed_users/statistics/usage"
WORKSPACES = "/api/managed_users"
NOW = datetime(2026, 11, 23, 15, 3, tzinfo=UTC)
DAY = date(2026, 11, 10)
METRICS = ("task_count", "job_succeeded_count", "job_failed_count")
Row = dict[str, Any]


@pytest.fixture
def world() -> World:
    return World(now=lambda: NOW)


@pytest.fixture
def vendor(world: World) -> Sandbox:
    return Sandbox(world)


def list_all_workspaces(vendor: Sandbox) -> list[Row]:
    """Return all workspaces, page by page."""
    workspaces: list[Row] = []
    while True:
        query = {"page": len(workspaces) // 100 + 1}
        response = send_request(vendor, WORKSPACES, authorization="Bearer sandbox-key", method="GET", query=query)
        page = parse_content(response)["result"]
        workspaces += page
        if len(page) < 100:
            return workspaces


def format_instant(instant: datetime) -> str:
    """Return an instant as the vendor formats it."""
    return instant.isoformat(timespec="milliseconds")


def build_range(first: date, last: date | None = None, zone: str = "Europe/Berlin") -> dict[str, Any]:
    """Return the body's range for the days of a zone from `first` to `last`, both included."""
    start, end = Day.of(first, zone), Day.of(last or first, zone)
    return {
        "from": format_instant(start.start.astimezone(start.zone)),
        "to": format_instant(end.end.astimezone(end.zone)),
    }


def query_usage(vendor: Sandbox, *, faults: OneTimeFaults | None = None, **body: Any) -> list[Row]:
    """Return the usage rows of DAY and all workspaces; `body` overrides either."""
    if "external_ids" not in body and "workspace_ids" not in body:
        body["workspace_ids"] = [workspace["id"] for workspace in list_all_workspaces(vendor)]
    body = {**build_range(DAY), **body}
    response = send_request(vendor, USAGE, body, authorization="Bearer sandbox-key", faults=faults)
    assert response.status == 200, response.body
    rows: list[Row] | None = parse_content(response)["data"]
    assert rows != []
    return rows or []


def sum_metrics(rows: Iterable[Row], *by: str) -> dict[tuple[Any, ...], list[int]]:
    """Return the sums of METRICS, grouped by the fields `by`."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        key = tuple(row[name] for name in by)
        sums[key] = [value + row[metric] for value, metric in zip(sums[key], METRICS, strict=True)]
    return dict(sums)
