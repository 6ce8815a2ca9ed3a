"""Redis hangs or is away: every page and address answers soon and without it."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.test import Client

from portal.accounts.models import Scope, create_token
from tests.support.api_clients import API, serve_portal
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.redis_proxy import RedisProxy, redis_proxy
from tests.support.users import PASSWORD, create_person
from usage.models import Source

# Another process has to see what a test stores.
pytestmark = pytest.mark.django_db(transaction=True)
# Before there was a limit, a request waited five seconds for each of several commands.
ANSWER_SECONDS = 9
CSRF = "a" * 32


@dataclass(frozen=True, slots=True)
class Portal:
    """A portal in a process of its own, the proxy in front of its Redis, and who may use it."""

    port: int
    redis: RedisProxy
    secret: str
    cookies: SimpleCookie
    source: Source

    def request(self, method: str, path: str, body: str = "", kind: str = "", **headers: str) -> tuple[int, bytes]:
        """Return status and body of an answer, which came within ANSWER_SECONDS."""
        started_at = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body or None, {"Content-Type": kind, **headers})
            response = connection.getresponse()
            read = response.read()
            for cookie in response.headers.get_all("Set-Cookie", []):
                if cookie.startswith("messages="):  # what the next page shows
                    self.cookies.load(cookie)
        assert time.monotonic() - started_at < ANSWER_SECONDS, path
        return response.status, read

    def call_api(self, method: str, path: str, body: str = "") -> tuple[int, bytes]:
        """Return what the API answers to a token."""
        return self.request(method, f"{API}{path}", body, "application/json", Authorization=f"Bearer {self.secret}")

    def open_page(self, path: str, **fields: str) -> tuple[int, bytes]:
        """Return what a page answers to a member of staff; with fields, to a form."""
        headers = {"Cookie": self.cookies.output([], header="", sep=";")}
        return self.send_form(path, headers, **fields) if fields else self.request("GET", path, **headers)

    def send_form(self, path: str, headers: dict[str, str], **fields: str) -> tuple[int, bytes]:
        """Return what a page answers to a form."""
        body = urlencode({**fields, "csrfmiddlewaretoken": CSRF})
        return self.request("POST", path, body, "application/x-www-form-urlencoded", **headers)


@pytest.fixture
def portal() -> Iterator[Portal]:
    """A portal that has answered with Redis."""
    user = create_person("admin")
    client = Client()
    client.force_login(user)
    source: Source = SourceFactory(slug="main")
    SourceDayFactory(source=source)
    _, secret = create_token("test", [Scope.USAGE_READ, Scope.SYNC_RUN], rate="3/min")
    with redis_proxy(os.environ["REDIS_URL"]) as redis, serve_portal(REDIS_URL=redis.url) as port:
        portal = Portal(port, redis, secret, SimpleCookie({"csrftoken": CSRF, **client.cookies}), source)
        assert portal.call_api("GET", "/environment-usage/")[0] == 200
        assert portal.open_page("/admin/")[0] == 200
        yield portal


def assert_answers(portal: Portal) -> None:
    """Ask for everything that uses Redis."""
    sign_in = {"Cookie": f"csrftoken={CSRF}"}
    login = portal.send_form("/accounts/login/", sign_in, login="admin", password="wrong")
    assert login[0] == 200
    assert b"not correct" in login[1]
    assert portal.send_form("/accounts/login/", sign_in, login="admin", password=PASSWORD)[0] == 302
    assert {portal.call_api("GET", "/environment-usage/")[0] for _ in range(5)} == {200}  # more than the rate
    api_request = portal.request("GET", f"{API}/environment-usage/", Authorization="Bearer up_guess")
    assert api_request[0] == 401
    days = json.dumps({"from": "2026-01-01", "to": "2026-01-02"})
    assert portal.call_api("POST", "/sources/main/sync/", days)[0] == 202
    assert portal.open_page("/admin/")[0] == 200
    export = f"/admin/usage/sourceday/export/?export={uuid4().hex}"
    assert portal.open_page(export)[0] == 200
    assert portal.open_page(f"/admin/usage/sourceday/export/{uuid4().hex}/")[0] == 200
    # Wakes workers through the message queue.
    assert portal.open_page(f"/admin/usage/source/{portal.source.pk}/do/sync-now/", confirm="yes")[0] == 302
    assert b"because the message queue does not answer" in portal.open_page("/admin/")[1]
    status, reasons = portal.request("GET", "/health/work")
    assert (status, json.loads(reasons)["reasons"]) == (503, ["Redis does not answer."])
    assert portal.request("GET", "/health/ready")[0] == 200
    assert portal.request("GET", "/health/live")[0] == 200


def test_a_redis_that_never_answers_and_one_that_refuses_connections_hold_no_request_up(portal: Portal) -> None:
    portal.redis.is_hanging = True
    assert_answers(portal)
    portal.redis.is_hanging = False
    time.sleep(1.1)
    assert b"Redis" not in portal.request("GET", "/health/work")[1]

    portal.redis.refuse()
    assert_answers(portal)
