"""Clients of the API: a test client with a token of its own, and the API served over real HTTP."""

import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from portal.accounts.models import Scope, create_token
from tests.support.processes import portal_process, wait_for
from usage.models import Source

READ = (Scope.USAGE_READ, Scope.SYNC_READ)
API = "/api/v1"


def create_api_client(*scopes: str, sources: Sequence[Source] | None = None) -> Client:
    """Return a client whose requests carry a new token with these scopes, by default those that read."""
    _, secret = create_token("test", scopes or READ, sources=sources)
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def client(db: None) -> Client:
    """A program that may read everything."""
    return create_api_client()


def get(client: Client, address: str, **query: Any) -> Any:
    """Return the JSON of a successful answer; `from_` stands for the parameter `from`."""
    response = client.get(f"{API}/{address}", {name.rstrip("_"): value for name, value in query.items()})
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    return json.loads(response.content)


def get_problem_details(response: HttpResponse | Any, status: int = 400) -> dict[str, list[str]]:
    """Return the details of a problem by parameter or part of the body; the problem's own detail has the key ''."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem["status"] == status
    assert problem["title"]
    details: dict[str, list[str]] = {"": [problem["detail"]]}
    for error in problem.get("errors", []):
        details.setdefault(error.get("parameter") or error["pointer"].removeprefix("#").removeprefix("/"), []).append(
            error["detail"]
        )
    return details


def iterate_pages(
    client: Client, address: str, *, way: str = "next", start: str = "", **query: Any
) -> Iterator[list[Any]]:
    """Yield the pages of a list by following its cursors one way, from the beginning or from `start`."""
    cursor: str | None = start
    while cursor is not None:
        page = get(client, address, **query, **({"cursor": cursor} if cursor else {}))
        yield page["results"]
        cursor = page[f"{way}_cursor"]


@contextmanager
def serve_portal(*arguments: str, **settings: str) -> Iterator[int]:
    """Serve the portal by granian, as `up` does, on the test's database; gives the port.

    A start takes seconds: the fixture `web_server` shares one server among all tests.
    """
    with hold_port() as port:
        command = ["-m", "portal.web", "--port", str(port), "--workers", "1", *arguments]
        # No worker and no beat run beside it: it is not to look for them, and open incidents beneath other tests.
        with portal_process(command, **{"PORTAL_TICK_SECONDS": "86400", **settings}):
            wait_for(lambda: is_ready(port), "granian to answer")
            yield port


@contextmanager
def hold_port() -> Iterator[int]:
    """Hold a free port for a web server, which shares it: until that listens, no other process is assigned it."""
    with socket.socket() as holder:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def is_ready(port: int) -> bool:
    """Return whether the portal at this port is healthy."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
