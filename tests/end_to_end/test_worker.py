"""End to end: beat's tick, a real worker, real Valkey, real HTTP; the worker killed and started again."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from portal.accounts.models import Scope
from sync import tasks
from sync.models import SyncRun
from sync.sandbox.world import World
from tests.support.api_clients import API, create_api_client
from tests.support.processes import portal_process, wait_for
from tests.support.sandbox_server import SandboxServer
from usage.days import get_today
from usage.models import KINDS, DayState, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
POOL_SIZE = 3
# As `up` starts it: it has no other worker to look for.
WORKER = [
    "-m",
    "celery",
    "-A",
    "portal.celery",
    "worker",
    "--concurrency",
    f"{POOL_SIZE}",
    "--without-gossip",
    "--without-mingle",
]
DAYS = 3
REQUEST_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    with SandboxServer(World(days=DAYS + 2, records_per_day=120)) as server:
        yield server


@pytest.fixture
def sources(upstream: SandboxServer) -> list[Source]:
    addresses = {"ona": "/ona/api", "gcore": "/gcore", "workato": "/workato"}
    zones = {"workato": upstream.world.zone}
    return [
        Source.objects.create(
            slug=vendor,
            vendor=vendor,
            base_url=upstream.url + path,
            time_zone=zone,
            credential=upstream.world.credential,
            backfill_from=get_today(ZoneInfo(zone)) - timedelta(days=DAYS),
        )
        for vendor, path in addresses.items()
        for zone in [zones.get(vendor, "UTC")]
    ]


def waiting_days() -> int:
    return SourceDay.objects.filter(loaded_at=None).count()


def test_the_tick_fills_every_source_though_its_worker_is_killed_on_the_way(
    upstream: SandboxServer, sources: list[Source], redis_client: object
) -> None:
    upstream.settings.latency_ms = 500  # so that days are left when it is killed
    with portal_process(WORKER, PORTAL_LEASE_SECONDS="2") as worker:
        tasks.tick.delay()
        wait_for(lambda: SourceDay.objects.filter(state=DayState.LOADING).exists(), "the worker to begin")
        worker.kill_all()
    assert waiting_days()
    upstream.settings.latency_ms = 0
    run_id = request_days(sources[0])

    with portal_process(WORKER, PORTAL_LEASE_SECONDS="2") as worker:

        def finished() -> bool:
            # What beat does every minute.
            tasks.tick.delay()
            return not waiting_days() and not SyncRun.objects.filter(finished_at=None).exists()

        wait_for(finished, "every day of every source to be loaded", every=0.2)
        lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]

    check_lines(lines, run_id)
    for source, kind in zip(sources, KINDS.values(), strict=True):
        days = SourceDay.objects.filter(source=source)
        assert days.count() == DAYS + 1
        assert set(days.exclude(ends_at__gt=datetime.now(UTC)).values_list("state", "complete")) == {
            (DayState.LOADED, True)
        }
        assert sum(days.values_list("records", flat=True)) == kind.objects.current().filter(source=source).count() > 0
        assert not days.filter(verification="unverified").exists()
    assert not SyncRun.objects.exclude(days_failed=0).exists()


def request_days(source: Source) -> str:
    """Request days of a source through the API, as behind a proxy; returns the id of the run."""
    days = {"from": f"{get_today(source.zone) - timedelta(days=2)}", "to": f"{get_today(source.zone)}"}
    headers = {"X-Request-Id": REQUEST_ID}
    response = create_api_client(Scope.SYNC_RUN).post(
        f"{API}/sources/{source.slug}/sync/", days, "application/json", headers=headers
    )
    assert (response.status_code, response["X-Request-Id"]) == (202, REQUEST_ID)
    return str(response.json()["id"])


def check_lines(lines: list[dict[str, Any]], run_id: str) -> None:
    """Check that the worker wrote a line for each day and run, with the ids of task, attempt, run and request."""
    read = [line for line in lines if line["event"] == "day read"]
    assert all(line["task_id"] and line["attempt"] and line["day"] and line["run_id"] for line in read)
    requested = [line for line in read if line.get("request_id") == REQUEST_ID]
    assert len(requested) == 2
    assert all(run_id in line["run_id"].split(",") for line in requested)
    [finished] = [line for line in lines if line["event"] == "run finished" and line["run_id"] == run_id]
    assert (finished["request_id"], finished["trigger"], finished["days_done"]) == (REQUEST_ID, "api", 2)


def test_a_process_of_the_pool_that_is_killed_while_the_worker_starts_is_replaced(
    upstream: SandboxServer, sources: list[Source], redis_client: object
) -> None:
    with portal_process(WORKER) as worker:
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")

        def pool() -> list[str]:
            pids = children.read_text().split()
            return pids if len(pids) == POOL_SIZE else []

        os.kill(int(wait_for(pool, "the processes of the pool", every=0.001)[0]), signal.SIGKILL)

        def finished() -> bool:
            tasks.tick.delay()
            return not waiting_days() and SourceDay.objects.exists()

        wait_for(finished, "every day of every source to be loaded", every=0.2)
        assert worker.poll() is None


def test_a_source_that_hangs_does_not_hold_up_the_others(
    upstream: SandboxServer, sources: list[Source], redis_client: object
) -> None:
    hanging, *working_sources = sources
    upstream.faults.set(f"{hanging.vendor}.hang", 1.0)
    upstream.settings.hang_seconds = 300
    with portal_process(WORKER, PORTAL_HTTP_TIMEOUT_SECONDS="120", PORTAL_LOG_LEVEL="WARNING") as worker:

        def are_others_synced() -> bool:
            tasks.tick.delay()
            return not SourceDay.objects.filter(source__in=working_sources, loaded_at=None).exists()

        tasks.tick.delay()
        wait_for(lambda: upstream.stats.now[hanging.vendor], "the hanging source to be asked")
        wait_for(are_others_synced, "the other sources to be read meanwhile", every=0.2)

        assert upstream.stats.now[hanging.vendor]
        assert "day read" not in worker.output()
    assert not SourceDay.objects.filter(source=hanging).exclude(loaded_at=None).exists()
