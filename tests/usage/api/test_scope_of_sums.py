"""Row scope of sums: what a token or a person limited to one source gets is the same where there is no other source."""

import re
from typing import Any

import pytest
from django.test import Client

from tests.support.api_clients import API
from tests.usage.api.test_access import fill
from tests.usage.api.test_scope_everywhere import (
    ACTIONS,
    HIDDEN,
    OF_NO_ROWS,
    ROUTES,
    build_address,
    build_queries,
    create_token_client,
)
from usage.models import Source

pytestmark = pytest.mark.django_db


def test_counts_and_sums_of_someone_limited_are_those_of_their_source_alone() -> None:
    """The same requests get the same responses whether or not the other source exists."""
    row_ids = fill("seen")
    client = create_token_client(Source.objects.get(slug="seen"))
    addresses = [
        f"{API}/{build_address(route, row_ids, 'seen')}?{query}"
        for route in ROUTES
        for query in build_queries(route)
        # Values that no source has are refused in either case; `test_scope_everywhere` tests that.
        if not route.endswith(ACTIONS) and route not in OF_NO_ROWS and "nothing" not in query
    ]
    before = [get_body(client, address) for address in addresses]
    fill(HIDDEN)
    after = [get_body(client, address) for address in addresses]
    for address, expected, actual in zip(addresses, before, after, strict=True):
        assert expected == actual, address


def get_body(client: Client, address: str) -> tuple[int, str]:
    """Return status and text of a response without the instants of the request."""
    response: Any = client.get(address)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    text = re.sub(r'"(as_of|settled_until|updated_since|lag_seconds|manifest)": ?("[^"]*"|\d+)', "", body.decode())
    return response.status_code, re.sub(r"cursor=[^\"&]+", "", text)
