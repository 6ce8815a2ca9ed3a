"""The alerts of the overview, and their buttons."""

from typing import Any

import pytest
from django.test import Client

from tests.support.dashboard_data import create_synced_source, set_day
from usage.models import Source, SourceDay

FAILED = "api.gcore.com cannot answer now (HTTP 503)."


def list_alerts(client: Client) -> list[Any]:
    """Return the alerts that a person sees."""
    answer: Any = client.get("/admin/")
    assert answer.status_code == 200
    alerts: list[Any] = answer.context["alerts"]
    return alerts


def press(client: Client, alert: Any, label: str) -> str:
    """Press a button of an alert, and return the page that follows."""
    url = next(button.url for button in alert.buttons if button.label == label)
    answer = client.post(url, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    return answer.content.decode()


@pytest.fixture
def source() -> Source:
    """A source that was read for a month and more, without a fault."""
    return create_synced_source("gcore-main", "gcore", days=40)


def fail(source: Source, *ago: int) -> list[int]:
    """Have days of a source fail, and return their keys."""
    return [set_day(source, n, state="failed", error=FAILED, complete=False, final=False).pk for n in ago]


def suspect(source: Source, ago: int) -> SourceDay:
    """Have a day of a source be suspect."""
    said = {"held": 66, "reported": 6, "would_withdraw": 60, "digest": "0" * 32}
    return set_day(source, ago, state="suspect", suspicion=said)
