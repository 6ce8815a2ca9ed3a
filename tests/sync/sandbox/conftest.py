"""A client of a sandbox whose clock stands still."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2
import pytest

from tests.support.sandbox_server import SandboxServer
from tests.sync.sandbox.requests import HEADERS


@pytest.fixture(autouse=True)
def _clock(sandbox: SandboxServer) -> None:
    sandbox.world.set_clock(datetime(2026, 11, 18, 15, tzinfo=UTC))


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sandbox.url, headers=HEADERS, timeout=10) as client:
        yield client
