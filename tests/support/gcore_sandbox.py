"""The Gcore stand-in, asked without HTTP."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from sync.sandbox.world import World
from sync.vendors.gcore.sandbox import Sandbox
from tests.support.gcore_contract import span
from tests.support.stand_in import Struck, answered, parse_content

PATH = "/cloud/v1/usage_report"
NOW = datetime(2026, 11, 23, 15, 3, tzinfo=UTC)
DAY = date(2026, 11, 17)


@pytest.fixture
def world() -> World:
    return World(now=lambda: NOW)


@pytest.fixture
def vendor(world: World) -> Sandbox:
    return Sandbox(world)


def ask(vendor: Sandbox, *, faults: Struck | None = None, key: str = "sandbox-key", **body: Any) -> Any:
    """Return the answer's JSON to a question about DAY, all of it unless `body` says otherwise."""
    body = {**span(DAY), "limit": 1_000_000, **body}
    answer = answered(vendor, PATH, body, authorization=f"APIKey {key}", faults=faults)
    assert answer.status == 200, answer.body
    return parse_content(answer)
