"""The page that leads from a page's numbers to the API: the request, ready to copy, and never another address."""

import pytest
from django.test import Client

from tests.support.factories import EnvironmentUsageFactory
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db
PAGE = "/admin/api-request/"


def test_explore_leads_to_the_ready_request_and_not_to_raw_json() -> None:
    EnvironmentUsageFactory()
    client = sign_in_as("viewer")
    explore = client.get("/admin/explore/?kind=environment-usage&group_by=project_id&from=2026-01-01").content.decode()
    assert f'href="{PAGE}?path=%2Fapi%2Fv1%2Fenvironment-usage%2Fsummary%2F%3Fgroup_by%3Dproject_id' in explore

    page = client.get(PAGE, {"path": "/api/v1/environment-usage/summary/?from=2026-01-01&group_by=project_id"})

    text = page.content.decode()
    assert "http://testserver/api/v1/environment-usage/summary/?from=2026-01-01&amp;group_by=project_id" in text
    assert "curl -H" in text
    assert "usage:read" in text
    assert "/api/v1/docs/" in text


@pytest.mark.parametrize(
    "path",
    ["", "https://evil.example/api/v1/", "//evil.example/api/v1/", "/admin/", "/api/v1/\r\nx", "/api/v1/" + "x" * 9000],
)
def test_nothing_but_an_address_of_the_api_is_shown(path: str) -> None:
    assert sign_in_as("viewer").get(PAGE, {"path": path}).status_code == 400


def test_an_address_with_signs_of_a_shell_is_quoted_and_escaped() -> None:
    page = sign_in_as("viewer").get(PAGE, {"path": "/api/v1/sources/?slug=$(id)'<b>"}).content.decode()
    assert "<b>" not in page.split("Address", 1)[1]
    assert "&#x27;&quot;&#x27;&quot;&#x27;" in page  # a quote within the quotes of a shell


def test_a_stranger_is_sent_to_sign_in() -> None:
    assert Client().get(PAGE, {"path": "/api/v1/"}).status_code == 302
