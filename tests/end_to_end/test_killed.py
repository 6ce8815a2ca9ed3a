"""A worker may die or stall at any instant: nothing is lost, nothing counted twice, and its day is taken over."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from functools import partial

import httpx2
import pytest
from django.db import connection

from sync.engine.load import load_next
from sync.engine.plan import request_sync
from sync.models import LoadAttempt, SyncRun, Trigger
from sync.sandbox.world import World
from tests.support.forks import CommandForks, Fork, command_forks
from tests.support.processes import wait_for
from tests.support.sandbox_server import SandboxServer
from usage.days import Day
from usage.models import DayState, EnvironmentUsage, Source, SourceDay
from usage.rollups import compare_rollups, is_rolled_up

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
RECORDS = 600  # six pages
SLOW_MS = 500  # of a page, so that a busy machine does not find the day read when it looks
Worker = Callable[[], AbstractContextManager[Fork]]


@pytest.fixture(autouse=True)
def loopback(settings) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    with SandboxServer(World(days=10, records_per_day=RECORDS)) as server:
        yield server


@pytest.fixture
def source(upstream: SandboxServer) -> Source:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    return Source.objects.create(
        slug="killed", vendor="ona", base_url=f"{upstream.url}/ona/api", credential=upstream.world.credential,
        backfill_from=yesterday, max_concurrency=2,
    )  # fmt: skip


def list_vendor_ids(upstream: SandboxServer, on: date) -> set[str]:
    """Return the ids that the vendor lists for a day, read without the portal."""
    day, token, ids = Day.of(on, "UTC"), "", []
    upstream.settings.latency_ms = 0
    while True:
        body = {
            "filter": {"dateRange": {"startTime": day.start.isoformat(), "endTime": day.end.isoformat()}},
            "pagination": {"pageSize": 100, "token": token},
        }
        authorization = {"Authorization": f"Bearer {upstream.world.credential}"}
        response = (
            httpx2.post(f"{upstream.url}/ona/api{LIST}", json=body, headers=authorization).raise_for_status().json()
        )
        ids += [record["id"] for record in response["records"]]
        token = response["pagination"].get("nextToken", "")
        if not token:
            assert len(ids) == len(set(ids))
            return set(ids)


def assert_exact(upstream: SandboxServer, source: Source, days: list[date]) -> None:
    """Assert that the portal stores exactly the vendor's records of `days`, each once, and counts them."""
    for on in days:
        ids = list(EnvironmentUsage.objects.filter(source=source, day=on).values_list("record_id", flat=True))
        assert len(ids) == len(set(ids))
        assert set(ids) == list_vendor_ids(upstream, on)
        day = SourceDay.objects.get(source=source, day=on)
        assert (day.state, day.complete, day.records) == (DayState.LOADED, True, len(ids))
        assert compare_rollups(EnvironmentUsage, day)[1] == {}
    assert not EnvironmentUsage.objects.exclude(revision=1).exists()
    assert is_rolled_up([source.pk])


def request_yesterday(source: Source) -> tuple[date, SyncRun]:
    """Request a sync of yesterday."""
    on = source.backfill_from
    return on, request_sync(source, on, on + timedelta(days=1), Trigger.COMMAND)


@pytest.fixture(scope="module")
def forks(django_db_setup: None) -> Iterator[CommandForks]:
    """Where workers come from, whose leases are short."""
    with command_forks("sync.management.commands.sync", PORTAL_LEASE_SECONDS="2") as forks:
        yield forks


@pytest.fixture
def worker(forks: CommandForks, source: Source) -> Worker:
    """Give what starts a process that reads what is due of the source."""

    def start() -> AbstractContextManager[Fork]:
        first = Source.objects.values_list("backfill_from", flat=True).get(pk=source.pk)
        period = ["--from", str(first), "--to", str(datetime.now(UTC).date())]
        return forks.run("sync", source.slug, *period, "--workers", "1")

    return start


def taken_over(source: Source) -> LoadAttempt:
    """Load the day in this process once the dead worker's lease has ended."""
    attempt = wait_for(lambda: load_next(source.pk), "the lease to end")
    assert attempt is not None
    return attempt


def loading(on: date) -> bool:
    return SourceDay.objects.filter(day=on, state=DayState.LOADING).exists()


def test_a_worker_killed_while_it_reads_leaves_a_day_that_another_reads_whole(
    upstream: SandboxServer, source: Source, worker: Worker
) -> None:
    on, run = request_yesterday(source)
    upstream.settings.latency_ms = SLOW_MS
    with worker() as process:
        wait_for(lambda: len(upstream.stats.requests) >= 2 and loading(on), "the reading to begin")
        process.kill_all()
    upstream.settings.latency_ms = 0
    assert not EnvironmentUsage.objects.exists()

    attempt = taken_over(source)

    assert (attempt.number, attempt.outcome) == (2, "loaded")
    assert LoadAttempt.objects.get(number=1).outcome == "lost"
    assert_exact(upstream, source, [on])
    run.refresh_from_db()
    assert (run.days_done, run.inserted, run.finished_at is not None) == (1, RECORDS, True)


def test_a_worker_killed_in_the_middle_of_a_merge_changes_nothing(
    upstream: SandboxServer, source: Source, worker: Worker
) -> None:
    on, run = request_yesterday(source)
    with worker() as process:
        with lock_against_inserts():
            wait_for(merging, "the merge to begin")
            process.kill_all()
        wait_for(lambda: not merging(), "PostgreSQL to notice")
    wait_for(lambda: not in_transaction(), "PostgreSQL to roll back")
    assert not EnvironmentUsage.objects.exists()
    assert loading(on)

    assert taken_over(source).inserted == RECORDS

    assert_exact(upstream, source, [on])
    run.refresh_from_db()
    assert (run.days_done, run.inserted, run.fetched) == (1, RECORDS, RECORDS)


def test_a_worker_killed_right_after_a_merge_has_finished_its_day(
    upstream: SandboxServer, source: Source, worker: Worker
) -> None:
    on, run = request_yesterday(source)
    with worker() as process:
        wait_for(
            lambda: SourceDay.objects.filter(day=on, state=DayState.LOADED).exists(),
            "the merge to be committed",
        )
        process.kill_all()

    assert_exact(upstream, source, [on])
    run.refresh_from_db()
    assert (run.days_done, run.inserted, run.finished_at is not None) == (1, RECORDS, True)
    assert load_next(source.pk, run=run) is None


def test_a_worker_paused_past_its_lease_changes_nothing_when_it_wakes(
    upstream: SandboxServer, source: Source, worker: Worker
) -> None:
    on, _ = request_yesterday(source)
    upstream.settings.latency_ms = SLOW_MS
    with worker() as process:
        wait_for(lambda: len(upstream.stats.requests) >= 2 and loading(on), "the reading to begin")
        os.kill(process.pid, signal.SIGSTOP)
        upstream.settings.latency_ms = 0
        assert taken_over(source).outcome == "loaded"
        before = SourceDay.objects.values().get(day=on)
        os.kill(process.pid, signal.SIGCONT)
        wait_for(lambda: process.poll() is not None, "the worker to give up")

    assert SourceDay.objects.values().get(day=on) == before
    assert_exact(upstream, source, [on])


def test_workers_killed_at_random_instants_lose_and_repeat_nothing(
    upstream: SandboxServer, source: Source, worker: Worker
) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(1, 9)]
    Source.objects.update(backfill_from=days[-1])
    source.refresh_from_db()
    request_sync(source, days[-1], today, Trigger.COMMAND)
    moments = random.Random(7)
    upstream.settings.latency_ms = 60
    for _ in range(4):
        result = SourceDay.objects.filter(state=DayState.LOADED).count()
        with worker() as process:
            wait_for(
                partial(progressed, result),
                "work to begin",
            )
            time.sleep(moments.uniform(0, 0.6))
            process.kill_all()
    upstream.settings.latency_ms = 0
    with worker() as process:
        assert process.wait() == 0

    assert_exact(upstream, source, days)


def progressed(result: int) -> bool:
    loading = SourceDay.objects.filter(state=DayState.LOADING)
    return loading.exists() or SourceDay.objects.filter(state=DayState.LOADED).count() > result


def lock_against_inserts():
    """Hold a lock, on a connection of its own, that lets others read the records but not write them."""
    from contextlib import contextmanager

    import psycopg

    @contextmanager
    def lock():
        with psycopg.connect(
            **connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
        ) as second_connection:
            second_connection.execute("LOCK TABLE usage_environmentusage IN SHARE MODE")
            yield

    return lock()


def merging() -> bool:
    """Return whether a worker's INSERT into the records waits for a lock."""
    return activity("wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"usage_environmentusage\"%%'")


def in_transaction() -> bool:
    return activity("state <> 'idle'")


def activity(condition: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() "
            f"AND backend_type = 'client backend' AND {condition}"
        )
        return bool(cursor.fetchone()[0])
