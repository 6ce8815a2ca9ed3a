"""The Gcore stand-in, called without HTTP."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from sync.sandbox.world import World
from sync.vendors.gcore.sandbox import Sandbox
from tests.support.gcore_contract import build_range
from tests.support.stand_in import OneTimeFaults, parse_content, send_request

PATH = "/cloud/v1/usage_report"
NOW = datetime(2026, 11, 23, 15, 3, tzinfo=UTC)
DAY = date(2026, 11, 17)


@pytest.fixture
def world() -> World:
    return World(now=lambda: NOW)


@pytest.fixture
def vendor(world: World) -> Sandbox:
    return Sandbox(world)


def query_report(vendor: Sandbox, *, faults: OneTimeFaults | None = None, key: str = "sandbox-key", **body: Any) -> Any:
    """Return the report of DAY in one page; `body` overrides either."""
    body = {**build_range(DAY), "limit": 1_000_000, **body}
    response = send_request(vendor, PATH, body, authorization=f"APIKey {key}", faults=faults)
    assert response.status == 200, response.body
    return parse_content(response)
