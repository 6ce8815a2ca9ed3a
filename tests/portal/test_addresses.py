"""The addresses a browser tries by itself lead somewhere."""

import pytest
from django.test import Client


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/", "/admin/"),
        ("/favicon.ico", "/static/portal/icon.svg"),
        ("/admin/portal/apitoken/3/change/", "/admin/accounts/apitoken/3/change/"),
        ("/admin/portal/auditentry/?kind=token&p=2", "/admin/accounts/auditentry/?kind=token&p=2"),
    ],
)
def test_a_short_or_former_address_leads_to_its_page(client: Client, address: str, leads_to: str) -> None:
    assert client.get(address).headers["Location"] == leads_to


@pytest.mark.django_db  # closing the response closes the connection of an earlier test
def test_the_icon_is_served(client: Client) -> None:
    response = client.get("/static/portal/icon.svg")
    response.close()

    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/svg+xml")
