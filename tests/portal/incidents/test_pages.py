"""The pages and the API of incidents and channels: who sees and does what."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.audit.models import AuditEntry
from portal.accounts.models import Scope, create_token
from portal.incidents.models import Channel, Incident, Message
from portal.incidents.watch import watch
from sync.models import SyncRun
from tests.support.api_clients import create_api_client
from tests.support.dashboard_data import create_synced_source, set_day
from tests.support.forms import list_errors, post_form
from tests.support.smtp_server import serve_mail
from tests.support.users import create_person, sign_in, sign_in_as
from usage.models import Source

pytestmark = pytest.mark.django_db
LIST = "/admin/incidents/incident/"
SUMMARY_ENDS = r"Open since [^.<]*\. (It[^<]*?\.)\s*<"
CHANNELS = "/admin/incidents/channel/"
FORM = {
    "name": "ops",
    "kind": "email",
    "enabled": "on",
    "recipients": "ops@example.com\nfinance@example.com",
    "body_format": "portal",
    "severity": "warning",
    "delay_minutes": "5",
    "time_zone": "Europe/Berlin",
    "tells_recovery": "on",
}


@pytest.fixture
def gcore() -> Source:
    """A source with a day that failed, and its incident."""
    source = create_synced_source("gcore-main", "gcore", days=8)
    set_day(source, 5, state="failed", failures=1, error="HTTP 503.", complete=False)
    watch()
    return source


def open_page(client: Client, path: str) -> str:
    """Return a page."""
    response = client.get(path)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def test_an_incident_is_mended_by_the_button_of_the_overview_and_acknowledged(gcore: Source) -> None:
    client, incident = sign_in_as("operator"), Incident.objects.get()
    assert "Source failing: gcore-main" in open_page(client, LIST)
    page = open_page(client, f"{LIST}{incident.pk}/change/")
    assert "HTTP 503." in page
    (button,) = re.findall(r'action="(/admin/alerts/[^"]+)"', page)
    assert "Retry now" in page

    page = post_form(client, f"{LIST}{incident.pk}/do/acknowledge/")
    assert "You look after this now" in page
    assert "operator, just now" in page
    assert "Acknowledge</button>" not in page

    post_form(client, button)
    assert SyncRun.objects.get().requested_by == "operator"


def test_viewers_see_incidents_and_change_nothing(gcore: Source) -> None:
    client, incident = sign_in_as("viewer"), Incident.objects.get()
    page = open_page(client, f"{LIST}{incident.pk}/change/")
    assert "Acknowledge</button>" not in page
    assert "/admin/alerts/" not in page
    assert client.post(f"{LIST}{incident.pk}/do/acknowledge/").status_code == 403
    assert client.get(CHANNELS).status_code == 403


def test_the_list_filters_open_and_past_ones(gcore: Source) -> None:
    values = {"condition": "disk_low", "key": "host:a", "severity": "critical", "state": "Low", "message": "is full."}
    Incident.objects.create(**values, subject="Disk of a", resolved_at=timezone.now())
    client = sign_in_as("viewer")
    for query, subjects in {
        "": {"gcore-main", "Disk of a"},
        "?status=open": {"gcore-main"},
        "?status=past": {"Disk of a"},
        "?status=unacknowledged": {"gcore-main"},
        "?condition=disk_low": {"Disk of a"},
        "?source=gcore-main": {"gcore-main"},
    }.items():
        response: Any = client.get(f"{LIST}{query}")
        assert {row.subject for row in response.context["cl"].result_list} == subjects, query


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("status=done", "“done” is not one of: open, unacknowledged, past."),
        ("condition=fire", "“fire” is not one of: source_halted, "),
    ],
)
def test_a_filter_that_does_not_exist_is_named_above_the_list(gcore: Source, query: str, reason: str) -> None:
    response: Any = sign_in_as("viewer").get(f"{LIST}?{query}", follow=True)
    assert reason in response.content.decode()
    assert response.context["cl"].result_count == 1


def test_a_past_incident_has_its_end_and_no_buttons_though_it_is_wrong_again(gcore: Source) -> None:
    Incident.objects.update(resolved_at=timezone.now())
    page = open_page(sign_in_as("operator"), f"{LIST}{Incident.objects.get().pk}/change/")
    assert "Resolved on " in page
    assert "Acknowledge</button>" not in page
    assert "/admin/alerts/" not in page


def test_an_incident_of_a_token_has_the_links_and_buttons_of_the_overview() -> None:
    token, _ = create_token("expired", expires_at=timezone.now())
    watch()
    page = f"{LIST}{Incident.objects.get().pk}/change/"
    content = open_page(sign_in_as("administrator"), page)
    assert f'action="/admin/alerts/revoke/{token.pk}/"' in content
    assert f'<a href="/admin/accounts/apitoken/{token.pk}/change/">API token expired</a>' in content


def test_an_incident_of_no_source_says_since_when_it_is_open_and_no_more() -> None:
    values = {"severity": "critical", "state": "Low", "message": "is full."}
    incident = Incident.objects.create(condition="disk_low", key="host:a", subject="Disk of a", **values)
    page = open_page(sign_in_as("operator"), f"{LIST}{incident.pk}/change/")
    assert "Open since " in page
    assert "no longer applies" not in page
    assert "Acknowledge</button>" in page


def test_an_open_incident_says_whether_it_still_applies(gcore: Source) -> None:
    client, page = sign_in_as("viewer"), f"{LIST}{Incident.objects.get().pk}/change/"
    assert not set(re.findall(SUMMARY_ENDS, open_page(client, page)))
    set_day(gcore, 5, state="due", due_at=timezone.now() - timedelta(seconds=1))
    assert re.findall(SUMMARY_ENDS, open_page(client, page)) == ["Its days are being synced again."]
    set_day(gcore, 5, state="loaded", failures=0, error="", complete=True)
    assert re.findall(SUMMARY_ENDS, open_page(client, page)) == ["It no longer applies, and ends with the next tick."]


def test_somebody_who_sees_no_sources_is_not_told_that_an_incident_of_one_ends(gcore: Source) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    page = open_page(sign_in(user), f"{LIST}{Incident.objects.get().pk}/change/")
    assert "Open since " in page
    assert not re.findall(SUMMARY_ENDS, page)
    assert "/admin/alerts/" not in page


def test_whoever_acknowledges_second_is_told_so_and_does_not_take_it_over(
    gcore: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acknowledge_first(_: Any) -> str:
        Incident.objects.update(acknowledged_at=timezone.now(), acknowledged_by="administrator")
        return "operator"

    monkeypatch.setattr("portal.incidents.admin.incidents.get_username", acknowledge_first)
    page = post_form(sign_in_as("operator"), f"{LIST}{Incident.objects.get().pk}/do/acknowledge/")
    assert "It is resolved, or somebody looks after it already." in page
    assert Incident.objects.get().acknowledged_by == "administrator"


def test_somebody_limited_to_sources_sees_their_incidents_and_those_of_the_portal(gcore: Source) -> None:
    visible_source = create_synced_source("ona-main", "ona", days=8)
    values = {"severity": "critical", "state": "Low", "message": "is wrong."}
    for condition in ("disk_low", "token_expires", "sync_stopped"):
        Incident.objects.create(condition=condition, key="x", subject=condition, **values)
    client = sign_in_as("administrator", sources=[visible_source])
    page = open_page(client, LIST)
    assert "disk_low" in page
    for text in ("gcore-main", "token_expires", "sync_stopped"):
        assert text not in re.sub(r"<select.*?</select>", "", page, flags=re.DOTALL)
    incident = Incident.objects.get(source=gcore)
    assert client.get(f"{LIST}{incident.pk}/change/").status_code in {302, 404}
    assert client.post(f"{LIST}{incident.pk}/do/acknowledge/").status_code == 404


def test_the_overview_shows_what_the_web_processes_have_found() -> None:
    values = {"severity": "critical", "state": "Silent", "message": "does not answer: no day is synced."}
    Incident.objects.create(condition="worker_silent", key="worker", subject="Worker", **values)
    assert "does not answer: no day is synced." in open_page(sign_in_as("viewer"), "/admin/")


def test_the_api_lists_incidents_and_acknowledges_them(gcore: Source) -> None:
    create_token("expiring", expires_at=timezone.now())
    watch()
    client = create_api_client(Scope.SYNC_READ, Scope.SYNC_RUN)
    incidents = client.get("/api/v1/incidents/?resolved=false&condition=source_failing").json()["results"]
    assert [(row["condition"], row["source"], row["days"]) for row in incidents] == [
        ("source_failing", "gcore-main", 1)
    ]
    assert len(client.get("/api/v1/incidents/").json()["results"]) == 1  # Those of tokens are for staff.

    path = f"/api/v1/incidents/{incidents[0]['id']}/acknowledge/"
    assert create_api_client(Scope.SYNC_READ).post(path).status_code == 403
    response = client.post(path)
    assert response.json()["acknowledged_by"].startswith("token ")
    assert client.post(path).status_code == 409
    assert client.get("/api/v1/incidents/?acknowledged=maybe").status_code == 400


def test_an_administrator_adds_a_channel_and_sends_a_test(settings: Settings) -> None:
    client = sign_in_as("administrator")
    post_form(client, f"{CHANNELS}add/", **FORM, conditions=["disk_low"], reminder_hours="4")
    channel = Channel.objects.get()
    assert (channel.conditions, channel.reminder_hours, channel.created_by) == (["disk_low"], 4, channel.created_by)
    with serve_mail(settings) as server:
        page = post_form(client, f"{CHANNELS}{channel.pk}/do/test/")
    assert "The test was sent to ops@example.com, finance@example.com." in page
    assert server.recipients == [["ops@example.com", "finance@example.com"]]
    assert "The mail server did not take it" in post_form(client, f"{CHANNELS}{channel.pk}/do/test/")
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"recipients": ""}, "Give at least one address, one a line."),
        ({"recipients": "ops@example.com\nnobody"}, "&#x27;nobody&#x27; is not an e-mail address"),
        ({"recipients": "ops@example.com\n" * 51}, "50 addresses are allowed; these are 51."),
        ({"kind": "webhook"}, "Give the address of the webhook."),
        ({"kind": "webhook", "new_url": "https://169.254.169.254/"}, "is an address of a private network"),
        ({"quiet_from": "22:00"}, "Give both ends of the quiet hours"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "Give another time"),
        ({"reminder_hours": "0"}, "greater than or equal to 1"),
        ({"time_zone": "Nowhere"}, "Select a valid choice"),
    ],
)
def test_a_mistake_in_a_channel_is_named(fields: dict[str, str], error: str) -> None:
    page = post_form(sign_in_as("administrator"), f"{CHANNELS}add/", **FORM | fields)
    assert any(error in message for message in list_errors(page)), list_errors(page)
    assert not Channel.objects.exists()


def test_address_and_secret_are_never_shown_again_nor_logged_and_go_to_no_other_host() -> None:
    client = sign_in_as("administrator")
    hook = FORM | {"kind": "webhook", "recipients": ""}
    values = {"new_url": "https://hooks.example.com/s3cret", "new_secret": "signing words"}
    post_form(client, f"{CHANNELS}add/", **hook, **values)
    channel = Channel.objects.get()
    for path in (CHANNELS, f"{CHANNELS}{channel.pk}/change/", "/admin/accounts/auditentry/"):
        page = open_page(client, path)
        assert "s3cret" not in page
        assert "signing words" not in page
    assert [entry.changes["url"] for entry in AuditEntry.objects.filter(kind="channel", action="added")] == [
        [None, "stored"]
    ]

    page = post_form(client, f"{CHANNELS}{channel.pk}/change/", **hook, new_url="https://other.example.com/1")
    assert list_errors(page) == ["Enter the secret again, because requests now go to another host."]
    post_form(client, f"{CHANNELS}{channel.pk}/change/", **hook)
    channel.refresh_from_db()
    assert (channel.url, channel.secret) == (values["new_url"], values["new_secret"])


def test_somebody_who_may_only_see_channels_sees_no_inputs_and_sends_no_test() -> None:
    channel = Channel.objects.create(name="ops", recipients="ops@example.com", enabled=False)
    user = create_person("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_channel"))
    client = sign_in(user)
    assert ">Off<" in open_page(client, CHANNELS)
    page = open_page(client, f"{CHANNELS}{channel.pk}/change/")
    assert "ops@example.com" in page
    assert "everything, of" not in page
    assert "everything; from warning on" in page
    for text in ('name="name"', 'name="new_url"', "Send a test</button>"):
        assert text not in page
    assert client.post(f"{CHANNELS}{channel.pk}/do/test/").status_code == 403


def test_a_channel_whose_address_no_key_opens_is_listed_and_keeps_it(settings: Settings) -> None:
    url = "https://hooks.example.com/s3cret"
    channel = Channel.objects.create(name="ops", kind="webhook", url=url)
    keys, settings.PORTAL_ENCRYPTION_KEYS = settings.PORTAL_ENCRYPTION_KEYS, ["Q" * 43 + "="]
    client = sign_in_as("administrator")
    assert "an address that no key opens" in open_page(client, CHANNELS)
    post_form(client, f"{CHANNELS}{channel.pk}/change/", **FORM | {"kind": "webhook", "name": "hook", "recipients": ""})
    locked = Channel.objects.get()
    locked.full_clean()
    settings.PORTAL_ENCRYPTION_KEYS = keys
    channel.refresh_from_db()
    assert (channel.name, channel.url) == ("hook", url)


def test_a_time_zone_that_does_not_exist_is_refused_wherever_a_channel_is_made() -> None:
    with pytest.raises(ValidationError, match="'Nowhere' is no time zone"):
        Channel(name="ops", recipients="ops@example.com", time_zone="Nowhere").full_clean()


def test_somebody_limited_to_sources_makes_channels_of_these_alone() -> None:
    source, hidden_source = create_synced_source("own", "gcore", days=2), create_synced_source("other", "gcore", days=2)
    full_channel = Channel.objects.create(name="everything", recipients="all@example.com")
    client = sign_in_as("administrator", sources=[source])
    assert "everything" not in open_page(client, CHANNELS)
    assert client.post(f"{CHANNELS}{full_channel.pk}/do/test/").status_code == 404
    assert "choose those to send messages about" in post_form(client, f"{CHANNELS}add/", **FORM)
    assert "Select a valid choice" in post_form(client, f"{CHANNELS}add/", **FORM, sources=[hidden_source.pk])
    post_form(client, f"{CHANNELS}add/", **FORM, sources=[source.pk])
    channel = Channel.objects.get(name="ops")
    assert (channel.limited, [channel_source.slug for channel_source in channel.sources.all()]) == (True, ["own"])


def test_somebody_limited_to_sources_sees_no_messages_about_others_that_a_channel_told_of_before(
    gcore: Source,
) -> None:
    visible_source = create_synced_source("own", "gcore", days=2)
    channel = Channel.objects.create(name="ops", recipients="ops@example.com", limited=True)
    channel.sources.add(visible_source)
    Message.objects.create(key="opened:1:1", channel=channel, incident=Incident.objects.get(), event="opened")
    page = f"{CHANNELS}{channel.pk}/change/"
    assert "Source failing: gcore-main" in open_page(sign_in_as("administrator"), page)
    assert "gcore-main" not in open_page(sign_in_as("administrator", sources=[visible_source]), page)


def test_a_deleted_channel_takes_its_messages_along_and_the_incident_stays(gcore: Source) -> None:
    channel = Channel.objects.create(name="ops", recipients="ops@example.com")
    Message.objects.create(key="opened:1:1", channel=channel, incident=Incident.objects.get(), event="opened")
    client = sign_in_as("administrator")
    assert "1 message<" in open_page(client, f"{CHANNELS}{channel.pk}/delete/")
    post_form(client, f"{CHANNELS}{channel.pk}/delete/", post="yes")
    assert (Channel.objects.count(), Message.objects.count(), Incident.objects.count()) == (0, 0, 1)


def test_the_lists_take_as_many_queries_for_many_rows(gcore: Source) -> None:
    client = sign_in_as("administrator")
    for path, create in (
        (
            LIST,
            lambda n: Incident.objects.create(condition="disk_low", key=f"h:{n}", subject=f"{n}", severity="warning"),
        ),
        (CHANNELS, lambda n: Channel.objects.create(name=f"{n}", recipients="a@example.com")),
    ):
        open_page(client, path)
        create(1)
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                open_page(client, path)
            counts.append(len(queries))
            for number in range(2, 9):
                create(number) if len(counts) == 1 else None
        assert counts[0] == counts[1], path
