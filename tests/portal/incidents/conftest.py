"""A source that may fail, channels and a mail server."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from portal.incidents.models import Channel, Incident
from tests.support.dashboard_data import HEALTHY, create_synced_source
from tests.support.smtp_server import MailServer, serve_mail
from usage.models import Source, SourceDay


@pytest.fixture
def gcore() -> Source:
    """A source that was read for some days, without a fault."""
    return create_synced_source("gcore-main", "gcore", days=8)


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    """A mail server that the portal sends through."""
    with serve_mail(settings) as server:
        yield server


def make_channel(name: str = "ops", **values: Any) -> Channel:
    """Create a channel that mails at once."""
    return Channel.objects.create(**{"name": name, "recipients": "ops@example.com", "delay_minutes": 0, **values})


def resolve_day(day: SourceDay) -> None:
    """Make a failed day healthy: the same day, also where the test has passed midnight."""
    SourceDay.objects.filter(pk=day.pk).update(**HEALTHY)


def make_incident(**overrides: Any) -> Incident:
    """Create an open incident of a source, and return it."""
    defaults = {"condition": "source_failing", "key": "source:1", "subject": "gcore-main", "severity": "critical"}
    return Incident.objects.create(**{**defaults, "state": "Failed", "message": "failed.", **overrides})
