"""Reports by mail: what they say, when they are sent, and that each is one."""

import csv
import io
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from email.header import decode_header, make_header
from email.message import Message as Mail
from typing import Any

import openpyxl
import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from portal.incidents import outbox
from portal.incidents.delivery import deliver_due
from portal.incidents.models import Message
from portal.reports.answer import build_params
from portal.reports.content import build_mail, format_cell
from portal.reports.models import Report
from portal.reports.schedule import get_next, plan_reports, request_now, stop_report
from tests.support.api_clients import get
from tests.support.dashboard_data import kept, set_day, today
from tests.support.factories import ResourceUsageFactory
from tests.support.processes import WAIT_SECONDS, portal_process
from tests.support.smtp_server import MailServer, serve_mail
from tests.support.users import person
from usage.formatting import format_dates
from usage.models import DayState, SavedView, Source

pytestmark = pytest.mark.django_db
QUESTION = "group_by=project_id,day"
FAILED = {"state": DayState.FAILED, "failures": 1, "error": "HTTP 503.", "complete": False}
SOUND = {"state": DayState.LOADED, "failures": 0, "error": "", "complete": True}
# Sends what is due, and is killed before it can note so.
KILLED = """
import os, signal
from portal.incidents import delivery, outbox
outbox.record_sent = lambda message: os.kill(os.getpid(), signal.SIGKILL)
delivery.deliver_due(20)
"""


@pytest.fixture
def gcore() -> Source:
    """A source with a week of complete days, and a record in each."""
    source = kept("gcore-main", "gcore", days=12)
    for ago in range(1, 8):
        ResourceUsageFactory.create(source=source, day=today(source) - timedelta(days=ago), consumed_quantity=ago)
    return source


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    """A mail server that the portal sends through."""
    settings.PORTAL_URL = "https://usage.example.com"
    settings.PORTAL_REPORT_DOMAINS = ["example.org"]
    with serve_mail(settings) as server:
        yield server


def make_report(owner: User | None = None, *, question: str = QUESTION, **values: Any) -> Report:
    """Create a daily report of the last 7 days that is due now."""
    owner = owner or person("viewer")
    view = SavedView.objects.create(
        owner=owner, name="Week", kind="resource-usage", question=question, moving_range="last-7-days"
    )
    now = timezone.now()  # also the time of the schedule: what is a day later is due then at every hour
    due = {"frequency": "daily", "time": now.time(), "next_at": now}
    defaults = {**due, "addresses": "cfo@example.org", "wait": "nothing"}
    return Report.objects.create(**{"name": "Usage of the week", "owner": owner, "view": view, **defaults, **values})


def run(minutes: float = 0) -> int:
    """Do what a tick does, so many minutes from now; returns how many messages were sent."""
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        plan_reports(timezone.now())
        return deliver_due(20)


def sign_in(user: User) -> Client:
    """Return a client of somebody."""
    client = Client()
    client.force_login(user)
    return client


def get_subject(mail: Mail) -> str:
    """Return the subject as a mail program shows it."""
    return str(make_header(decode_header(mail["Subject"].replace("\r\n", ""))))


def get_part(mail: Mail, media_type: str) -> Any:
    """Return the content of the one part of a type."""
    (part,) = [part for part in mail.walk() if part.get_content_type() == media_type]
    return part.get_payload(decode=True)


def test_the_mail_has_the_pages_table_its_file_and_the_digest_of_its_records(
    gcore: Source, mail_server: MailServer
) -> None:
    report = make_report()
    report.people.add(person("operator"))
    assert run() == 1
    (mail,) = mail_server.mails
    assert mail_server.recipients == [["operator@example.com", "cfo@example.org"]]
    first, end = today(gcore) - timedelta(days=7), today(gcore)
    assert get_subject(mail) == f"Usage portal: Usage of the week, {format_dates(first, end - timedelta(days=1))}"

    client, address = sign_in(report.owner), f"?kind=resource-usage&from={first}&to={end}&{QUESTION}"
    page = client.get(f"/admin/explore/{address}").context
    html = get_part(mail, "text/html").decode()
    assert all(str(cell.text) in html for row in page["table"].rows for cell in row)
    assert page["quality"].text in html
    assert f"https://usage.example.com/admin/explore/{address}".replace("&", "&amp;") in html

    text = get_part(mail, "text/plain").decode()
    assert all(" | ".join(map(format_cell, row)) in text for row in page["table"].rows)
    assert f"{first:%Y-%m-%d %a} | 11 | instance_minutes | minutes | 0.12 h | 25.0 % | 1" in text
    exported = b"".join(client.get(f"/admin/explore/export/{address}&format=csv"))
    assert drop_instants(get_part(mail, "text/csv")) == drop_instants(exported)
    assert "Attached: resource-usage_" in text

    manifest = get(client, "resource-usage/export-manifest/", **{"from": first, "to": end})
    assert f"from 7 records with the digest {manifest['digest']}." in text
    assert Message.objects.get().outcome.startswith("As of ")


def test_a_long_table_is_cut_in_the_mail_and_whole_in_its_file(
    gcore: Source, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.reports.content.MAX_ROWS", 3)
    make_report()
    assert run() == 1
    (mail,) = mail_server.mails
    for media_type in ("text/plain", "text/html"):
        content = get_part(mail, media_type).decode()
        assert "The first 3 of 7 rows." in content
        assert content.count("instance_minutes") - ("cid:chart" in content) == 4  # the rows and the total
    assert len(drop_instants(get_part(mail, "text/csv"))) == 8


def drop_instants(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV without the instant of the answer, which each answer has its own."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 8
    return [{name: value for name, value in row.items() if name != "as_of"} for row in rows]


@pytest.mark.parametrize(
    ("kind", "question", "records"),
    [("usage", "interval=day", 7), ("environment-usage", "basis=accrued&group_by=project_id", 0)],
)
def test_every_kind_of_view_is_sent_as_a_workbook(
    kind: str, question: str, records: int, gcore: Source, mail_server: MailServer
) -> None:
    report = make_report(question=question, file_format="xlsx")
    SavedView.objects.update(kind=kind)
    assert run() == 1
    (mail,) = mail_server.mails
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    book = openpyxl.load_workbook(io.BytesIO(get_part(mail, media_type)))
    assert book.worksheets[0].max_row == (9 if records else 2)
    assert f"from {records} records with the digest" in Message.objects.get(report=report).outcome


def test_a_file_that_is_too_large_is_a_link_that_needs_signing_in(
    gcore: Source, mail_server: MailServer, settings: Settings
) -> None:
    settings.PORTAL_REPORT_FILE_MB = 0.0001
    make_report()
    assert run() == 1
    (mail,) = mail_server.mails
    assert "text/csv" not in {part.get_content_type() for part in mail.walk()}
    text = get_part(mail, "text/plain").decode()
    (link,) = [word for line in text.splitlines() for word in line.split() if "/export/" in word]
    path = link.removeprefix("https://usage.example.com")
    assert Client().get(path).status_code == 302
    assert sign_in(User.objects.get(username="viewer")).get(path)["Content-Type"].startswith("text/csv")


def test_a_report_without_a_file_has_its_table_alone(gcore: Source, mail_server: MailServer) -> None:
    make_report(file_format="none")
    assert run() == 1
    (mail,) = mail_server.mails
    assert {part.get_content_type() for part in mail.walk() if part.get_filename()} <= {"image/png"}
    assert "instance_minutes" in get_part(mail, "text/plain").decode()
    assert "Attached" not in get_part(mail, "text/plain").decode()


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
        make_report(person("viewer"), name=f"Report {number}")

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
    set_day(gcore, 5, **SOUND)
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
    range_then = today(gcore) - timedelta(days=7)
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
    first = today(gcore) - timedelta(days=7)
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
    assert f"to={today(gcore)}" in last
    first = get_part(mail_server.mails[0], "text/plain").decode()
    assert f"to={today(gcore)}" not in first


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
