"""The addresses a browser tries by itself lead somewhere."""

import pytest
from django.test import Client


@pytest.mark.parametrize(("address", "leads_to"), [("/", "/admin/"), ("/favicon.ico", "/static/portal/icon.svg")])
def test_the_root_leads_to_the_admin_and_the_icon_is_there(client: Client, address: str, leads_to: str) -> None:
    assert client.get(address).headers["Location"] == leads_to


def test_the_icon_is_served(client: Client) -> None:
    answer = client.get("/static/portal/icon.svg")
    answer.close()

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")
