"""What a report by mail has: the table of the page, its file, and the digest of its records."""

import csv
import io
from datetime import timedelta

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from portal.incidents.models import Message
from portal.reports.content import format_cell
from tests.portal.reports.conftest import QUESTION, get_part, get_subject, make_report, run
from tests.support.api_clients import get
from tests.support.dashboard_data import get_today
from tests.support.smtp_server import MailServer
from tests.support.users import create_person, sign_in
from usage.formatting import format_dates
from usage.models import SavedView, Source

pytestmark = pytest.mark.django_db


def test_the_mail_has_the_pages_table_its_file_and_the_digest_of_its_records(
    gcore: Source, mail_server: MailServer
) -> None:
    report = make_report()
    report.people.add(create_person("operator"))
    assert run() == 1
    (mail,) = mail_server.mails
    assert mail_server.recipients == [["operator@example.com", "cfo@example.org"]]
    first, end = get_today(gcore) - timedelta(days=7), get_today(gcore)
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
