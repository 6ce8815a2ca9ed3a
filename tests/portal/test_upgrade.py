"""While the schema changes: workers wait and go on by themselves, `migrate` waits for days that are being stored."""

import threading
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from pytest_django import Settings

from portal.celery import Task
from portal.management.commands import migrate
from sync import tasks
from sync.errors import ErrorCode
from sync.heartbeats import Heartbeat, get_ages
from sync.models import LoadAttempt
from tests.support.processes import WAIT_SECONDS, wait_for
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, read_day
from usage.locks import open_lock_transaction
from usage.models import DayState, Source, SourceDay
from usage.schema_state import KEY, NEWER, hold_schema

pytestmark = pytest.mark.django_db(transaction=True)


def apply_next() -> None:
    """Note a migration of the next release as applied."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('usage', '9999_next', now())")


def unapply_next() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE name = '9999_next'")


@pytest.fixture(autouse=True)
def schema_afterwards() -> Iterator[None]:
    yield
    unapply_next()
    Task.waits = False


def test_workers_wait_while_the_schema_is_newer_and_go_on_by_themselves(
    redis_client: object, caplog: pytest.LogCaptureFixture
) -> None:
    apply_next()
    with structlog.testing.capture_logs() as lines:
        tasks.tick()
        tasks.roll_up()
        assert get_ages()[Heartbeat.TICK] is None
        unapply_next()
        tasks.tick()
    assert get_ages()[Heartbeat.TICK] is not None
    assert [line["event"] for line in lines] == ["worker waits", "worker goes on"]
    assert lines[0]["reason"] == NEWER


def test_a_day_whose_schema_changed_while_it_was_read_is_read_again_later(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(1)]
    listing.before_page = lambda day, at: apply_next()
    attempt = read_day(source)
    assert (attempt.outcome, attempt.error_code) == (LoadAttempt.Outcome.DEFERRED, ErrorCode.SCHEMA_DIFFERS)
    day = SourceDay.objects.get(day=DAY)
    assert (day.state, day.failures, get_revisions(source)) == (DayState.DUE, 0, {})

    unapply_next()
    listing.before_page = None
    assert read_day(source).outcome == LoadAttempt.Outcome.LOADED


def migrate_in_thread(result: threading.Event) -> threading.Thread:
    def run() -> None:
        try:
            call_command("migrate", verbosity=0)
            result.set()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def count_waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s", [KEY % 2**32]
        )
        return int(cursor.fetchone()[0])


def test_migrate_waits_for_a_day_that_is_being_stored() -> None:
    result = threading.Event()
    with transaction.atomic():
        hold_schema()
        thread = migrate_in_thread(result)
        wait_for(count_waiting, "migrate to wait")
        assert not result.is_set()
    thread.join(WAIT_SECONDS)
    assert result.is_set()


def test_a_table_that_is_in_use_holds_up_migrate_and_nobody_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(migrate, "TRIES", 2)

    def change(self: object, *args: object, **options: object) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("ALTER TABLE usage_source ADD COLUMN next_release text")
            transaction.set_rollback(True)

    monkeypatch.setattr("django.core.management.commands.migrate.Command.handle", change)
    with open_lock_transaction() as cursor:
        cursor.execute("LOCK TABLE usage_source IN ACCESS SHARE MODE")
        with pytest.raises(CommandError, match="A table is in use for too long"):
            call_command("migrate")
    call_command("migrate")


def test_a_plan_is_shown_and_no_view_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    output = StringIO()
    monkeypatch.setattr(migrate, "write_views", lambda: pytest.fail("made views"))
    call_command("migrate", plan=True, stdout=output)
    assert "No planned migration operations." in output.getvalue()


def test_another_fault_of_the_database_ends_migrate_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise OperationalError("the disk is full")

    monkeypatch.setattr("django.core.management.commands.migrate.Command.handle", fail)
    with pytest.raises(OperationalError, match="the disk is full"):
        call_command("migrate")
    assert calls == [1]
