"""Reports by mail: when they are sent, and that each is one."""

import signal
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from portal.incidents import outbox
from portal.incidents.delivery import deliver_due
from portal.incidents.models import Message
from portal.reports.answer import build_params
from portal.reports.content import build_mail
from portal.reports.models import Report
from portal.reports.schedule import get_next, plan_reports, request_now, stop_report
from tests.portal.reports.conftest import get_part, get_subject, make_report, run
from tests.support.dashboard_data import FAILED, HEALTHY, get_today, set_day
from tests.support.processes import WAIT_SECONDS, portal_process
from tests.support.smtp_server import MailServer, serve_mail
from tests.support.users import create_person
from usage.models import SavedView, Source

pytestmark = pytest.mark.django_db
# Sends what is due, and is killed before it can note so.
KILLED = """
import os, signal
from portal.incidents import delivery, outbox
outbox.record_sent = lambda message: os.kill(os.getpid(), signal.SIGKILL)
delivery.deliver_due(20)
"""


def test_a_report_is_sent_once_for_each_date_by_two_schedulers_at_once(gcore: Source, mail_server: MailServer) -> None:
    before: Any = make_report().next_at
    for _ in range(3):
        run()
    assert Report.objects.get().next_at == before + timedelta(days=1)
    Report.objects.update(next_at=before)  # as a second scheduler saw it
    run()
    assert len(mail_server.mails) == Message.objects.count() == 1
    run(24 * 60)
    assert len(mail_server.mails) == len(set(mail_server.ids)) == 2


@pytest.mark.django_db(transaction=True)
def test_two_processes_and_one_that_is_killed_send_no_mail_twice(gcore: Source, mail_server: MailServer) -> None:
    for number in range(4):
        make_report(create_person("viewer"), name=f"Report {number}")

    def tick() -> None:
        try:
            run()
        finally:
            connection.close()

    threads = [threading.Thread(target=tick) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mail_server.mails) == len(set(mail_server.ids)) == 4

    Report.objects.filter(name="Report 0").update(next_at=timezone.now() + timedelta(days=1))
    with time_machine.travel(timezone.now() + timedelta(days=1, seconds=1)):
        plan_reports(timezone.now())
    Message.objects.filter(sent_at=None).exclude(report__name="Report 0").delete()
    Message.objects.filter(sent_at=None).update(due_at=timezone.now())
    with portal_process(["manage.py", "shell", "-c", KILLED], PORTAL_EMAIL_URL=settings.PORTAL_EMAIL_URL) as process:
        assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert (len(mail_server.ids), deliver_due(5)) == (5, 0)  # While it is claimed nobody else sends it.
    with time_machine.travel(timezone.now() + outbox.CLAIM):
        assert deliver_due(5) == 1
    assert mail_server.ids[4] == mail_server.ids[5]  # one double, with the same id, by which mail programs know it


def test_a_report_that_took_too_long_to_write_is_left_to_who_took_it_over(
    gcore: Source, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_report()

    def write_slowly(*args: Any, **kwargs: Any) -> Any:
        Message.objects.update(claimed_until=timezone.now() + outbox.CLAIM * 2, attempts=2)  # by another process
        return build_mail(*args, **kwargs)

    monkeypatch.setattr("portal.reports.sender.build_mail", write_slowly)
    assert run() == 0
    assert (mail_server.mails, Message.objects.get().sent_at) == ([], None)


def test_a_report_waits_until_its_range_is_complete(gcore: Source, mail_server: MailServer) -> None:
    set_day(gcore, 5, **FAILED)
    make_report(wait="complete", wait_days=2)
    assert (run(), run(30)) == (0, 0)
    message = Message.objects.get()
    assert message.error.startswith("Waits, because not complete: 1 day not read completely (gcore-main ")
    assert message.attempts == 0
    set_day(gcore, 5, **HEALTHY)
    assert run(60) == 1
    (mail,) = mail_server.mails
    assert "not complete" not in get_subject(mail)


@pytest.fixture
def fifth() -> Iterator[None]:
    """It is the 5th of November."""
    with time_machine.travel(datetime(2026, 11, 5, 12, tzinfo=UTC)):
        yield


def test_a_range_that_is_not_over_is_waited_for_too(fifth: None, gcore: Source, mail_server: MailServer) -> None:
    make_report(wait="complete", wait_days=2)
    SavedView.objects.update(moving_range="this-month")
    assert run() == 0
    assert Message.objects.get().error == "Waits, because not complete: today still open."


def test_days_in_doubt_are_named_in_the_subject(gcore: Source, mail_server: MailServer) -> None:
    set_day(gcore, 5, mismatch=[{"code": "digest"}])
    make_report()
    assert run() == 1
    assert get_subject(mail_server.mails[0]).endswith(" – some days are in doubt")


def test_what_is_claimed_while_a_report_is_stopped_is_not_sent(gcore: Source, mail_server: MailServer) -> None:
    report = make_report()
    plan_reports(timezone.now())
    Message.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert stop_report(report, "viewer stopped it.")
    assert not stop_report(report, "administrator stopped it.")
    assert deliver_due(20) == 1
    (mail,) = mail_server.mails
    assert get_subject(mail) == "Usage portal: Usage of the week is stopped"
    assert "viewer stopped it." in str(mail.get_payload(decode=True))
    dropped = Message.objects.get(event="report")
    assert (dropped.error, dropped.abandoned_at is not None) == ("The report was stopped.", True)


def test_the_end_of_a_report_that_nobody_has_an_address_for_is_not_tried_again(
    gcore: Source, mail_server: MailServer
) -> None:
    report = make_report(addresses="")
    User.objects.update(email="")
    stop_report(report, "viewer stopped it.")
    assert deliver_due(20) == 0
    message = Message.objects.get()
    assert message.error.startswith("None of its recipients is left")
    assert (message.abandoned_at is not None, mail_server.mails) == (True, [])


def test_a_report_that_waited_for_days_is_sent_with_its_gaps_in_the_subject(
    gcore: Source, mail_server: MailServer
) -> None:
    set_day(gcore, 5, **FAILED)
    make_report(wait="complete", wait_days=2)
    range_then = get_today(gcore) - timedelta(days=7)
    assert run() == 0
    Report.objects.update(next_at=timezone.now() + timedelta(days=9))
    assert run(2 * 24 * 60 - 1) == 0
    assert run(2 * 24 * 60) == 1
    (mail,) = mail_server.mails
    assert "– not complete: 1 day not read completely (gcore-main " in get_subject(mail)
    assert f"from={range_then}" in get_part(mail, "text/plain").decode()  # of the date that it is scheduled on


def test_send_now_sends_the_report_that_waits_and_no_second_one_of_its_range(
    gcore: Source, mail_server: MailServer
) -> None:
    set_day(gcore, 5, **FAILED)
    report = make_report(wait="complete", wait_days=9)
    first = get_today(gcore) - timedelta(days=7)
    assert run() == 0
    Report.objects.update(next_at=timezone.now() + timedelta(days=30))  # as of a monthly one
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        assert request_now(report)
        assert deliver_due(20) == 1
    assert Message.objects.count() == len(mail_server.mails) == 1
    assert f"from={first}" in get_part(mail_server.mails[0], "text/plain").decode()


def test_the_range_is_of_the_date_in_the_reports_zone_so_no_day_comes_twice_or_never() -> None:
    report = Report(frequency="daily", time=time(1, 30), time_zone="Europe/Berlin")
    view = SavedView(question="from=2026-01-01&to=2026-02-01", moving_range="last-7-days")  # of UTC
    for spring_or_autumn in ("2026-03-27T12:00Z", "2026-10-23T12:00Z"):
        at = datetime.fromisoformat(spring_or_autumn)
        ends = []
        for _ in range(5):
            at = get_next(report, at)
            ends.append(date.fromisoformat(dict(build_params(view, report.get_date(at)))["to"]))
        first = datetime.fromisoformat(spring_or_autumn).date() + timedelta(days=1)
        assert ends == [first + timedelta(days=ago) for ago in range(5)]


def test_a_report_waits_until_its_range_is_final(gcore: Source, mail_server: MailServer) -> None:
    make_report(wait="final")
    assert run() == 0
    assert "not final from" in Message.objects.get().error
    for ago in (1, 2):
        set_day(gcore, ago, final=True)
    assert run(20) == 1


def test_a_mail_server_that_is_away_for_an_hour_loses_and_doubles_no_report(gcore: Source, settings: Settings) -> None:
    make_report(next_at=timezone.now())
    settings.PORTAL_REPORT_DOMAINS = ["example.org"]
    with serve_mail(settings) as server:
        port = server.port
    for minute in range(0, 60, 5):
        assert run(minute) == 0
    with serve_mail(settings, port) as server:
        for minute in range(60, 100, 5):
            run(minute)
    assert len(server.mails) == 1


def test_what_was_missed_is_sent_later_for_a_week(gcore: Source, mail_server: MailServer) -> None:
    report = make_report(time=time(0, 0), next_at=timezone.now() - timedelta(days=9))
    while run():  # each sends for a while only
        pass
    assert len(mail_server.mails) == 7
    report.refresh_from_db()
    assert report.next_at is not None
    assert report.next_at > timezone.now()
    last = get_part(mail_server.mails[-1], "text/plain").decode()
    assert f"to={get_today(gcore)}" in last
    first = get_part(mail_server.mails[0], "text/plain").decode()
    assert f"to={get_today(gcore)}" not in first


@pytest.mark.parametrize(
    ("values", "after", "expected"),
    [
        ({"frequency": "daily", "time": time(7)}, "2026-12-01T06:59+00:00", "2026-12-01T07:00+00:00"),
        ({"frequency": "daily", "time": time(7)}, "2026-12-01T07:00+00:00", "2026-12-02T07:00+00:00"),
        ({"frequency": "weekly", "weekday": 1, "time": time(7)}, "2026-12-01T07:00+00:00", "2026-12-07T07:00+00:00"),
        ({"frequency": "monthly", "month_day": 3, "time": time(7)}, "2026-12-03T08:00+00:00", "2027-01-03T07:00+00:00"),
        # Berlin has no 2:30 on the first date and two on the second; each date has one report.
        ({"frequency": "daily", "time": time(2, 30)}, "2026-03-28T12:00+00:00", "2026-03-29T01:30+00:00"),
        ({"frequency": "daily", "time": time(2, 30)}, "2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00"),
    ],
)
def test_the_next_date_of_a_report(values: dict[str, Any], after: str, expected: str) -> None:
    zone = "Europe/Berlin" if values["time"] == time(2, 30) else "UTC"
    report = Report(**values, time_zone=zone)
    assert get_next(report, datetime.fromisoformat(after)) == datetime.fromisoformat(expected)
