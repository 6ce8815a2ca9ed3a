"""Ticks: sent each minute whatever the clocks say, and never a backlog of them."""

import base64
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import time_machine
from django.utils import timezone

from portal.beat import Scheduler, format_database_time
from portal.celery import app
from portal.environment import BASE_DIR
from portal.incidents import tasks as incident_tasks
from portal.reports import tasks as report_tasks
from sync import tasks
from sync.engine.claim import claim_day, get_database_time
from sync.engine.plan import plan_due
from sync.heartbeats import Heartbeat, get_ages, is_silent
from sync.models import SyncRun
from tests.support.processes import build_environment, wait_for
from tests.support.scripted_vendor import make_source
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
QUEUE = "portal"


@pytest.fixture
def queue(redis_client: redis.Redis) -> redis.Redis:
    """The queue of messages, empty."""
    return redis_client


def messages(queue: redis.Redis) -> list[tuple[str, list[Any], Any]]:
    """Return (task, arguments, expires) of every message that waits, the oldest first."""
    entries = []
    for raw in reversed(queue.lrange(QUEUE, 0, -1)):
        message = msgspec.json.decode(raw)
        body = msgspec.json.decode(base64.b64decode(message["body"]))
        entries.append((message["headers"]["task"], body[0], message["headers"]["expires"]))
    return entries


def ago(seconds: float) -> str:
    return (get_database_time() - timedelta(seconds=seconds)).isoformat()


def test_no_message_expires_by_the_clock_of_the_machine_that_sent_it(queue: redis.Redis) -> None:
    make_source(backfill_from=datetime.now(UTC).date())

    tasks.tick()

    (load, (source_id, sent_at), load_expires), (check, (checked_at,), check_expires), *other_messages = messages(queue)
    assert (load, source_id, load_expires) == ("sync.tasks.load", Source.objects.get().pk, None)
    assert [task for task, *_ in other_messages] == ["portal.incidents.tasks.watch", "portal.reports.tasks.plan"]
    assert (check, check_expires) == ("sync.tasks.check_stored_days", None)
    for instant in (sent_at, checked_at):
        assert abs(datetime.fromisoformat(instant) - get_database_time()) < timedelta(minutes=5)


def test_a_worker_whose_clock_is_ahead_or_behind_takes_every_tick(queue: redis.Redis) -> None:
    make_source(backfill_from=datetime.now(UTC).date())
    for seconds in (90, -90, 86400):
        SyncRun.objects.all().delete()
        SourceDay.objects.all().delete()
        Source.objects.update(next_sync_at=None)
        sent_at = format_database_time()
        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds)):
            tasks.tick(sent_at)
        assert SyncRun.objects.exists()


def test_of_a_backlog_only_the_ticks_of_the_last_minute_run(queue: redis.Redis, monkeypatch: Any) -> None:
    planned: list[int] = []
    monkeypatch.setattr(tasks, "plan_due", lambda: planned.append(1))

    for minute in range(60, -1, -1):
        tasks.tick(ago(60 * minute + 5))

    assert len(planned) == 1


def test_stale_calls_to_read_a_day_or_to_roll_up_do_nothing(queue: redis.Redis, monkeypatch: Any) -> None:
    source = make_source(backfill_from=datetime.now(UTC).date())
    plan_due()
    rolled: list[float] = []
    monkeypatch.setattr("sync.tasks.rollups.roll_up_days", rolled.append)
    monkeypatch.setattr("sync.tasks.scrub", rolled.append)

    tasks.load(source.pk, ago(61))
    tasks.roll_up(ago(61))
    tasks.check_stored_days(ago(61))

    assert SourceDay.objects.get().attempt == 0
    assert (rolled, messages(queue)) == ([], [])


@pytest.mark.parametrize(
    ("task", "function"),
    [
        (incident_tasks.watch, "portal.incidents.tasks.watching.watch"),
        (incident_tasks.deliver, "portal.incidents.tasks.deliver_due"),
        (report_tasks.plan, "portal.reports.tasks.plan_reports"),
    ],
)
def test_a_stale_call_to_watch_to_send_or_to_plan_does_nothing_and_one_of_this_minute_is_carried_out(
    task: Any, function: str, queue: redis.Redis, monkeypatch: Any
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(function, lambda *_: calls.append(1))
    task(ago(61))
    assert (calls, messages(queue)) == ([], [])
    task(ago(5))
    assert calls == [1]


def test_reports_that_are_due_are_sent_at_once(queue: redis.Redis, monkeypatch: Any) -> None:
    for added in (0, 2):
        monkeypatch.setattr("portal.reports.tasks.plan_reports", lambda _, added=added: added)
        report_tasks.plan()
        assert [task for task, *_ in messages(queue)] == ["portal.incidents.tasks.deliver"] * bool(added)


def test_a_tick_calls_for_no_more_workers_than_a_source_has_places_for(queue: redis.Redis) -> None:
    source = make_source(backfill_from=datetime.now(UTC).date() - timedelta(days=9), max_concurrency=3)
    plan_due()
    claim_day(source.pk, "busy")

    tasks.tick()

    assert [task for task, *_ in messages(queue)].count("sync.tasks.load") == 2


def test_a_tick_without_a_message_queue_plans_and_does_not_fail(monkeypatch: Any) -> None:
    make_source(backfill_from=datetime.now(UTC).date())
    send = tasks.load.apply_async
    with app.connection_for_write("redis://127.0.0.1:9/0") as nowhere:
        refusing: dict[str, Any] = {"connection": nowhere, "retry": False}
        monkeypatch.setattr(tasks.load, "apply_async", lambda arguments: send(arguments, **refusing))
        tasks.tick()

    assert SyncRun.objects.exists()


def test_beat_sends_a_tick_at_its_start_and_then_each_minute(queue: redis.Redis) -> None:
    with time_machine.travel(datetime(2026, 11, 30, 12, tzinfo=UTC), tick=False) as clock:
        scheduler = Scheduler(app)
        assert (scheduler.tick(), len(messages(queue))) == (0, 1)
        assert 0 < scheduler.tick() <= 60
        clock.shift(timedelta(seconds=61))
        scheduler.tick()
        scheduler.tick()
    assert len(messages(queue)) == 2
    assert {task for task, _, _ in messages(queue)} == {"sync.tasks.tick"}


def test_beat_whose_clock_was_set_back_by_a_day_ticks_on(queue: redis.Redis) -> None:
    with time_machine.travel(datetime(2026, 11, 30, 12, tzinfo=UTC), tick=False) as clock:
        scheduler = Scheduler(app)
        scheduler.tick()
        clock.shift(timedelta(days=-1))
        assert scheduler.tick() == 0
        assert 0 < scheduler.tick() <= 60
    assert len(messages(queue)) == 2


@pytest.mark.django_db(transaction=True)
def test_beat_needs_no_file_and_its_tick_carries_the_databases_time(queue: redis.Redis, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    variables = build_environment(PYTHONPATH=str(BASE_DIR), PORTAL_TICK_SECONDS="1", REDIS_URL=os.environ["REDIS_URL"])
    command = [sys.executable, "-m", "celery", "-A", "portal.celery", "beat"]
    with subprocess.Popen(command, cwd=tmp_path, env=variables) as process:
        try:
            wait_for(lambda: len(messages(queue)) >= 2, "beat to tick twice")
        finally:
            process.terminate()
            try:
                process.wait(120)
            finally:
                process.kill()  # or the end of the block would wait for ever
    assert not is_silent(get_ages()[Heartbeat.BEAT])
    (_, (sent_at,), expires), *_ = messages(queue)
    assert abs(datetime.fromisoformat(sent_at) - get_database_time()) < timedelta(minutes=5)
    assert expires is None
    assert list(tmp_path.iterdir()) == []


def test_the_schedule_goes_by_the_databases_clock(monkeypatch: Any) -> None:
    source = make_source(backfill_from=date(2026, 11, 9), time_zone="UTC")
    monkeypatch.setattr("sync.engine.plan.get_database_time", lambda: datetime(2026, 11, 10, 12, tzinfo=UTC))

    plan_due()

    assert SourceDay.objects.latest("day").day == date(2026, 11, 10) != timezone.now().date()
    assert Source.objects.get(pk=source.pk).next_sync_at == datetime(2026, 11, 10, 13, tzinfo=UTC)
