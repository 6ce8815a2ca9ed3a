"""What is served and counted, and how many requests a credential may send."""

import socket
import threading

import httpx2
import pytest

from sync.sandbox.stats import RateLimit
from sync.sandbox.upstream import get_sandboxes
from sync.vendors import readers
from sync.vendors.ona.sandbox import LIST
from tests.support.sandbox_server import SandboxServer
from tests.sync.sandbox.requests import BODY, request_page


def test_every_vendor_has_a_stand_in(sandbox: SandboxServer):
    assert set(get_sandboxes()) == set(readers())
    assert set(sandbox.upstream.vendors) == set(readers())


def test_it_listens_on_loopback_only(sandbox: SandboxServer):
    addresses = socket.getaddrinfo(socket.gethostname(), sandbox.port, family=socket.AF_INET)
    other_addresses = {address[4][0] for address in addresses if not str(address[4][0]).startswith("127.")}
    for address in other_addresses:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((str(address), sandbox.port), timeout=5)
    assert sandbox.url.startswith("http://127.0.0.1:")


def test_a_vendor_that_does_not_exist_is_not_found(client: httpx2.Client):
    assert client.get("/nobody/at/all").status_code == 404


def test_answers_are_compressed_only_where_both_sides_want_it(sandbox: SandboxServer, client: httpx2.Client):
    plain = request_page(client)
    sandbox.settings.compress = True
    packed = request_page(client)
    identity = client.post(f"/ona{LIST}", json=BODY, headers={"Accept-Encoding": "identity"})
    assert [response.headers.get("content-encoding") for response in (plain, packed, identity)] == [None, "gzip", None]
    assert plain.content == packed.content == identity.content


def test_a_taken_port_is_an_error(sandbox: SandboxServer):
    second = SandboxServer(port=sandbox.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


def test_a_credential_gets_no_more_requests_a_minute_than_allowed(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.requests_per_minute = 3
    responses = [request_page(client) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 60
    assert client.post(f"/ona{LIST}", headers={"Authorization": "Bearer other"}).status_code != 429
    assert client.post("/gcore/cloud/v1/usage_report", json={}).status_code != 429
    sandbox.settings.requests_per_minute = None
    assert request_page(client).status_code == 200


def test_the_rate_limit_slides():
    limit = RateLimit(2)
    assert [limit.get_wait("ona", "key", at) for at in (0.0, 30.0, 59.0, 60.0, 61.0, 90.5)] == [0, 0, 1, 0, 29, 0]


def test_what_was_asked_can_be_looked_up(sandbox: SandboxServer, client: httpx2.Client):
    request_page(client)
    sandbox.faults.next("forbidden")
    request_page(client)
    first, second = sandbox.stats.requests
    assert (first.vendor, first.method, first.path, first.status, first.fault) == ("ona", "POST", LIST, 200, "")
    assert (second.status, second.fault) == (403, "forbidden")
    assert b"dateRange" in first.body
    assert first.user_agent.startswith("python-httpx")
    assert first.at <= second.at
    assert (sandbox.stats.count(), sandbox.stats.count("ona", 200), sandbox.stats.count("gcore")) == (2, 1, 0)
    sandbox.stats.reset()
    assert sandbox.stats.count() == 0


def test_the_most_requests_at_once_are_counted(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.latency_ms = 300
    threads = [threading.Thread(target=request_page, args=(client,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.stats.most == {"ona": 4}
    sandbox.settings.latency_ms = 0
    sandbox.stats.reset()
    request_page(client)
    assert sandbox.stats.most == {"ona": 1}
