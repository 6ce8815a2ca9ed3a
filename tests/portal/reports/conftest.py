"""A source with usage, and reports of it by mail."""

from collections.abc import Iterator
from datetime import timedelta
from email.header import decode_header, make_header
from email.message import Message as Mail
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from portal.incidents.delivery import deliver_due
from portal.reports.models import Report
from portal.reports.schedule import plan_reports
from tests.support.dashboard_data import create_synced_source, get_today
from tests.support.factories import ResourceUsageFactory
from tests.support.smtp_server import MailServer, serve_mail
from tests.support.users import create_person
from usage.models import SavedView, Source

QUESTION = "group_by=project_id,day"


@pytest.fixture
def gcore() -> Source:
    """A source with a week of complete days, and a record in each."""
    source = create_synced_source("gcore-main", "gcore", days=12)
    for ago in range(1, 8):
        ResourceUsageFactory.create(source=source, day=get_today(source) - timedelta(days=ago), consumed_quantity=ago)
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
    owner = owner or create_person("viewer")
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


def get_subject(mail: Mail) -> str:
    """Return the subject as a mail program shows it."""
    return str(make_header(decode_header(mail["Subject"].replace("\r\n", ""))))


def get_part(mail: Mail, media_type: str) -> Any:
    """Return the content of the one part of a type."""
    (part,) = [part for part in mail.walk() if part.get_content_type() == media_type]
    return part.get_payload(decode=True)
