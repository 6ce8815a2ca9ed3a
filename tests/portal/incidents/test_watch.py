"""The watch: an incident for each condition, from its beginning to its end, however many watches run."""

import re
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import create_token
from portal.incidents import outbox, tasks
from portal.incidents.conditions import ConditionKind
from portal.incidents.models import OPEN, Channel, Incident, Message, Severity
from portal.incidents.restatement_alerts import build_restatement_alerts
from portal.incidents.system_alerts import build_redis_alert, find_silence
from portal.incidents.watch import PROCESS_LOCK, open_incident, ping_dead_man, watch, watch_processes
from portal.incidents.watcher import look_once
from sync.engine.claim import get_database_time
from sync.heartbeats import KEPT_MILLISECONDS, Heartbeat, build_key
from tests.support.dashboard_data import FAILED, create_synced_source, get_day_ago, set_day
from tests.support.smtp_server import serve_mail
from usage.models import DayState, Restatement, Source, SourceDay

pytestmark = pytest.mark.django_db


@pytest.fixture
def gcore() -> Source:
    """A source that was read for some days, without a fault."""
    return create_synced_source("gcore-main", "gcore", days=12)


def list_open() -> list[tuple[str, str]]:
    """Watch, and return the condition and the subject of every open incident."""
    watch()
    return sorted(Incident.objects.filter(OPEN).values_list("condition", "subject"))


def restate(source: Source, before: str, after: str) -> Restatement:
    """Have a day of a source be restated."""
    sums = {"sums_before": {"minutes": before}, "sums_after": {"minutes": after}}
    return Restatement.objects.create(
        source_day=get_day_ago(source, 5), attempt=2, records_before=100, records_after=100, **sums
    )


DAY_CASES: list[tuple[str, dict[str, Any]]] = [
    ("source_failing", FAILED),
    ("day_suspect", {"state": "suspect", "suspicion": {"held": 66, "reported": 6}}),
    ("day_unverified", {"verification": "unverified"}),
    ("day_partial", {"state": "partial", "complete": False}),
    ("records_rejected", {"state": "partial", "complete": False, "rejected": 3}),
    ("scrub_mismatch", {"mismatch": [{"code": "digest"}]}),
]


@pytest.mark.parametrize(("condition", "values"), DAY_CASES)
def test_a_day_with_findings_opens_an_incident_that_ends_with_them(
    gcore: Source, condition: str, values: dict[str, Any]
) -> None:
    sound = SourceDay.objects.filter(pk=get_day_ago(gcore, 5).pk).values(*values).get()
    assert list_open() == []

    set_day(gcore, 5, **values)
    assert list_open() == [(condition, "gcore-main")]

    SourceDay.objects.filter(pk=get_day_ago(gcore, 5).pk).update(**sound)
    assert list_open() == []
    incident = Incident.objects.get()
    assert incident.resolved_at is not None
    assert incident.resolved_at >= incident.opened_at


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("source_halted", {"halted_at": timezone.now(), "halt_reason": "Rejected.", "halt_code": "credential_rejected"}),
        ("credential_unreadable", {"halted_at": timezone.now(), "halt_reason": "No key.", "halt_code": "credential_locked"}),
        ("source_failing", {"paused_until": timezone.now() + timedelta(minutes=30), "failures": 3}),
    ],
)  # fmt: skip
def test_a_source_that_is_stopped_opens_an_incident(gcore: Source, condition: str, values: dict[str, Any]) -> None:
    Source.objects.filter(pk=gcore.pk).update(**values)
    assert list_open() == [(condition, "gcore-main")]


def test_a_source_that_is_read_and_has_no_complete_day_for_hours_is_late(gcore: Source, settings: Settings) -> None:
    for ago in (1, 2):
        set_day(gcore, ago, complete=False)
    assert list_open() == [("source_late", "gcore-main")]
    assert Incident.objects.get().message.startswith("has no complete day after ")

    settings.PORTAL_LATE_HOURS = 100
    assert list_open() == []


def test_a_restatement_is_an_incident_beyond_the_share_and_the_amount_of_its_unit(
    gcore: Source, settings: Settings
) -> None:
    restate(gcore, "10000", "10300")
    assert list_open() == []

    settings.PORTAL_RESTATED_SHARE = 0.02
    settings.PORTAL_RESTATED_AMOUNTS = ["minutes=400"]
    assert list_open() == []

    settings.PORTAL_RESTATED_AMOUNTS = ["minutes=300", "GB=1"]
    assert list_open() == [("day_restated", "gcore-main")]
    assert "+5 h (+3.0 %)" in Incident.objects.get().message

    Restatement.objects.update(at=timezone.now() - timedelta(hours=25))
    assert list_open() == []


def test_many_restatements_of_one_source_hide_none_of_another(
    gcore: Source, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_RESTATED_SHARE, settings.PORTAL_RESTATED_AMOUNTS = 0.02, []
    monkeypatch.setattr("portal.incidents.restatement_alerts.MAX_RESTATEMENTS", 1)
    second_source = create_synced_source("gcore-other", "gcore", days=12)
    restate(gcore, "10000", "20000")
    restate(second_source, "10000", "20000")
    assert [alert.subject for alert in build_restatement_alerts([gcore])] == ["gcore-main"]
    assert list_open() == [("day_restated", "gcore-main"), ("day_restated", "gcore-other")]


def test_a_token_that_expires_soon_is_an_incident_until_it_is_revoked() -> None:
    token, _ = create_token("reports", expires_at=timezone.now() + timedelta(days=3))
    assert list_open() == [("token_expires", "API token reports")]
    token.revoke()
    assert list_open() == []


def test_a_disk_that_is_nearly_full_and_a_database_without_connections_are_incidents(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_DISK_FREE_MB = 10**9
    monkeypatch.setattr("portal.incidents.system_alerts.MOST_CONNECTIONS", 0)
    (database, _), (disk, subject) = list_open()
    assert (database, disk) == ("database_trouble", "disk_low")
    assert subject.startswith("Disk of ")
    assert set(Incident.objects.values_list("severity", flat=True)) == {Severity.CRITICAL}

    # The disk of another machine is that machine's to tell of, until it tells nothing for a day.
    Incident.objects.filter(condition="disk_low").update(key="host:elsewhere")
    settings.PORTAL_DISK_FREE_MB = 1
    monkeypatch.undo()
    assert [condition for condition, _ in list_open()] == ["disk_low"]
    Incident.objects.filter(condition="disk_low").update(updated_at=timezone.now() - timedelta(days=2))
    assert list_open() == []


def test_rows_that_were_not_frozen_for_long_are_an_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.incidents.system_alerts.OLDEST_TRANSACTION", 1)
    assert list_open() == [("database_trouble", "Database")]
    incident = Incident.objects.get()
    assert re.fullmatch(r"has not frozen rows for [\d,]+ transactions; at 2\.1 billion it stops\.", incident.message)
    assert "autovacuum" in incident.detail


def test_a_failed_day_that_is_tried_again_neither_ends_its_incident_nor_opens_another(gcore: Source) -> None:
    set_day(gcore, 5, **FAILED)
    watch()
    for _ in range(3):
        set_day(gcore, 5, state=DayState.DUE, due_at=timezone.now() - timedelta(seconds=1))
        watch()
        set_day(gcore, 5, state=DayState.LOADING, lease_expires_at=timezone.now() + timedelta(minutes=5))
        watch()
        set_day(gcore, 5, state=DayState.FAILED, failures=2)
        watch()
    assert Incident.objects.get().resolved_at is None

    set_day(gcore, 5, state=DayState.LOADED, failures=0, complete=True, error="")
    watch()
    assert Incident.objects.get().resolved_at is not None


def test_more_days_end_the_acknowledgement_of_an_incident(gcore: Source) -> None:
    set_day(gcore, 5, **FAILED)
    watch()
    Incident.objects.update(acknowledged_at=timezone.now(), acknowledged_by="operator")
    watch()
    assert Incident.objects.get().acknowledged_by == "operator"

    set_day(gcore, 6, **FAILED)
    watch()
    incident = Incident.objects.get()
    assert (incident.days, incident.acknowledged_at, incident.acknowledged_by) == (2, None, "")
    assert incident.message.startswith("2 days, the latest ")


def test_another_error_of_the_same_days_leaves_the_acknowledgement(gcore: Source) -> None:
    set_day(gcore, 5, **FAILED)
    watch()
    Incident.objects.update(acknowledged_at=timezone.now(), acknowledged_by="operator")
    set_day(gcore, 5, error="HTTP 500.")
    watch()
    incident = Incident.objects.get()
    assert (incident.acknowledged_by, incident.detail.split(". ")[0]) == ("operator", "HTTP 500")


def test_a_part_of_the_watch_that_fails_leaves_its_incidents_as_they_are(
    gcore: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_day(gcore, 5, **FAILED)
    watch()

    def fail(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr("portal.incidents.watch.fetch_conditions", fail)
    create_token("reports", expires_at=timezone.now() + timedelta(days=3))
    assert list_open() == [("source_failing", "gcore-main"), ("token_expires", "API token reports")]


def test_the_database_refuses_a_second_open_incident_of_a_condition_and_a_subject() -> None:
    values = {"condition": "disk_low", "key": "host:a", "subject": "a", "severity": "critical", "state": "Low"}
    Incident.objects.create(**values, message="is full", resolved_at=timezone.now())
    Incident.objects.create(**values, message="is full")
    with pytest.raises(IntegrityError, match="incident_one_open"), transaction.atomic():
        Incident.objects.create(**values, message="is full")


def test_an_incident_that_another_process_has_just_opened_is_not_told_of_twice() -> None:
    Channel.objects.create(name="ops", recipients="ops@example.com")
    alerts, now = [build_redis_alert()], timezone.now()
    channels = outbox.list_channels()
    open_incident(alerts, channels, now)
    open_incident(alerts, channels, now + timedelta(seconds=1))
    assert (Incident.objects.count(), Message.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_watches_that_run_at_once_open_one_incident(gcore: Source) -> None:
    set_day(gcore, 5, **FAILED)

    def run() -> None:
        try:
            for _ in range(5):
                watch()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Incident.objects.count() == 1


def age(client: redis.Redis, process: str, seconds: float) -> None:
    """Let a process have given its last sign so long ago."""
    client.set(build_key(Heartbeat(process)), "", px=KEPT_MILLISECONDS - int(seconds * 1000))


def list_silences(started_at: float) -> set[str]:
    """Look at the processes, and return the conditions of the open incidents."""
    watch_processes(find_silence(started_at))
    return set(Incident.objects.filter(OPEN).values_list("condition", flat=True))


def test_the_web_processes_tell_of_a_silent_worker_and_a_silent_beat(redis_client: redis.Redis) -> None:
    started_at = time.time() - 1000
    age(redis_client, "beat", 10)
    age(redis_client, "worker", 10)
    assert list_silences(started_at) == set()

    age(redis_client, "worker", 200)
    assert list_silences(started_at) == {"worker_silent"}
    age(redis_client, "beat", 200)
    assert list_silences(started_at) == {"worker_silent", "beat_silent"}

    age(redis_client, "beat", 1)
    age(redis_client, "worker", 1)
    assert list_silences(started_at) == set()


def test_while_another_process_looks_at_the_processes_nothing_is_opened() -> None:
    with closing(connection.copy()) as second_connection, second_connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [PROCESS_LOCK])
        watch_processes(None)
        assert not Incident.objects.exists()
        cursor.execute("SELECT pg_advisory_unlock(%s)", [PROCESS_LOCK])
    watch_processes(None)
    assert Incident.objects.get().condition == ConditionKind.REDIS_TROUBLE


def test_where_the_worker_is_silent_the_web_server_sends_what_is_due_at_once(
    gcore: Source, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.incidents.watcher.connection.close", lambda: None)
    Channel.objects.create(name="ops", recipients="ops@example.com", delay_minutes=0)
    age(redis_client, "beat", 10)
    age(redis_client, "worker", 200)
    age(redis_client, "tick", 200)
    set_day(gcore, 5, **FAILED)
    with serve_mail(settings) as server:
        look_once(time.time() - 1000)
    assert [mail["Subject"].partition(": ")[2] for mail in server.mails] == ["Worker silent: Worker"]
    assert [incident.condition for incident in Incident.objects.all()] == ["worker_silent"]  # no tick is run for it


def test_a_worker_that_reads_long_days_is_not_silent_and_the_web_server_watches_and_sends_for_it(
    gcore: Source, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.incidents.watcher.connection.close", lambda: None)
    Channel.objects.create(name="ops", recipients="ops@example.com", delay_minutes=0)
    set_day(gcore, 5, **FAILED)
    for process in ("beat", "worker", "tick"):
        age(redis_client, process, 10)
    with serve_mail(settings) as server:
        look_once(time.time() - 1000)
        assert not Incident.objects.exists()

        age(redis_client, "tick", 200)
        look_once(time.time() - 1000)
        assert [incident.condition for incident in Incident.objects.all()] == ["source_failing"]
        assert server.mails == []
        Message.objects.update(due_at=timezone.now() - timedelta(seconds=200))
        look_once(time.time() - 1000)
        assert len(server.mails) == 1


def test_nothing_is_said_of_worker_and_beat_before_they_could_have_given_a_sign(redis_client: redis.Redis) -> None:
    assert list_silences(time.time() - 100) == set()


def test_without_redis_nothing_is_known_of_worker_and_beat(redis_client: redis.Redis, settings: Settings) -> None:
    age(redis_client, "worker", 200)
    age(redis_client, "beat", 1)
    list_silences(time.time() - 1000)
    url, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:9/0"
    assert list_silences(time.time() - 1000) == {ConditionKind.WORKER_SILENT, ConditionKind.REDIS_TROUBLE}

    settings.REDIS_URL = url
    age(redis_client, "worker", 1)
    assert list_silences(time.time() - 1000) == set()


def test_without_a_dead_man_url_nothing_is_requested(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PORTAL_DEAD_MAN_URL = ""
    monkeypatch.setattr("portal.incidents.watch.send_request", lambda *_: pytest.fail("requested"))
    ping_dead_man()


def test_a_watch_that_was_carried_out_sends_what_is_due_and_requests_the_dead_man_url(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinged: list[bool] = []
    monkeypatch.setattr("portal.incidents.watch.ping_dead_man", lambda: pinged.append(True))
    tasks.watch(get_database_time().isoformat())
    assert b"portal.incidents.tasks.deliver" in redis_client.lindex("portal", 0)
    assert pinged == [True]

    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr("portal.incidents.watch.watch", fail)
    with pytest.raises(OperationalError):
        tasks.watch()
    assert pinged == [True]
