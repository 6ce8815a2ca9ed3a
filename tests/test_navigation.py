"""The navigation: each person sees the pages that they may open, and which one is open."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from tests.people import client_of

pytestmark = pytest.mark.django_db


def links(client: Client, address: str = "/admin/") -> dict[str, str]:
    """Return the links of the navigation on a page: {address: what it says of itself}."""
    page = client.get(address).content.decode()
    places = page[page.index('id="places"') : page.index("</nav>")]
    return dict(re.findall(r'<a href="([^"]+)"(?: aria-current="(\w+)")?>', places))


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator", "admin"])
def test_every_link_opens_for_whoever_sees_it(role: str) -> None:
    client = client_of(role)

    for address in links(client):
        assert client.get(address, follow=True).status_code == 200, address


def test_a_viewer_is_not_led_to_tokens_people_or_the_audit_log() -> None:
    offered = links(client_of("viewer"))

    assert reverse("admin:usage_environmentusage_changelist") in offered
    assert not {address for address in offered if address.startswith(("/admin/portal/", "/admin/auth/"))}


def test_the_page_that_is_open_is_marked_and_the_list_it_belongs_to() -> None:
    client = client_of("admin")
    sources, runs = reverse("admin:usage_source_changelist"), reverse("admin:sync_syncrun_changelist")

    assert links(client, sources)[sources] == "page"
    assert links(client, reverse("admin:usage_source_add"))[sources] == "true"
    assert links(client, sources)[runs] == ""
    assert [address for address, said in links(client).items() if said] == ["/admin/"]


def test_the_tables_of_one_app_are_not_a_page_of_their_own() -> None:
    answer = client_of("admin").get(reverse("admin:app_list", args=["usage"]))

    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
