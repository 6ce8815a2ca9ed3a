"""The stand-in vendors for tests: a server of the test's own, with a small fresh world."""

from collections.abc import Iterator

import pytest

from sync.sandbox.upstream import Settings
from sync.sandbox.world import World
from tests.support.sandbox_server import SandboxServer


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A running sandbox with 30 days of history; `.world`, `.faults`, `.settings` and `.stats` are the test's own."""
    with SandboxServer(World(days=30), settings=Settings(hang_seconds=20)) as server:
        yield server
