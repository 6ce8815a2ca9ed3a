"""The outbox: which message is due when, and that each is one."""

import threading
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from portal.incidents import outbox
from portal.incidents.delivery import deliver_due
from portal.incidents.models import Channel, Event, Incident, Message, Severity
from portal.incidents.watch import watch
from sync.pruning import prune
from tests.portal.incidents.conftest import make_channel, make_incident, resolve_day
from tests.support.dashboard_data import FAILED, create_synced_source, set_day
from tests.support.factories import SourceFactory
from tests.support.smtp_server import MailServer
from usage.models import Source

pytestmark = pytest.mark.django_db


def list_keys() -> list[str]:
    """Return what every message tells, in order."""
    return list(Message.objects.values_list("event", flat=True))


def test_an_incident_is_told_of_once_and_its_end_once(gcore: Source, mail_server: MailServer) -> None:
    make_channel()
    day = set_day(gcore, 5, **FAILED)
    for _ in range(3):
        watch()
        deliver_due(5)
    (mail,) = mail_server.mails
    assert mail["Subject"] == "Usage portal: Source failing: gcore-main"
    assert mail_server.recipients == [["ops@example.com"]]
    assert "failed." in str(mail.get_payload())

    resolve_day(day)
    for _ in range(3):
        watch()
        deliver_due(5)
    _, mail = mail_server.mails
    assert mail["Subject"] == "Usage portal: Resolved: Source failing: gcore-main"
    assert len(set(mail_server.ids)) == 2


def test_what_heals_within_the_delay_tells_nobody(gcore: Source, mail_server: MailServer) -> None:
    make_channel(delay_minutes=10)
    day = set_day(gcore, 5, **FAILED)
    watch()
    assert deliver_due(5) == 0
    resolve_day(day)
    watch()
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert deliver_due(5) == 0
    assert (mail_server.mails, list_keys()) == ([], [])


def test_what_lasts_longer_than_the_delay_is_told_with_its_end(gcore: Source, mail_server: MailServer) -> None:
    make_channel(delay_minutes=10)
    day = set_day(gcore, 5, **FAILED)
    watch()
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        resolve_day(day)
        watch()
        assert deliver_due(5) == 2
    assert [mail["Subject"].split(": ")[1] for mail in mail_server.mails] == ["Source failing", "Resolved"]


@pytest.mark.parametrize(
    ("rules", "is_told"),
    [
        ({}, True),
        ({"severity": Severity.CRITICAL}, True),
        ({"severity": Severity.CRITICAL, "incident": {"severity": "warning"}}, False),
        ({"conditions": ["source_failing", "disk_low"]}, True),
        ({"conditions": ["disk_low"]}, False),
        ({"sources": ["own"]}, True),
        ({"sources": ["other"]}, False),
        ({"sources": ["own"], "incident": {"source": None, "condition": "disk_low"}}, False),
    ],
)
def test_a_channel_tells_of_what_its_rules_choose(rules: dict[str, Any], is_told: bool) -> None:
    sources = {slug: SourceFactory.create(slug=slug) for slug in ("own", "other")}
    values = rules.pop("incident", {})
    channel_sources = [sources[slug] for slug in rules.pop("sources", [])]
    channel = make_channel(**rules, limited=bool(channel_sources))
    channel.sources.set(channel_sources)
    incident = make_incident(**{"source": sources["own"], **values})
    assert outbox.matches_rules(channel, incident) is is_told


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-12-01T20:59Z", "2026-12-01T20:59Z"),  # 21:59 in Berlin
        ("2026-12-01T21:00Z", "2026-12-02T06:00Z"),
        ("2026-12-02T05:59Z", "2026-12-02T06:00Z"),
        ("2026-12-02T06:00Z", "2026-12-02T06:00Z"),
    ],
)
def test_messages_wait_for_the_end_of_quiet_hours_in_the_channels_zone(at: str, expected: str) -> None:
    channel = Channel(quiet_from=time(22), quiet_until=time(7), time_zone="Europe/Berlin")
    instant = datetime.fromisoformat(at)
    assert outbox.defer_quiet(channel, instant, Severity.WARNING) == datetime.fromisoformat(expected)
    assert outbox.defer_quiet(channel, instant, Severity.CRITICAL) == instant
    channel.quiet_critical = True
    assert outbox.defer_quiet(channel, instant, Severity.CRITICAL) == datetime.fromisoformat(expected)


def test_quiet_hours_within_a_day() -> None:
    channel = Channel(quiet_from=time(12), quiet_until=time(13), time_zone="UTC")
    assert outbox.defer_quiet(channel, datetime(2026, 12, 1, 12, 30, tzinfo=UTC), "warning").hour == 13
    assert outbox.defer_quiet(channel, datetime(2026, 12, 1, 13, 30, tzinfo=UTC), "warning").minute == 30


def test_reminders_come_until_somebody_acknowledges(gcore: Source, mail_server: MailServer) -> None:
    make_channel(reminder_hours=2, conditions=["source_failing"])
    set_day(gcore, 5, **FAILED)
    start = timezone.now()
    for number in range(5):
        with time_machine.travel(start + timedelta(minutes=75 * number)):
            watch()
            deliver_due(5)
    assert list_keys() == ["opened", "reminder", "reminder"]
    assert mail_server.mails[1]["Subject"] == "Usage portal: Still: Source failing: gcore-main"

    Incident.objects.update(acknowledged_at=timezone.now(), acknowledged_by="operator")
    with time_machine.travel(start + timedelta(hours=9)):
        watch()
    assert len(list_keys()) == 3


def test_two_that_add_a_reminder_at_once_add_one(gcore: Source, mail_server: MailServer) -> None:
    make_channel(reminder_hours=2)
    set_day(gcore, 5, **FAILED)
    watch()
    deliver_due(5)
    channels, later = outbox.list_channels(), timezone.now() + timedelta(hours=3)
    message = Message.objects.get()
    outbox.add_reminders(channels, later)
    Message.objects.filter(event=Event.REMINDER).update(key=f"reminder:{message.incident_id}:{message.channel_id}:1")
    outbox.add_reminders(channels, later + timedelta(seconds=1))
    assert list_keys() == ["opened", "reminder"]


def test_a_channel_whose_only_source_was_deleted_tells_of_nothing() -> None:
    channel, source = make_channel(limited=True), SourceFactory.create()
    channel.sources.add(source)
    source.delete()
    (kept_channel,) = outbox.list_channels()
    assert not outbox.matches_rules(kept_channel, make_incident())


def test_an_incident_that_becomes_critical_is_told_to_who_wants_to_know_of_those(mail_server: MailServer) -> None:
    source = create_synced_source("gcore-main", "gcore", days=8)
    make_channel("all")
    make_channel("critical", severity=Severity.CRITICAL)
    Source.objects.filter(pk=source.pk).update(paused_until=timezone.now() + timedelta(hours=1), failures=3)
    watch()
    assert list(Message.objects.values_list("channel__name", flat=True)) == ["all"]
    set_day(source, 5, **FAILED)
    watch()
    watch()
    assert list(Message.objects.values_list("channel__name", flat=True)) == ["all", "critical"]


def test_what_becomes_critical_in_quiet_hours_waits_no_longer(gcore: Source) -> None:
    now = timezone.now()
    begin, end = ((now + timedelta(hours=hours)).time() for hours in (-1, 12))
    make_channel(conditions=["source_failing"], quiet_from=begin, quiet_until=end)
    Source.objects.filter(pk=gcore.pk).update(paused_until=now + timedelta(hours=1), failures=3)
    watch()
    assert Message.objects.get().due_at > now + timedelta(hours=11)
    set_day(gcore, 5, **FAILED)
    watch()
    assert Message.objects.get().due_at <= timezone.now()


def test_a_channel_that_is_limited_to_other_sources_tells_nothing_more_of_the_first(
    gcore: Source, mail_server: MailServer
) -> None:
    channel = make_channel(reminder_hours=2, conditions=["source_failing"])
    day = set_day(gcore, 5, **FAILED)
    watch()
    deliver_due(5)
    channel.sources.set([SourceFactory.create(slug="own")])
    Channel.objects.update(limited=True)
    with time_machine.travel(timezone.now() + timedelta(hours=3)):
        watch()
        assert list_keys() == ["opened"]
        resolve_day(day)
        watch()
        assert deliver_due(5) == 0
    assert len(mail_server.mails) == 1


def test_what_waits_for_a_channel_that_is_switched_off_is_dropped(mail_server: MailServer) -> None:
    channel = make_channel()
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    Channel.objects.filter(pk=channel.pk).update(enabled=False)
    assert deliver_due(5) == 0
    assert Message.objects.get().error == "The channel is switched off."
    assert mail_server.mails == []


@pytest.mark.django_db(transaction=True)
def test_over_many_ticks_and_two_schedulers_each_incident_is_one_message_and_each_end_another(
    mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alerts are made here, so that only incidents and messages are at work: 20 subjects come and go thrice."""
    make_channel("first")
    make_channel("second", recipients="finance@example.com")
    ticks: list[int] = []

    def collect() -> Any:
        ticks.append(len(ticks))  # by one watch at a time
        return [build_alert(key) for key in range(20) if (len(ticks) + key * 2) % 80 < 40]

    monkeypatch.setattr("portal.incidents.watch.COLLECTORS", [(frozenset({"disk_low"}), collect)])
    monkeypatch.setattr("portal.incidents.watch.list_unsettled_sources", frozenset)

    def run() -> None:
        try:
            while len(ticks) < 200:
                watch()
                if len(ticks) % 5 == 0:
                    deliver_due(5)
            deliver_due(20)
        finally:
            connection.close()

    monkeypatch.setattr("portal.incidents.watch.stays_open", lambda *_: False)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    incidents = Incident.objects.count()
    resolved = Incident.objects.filter(resolved_at__isnull=False).count()
    assert incidents > 40
    assert len(mail_server.ids) == len(set(mail_server.ids)) == 2 * (incidents + resolved)
    assert Message.objects.filter(event=Event.OPENED).count() == 2 * incidents
    assert not Message.objects.filter(sent_at=None).exists()


def build_alert(number: int) -> Any:
    """Return an alert about a disk."""
    from portal.incidents.conditions import ConditionKind
    from portal.incidents.system_alerts import build_alert as build

    return build(ConditionKind.DISK_LOW, f"host:{number}", f"Disk of {number}", "is nearly full.", "")


def test_old_incidents_are_pruned_with_their_messages_and_nothing_that_is_open_is() -> None:
    channel, old, month = make_channel(), datetime(2025, 6, 29, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
    resolved = make_incident(opened_at=old, resolved_at=old)
    recent = make_incident(opened_at=old, resolved_at=month)
    lasting = make_incident(opened_at=old)
    for incident in (resolved, recent, lasting):
        Message.objects.create(key=str(incident.pk), channel=channel, incident=incident, event=Event.OPENED)
    for number, created_at in enumerate((old, month)):
        Message.objects.create(key=f"test:{number}", channel=channel, event=Event.TEST, created_at=created_at)

    deleted = prune(date(2025, 7, 1))

    assert (deleted["resolved incidents"], deleted["tests of channels"]) == (1, 1)
    assert set(Incident.objects.all()) == {recent, lasting}
    assert set(Message.objects.values_list("key", flat=True)) == {str(recent.pk), str(lasting.pk), "test:1"}
