"""What load balancers and monitors ask: whether the portal lives, is ready, and works."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from portal.health import readiness, shared_check, views
from portal.health.readiness import DOWN, LOCKED, READ_ONLY, find_unready, find_waiting
from portal.health.shared_check import CROWDED_SECONDS, MAX_WAITING, SharedCheck
from portal.health.work import find_silent
from sync.heartbeats import Heartbeat, Pulse, build_key, record_heartbeat
from tests.support.factories import SourceFactory
from usage.schema_state import NEWER, OLDER

# A check has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test see the results of another, nor how busy the machine is."""
    monkeypatch.setattr(shared_check, "CHECK_SECONDS", 10 * shared_check.CHECK_SECONDS)
    monkeypatch.setattr(readiness, "STATEMENT_MILLISECONDS", 10 * readiness.STATEMENT_MILLISECONDS)
    monkeypatch.setattr(views, "readiness", SharedCheck(find_unready, DOWN))
    monkeypatch.setattr(views, "work", SharedCheck(find_silent, "Redis does not answer."))
    monkeypatch.setattr(views, "schema", SharedCheck(find_waiting, DOWN))


@pytest.fixture
def read_only() -> Iterator[None]:
    """A database whose new sessions can write nothing."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        yield
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def test_live_asks_nothing_of_the_servers(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"live": True})
    assert len(queries) == 0


def test_ready_under_any_host_name_when_the_database_is_in_order(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["portal.example.com"]
    response = client.get("/health/ready", headers={"Host": "10.1.2.3:8000"})
    assert (response.status_code, response.json()) == (200, {"ready": True, "reasons": []})
    assert "no-store" in response["Cache-Control"]


def test_ready_without_redis_which_requests_can_do_without(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://:secret@127.0.0.1:9/0"
    assert client.get("/health/ready").status_code == 200
    response = client.get("/health/work")
    assert (response.status_code, response.json()["reasons"]) == (503, ["Redis does not answer."])
    assert "secret" not in response.text


def test_not_ready_while_the_database_is_read_only(client: Client, read_only: None) -> None:
    response = client.get("/health/ready")
    assert (response.status_code, response.json()) == (503, {"ready": False, "reasons": [READ_ONLY]})


def test_not_ready_where_the_schema_is_older_and_without_work_where_it_is_newer_than_the_code(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('usage', '9999_next', now())")
        newer = find_unready(), find_waiting()
        reasons = client.get("/health/work").json()["reasons"]
        cursor.execute("UPDATE django_migrations SET app = 'gone' WHERE name = '9999_next'")
        of_an_app_that_the_code_has_not = find_unready(), find_waiting()
        cursor.execute("UPDATE django_migrations SET app = 'away' WHERE app = 'usage' RETURNING id")
        older = find_unready(), find_waiting()
        cursor.execute("UPDATE django_migrations SET app = 'usage' WHERE app = 'away'")
        cursor.execute("DELETE FROM django_migrations WHERE name = '9999_next'")
    assert (newer, of_an_app_that_the_code_has_not, older) == (([], [NEWER]), ([], []), ([OLDER], []))
    assert NEWER in reasons
    assert find_unready() == []


def test_not_ready_where_no_migration_was_ever_applied() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO away")
        try:
            assert find_unready() == [OLDER]
        finally:
            cursor.execute("ALTER TABLE away RENAME TO django_migrations")


def test_not_ready_where_no_key_opens_a_stored_credential(settings: Settings) -> None:
    SourceFactory(credential="secret", credential_env="")
    settings.PORTAL_ENCRYPTION_KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]
    assert find_unready() == [LOCKED]
    SourceFactory(credential="another", credential_env="")
    assert find_unready() == []


def test_not_ready_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PORT", "9")
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["reasons"]) == (503, [DOWN])


def test_a_hundred_probes_at_once_are_one_check_whose_answer_holds_for_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shared_check.SHARED_SECONDS == 1
    monkeypatch.setattr(shared_check, "SHARED_SECONDS", 600)
    checks: list[float] = []

    def check() -> list[str]:
        checks.append(time.monotonic())
        return ["wrong"]

    shared = SharedCheck(check, "silent")
    with ThreadPoolExecutor(100) as probes:
        results = list(probes.map(lambda _: shared.get_reasons(), range(100)))
    assert results == [["wrong"]] * 100
    assert len(checks) == 1
    shared.ended -= 600
    shared.get_reasons()
    assert len(checks) == 2


def test_a_check_that_hangs_stays_the_only_one_and_few_probes_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_check, "CHECK_SECONDS", 5)
    released, checks = threading.Event(), []

    def check() -> list[str]:
        checks.append(released.wait(600))
        return []

    shared = SharedCheck(check, "silent")

    def probe(_: int) -> tuple[list[str], float]:
        started_at = time.monotonic()
        return shared.get_reasons(), time.monotonic() - started_at

    with ThreadPoolExecutor(100) as probes:
        results = list(probes.map(probe, range(100)))
    assert {reason for reasons, _ in results for reason in reasons} == {"silent"}
    assert sum(seconds > 10 * CROWDED_SECONDS for _, seconds in results) <= MAX_WAITING
    _, seconds = probe(0)
    assert seconds < 10 * CROWDED_SECONDS
    released.set()
    assert shared.result is not None
    assert shared.result.result() == []
    assert (shared.get_reasons(), len(checks)) == ([], 1)


def test_a_check_that_fails_fails_its_probes_and_not_the_next_check() -> None:
    shared = SharedCheck(lambda: [str(1 / 0)], "silent")
    with pytest.raises(ZeroDivisionError):
        shared.get_reasons()
    shared.ended -= 2
    shared.check = list
    assert shared.get_reasons() == []


def test_the_work_goes_on_while_beat_and_a_worker_were_seen_within_three_ticks(
    client: Client, redis_client: redis.Redis, settings: Settings
) -> None:
    settings.PORTAL_TICK_SECONDS = 60
    assert find_silent() == ["Beat was not seen for a week.", "A worker was not seen for a week."]
    record_heartbeat(Heartbeat.BEAT)
    Pulse(Heartbeat.WORKER).beat()
    response = client.get("/health/work")
    assert (response.status_code, response.json()) == (200, {"work": True, "reasons": []})
    assert "live" in call_health()

    age(redis_client, Heartbeat.WORKER, 181)
    assert find_silent() == ["A worker was last seen 3 min 1 s ago."]
    age(redis_client, Heartbeat.WORKER, 179)
    assert find_silent() == []


def test_the_command_ends_with_status_1_and_names_who_is_silent(redis_client: redis.Redis) -> None:
    record_heartbeat(Heartbeat.WORKER)
    with pytest.raises(CommandError, match=r"Beat was not seen for a week\.") as failure:
        call_health()
    assert failure.value.returncode == 1
    assert "worker" not in str(failure.value)


def test_a_pulse_is_recorded_three_times_a_tick(redis_client: redis.Redis, settings: Settings) -> None:
    settings.PORTAL_TICK_SECONDS = 60
    pulse = Pulse(Heartbeat.WORKER)
    pulse.beat()
    redis_client.flushdb()
    pulse.beat()
    assert redis_client.keys() == []
    pulse.next_at -= 20
    pulse.beat()
    assert redis_client.keys() == [build_key(Heartbeat.WORKER).encode()]


@pytest.mark.parametrize("path", ["live", "ready", "work"])
def test_health_is_only_read(client: Client, path: str) -> None:
    assert client.post(f"/health/{path}").status_code == 405


def call_health() -> str:
    """Return what `manage.py health` prints."""
    output = StringIO()
    call_command("health", stdout=output)
    return output.getvalue()


def age(redis_client: redis.Redis, heartbeat: Heartbeat, seconds: int) -> None:
    """Let a heartbeat be older."""
    redis_client.pexpire(build_key(heartbeat), 7 * 24 * 3600 * 1000 - seconds * 1000)
