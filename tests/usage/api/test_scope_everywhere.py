"""Row scope at every address of the API: a token or a person limited to one source learns of no other.

The addresses are those that the portal really has: one that is new is asked too, and where its parameters are
not known here the test fails and names it.
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
from tests.support.api_clients import API, bearer
from tests.support.database import keep_rows
from tests.usage.api.test_access import fill
from usage.models import Source

pytestmark = pytest.mark.django_db
HIDDEN = "zebra"
RANGE = "from=2026-01-01&to=2026-01-02"
# What an address needs to be asked in full; all others are asked plainly, and by whatever is wrong with a question.
QUESTIONS = {
    "summary": (RANGE, f"{RANGE}&group_by=source", f"{RANGE}&group_by=vendor"),
    "export-manifest": (RANGE, ""),
}
ANYWHERE = ("", "count=exact", "source=nothing", "vendor=nothing", f"source={HIDDEN}", "ordering=nothing", "nothing=1")
EXPORTS = ("format=csv", "format=ndjson")
# Not of rows: what is there is the same for everyone.
OF_NO_ROWS = ("docs/",)
# Only posted to.
ACTIONS = ("/sync/", "/sync-names/", "/accept/", "/acknowledge/")


def routes(patterns: Any = None, before: str = "") -> Iterator[str]:
    """Yield every address under the API, as its regular expression or route reads."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern) and here.startswith("api/v1/") and "\\." not in here:
            yield here.replace("^", "").removesuffix("$").removesuffix("\\Z").removeprefix("api/v1/")


ROUTES = sorted(set(routes()))


def filled(route: str, rows: dict[str, Any], slug: str) -> str:
    """Return the address of a route for a source's own row; fails for a parameter that is not known here."""
    key = route.split("/", maxsplit=1)[0]
    of_route = {"source_slug": slug, "slug": slug, "day": rows[f"sources/{slug}/days"], "pk": rows.get(key)}
    address = re.sub(r"\(\?P<(\w+)>[^()]*\)", lambda found: str(of_route[found[1]]), route)
    assert re.fullmatch(r"[\w/:.-]+", address), f"No test knows how to ask {route}."
    assert "None" not in address, f"No test knows how to ask {route}."
    return address


def token_client(seen: Source) -> Client:
    return bearer(*Scope.values, sources=[seen])


def staff_client(seen: Source) -> Client:
    group = Group.objects.create(name="some")
    GroupScope.objects.create(group=group).sources.add(seen)
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    return client


def content(response: Any) -> str:
    """Return the whole text of an answer, headers included."""
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return f"{response.headers}\n{body.decode()}"


def questions(route: str) -> tuple[str, ...]:
    """Return the query strings to ask an address by."""
    own = next((asked for name, asked in QUESTIONS.items() if name in route), ())
    return (*own, *ANYWHERE, *EXPORTS)


def stripped(text: str) -> str:
    """Take out what a request itself said, so that only what the portal adds is left."""
    return text.replace(f"source={HIDDEN}", "").replace(f"“{HIDDEN}”", "").replace(f"/sources/{HIDDEN}/", "")


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, dict[str, Any]]]:
    """One row of everything of two sources, by their slugs, and the address of each."""
    with keep_rows(django_db_blocker):
        yield {slug: fill(slug) for slug in (HIDDEN, "seen")}


@pytest.fixture(scope="module")
def clients(rows: dict[str, dict[str, Any]]) -> dict[str, Client]:
    """A token and a person that are limited to one of the sources."""
    seen = Source.objects.get(slug="seen")
    return {"token": token_client(seen), "staff": staff_client(seen)}


@pytest.mark.parametrize("limited", ["token", "staff"])
@pytest.mark.parametrize("route", ROUTES)
def test_no_address_tells_someone_limited_of_another_source(
    rows: dict[str, dict[str, Any]], clients: dict[str, Client], route: str, limited: str
) -> None:
    hidden, seen = rows[HIDDEN], rows["seen"]
    client = clients[limited]
    mine, theirs, nobodys = (
        filled(route, seen, "seen"),
        filled(route, hidden, HIDDEN),
        filled(route, dict.fromkeys(hidden, 987654) | {f"sources/{HIDDEN}/days": "2026-01-01"}, HIDDEN),
    )
    statuses = set()
    # Whoever asks, one row scope answers: a token asks all questions, and a person by each way to a scope.
    for query in (
        questions(route) if limited == "token" else (questions(route)[0], "", f"source={HIDDEN}", "format=csv")
    ):
        answer = client.get(f"{API}/{mine}?{query}")
        statuses.add(answer.status_code)
        assert HIDDEN not in stripped(content(answer)), f"{mine}?{query}"
    if not route.endswith(ACTIONS):
        assert 200 in statuses, f"No test knows how to ask {route}: {statuses}"
    if theirs != mine:
        for method in ("get", "post"):
            there, nothing = (
                getattr(client, method)(f"{API}/{address}", content_type="application/json")
                for address in (theirs, nobodys.replace(HIDDEN, "nothing"))
            )
            assert there.status_code == nothing.status_code, theirs
            assert there.content == nothing.content, theirs


def test_every_address_of_the_api_is_asked() -> None:
    assert len(ROUTES) >= 18
    assert {"environment-usage/", "sources/", "schema/", "docs/"} <= set(ROUTES)
