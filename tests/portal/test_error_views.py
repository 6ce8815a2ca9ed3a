"""What a request gets that fails: whether it may come again, in the form of the page or of the API."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.test import Client
from psycopg import errors
from pytest_django import Settings

from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db
OUTAGES = [psycopg.OperationalError("connection refused"), errors.AdminShutdown("57P01"), errors.TooManyConnections("")]
FAULTS = [errors.QueryCanceled("57014"), errors.DiskFull("53100"), ValueError("x")]


def fail(client: Client, path: str, target: str, cause: Exception, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what a request gets whose view fails."""

    def view(*_: Any, **__: Any) -> None:
        if isinstance(cause, psycopg.Error):
            raise OperationalError(str(cause)) from cause
        raise cause

    monkeypatch.setattr(target, view)
    client.raise_request_exception = False
    return client.get(path)


@pytest.mark.parametrize(
    ("cause", "status"), [*((cause, 503) for cause in OUTAGES), *((cause, 500) for cause in FAULTS)]
)
def test_only_a_database_that_is_away_is_a_reason_to_come_again(
    cause: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = fail(sign_in_as("viewer"), "/admin/search/?q=ab", "portal.search.views.find_all", cause, monkeypatch)
    api = fail(
        create_api_client(), f"{API}/environment-usage/", "usage.api.views.UsageViewSet.list", cause, monkeypatch
    )
    assert page.status_code == status
    assert page["Content-Type"].startswith("text/html")
    get_problem_details(api, status)
    assert {response.headers.get("Retry-After") for response in (page, api)} == ({"5"} if status == 503 else {None})


@pytest.mark.parametrize("debug", [False, True])
def test_every_page_has_a_content_security_policy_but_those_of_the_debugger(debug: bool, settings: Settings) -> None:
    settings.DEBUG = debug
    response = Client().get("/nowhere/")
    assert (response.status_code, "Content-Security-Policy" in response.headers) == (404, not debug)
    assert "Content-Security-Policy" in Client().get("/accounts/login/").headers
