"""The Workato stand-in, asked without HTTP."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from sync.sandbox.world import World
from sync.vendors.workato.sandbox import Sandbox
from tests.support.stand_in import Struck, answered, parse_content
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


def workspaces(vendor: Sandbox) -> list[Row]:
    """Return all workspaces, page by page."""
    found: list[Row] = []
    while True:
        query = {"page": len(found) // 100 + 1}
        answer = answered(vendor, WORKSPACES, authorization="Bearer sandbox-key", method="GET", query=query)
        page = parse_content(answer)["result"]
        found += page
        if len(page) < 100:
            return found


def format_instant(instant: datetime) -> str:
    """Return an instant in the vendor's writing."""
    return instant.isoformat(timespec="milliseconds")


def span(first: date, last: date | None = None, zone: str = "Europe/Berlin") -> dict[str, Any]:
    """Return the body's range for the days of a zone from `first` to `last`, both included."""
    start, end = Day.of(first, zone), Day.of(last or first, zone)
    return {
        "from": format_instant(start.start.astimezone(start.zone)),
        "to": format_instant(end.end.astimezone(end.zone)),
    }


def ask(vendor: Sandbox, *, faults: Struck | None = None, **body: Any) -> list[Row]:
    """Return the rows that answer a question about DAY and all workspaces, unless `body` says otherwise."""
    if "external_ids" not in body and "workspace_ids" not in body:
        body["workspace_ids"] = [workspace["id"] for workspace in workspaces(vendor)]
    body = {**span(DAY), **body}
    answer = answered(vendor, USAGE, body, authorization="Bearer sandbox-key", faults=faults)
    assert answer.status == 200, answer.body
    rows: list[Row] | None = parse_content(answer)["data"]
    assert rows != []
    return rows or []


def sums(rows: Iterable[Row], *by: str) -> dict[tuple[Any, ...], list[int]]:
    """Return tasks and jobs summed up by some fields."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        key = tuple(row[name] for name in by)
        found[key] = [one + row[metric] for one, metric in zip(found[key], METRICS, strict=True)]
    return dict(found)
