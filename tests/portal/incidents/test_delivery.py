"""Messages are delivered once, whatever happens to the mail server and to whoever sends."""

import signal
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from portal.incidents import outbox
from portal.incidents.admin.incidents import describe_outcome
from portal.incidents.delivery import deliver_due, send_test
from portal.incidents.models import Message
from portal.incidents.watch import watch
from tests.portal.incidents.conftest import make_channel, make_incident, resolve_day
from tests.support.dashboard_data import FAILED, set_day
from tests.support.processes import WAIT_SECONDS, portal_process
from tests.support.smtp_server import MailServer, serve_mail
from usage.models import Source

pytestmark = pytest.mark.django_db
# Sends what is due, and is killed before it can note so.
KILLED = """
import os, signal
from portal.incidents import delivery, outbox
outbox.record_sent = lambda message: os.kill(os.getpid(), signal.SIGKILL)
delivery.deliver_due(5)
"""


def test_a_message_whose_turn_does_not_come_in_time_is_left_to_the_next_tick(
    gcore: Source, mail_server: MailServer
) -> None:
    make_channel()
    set_day(gcore, 5, **FAILED)
    watch()
    assert deliver_due(0) == 0
    assert Message.objects.get().attempts == 0
    assert deliver_due(5) == 1


def test_a_mail_server_that_is_away_for_an_hour_loses_and_doubles_nothing(gcore: Source, settings: Settings) -> None:
    make_channel(conditions=["source_failing"])
    start = timezone.now()
    with serve_mail(settings) as server:
        port = server.port
    day = set_day(gcore, 5, **FAILED)
    for minute in range(0, 60, 3):
        with time_machine.travel(start + timedelta(minutes=minute)):
            if minute == 30:
                resolve_day(day)
            watch()
            assert deliver_due(5) == 0
    first = Message.objects.order_by("id")[0]
    assert 4 < first.attempts < 12
    assert first.error == "The mail server did not take it (ConnectionRefusedError)."
    with serve_mail(settings, port) as server:
        for minute in range(60, 100, 3):
            with time_machine.travel(start + timedelta(minutes=minute)):
                watch()
                deliver_due(5)
    assert [mail["Subject"].split(": ")[1] for mail in server.mails] == ["Source failing", "Resolved"]


def test_a_message_that_nobody_takes_is_given_up_after_days(gcore: Source, mail_server: MailServer) -> None:
    mail_server.refusal = "550 no such mailbox"
    make_channel()
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    deliver_due(5)
    message = Message.objects.get()
    assert (message.sent_at, message.abandoned_at) == (None, None)
    assert message.error == "The mail server refused ops@example.com."
    with time_machine.travel(timezone.now() + timedelta(days=4)):
        deliver_due(5)
    message.refresh_from_db()
    assert message.abandoned_at is not None


def test_a_recipient_that_is_refused_among_others_is_named(mail_server: MailServer) -> None:
    mail_server.refusal, mail_server.refused_recipient = "550 no such mailbox", "gone@example.com"
    channel = make_channel(recipients="ops@example.com\ngone@example.com")
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    deliver_due(5)
    message = Message.objects.get()
    assert mail_server.recipients == [["ops@example.com"]]
    assert message.sent_at is not None
    expected = "The mail server refused gone@example.com; the others have it."
    assert describe_outcome(message).endswith(f"; {expected}")
    assert send_test(channel) == expected
    deliver_due(5)
    assert len(mail_server.mails) == 2  # it is not sent to the others again


def test_a_message_that_waited_for_days_is_not_given_up_by_its_first_failure(mail_server: MailServer) -> None:
    mail_server.refusal = "550 no such mailbox"
    make_channel(delay_minutes=5 * 24 * 60)
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    with time_machine.travel(timezone.now() + timedelta(days=5, minutes=1)):
        deliver_due(5)
    message = Message.objects.get()
    assert (message.attempts, message.abandoned_at) == (1, None)


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_between_sending_and_noting_sends_one_double_with_the_same_id(mail_server: MailServer) -> None:
    make_channel()
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    with portal_process(["manage.py", "shell", "-c", KILLED], PORTAL_EMAIL_URL=settings.PORTAL_EMAIL_URL) as process:
        assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert len(mail_server.ids) == 1
    assert deliver_due(5) == 0  # While it is claimed nobody else sends it.
    with time_machine.travel(timezone.now() + outbox.CLAIM):
        assert deliver_due(5) == 1
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert deliver_due(5) == 0
    first, second = mail_server.ids
    assert first == second


def test_two_deliveries_at_once_claim_a_message_once() -> None:
    make_channel()
    outbox.add_opened(make_incident(), outbox.list_channels(), timezone.now())
    with transaction.atomic():
        assert outbox.claim_message(timezone.now()) is not None
        assert outbox.claim_message(timezone.now()) is None
