"""The overview as a test asks for it."""

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


def overview(client: Client, **asked: str) -> Any:
    """Return the context of the page."""
    answer: Any = client.get("/admin/", asked)
    assert answer.status_code == 200
    return answer.context


def find_card(context: Any, slug: str) -> Any:
    """Return the card of a source."""
    return next(card for vendor in context["vendors"] for card in vendor.cards if card.slug == slug)
