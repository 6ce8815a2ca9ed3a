"""Redis goes away and comes back: no day is booked as failed, and worker and limiter go on by themselves."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.celery import app
from portal.embedded import Services
from portal.embedded.server import Valkey
from sync import tasks
from sync.engine.load import load_next
from sync.engine.plan import plan_source
from sync.models import LoadAttempt
from sync.sandbox.world import World
from tests.support.processes import portal_process, wait_for
from tests.support.sandbox_server import SandboxServer
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "2", "--without-gossip", "--without-mingle"]


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    with SandboxServer(World(days=8, records_per_day=100)) as server:
        yield server


@pytest.fixture
def source(upstream: SandboxServer, settings: Any) -> Source:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    return Source.objects.create(
        slug="rated", vendor="ona", base_url=f"{upstream.url}/ona/api", credential=upstream.world.credential,
        backfill_from=datetime.now(UTC).date() - timedelta(days=5), requests_per_minute=6000,
    )  # fmt: skip


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of this test alone, which may be killed."""
    services = Services(tmp_path, servers=[Valkey])
    services.start()
    try:
        yield Valkey(services.home)
    finally:
        services.remove()


def kill(valkey: Valkey) -> None:
    pid = valkey.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: valkey.pid() is None, "Valkey to die")


def send_tick(valkey: Valkey) -> None:
    """Do what beat does each minute, through this test's own Valkey."""
    with app.connection_for_write(valkey.url) as queue:
        options: dict[str, Any] = {"connection": queue}
        tasks.tick.apply_async(**options)


def test_a_day_waits_while_redis_is_away_and_is_read_when_it_is_back(
    source: Source, valkey: Valkey, settings: Any
) -> None:
    settings.REDIS_URL = valkey.url
    plan_source(source.pk)
    kill(valkey)

    attempt = load_next(source.pk)

    assert attempt is not None
    assert (attempt.outcome, "Redis does not answer" in attempt.error) == ("deferred", True)
    day = SourceDay.objects.get(pk=attempt.source_day_id)
    assert (day.state, day.failures) == (DayState.DUE, 0)
    source.refresh_from_db()
    assert (source.failures, source.paused_until) == (0, None)

    valkey.ensure_running()
    SourceDay.objects.filter(pk=day.pk).update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert load_next(source.pk).outcome == "loaded"


def test_a_worker_survives_the_death_of_redis_and_books_no_day_as_failed(
    upstream: SandboxServer, source: Source, valkey: Valkey
) -> None:
    upstream.settings.latency_ms = 500  # so that days are left when Redis dies
    with portal_process(WORKER, REDIS_URL=valkey.url, PORTAL_TICK_SECONDS="5") as worker:

        def all_read() -> bool:
            send_tick(valkey)
            return not SourceDay.objects.filter(loaded_at=None).exists() and SourceDay.objects.exists()

        send_tick(valkey)
        wait_for(lambda: SourceDay.objects.filter(state=DayState.LOADING).exists(), "a day to be read")
        kill(valkey)
        wait_for(lambda: not SourceDay.objects.filter(state=DayState.LOADING).exists(), "the reads to end")
        assert SourceDay.objects.filter(loaded_at=None).exists()
        url = valkey.url
        valkey.ensure_running()
        assert valkey.url == url
        upstream.settings.latency_ms = 0
        wait_for(all_read, "the worker to go on", every=0.2)
        assert worker.poll() is None

    assert not LoadAttempt.objects.filter(outcome__in=["failed", "lost"]).exists()
