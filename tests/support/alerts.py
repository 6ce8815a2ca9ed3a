"""The alerts of the overview, and their buttons."""

from typing import Any

import pytest
from django.test import Client

from tests.support.dashboard_data import create_synced_source, set_day
from usage.models import Source, SourceDay

FAILED = "api.gcore.com cannot answer now (HTTP 503)."


def list_alerts(client: Client) -> list[Any]:
    """Return the alerts that a person sees."""
    response: Any = client.get("/admin/")
    assert response.status_code == 200
    alerts: list[Any] = response.context["alerts"]
    return alerts


def press(client: Client, alert: Any, label: str) -> str:
    """Press a button of an alert, and return the page that follows."""
    url = next(button.url for button in alert.buttons if button.label == label)
    response = client.post(url, follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    return response.content.decode()


@pytest.fixture
def source() -> Source:
    """A source that was read for a month and more, without a fault."""
    return create_synced_source("gcore-main", "gcore", days=40)


def fail(source: Source, *ago: int) -> list[int]:
    """Let days of a source fail, and return their keys."""
    return [set_day(source, n, state="failed", error=FAILED, complete=False, final=False).pk for n in ago]


def suspect(source: Source, ago: int) -> SourceDay:
    """Let a day of a source be suspect."""
    suspicion = {"held": 66, "reported": 6, "would_withdraw": 60, "digest": "0" * 32}
    return set_day(source, ago, state="suspect", suspicion=suspicion)
