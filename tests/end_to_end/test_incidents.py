"""From a fault of a vendor to a mail and a webhook: each kind of incident, over real HTTP and SMTP."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import time_machine
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from portal.accounts.models import create_token
from portal.incidents import system_alerts
from portal.incidents.conditions import ConditionKind
from portal.incidents.delivery import deliver_due
from portal.incidents.models import OPEN, Channel, Incident
from portal.incidents.system_alerts import find_silence
from portal.incidents.watch import watch, watch_processes
from portal.lake import FAILURES_BEFORE_ALERT, publish_days
from sync.engine import plan
from sync.engine.load import load_next
from sync.engine.scrub import scrub
from sync.heartbeats import KEPT_MILLISECONDS, Heartbeat, build_key
from sync.models import Trigger
from sync.sandbox.world import Edit, World
from tests.support.api_clients import serve_portal
from tests.support.processes import wait_for
from tests.support.sandbox_server import SandboxServer
from tests.support.smtp_server import MailServer, serve_mail
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
DAYS = 2


@pytest.fixture(scope="module")
def upstream() -> Iterator[SandboxServer]:
    """The stand-in vendors, with a few small days."""
    with SandboxServer(World(days=DAYS, records_per_day=40)) as server:
        yield server


@pytest.fixture
def source(request: pytest.FixtureRequest, upstream: SandboxServer, settings: Settings) -> Iterator[Source]:
    """A source at the stand-in, all of whose days were read; of Gcore, unless a test gives another vendor."""
    vendor = getattr(request, "param", "gcore")
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    settings.PORTAL_HTTP_ATTEMPTS = 1
    first = datetime.now(UTC).date() - timedelta(days=DAYS - 1)
    source = Source.objects.create(
        slug=f"{vendor}-main",
        vendor=vendor,
        base_url=f"{upstream.url}/{vendor}",
        credential=upstream.world.credential,
        backfill_from=first,
        time_zone=upstream.world.zone if vendor == "workato" else "UTC",
    )
    read_days(source)
    yield source
    upstream.faults.clear()
    upstream.world.edits.clear()


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    """A mail server, and a channel to it."""
    Channel.objects.create(name="mail", recipients="ops@example.com", delay_minutes=0)
    with serve_mail(settings) as server:
        yield server


@pytest.fixture
def sink(settings: Settings) -> Iterator[HTTPServer]:
    """An HTTP sink, and a channel to it."""
    with HTTPServer(host="127.0.0.1") as server:
        settings.PORTAL_ALLOWED_WEBHOOK_HOSTS = [f"127.0.0.1:{server.port}"]
        server.expect_request("/hook").respond_with_data(status=204)
        url = server.url_for("/hook")
        Channel.objects.create(name="hook", kind="webhook", url=url, secret="signing", delay_minutes=0)
        yield server


def read_days(source: Source) -> None:
    """Have a source read now, to the end."""
    source.refresh_from_db()
    if source.halted_at is None:
        plan.plan_now(source, Trigger.ADMIN)
    while load_next(source.pk) is not None:
        pass


def get_day(source: Source) -> SourceDay:
    """Return the source's first day, which has ended."""
    return SourceDay.objects.select_related("source").filter(source=source).earliest("day")


Fault = Callable[[SandboxServer, Source, Any], None]


def fail(upstream: SandboxServer, source: Source, settings: Any) -> None:
    upstream.faults.set("unavailable")


def refuse(upstream: SandboxServer, source: Source, settings: Any) -> None:
    upstream.faults.set("unauthorized")


def edit(**values: Any) -> Fault:
    def change(upstream: SandboxServer, source: Source, settings: Any) -> None:
        upstream.world.edits["gcore", get_day(source).day] = Edit(**values)
        # By how much the sandbox's records change depends on the date.
        settings.PORTAL_RESTATED_SHARE, settings.PORTAL_RESTATED_AMOUNTS = 0.0001, []

    return change


def lose_keys(upstream: SandboxServer, source: Source, settings: Any) -> None:
    settings.PORTAL_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    plan.plan_due()


def damage(upstream: SandboxServer, source: Source, settings: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_resourceusage SET consumed_quantity = 1 WHERE day = %s", [get_day(source).day])
    SourceDay.objects.filter(pk=get_day(source).pk).update(checked_at=None)
    scrub(10)


def leave_out(upstream: SandboxServer, source: Source, settings: Any) -> None:
    upstream.faults.set("workato.missing_metric")


def let_a_token_expire(upstream: SandboxServer, source: Source, settings: Any) -> None:
    create_token("warehouse", expires_at=timezone.now() + timedelta(days=3))


def fill_the_disk(upstream: SandboxServer, source: Source, settings: Any) -> None:
    settings.PORTAL_DISK_FREE_MB = 10**9


def use_up_connections(upstream: SandboxServer, source: Source, settings: Any) -> None:
    system_alerts.MOST_CONNECTIONS = 0  # type: ignore[misc]


def take_redis_away(upstream: SandboxServer, source: Source, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    watch_processes(find_silence(started=time.time()))


def keep_a_day_waiting(upstream: SandboxServer, source: Source, settings: Any) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    SourceDay.objects.update(loaded_at=long_ago, checked_at=long_ago)
    Source.objects.update(next_sync_at=long_ago)


def leave_a_day_partial(upstream: SandboxServer, source: Source, settings: Any) -> None:
    # The current day: without the one before, the source is late as well from ten in the morning.
    day = SourceDay.objects.filter(source=source).latest("day")
    SourceDay.objects.filter(pk=day.pk).update(state=DayState.PARTIAL, complete=False)


def take_the_lake_away(upstream: SandboxServer, source: Source, settings: Any) -> None:
    settings.PORTAL_LAKE_URL = "file:///dev/null/lake"
    for _ in range(FAILURES_BEFORE_ALERT):
        cache.delete("lake")  # ten minutes later
        with pytest.raises(OSError, match="/dev/null"):
            publish_days()
    # The catalog was made before, outside of this test's transaction.
    own = connection.copy()
    with closing(own), own.cursor() as cursor:
        cursor.execute("DROP TABLE iceberg_tables, iceberg_namespace_properties")


READ_CASES: list[tuple[str, str, Fault]] = [
    ("source_failing", "gcore", fail),
    ("source_halted", "gcore", refuse),
    ("day_suspect", "gcore", edit(vanished=0.9)),
    ("records_rejected", "gcore", edit(bad=0.2)),
    ("day_restated", "gcore", edit(restated=0.4)),
    ("day_unverified", "workato", leave_out),
]


@pytest.mark.parametrize(("condition", "source", "fault"), READ_CASES, indirect=["source"])
def test_a_fault_of_the_vendor_reaches_the_mailbox_and_the_webhook_and_so_does_its_end(
    upstream: SandboxServer,
    source: Source,
    settings: Settings,
    mail_server: MailServer,
    sink: HTTPServer,
    condition: str,
    fault: Fault,
) -> None:
    watch()
    assert not Incident.objects.exists()
    fault(upstream, source, settings)
    read_days(source)
    watch()
    deliver_due(5)
    print(
        SourceDay.objects.values_list("day", "state", "verification", "error"),
        Incident.objects.values_list("condition", "message"),
    )
    assert condition in Incident.objects.filter(OPEN).values_list("condition", flat=True)
    conditions = [json.loads(request.get_data())["incident"]["condition"] for request, _ in sink.log]
    assert condition in conditions
    assert len(mail_server.mails) == len(conditions) == Incident.objects.count()

    upstream.faults.clear()
    upstream.world.edits.clear()
    Source.objects.update(halted_at=None, halt_reason="", halt_code="")
    for _ in range(2):  # the second read of a suspect day decides
        read_days(source)
    with time_machine.travel(timezone.now() + timedelta(hours=25 if condition == "day_restated" else 0)):
        watch()
        deliver_due(5)
    assert Incident.objects.get(condition=condition).resolved_at is not None
    assert any(mail["Subject"].startswith("Usage portal: Resolved: ") for mail in mail_server.mails)


OWN_CASES: list[tuple[str, Fault]] = [
    ("credential_unreadable", lose_keys),
    ("scrub_mismatch", damage),
    ("token_expires", let_a_token_expire),
    ("disk_low", fill_the_disk),
    ("database_trouble", use_up_connections),
    ("redis_trouble", take_redis_away),
    ("sync_stopped", keep_a_day_waiting),
    ("day_partial", leave_a_day_partial),
    ("lake_failing", take_the_lake_away),
]


@pytest.mark.parametrize(("condition", "fault"), OWN_CASES)
def test_a_fault_of_the_portal_itself_reaches_the_mailbox(
    upstream: SandboxServer,
    source: Source,
    settings: Settings,
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
    condition: str,
    fault: Fault,
) -> None:
    monkeypatch.setattr(system_alerts, "MOST_CONNECTIONS", system_alerts.MOST_CONNECTIONS)
    fault(upstream, source, settings)
    watch()
    deliver_due(5)
    assert [incident.condition for incident in Incident.objects.filter(OPEN)] == [condition]
    assert len(mail_server.mails) == 1


def test_every_condition_is_brought_about_by_one_of_these_tests() -> None:
    elsewhere = {"source_late", "worker_silent", "beat_silent"}
    brought_about = {case[0] for case in READ_CASES} | {case[0] for case in OWN_CASES}
    assert brought_about | elsewhere == set(ConditionKind.values)


def test_a_vendor_that_does_not_answer_for_hours_makes_its_source_late(source: Source, mail_server: MailServer) -> None:
    with time_machine.travel(timezone.now() + timedelta(hours=12)):
        SourceDay.objects.filter(state=DayState.DUE).update(due_at=timezone.now() + timedelta(hours=1))
        Source.objects.update(next_sync_at=timezone.now() + timedelta(minutes=5))
        watch()
        deliver_due(5)
    assert [incident.condition for incident in Incident.objects.filter(OPEN)] == ["source_late"]
    assert len(mail_server.mails) == 1


@pytest.mark.django_db(transaction=True)
def test_the_web_server_tells_of_a_dead_worker_and_beat_and_of_their_return(
    mail_server: MailServer, redis_client: redis.Redis
) -> None:
    settings = {"PORTAL_TICK_SECONDS": "1", "PORTAL_EMAIL_URL": f"smtp://127.0.0.1:{mail_server.port}"}

    def list_subjects() -> list[str]:
        return sorted(mail["Subject"].removeprefix("Usage portal: ") for mail in mail_server.mails)

    with serve_portal(**settings):
        silent = ["Schedule silent: Schedule (Celery beat)", "Worker silent: Worker"]
        wait_for(lambda: list_subjects() == silent, "the web server to tell of both")
        for heartbeat in Heartbeat:
            # As far ahead as the rest of the test may take.
            redis_client.set(build_key(heartbeat), "", px=KEPT_MILLISECONDS + 600_000)
        wait_for(lambda: not Incident.objects.filter(OPEN).exists(), "the web server to see them again")
    deliver_due(5)
    assert list_subjects() == sorted([*silent, *(f"Resolved: {subject}" for subject in silent)])
