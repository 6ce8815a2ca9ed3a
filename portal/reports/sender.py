"""The sender of the messages of reports: writes each when it is sent, with what its owner may see by then."""

from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import User
from django.utils import timezone

from portal.incidents.delivery import MessageDropped
from portal.incidents.models import Event, Message
from portal.incidents.outbox import record_wait, renew_claim
from portal.incidents.transports import DeliveryError, send_mail
from portal.incidents.validators import list_recipients
from portal.reports.answer import ReportAnswer, ReportRefused, build_answer
from portal.reports.content import build_mail, build_stop_mail, describe_shortfall
from portal.reports.models import Report
from portal.reports.schedule import stop_report
from portal.reports.validators import is_allowed
from usage.explore.query import PATIENCE_SECONDS
from usage.timeouts import QueryTimeout

LOOK_EVERY: Final = timedelta(minutes=10)
STOPPED: Final = "The report was stopped."
NO_RECIPIENTS: Final = "None of its recipients is left: people are deactivated, or their domains no longer allowed."
TOO_LONG: Final = f"Its question took longer than the {PATIENCE_SECONDS} seconds that a page may take."


def send_report(message: Message) -> bool:
    """Send the message of a report; False where it waits for its range, or another process has taken it over.

    Raises MessageDropped for a message that is never to be sent, and DeliveryError.
    """
    report = Report.objects.select_related("view", "owner").get(messages=message)
    if message.event == Event.STOPPED:
        message.outcome = send_mail(list_all_recipients(report), build_stop_mail(report), message.uid)
        return True
    is_test = message.event == Event.TEST
    if report.stopped_at is not None and not is_test:
        raise MessageDropped(STOPPED)
    try:
        answer, recipients = prepare(message, report)
    except ReportRefused as refusal:
        if not is_test:
            stop_report(report, str(refusal))
        raise MessageDropped(str(refusal)) from None
    except QueryTimeout:
        raise DeliveryError(TOO_LONG) from None
    shortfall = describe_shortfall(answer.meta, report.wait)
    now = timezone.now()
    if shortfall.is_unmet and message.wait_until is not None and now < message.wait_until:
        record_wait(message, min(now + LOOK_EVERY, message.wait_until), f"Waits, because {shortfall.text}.")
        return False
    mail, message.outcome = build_mail(report, answer, shortfall.text, is_test=is_test)
    # Another process may have taken it over while the answer was computed.
    if not renew_claim(message):
        return False
    message.outcome = f"{message.outcome} {send_mail(recipients, mail, message.uid)}".strip()
    return True


def prepare(message: Message, report: Report) -> tuple[ReportAnswer, list[str]]:
    """Return the answer of a report and who gets it; raises ReportRefused and QueryTimeout."""
    at = message.scheduled_at
    assert isinstance(at, datetime)  # noqa: S101
    answer = build_answer(report, at)
    recipients = [report.owner.email] if message.event == Event.TEST else get_recipients(report)
    if not all(recipients):
        raise ReportRefused("You have no e-mail address, to which the test could be sent.")
    if not recipients:
        raise ReportRefused(NO_RECIPIENTS)
    return answer, recipients


def get_recipients(report: Report) -> list[str]:
    """Return the addresses that a report may be sent to today, each once."""
    people = User.objects.filter(pk__in=report.people.values("pk"), is_active=True).exclude(email="")
    allowed = filter(is_allowed, list_recipients(report.addresses))
    addresses = [*people.order_by("email").values_list("email", flat=True), *allowed]
    return list({address.lower(): address for address in addresses}.values())


def list_all_recipients(report: Report) -> list[str]:
    """Return the recipients of a report and its owner; raises MessageDropped without any."""
    owner = [report.owner.email] if report.owner.email else []
    addresses = list({address.lower(): address for address in [*owner, *get_recipients(report)]}.values())
    if not addresses:
        raise MessageDropped(NO_RECIPIENTS)
    return addresses
