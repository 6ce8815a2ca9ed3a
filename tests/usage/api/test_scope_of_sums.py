"""Row scope of sums: what a token or a person limited to one source gets is the same where there is no other source."""

import re
from typing import Any

import pytest
from django.test import Client

from tests.support.api_clients import API
from tests.usage.api.test_access import fill
from tests.usage.api.test_scope_everywhere import ACTIONS, HIDDEN, OF_NO_ROWS, ROUTES, filled, questions, token_client
from usage.models import Source

pytestmark = pytest.mark.django_db


def test_counts_and_sums_of_someone_limited_are_those_of_their_source_alone() -> None:
    """The same questions give the same answers whether or not the other source exists."""
    seen = fill("seen")
    client = token_client(Source.objects.get(slug="seen"))
    asked = [
        f"{API}/{filled(route, seen, 'seen')}?{query}"
        for route in ROUTES
        for query in questions(route)
        # What no source can have is refused in either case, which the row scope of all addresses shows.
        if not route.endswith(ACTIONS) and route not in OF_NO_ROWS and "nothing" not in query
    ]
    before = [get_answer(client, address) for address in asked]
    fill(HIDDEN)
    after = [get_answer(client, address) for address in asked]
    for address, one, other in zip(asked, before, after, strict=True):
        assert one == other, address


def get_answer(client: Client, address: str) -> tuple[int, str]:
    """Return the status and text of an answer without the instants at which it was given."""
    answer: Any = client.get(address)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    text = re.sub(r'"(as_of|settled_until|updated_since|lag_seconds|manifest)": ?("[^"]*"|\d+)', "", body.decode())
    return answer.status_code, re.sub(r"cursor=[^\"&]+", "", text)
