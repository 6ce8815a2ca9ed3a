"""End to end: beat's tick, a real worker, real Valkey, real HTTP; the worker killed and started again."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sync import tasks
from sync.models import SyncRun
from sync.sandbox.server import SandboxServer
from sync.sandbox.world import World
from tests.support.processes import portal_process, wait_for
from usage.days import get_today
from usage.models import KINDS, DayState, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
POOL_SIZE = 3
WORKER = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", f"{POOL_SIZE}", "--loglevel", "INFO"]
DAYS = 6


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    with SandboxServer(World(days=DAYS + 2, records_per_day=400)) as server:
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
    upstream.settings.latency_ms = 60
    with portal_process(WORKER, PORTAL_LEASE_SECONDS="2") as worker:
        tasks.tick.delay()
        wait_for(lambda: SourceDay.objects.filter(state=DayState.LOADING).exists(), "the worker to begin")
        worker.kill_all()
    assert waiting_days()
    upstream.settings.latency_ms = 0

    with portal_process(WORKER, PORTAL_LEASE_SECONDS="2"):

        def finished() -> bool:
            # What beat does every minute.
            tasks.tick.delay()
            return not waiting_days() and not SyncRun.objects.filter(finished_at=None).exists()

        wait_for(finished, "every day of every source to be loaded", every=1)

    for source, kind in zip(sources, KINDS.values(), strict=True):
        days = SourceDay.objects.filter(source=source)
        assert days.count() == DAYS + 1
        assert set(days.exclude(ends_at__gt=datetime.now(UTC)).values_list("state", "complete")) == {
            (DayState.LOADED, True)
        }
        assert sum(days.values_list("records", flat=True)) == kind.objects.current().filter(source=source).count() > 0
        assert not days.filter(verification="unverified").exists()
    assert not SyncRun.objects.exclude(days_failed=0).exists()


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

        wait_for(finished, "every day of every source to be loaded", every=1)
        assert worker.poll() is None


def test_a_source_that_hangs_does_not_hold_up_the_others(
    upstream: SandboxServer, sources: list[Source], redis_client: object
) -> None:
    hanging, *others = sources
    upstream.faults.set(f"{hanging.vendor}.hang", 1.0)
    upstream.settings.hang_seconds = 300
    with portal_process(WORKER, PORTAL_HTTP_TIMEOUT_SECONDS="120"):

        def the_others_are_read() -> bool:
            tasks.tick.delay()
            return not SourceDay.objects.filter(source__in=others, loaded_at=None).exists()

        tasks.tick.delay()
        wait_for(lambda: upstream.stats.now[hanging.vendor], "the hanging source to be asked")
        wait_for(the_others_are_read, "the other sources to be read meanwhile", every=1)

        assert upstream.stats.now[hanging.vendor]
    assert not SourceDay.objects.filter(source=hanging).exclude(loaded_at=None).exists()
