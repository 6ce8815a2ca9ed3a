"""Webhooks: what they post, how it is signed, and where no request of the portal goes."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from portal.incidents import outbox
from portal.incidents.delivery import deliver_due, send_test
from portal.incidents.models import Channel, Incident, Message
from portal.incidents.watch import ping_dead_man
from sync.errors import SyncError
from sync.http import network
from sync.http.outgoing import parse_target, send_request
from tests.support.smtp_server import serve_mail

pytestmark = pytest.mark.django_db
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
UGLY = "ops <!channel> [x](http://evil)\r\nBcc: other@example.com"


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    """A sink on this machine."""
    with HTTPServer(host="127.0.0.1") as running:
        yield running


@pytest.fixture
def sink(server: HTTPServer, settings: Settings) -> HTTPServer:
    """The sink, empty, and allowed."""
    server.clear()
    settings.PORTAL_ALLOWED_WEBHOOK_HOSTS = [f"127.0.0.1:{server.port}"]
    settings.PORTAL_URL = "https://usage.example.com"
    return server


def make_channel(sink: HTTPServer, **values: Any) -> Channel:
    """Create a channel that posts to the sink at once."""
    defaults = {"name": "hook", "kind": "webhook", "url": sink.url_for("/hook/s3cret"), "delay_minutes": 0}
    return Channel.objects.create(**defaults | values)


def tell(sink: HTTPServer, status: int = 204, **headers: str) -> tuple[Request, Any]:
    """Deliver a message about an incident of an ugly name, and return the request and its body."""
    sink.expect_request("/hook/s3cret", method="POST").respond_with_data(status=status, headers=headers)
    values = {"condition": "token_expires", "key": "token:1", "severity": "warning", "state": "Expires"}
    incident = Incident.objects.create(**values, subject=UGLY, message="expires <b>soon</b>.", detail="Never used.")
    outbox.add_opened(incident, outbox.list_channels(), timezone.now())
    deliver_due(5)
    (request, _) = sink.log[-1]
    return request, json.loads(request.get_data())


def test_the_portals_own_body_has_the_facts_and_a_signature_that_a_receiver_can_check(sink: HTTPServer) -> None:
    make_channel(sink, secret=SECRET)
    request, body = tell(sink)
    message, incident = Message.objects.get(), Incident.objects.get()
    assert message.sent_at is not None
    assert (body["id"], body["event"]) == (str(message.uid), "incident.opened")
    assert body["incident"]["condition"] == "token_expires"
    assert body["incident"]["url"] == f"https://usage.example.com/admin/incidents/incident/{incident.pk}/change/"
    assert request.headers["Webhook-Id"] == str(message.uid)
    signed = f"{message.uid}.{request.headers['Webhook-Timestamp']}.".encode() + request.get_data()
    expected = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
    assert request.headers["Webhook-Signature"] == f"v1,{base64.b64encode(expected).decode()}"


def test_slack_and_teams_show_names_as_they_are(sink: HTTPServer) -> None:
    make_channel(sink, body_format="slack")
    _, body = tell(sink)
    assert body.keys() == {"text"}
    assert "&lt;!channel&gt;" in body["text"]
    assert "<!channel>" not in body["text"]

    Message.objects.all().delete()
    Incident.objects.all().delete()
    Channel.objects.update(body_format="teams")
    _, body = tell(sink)
    card = body["attachments"][0]["content"]
    assert r"\[x\]\(http" in card["body"][0]["text"]
    assert card["actions"][0]["url"].startswith("https://usage.example.com/")


def test_an_answer_that_is_no_success_is_tried_again(sink: HTTPServer) -> None:
    make_channel(sink)
    tell(sink, status=500)
    message = Message.objects.get()
    assert (message.sent_at, message.attempts) == (None, 1)
    assert message.error == f"127.0.0.1:{sink.port} answered with HTTP 500."
    assert "s3cret" not in message.error


def test_a_redirect_is_not_followed(sink: HTTPServer) -> None:
    sink.expect_request("/inside").respond_with_data("secret")
    make_channel(sink)
    tell(sink, status=307, Location=sink.url_for("/inside"))
    assert [request.path for request, _ in sink.log] == ["/hook/s3cret"]
    assert "redirect (HTTP 307), which is not followed" in Message.objects.get().error


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://192.168.1.1/hook",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://localhost/",
        "https://metadata.google.internal/",
        "http://hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com/#x",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "https://hooks.example.com/\r\nHost: other",
        "hooks.example.com",
    ],
)
def test_addresses_where_no_request_goes_are_refused_where_they_are_given(url: str) -> None:
    with pytest.raises(ValidationError):
        Channel(name="hook", kind="webhook", url=url).full_clean()


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "::ffff:10.0.0.1"])
def test_a_public_name_that_leads_to_a_private_address_is_not_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "resolve_host", lambda *_: [address])
    monkeypatch.setattr("httpcore2.SyncBackend.connect_tcp", lambda *_: pytest.fail("connected"))
    with pytest.raises(SyncError, match="private network"):
        send_request("POST", parse_target("https://hooks.example.com/1", []), b"{}", {})


def test_allowed_hosts_may_be_private_and_only_on_their_port(sink: HTTPServer) -> None:
    assert parse_target("http://10.0.0.5:8080/", ["10.0.0.5:8080"]).is_allowed
    assert parse_target("https://hooks.intern/", ["hooks.intern"]).is_allowed
    for url in ("http://10.0.0.5:8081/", "https://10.0.0.5/"):
        with pytest.raises(SyncError):
            parse_target(url, ["10.0.0.5:8080"])


def test_names_cannot_add_headers_to_a_mail(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        Channel(name="ops\r\nBcc: other@example.com", recipients="ops@example.com").full_clean()
    with pytest.raises(ValidationError):
        Channel(name="ops", recipients="ops@example.com, other@example.com").full_clean()
    Channel.objects.create(name="ops", recipients="ops@example.com", delay_minutes=0)
    values = {"condition": "token_expires", "key": "token:1", "severity": "warning", "state": "Expires"}
    incident = Incident.objects.create(**values, subject=UGLY, message="expires soon.")
    outbox.add_opened(incident, outbox.list_channels(), timezone.now())
    with serve_mail(settings) as server:
        assert deliver_due(5) == 1
    assert server.recipients == [["ops@example.com"]]
    assert server.mails[0]["Bcc"] is None
    assert "Bcc: other@example.com" in " ".join(str(server.mails[0]["Subject"]).split())


def test_address_and_secret_are_encrypted_at_rest(sink: HTTPServer) -> None:
    channel = make_channel(sink, secret=SECRET)
    with connection.cursor() as cursor:
        cursor.execute("SELECT url, secret FROM incidents_channel WHERE id = %s", [channel.pk])
        stored = cursor.fetchone()
    assert all(value.startswith("gAAAA") for value in stored)


def test_a_secret_that_no_key_opens_is_said_and_nothing_is_sent(sink: HTTPServer, settings: Settings) -> None:
    channel = make_channel(sink, secret=SECRET)
    settings.PORTAL_ENCRYPTION_KEYS = ["Q" * 43 + "="]
    channel.refresh_from_db()
    assert "PORTAL_ENCRYPTION_KEYS" in send_test(channel)
    assert sink.log == []


def test_send_a_test_sends_the_real_thing_and_is_not_tried_again(sink: HTTPServer, settings: Settings) -> None:
    channel = make_channel(sink, secret="own words")
    sink.expect_request("/hook/s3cret").respond_with_data(status=200)
    assert send_test(channel) == ""
    request, _ = sink.log[-1]
    assert json.loads(request.get_data())["event"] == "test"
    assert request.headers["Webhook-Signature"].startswith("v1,")

    settings.PORTAL_EMAIL_URL = ""
    mail = Channel.objects.create(name="mail", recipients="ops@example.com")
    assert send_test(mail) == "There is no mail server: set PORTAL_EMAIL_URL."
    assert Message.objects.get(channel=mail).abandoned_at is not None
    assert deliver_due(5) == 0


def test_each_tick_requests_the_dead_man_url_and_a_failure_is_logged(
    sink: HTTPServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PORTAL_DEAD_MAN_URL = sink.url_for("/ping/6f3b")
    sink.expect_ordered_request("/ping/6f3b", method="GET").respond_with_response(Response("OK"))
    ping_dead_man()
    assert len(sink.log) == 1

    ping_dead_man()
    assert "dead_man_ping_failed" in caplog.text
    (record,) = [record for record in caplog.records if "dead_man_ping_failed" in str(record.msg)]
    assert "answered with HTTP 500." in str(record.msg)
    assert "6f3b" not in str(record.msg)
