"""Row scope at every URL of the API: a token or a person limited to one source learns of no other source.

The URLs are read from the URL configuration. A new one is requested too; the test fails and names it
where its parameters are unknown.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoDbBlocker

from portal.accounts.models import GroupScope, Scope
from tests.support.api_clients import API, create_api_client
from tests.support.database import keep_rows
from tests.usage.api.test_access import fill
from usage.models import Source

pytestmark = pytest.mark.django_db
HIDDEN = "zebra"
RANGE = "from=2026-01-01&to=2026-01-02"
# Queries of the routes that need parameters. Every other route is requested without any, and with invalid ones.
QUESTIONS = {
    "summary": (RANGE, f"{RANGE}&group_by=source", f"{RANGE}&group_by=vendor"),
    "export-manifest": (RANGE, ""),
}
ANYWHERE = ("", "count=exact", "source=nothing", "vendor=nothing", f"source={HIDDEN}", "ordering=nothing", "nothing=1")
EXPORTS = ("format=csv", "format=ndjson")
# Routes without rows: their content is the same for everyone.
OF_NO_ROWS = ("docs/",)
# Routes that take only POST.
ACTIONS = ("/sync/", "/sync-names/", "/accept/", "/acknowledge/")


def iterate_routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield the pattern of every URL under the API."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from iterate_routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/v1/") and "\\." not in path:
            yield path.replace("^", "").removesuffix("$").removesuffix("\\Z").removeprefix("api/v1/")


ROUTES = sorted(set(iterate_routes()))


def build_address(route: str, rows: dict[str, Any], slug: str) -> str:
    """Return the address of a route for a row of a source; fail for a parameter without a value."""
    key = route.split("/", maxsplit=1)[0]
    values = {"source_slug": slug, "slug": slug, "day": rows[f"sources/{slug}/days"], "pk": rows.get(key)}
    address = re.sub(r"\(\?P<(\w+)>[^()]*\)", lambda match: str(values[match[1]]), route)
    assert re.fullmatch(r"[\w/:.-]+", address), f"No test knows how to ask {route}."
    assert "None" not in address, f"No test knows how to ask {route}."
    return address


def create_token_client(source: Source) -> Client:
    return create_api_client(*Scope.values, sources=[source])


def create_staff_client(source: Source) -> Client:
    group = Group.objects.create(name="some")
    GroupScope.objects.create(group=group).sources.add(source)
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    return client


def get_content(response: Any) -> str:
    """Return headers and body of a response as text."""
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return f"{response.headers}\n{body.decode()}"


def build_queries(route: str) -> tuple[str, ...]:
    """Return the query strings to request a route with."""
    own = next((queries for name, queries in QUESTIONS.items() if name in route), ())
    return (*own, *ANYWHERE, *EXPORTS)


def strip_request(text: str) -> str:
    """Remove the values that the request itself sent, so that only what the portal adds remains."""
    return text.replace(f"source={HIDDEN}", "").replace(f"“{HIDDEN}”", "").replace(f"/sources/{HIDDEN}/", "")


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, dict[str, Any]]]:
    """One row of everything of two sources, by their slugs, and the address of each."""
    with keep_rows(django_db_blocker):
        yield {slug: fill(slug) for slug in (HIDDEN, "seen")}


@pytest.fixture(scope="module")
def clients(rows: dict[str, dict[str, Any]]) -> dict[str, Client]:
    """A token and a person that are limited to one of the sources."""
    source = Source.objects.get(slug="seen")
    return {"token": create_token_client(source), "staff": create_staff_client(source)}


@pytest.mark.parametrize("limited", ["token", "staff"])
@pytest.mark.parametrize("route", ROUTES)
def test_no_address_tells_someone_limited_of_another_source(
    rows: dict[str, dict[str, Any]], clients: dict[str, Client], route: str, limited: str
) -> None:
    hidden, visible = rows[HIDDEN], rows["seen"]
    client = clients[limited]
    visible_address, hidden_address, unknown_address = (
        build_address(route, visible, "seen"),
        build_address(route, hidden, HIDDEN),
        build_address(route, dict.fromkeys(hidden, 987654) | {f"sources/{HIDDEN}/days": "2026-01-01"}, HIDDEN),
    )
    statuses = set()
    # Tokens and people share one row scope, so only the token sends every query.
    for query in (
        build_queries(route) if limited == "token" else (build_queries(route)[0], "", f"source={HIDDEN}", "format=csv")
    ):
        response = client.get(f"{API}/{visible_address}?{query}")
        statuses.add(response.status_code)
        assert HIDDEN not in strip_request(get_content(response)), f"{visible_address}?{query}"
    if not route.endswith(ACTIONS):
        assert 200 in statuses, f"No test knows how to ask {route}: {statuses}"
    if hidden_address != visible_address:
        for method in ("get", "post"):
            hidden_response, unknown_response = (
                getattr(client, method)(f"{API}/{address}", content_type="application/json")
                for address in (hidden_address, unknown_address.replace(HIDDEN, "nothing"))
            )
            assert hidden_response.status_code == unknown_response.status_code, hidden_address
            assert hidden_response.content == unknown_response.content, hidden_address


def test_every_address_of_the_api_is_asked() -> None:
    assert len(ROUTES) >= 18
    assert {"environment-usage/", "sources/", "schema/", "docs/"} <= set(ROUTES)
