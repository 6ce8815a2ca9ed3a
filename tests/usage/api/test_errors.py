"""Errors of the API: problem details (RFC 9457), whatever goes wrong and wherever."""

import json
import re
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test import Client, RequestFactory
from rest_framework.request import Request

from portal.accounts.models import Scope, create_token
from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.factories import SourceFactory
from usage.api.errors import exception_handler

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    """A program that may do everything."""
    return create_api_client(*Scope.values)


@pytest.mark.parametrize(
    ("error", "status", "title"), [(PermissionDenied(), 403, "Forbidden"), (Http404(), 404, "Not Found")]
)
def test_what_django_itself_raises_in_a_view_is_a_problem(error: Exception, status: int, title: str) -> None:
    response: Any = exception_handler(error, {"request": Request(RequestFactory().get("/api/v1/nowhere/"))})

    assert response["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert (response.status_code, problem["status"], problem["title"]) == (status, status, title)


def test_an_address_that_does_not_exist_is_a_problem_too(client: Client) -> None:
    assert get_problem_details(client.get(f"{API}/nowhere/"), 404)[""] == ["There is nothing at /api/v1/nowhere/."]
    assert get_problem_details(client.get("/api/v2/"), 404)
    assert "end with a slash" in get_problem_details(client.get(f"{API}/sources"), 404)[""][0]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_method_that_does_not_exist_is_refused_with_those_that_do(client: Client, method: str) -> None:
    response = getattr(client, method)(f"{API}/environment-usage/")
    assert get_problem_details(response, 405)
    assert response["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("address", "methods"),
    [
        ("environment-usage/", "GET, HEAD, OPTIONS"),
        ("environment-usage/7/", "GET, HEAD, OPTIONS"),
        ("usage/summary/", "GET, HEAD, OPTIONS"),
        ("sources/a/sync/", "POST, OPTIONS"),
    ],
)
def test_who_is_let_in_may_ask_which_methods_there_are(client: Client, address: str, methods: str) -> None:
    response = client.options(f"{API}/{address}")
    assert (response.status_code, response.content) == (204, b"")
    assert response["Allow"] == methods
    assert get_problem_details(Client().options(f"{API}/{address}"), 401)


def test_an_answer_in_a_form_that_nobody_has_is_refused(client: Client) -> None:
    for accept in ("application/xml", "text/html"):
        errors = get_problem_details(client.get(f"{API}/environment-usage/", headers={"Accept": accept}), 406)
        assert {"application/json", "text/csv", "application/x-ndjson"} <= set(re.split("[ ,;]+", errors[""][0]))
    errors = get_problem_details(client.get(f"{API}/sources/", headers={"Accept": "text/csv"}), 406)
    assert errors[""] == ["The answer is to be had as application/json; the Accept header takes none of these."]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("from=2026-01-01", "application/x-www-form-urlencoded", 415),
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("{}", "application/json", 400),
        pytest.param("[" * 50_000, "application/json", 400, id="nested without end"),
        pytest.param(" " * 100_000 + "{}", "application/json", 413, id="larger than any request"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(client: Client, body: str, content_type: str, status: int) -> None:
    SourceFactory(slug="a")
    response = client.post(f"{API}/sources/a/sync/", body, content_type=content_type)
    errors = get_problem_details(response, status)
    assert status != 415 or errors[""] == [
        f'Unsupported media type "{content_type}" in request. Send application/json.'
    ]


def test_what_is_wrong_with_a_body_is_pointed_at(client: Client) -> None:
    SourceFactory(slug="a")
    body = {"from": "2026-13-01"}
    errors = get_problem_details(client.post(f"{API}/sources/a/sync/", body, content_type="application/json"))
    assert set(errors) == {"", "from", "to"}
    assert "YYYY-MM-DD" in errors["from"][0]


def test_a_failure_that_nobody_expected_is_a_problem_without_its_secrets(client: Client) -> None:
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE usage_environmentusage RENAME TO secretly_renamed")
    response: Any = client.get(f"{API}/environment-usage/")
    assert get_problem_details(response, 500)[""] == ["The portal failed to answer; the failure was logged."]
    assert b"secretly_renamed" not in response.content
    assert b"SELECT" not in response.content
    connection.set_rollback(True)  # the query that failed has ended the test's own transaction


def test_a_request_that_django_itself_refuses_is_a_problem_under_the_api(client: Client) -> None:
    response = client.get(f"{API}/sources/", headers={"Host": "evil.example"})
    assert get_problem_details(response, 400)
    assert "text/html" in Client().get("/admin/", headers={"Host": "evil.example"})["Content-Type"]
    long_response = client.get(f"{API}/resource-usage/?{'&'.join(['tag=a:b'] * 1001)}")
    assert get_problem_details(long_response)[""] == ["The request has more than 1,000 parameters."]


def test_every_kind_of_error_is_a_problem_with_its_status(redis_client: object) -> None:
    source = SourceFactory(slug="gcore-main", enabled=False)
    full_client, usage_client = create_api_client(*Scope.values), create_api_client(Scope.USAGE_READ)
    _, secret = create_token("often", rate="1/day")
    limited_client = Client(headers={"Authorization": f"Bearer {secret}"})
    sources_url, sync_url = f"{API}/sources/", f"{API}/sources/{source.slug}/sync/"
    limited_client.get(f"{API}/environment-usage/")
    responses = {
        400: full_client.get(f"{API}/environment-usage/", {"page_size": "5000"}),
        401: Client().get(sources_url),
        403: usage_client.get(sources_url),
        404: full_client.get(f"{API}/environment-usage/1/"),
        406: full_client.get(sources_url, headers={"Accept": "text/csv"}),
        409: full_client.post(sync_url, {"from": "2026-01-01", "to": "2026-01-02"}, content_type="application/json"),
        413: full_client.post(sync_url, "x" * 70_000, content_type="application/json"),
        415: full_client.post(sync_url, "x", content_type="text/plain"),
        429: limited_client.get(f"{API}/environment-usage/"),
    }
    for status, response in responses.items():
        assert get_problem_details(response, status)[""][0]
