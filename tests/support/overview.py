"""The overview page, for tests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def noon() -> Iterator[None]:
    """It is the 23rd of November."""
    with time_machine.travel(NOON, tick=False):
        yield


def open_overview(client: Client, **params: str) -> Any:
    """Return the context of the page."""
    response: Any = client.get("/admin/", params)
    assert response.status_code == 200
    return response.context


def find_card(context: Any, slug: str) -> Any:
    """Return the card of a source."""
    return next(card for vendor in context["vendors"] for card in vendor.cards if card.slug == slug)
