"""Several worker processes share a source: never more readers at once, never more requests, than it allows."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.forks import CommandForks, command_forks
from tests.support.sandbox_server import SandboxServer
from usage.models import EnvironmentUsage, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 12


def create_source(sandbox: SandboxServer, **values: Any) -> Source:
    return Source.objects.create(
        slug="shared",
        vendor="ona",
        base_url=f"{sandbox.url}/ona/api",
        credential=sandbox.world.credential,
        backfill_from=datetime.now(UTC).date() - timedelta(days=DAYS - 1),
        **values,
    )


@pytest.fixture(scope="module")
def forks(django_db_setup: None) -> Iterator[CommandForks]:
    with command_forks("sync.management.commands.sync") as forks:
        yield forks


def read_by_three_processes(forks: CommandForks) -> None:
    with ExitStack() as processes:
        running = [processes.enter_context(forks.run("sync", "shared", "--workers", "3")) for _ in range(3)]
        for process in running:
            assert process.wait() == 0


def test_max_concurrency_holds_over_processes(sandbox: SandboxServer, forks: CommandForks) -> None:
    create_source(sandbox, max_concurrency=2, options={"requests_at_once": 1})
    sandbox.settings.latency_ms = 50

    read_by_three_processes(forks)

    assert sandbox.stats.most["ona"] == 2
    assert EnvironmentUsage.objects.count() == sum(SourceDay.objects.values_list("records", flat=True)) > 0


def test_requests_per_minute_hold_over_processes(sandbox: SandboxServer, forks: CommandForks) -> None:
    create_source(sandbox, max_concurrency=3, requests_per_minute=480)

    read_by_three_processes(forks)

    times = sorted(request.at for request in sandbox.stats.requests)
    assert len(times) >= DAYS
    # 480 a minute are slots an eighth of a second apart; a request may leave a little after its slot.
    spaces = [later - earlier for earlier, later in pairwise(times)]
    assert sum(spaces) >= 0.125 * (len(times) - 1) - 0.125
