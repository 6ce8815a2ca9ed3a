"""Pages that were open while somebody signed out, or in anew: what a press of their buttons comes to."""

from typing import Any

import pytest
from django.test import Client

from tests.support.users import PASSWORD, create_person, sign_in_as

pytestmark = pytest.mark.django_db
SIGN_IN = "/accounts/login/"
BUTTON = "/admin/alerts/sync-failed/1/"  # what it posts to is no page


def test_who_presses_a_button_signed_out_comes_back_to_the_page_it_is_on(client: Any) -> None:
    create_person("viewer")
    response = client.post(BUTTON, headers={"Referer": "http://testserver/admin/explore/?kind=usage"}, follow=True)
    assert response.redirect_chain[-1][0] == f"{SIGN_IN}?next=/admin/explore/%3Fkind%3Dusage"
    credentials = {"login": "viewer", "password": PASSWORD, "next": "/admin/explore/?kind=usage"}
    assert client.get(client.post(SIGN_IN, credentials).url).status_code == 200


@pytest.mark.parametrize(
    "page", ["", "http://testserver//evil.example.com/", "https://evil.example.com/admin/", "http://[bad/admin/"]
)
def test_who_comes_from_elsewhere_comes_to_the_overview(client: Any, page: str) -> None:
    response = client.post(BUTTON, headers={"Referer": page}, follow=True)
    assert response.redirect_chain[-1][0] == f"{SIGN_IN}?next=/admin/"


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("part", ["/admin/usage/source/test/", "/admin/usage/resourceusage/totals/"])
def test_a_part_of_a_page_of_someone_signed_out_has_the_page_load_anew(part: str, method: str) -> None:
    response = getattr(Client(), method)(part, headers={"HX-Request": "true"})
    assert response.headers["HX-Refresh"] == "true"
    assert not response.content


def test_signing_out_twice_is_no_mistake(client: Any) -> None:
    assert client.post("/admin/logout/").url == "/admin/"


@pytest.mark.parametrize("address", [SIGN_IN, "/admin/", "/admin/logout/"])
def test_a_form_from_before_signing_in_is_refused_with_a_page_that_says_what_to_do(address: str) -> None:
    old = Client(enforce_csrf_checks=True)
    old.cookies = sign_in_as("viewer").cookies
    response = old.post(
        address, {"csrfmiddlewaretoken": "x" * 64}, headers={"Referer": "http://testserver/admin/?days=90"}
    )
    text = response.content.decode()
    assert response.status_code == 403
    assert "Nothing was changed." in text
    assert 'href="/admin/?days=90"' in text
    assert "text/html" in response["Content-Type"]
    assert "<style" not in text  # which the content policy would not let through


def test_a_part_of_a_page_from_before_signing_in_has_the_page_load_anew() -> None:
    old = Client(enforce_csrf_checks=True)
    old.cookies = sign_in_as("administrator").cookies
    response = old.post("/admin/usage/source/test/", headers={"HX-Request": "true"})
    assert response.headers["HX-Refresh"] == "true"
