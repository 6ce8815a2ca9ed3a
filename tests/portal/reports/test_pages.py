"""The pages of reports: who makes, sees, tries, sends and stops them."""

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.audit.models import AuditEntry
from portal.incidents.delivery import deliver_due
from portal.incidents.models import Message
from portal.reports.models import Report
from tests.portal.reports.conftest import make_report
from tests.support.dashboard_data import create_synced_source
from tests.support.forms import list_errors, post_form
from tests.support.smtp_server import serve_mail
from tests.support.users import create_person, sign_in, sign_in_as
from usage.models import SavedView

pytestmark = pytest.mark.django_db
LIST = "/admin/reports/report/"
FORM = {
    "name": "Usage of the month",
    "frequency": "monthly",
    "weekday": "1",
    "month_day": "3",
    "time": "07:00",
    "time_zone": "Europe/Berlin",
    "wait": "final",
    "wait_days": "5",
    "file_format": "xlsx",
    "addresses": "cfo@example.org",
}


@pytest.fixture(autouse=True)
def _domains(settings: Settings) -> None:
    """Allow one domain."""
    settings.PORTAL_REPORT_DOMAINS = ["example.org"]


def make_view(owner: Any, **values: Any) -> SavedView:
    """Create a saved view of last month."""
    return SavedView.objects.create(
        **{"owner": owner, "name": "Month", "kind": "resource-usage", "moving_range": "last-month", **values}
    )


def test_a_viewer_makes_a_report_of_a_view_that_moves_with_the_calendar() -> None:
    viewer = create_person("viewer")
    view = make_view(viewer)
    make_view(viewer, name="Fixed", moving_range="")
    make_view(create_person("viewer"), name="Hidden")
    make_view(create_person("viewer"), name="Shared", shared=True)
    client = sign_in(viewer)
    form = client.get(f"{LIST}add/").content.decode()
    assert re.findall(r'<option value="\d+">(Month|Fixed|Hidden|Shared)</option>', form) == ["Month", "Shared"]
    assert "operator" not in form

    page = post_form(client, f"{LIST}add/", **FORM, view=view.pk, people=viewer.pk)
    assert list_errors(page) == []
    report = Report.objects.get()
    assert (report.owner, report.next_at is not None) == (viewer, True)
    assert "Every month on day 3 at 07:00 (Europe/Berlin)" in page
    assert "viewer, cfo@example.org" in page
    entry = AuditEntry.objects.filter(kind="report", action="added").get()
    assert (entry.object_name, entry.who) == ("Usage of the month", "viewer")
    assert AuditEntry.objects.filter(kind="report", changes={"people": [None, "viewer"]}).exists()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"addresses": "cfo@example.com"}, "cfo@example.com is of a domain that is not allowed. Allowed: example.org."),
        ({"addresses": "cfo@sub.example.org"}, "cfo@sub.example.org is of a domain that is not allowed"),
        ({"addresses": "Bcc: all@example.org"}, "is not an e-mail address; one a line is allowed."),
        ({"addresses": ""}, "Choose somebody, or give an address below."),
        (
            {"name": "Usage\r\nBcc: all@example.org"},
            "Letters, digits, punctuation and spaces are allowed, on one line.",
        ),
        ({"name": "taken"}, "You have a report “taken” already; give another name."),
        ({"wait_days": "32"}, "Ensure this value is less than or equal to 31."),
        ({"month_day": "31"}, "Ensure this value is less than or equal to 28."),
        ({"moving_range": "this-month"}, "The range of this view, this month, has not ended"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_is_allowed(fields: dict[str, str], error: str) -> None:
    viewer = create_person("viewer")
    make_report(viewer, name="taken")
    view = make_view(viewer, moving_range=fields.pop("moving_range", "last-month"))
    page = post_form(sign_in(viewer), f"{LIST}add/", **{**FORM, "view": view.pk, **fields})
    assert any(error in message.replace("&#x27;", "'") for message in list_errors(page)), list_errors(page)
    assert Report.objects.count() == 1


def test_nobody_sends_to_people_whom_they_do_not_see() -> None:
    viewer, recipient = create_person("viewer"), create_person("operator")
    view = make_view(viewer)
    page = post_form(sign_in(viewer), f"{LIST}add/", **FORM, view=view.pk, people=recipient.pk)
    assert "Select a valid choice" in list_errors(page)[0]
    administrator = create_person("administrator")
    view = make_view(administrator)
    post_form(sign_in(administrator), f"{LIST}add/", **FORM, view=view.pk, people=recipient.pk)
    assert list(Report.objects.get().people.all()) == [recipient]


def test_a_report_is_its_owners_and_administrators_see_and_stop_it_but_do_not_change_it(settings: Settings) -> None:
    report = make_report(create_person("viewer"))
    page = f"{LIST}{report.pk}/change/"
    assert sign_in_as("viewer").get(page).status_code == 404
    assert sign_in_as("operator").get(page).status_code == 404
    administrator = sign_in_as("administrator")
    content = administrator.get(page).content.decode()
    assert "Stop</button>" in content
    assert "Send now</button>" not in content
    assert 'name="addresses"' not in content
    assert administrator.post(page, {**FORM, "view": report.view_id}).status_code == 403
    for action in ("test", "send", "resume"):
        assert administrator.post(f"{LIST}{report.pk}/do/{action}/").status_code == 403

    with serve_mail(settings) as server:
        assert "The report is stopped." in post_form(administrator, f"{LIST}{report.pk}/do/stop/")
        deliver_due(5)
    assert server.recipients == [["viewer@example.com", "cfo@example.org"]]
    assert "administrator stopped it." in server.mails[0].get_payload(decode=True).decode()
    report.refresh_from_db()
    assert (report.next_at, report.stop_reason) == (None, "administrator stopped it.")


def test_an_administrator_who_is_limited_sees_no_report_of_who_sees_more() -> None:
    source = create_synced_source("gcore-main", "gcore", days=3)
    report, limited = (
        make_report(create_person("viewer")),
        make_report(create_person("viewer", sources=[source]), name="limited"),
    )
    client = sign_in_as("administrator", sources=[source])
    assert client.get(f"{LIST}{report.pk}/change/").status_code == 404
    assert client.get(f"{LIST}{limited.pk}/change/").status_code == 200


def test_its_owner_tries_sends_stops_and_resumes_a_report(settings: Settings) -> None:
    create_synced_source("gcore-main", "gcore", days=12)
    viewer = create_person("viewer")
    report = make_report(viewer, wait="final", next_at=timezone.now() + timedelta(hours=1))
    client, path = sign_in(viewer), f"{LIST}{report.pk}/do/"
    with serve_mail(settings) as server:
        assert "The test was sent to viewer@example.com." in post_form(client, f"{path}test/")
        assert server.recipients == [["viewer@example.com"]]
        assert "Test: " in str(server.mails[0]["Subject"]).replace("_", " ").replace("=3A", ":")

        assert "The report is on its way." in post_form(client, f"{path}send/")
        deliver_due(5)
        assert server.recipients[1:] == [["cfo@example.org"]]
        assert "not_final_from" in str(server.mails[1]["Subject"])
        assert "The report of today was sent already." in post_form(client, f"{path}send/")
        deliver_due(5)
        assert len(server.mails) == 2

    page = post_form(client, f"{path}stop/")
    assert "Stopped. viewer stopped it." in page
    assert "Resume</button>" in page
    page = post_form(client, f"{path}resume/")
    assert "Sent next at " in page
    assert "Not final from" in page  # what was sent stands among the latest messages
    assert Report.objects.get().stopped_at is None


LATER = timezone.now() + timedelta(days=20)
PAST = timezone.now() - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("values", "kept_at"),
    [
        ({"next_at": LATER}, None),
        ({"next_at": PAST}, PAST),
        ({"next_at": None, "stopped_at": PAST, "stop_reason": "viewer stopped it."}, None),
    ],
)
def test_a_changed_report_is_sent_by_its_new_schedule_after_what_is_due_and_not_if_it_is_stopped(
    values: dict[str, Any], kept_at: datetime | None
) -> None:
    viewer = create_person("viewer")
    report = make_report(viewer, **values)
    page = post_form(
        sign_in(viewer), f"{LIST}{report.pk}/change/", **FORM | {"frequency": "weekly"}, view=make_view(viewer).pk
    )
    assert list_errors(page) == []
    assert "Every week on Monday at 07:00 (Europe/Berlin)" in page
    report.refresh_from_db()
    assert report.owner == viewer
    if "stopped_at" in values or kept_at:
        assert report.next_at == kept_at
    else:
        local_time = report.next_at.astimezone(ZoneInfo("Europe/Berlin"))
        assert (local_time.isoweekday(), local_time.hour, report.next_at < LATER) == (1, 7, True)


def test_a_test_of_a_report_that_is_refused_says_why_and_stops_nothing() -> None:
    viewer = create_person("viewer")
    report = make_report(viewer)
    client, path = sign_in(viewer), f"{LIST}{report.pk}/do/test/"
    User.objects.update(email="")
    assert "The test was not sent. You have no e-mail address, to which the test could be sent." in post_form(
        client, path
    )
    SavedView.objects.all().delete()
    assert "The test was not sent. Its saved view was deleted." in post_form(client, path)
    report.refresh_from_db()
    assert (report.stopped_at, report.next_at is not None) == (None, True)
    assert not Message.objects.filter(event="stopped").exists()


def test_a_test_that_no_mail_server_takes_says_why() -> None:
    create_synced_source("gcore-main", "gcore", days=12)
    viewer = create_person("viewer")
    report = make_report(viewer)
    page = post_form(sign_in(viewer), f"{LIST}{report.pk}/do/test/")
    assert "The test was not sent. There is no mail server: set PORTAL_EMAIL_URL." in page
    assert Message.objects.get().abandoned_at is not None


def test_deleting_a_report_deletes_its_messages() -> None:
    viewer = create_person("viewer")
    report = make_report(viewer)
    Message.objects.create(key="report:1", report=report, event="report", scheduled_at=timezone.now())
    client = sign_in(viewer)
    assert "1 message" in client.get(f"{LIST}{report.pk}/delete/").content.decode()
    post_form(client, f"{LIST}{report.pk}/delete/", post="yes")
    assert (Report.objects.count(), Message.objects.count()) == (0, 0)
