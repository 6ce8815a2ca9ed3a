"""A sandbox whose clock stands still."""

from collections.abc import Iterator

import httpx2
import pytest

from sync.sandbox.upstream import Settings
from sync.sandbox.world import World
from sync.vendors.ona.sandbox import Sandbox
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import KEY, NOW


@pytest.fixture
def world() -> World:
    return World(days=30, now=lambda: NOW)


@pytest.fixture
def sandbox(world: World) -> Iterator[SandboxServer]:
    with SandboxServer(world, settings=Settings(hang_seconds=5)) as server:
        yield server


@pytest.fixture
def ona(sandbox: SandboxServer) -> Sandbox:
    ona = sandbox.upstream.vendors["ona"]
    assert isinstance(ona, Sandbox)
    return ona


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{sandbox.url}/ona", headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
