"""The one way out: what is retried, what is not, how long, how much, and where to."""

import gzip
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import stamina
from pytest_httpserver import HTTPServer
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from sync.errors import (
    CredentialError,
    ErrorCode,
    HostNotAllowed,
    InvalidResponse,
    RequestRejected,
    SyncError,
    VendorUnavailable,
)
from sync.http import Bounds, VendorHTTP
from tests.support.raw_vendor import COMPLETE, HEAD, SECRET, build_client, get_error, pack_spaces, reset, serve_raw
from tests.support.vendor_http import http as http

# What is sent, and what comes back.


def test_the_body_comes_back_and_its_cost_is_counted(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_ordered_request("/base/list", "POST", data=b'{"q":1}').respond_with_data(b'{"a":1}')
    httpserver.expect_ordered_request("/base/users", "GET", query_string="page=2").respond_with_data(b"[]")
    assert http.post("/list", b'{"q":1}') == b'{"a":1}'
    assert http.get("/users", {"page": 2}) == b"[]"
    assert (http.stats.requests, http.stats.retries, http.stats.bytes) == (2, 0, 9)


def test_a_request_says_who_asks_and_with_what(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/list").respond_with_data(b"{}")
    http.post("/list", b"{}")
    headers = httpserver.log[0][0].headers
    assert headers["User-Agent"].startswith("usage-portal/")
    assert headers["Authorization"] == f"APIKey {SECRET}"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (401, {}, ErrorCode.CREDENTIAL_REJECTED),
        (403, {}, ErrorCode.PERMISSION_MISSING),
        (404, {}, ErrorCode.ENDPOINT_NOT_FOUND),
        (422, {}, ErrorCode.REQUEST_REJECTED),
        (429, {}, ErrorCode.RATE_LIMITED),
        (503, {}, ErrorCode.VENDOR_UNAVAILABLE),
        (302, {"Location": "/other"}, ErrorCode.REDIRECTED),
        (307, {"Location": "http://elsewhere.invalid/"}, ErrorCode.REDIRECTED),
    ],
)
def test_every_refusal_has_a_code(
    httpserver: HTTPServer, http: VendorHTTP, status: int, headers: dict[str, str], code: ErrorCode
):
    httpserver.expect_request("/base/").respond_with_data("", status=status, headers=headers)
    with pytest.raises(SyncError) as exc_info:
        http.post("/", b"{}")
    assert exc_info.value.code == code


def test_one_connection_serves_many_requests():
    connections = []

    def respond_three_times(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(3):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
            connection.recv(65536)

    with serve_raw(respond_three_times) as address, build_client(address) as http:
        assert [http.get("/") for _ in range(3)] == [b"{}"] * 3
    assert len(connections) == 1


def test_a_packed_body_is_unpacked(httpserver: HTTPServer, http: VendorHTTP):
    packed = gzip.compress(b'{"a":1}')
    httpserver.expect_request("/base/").respond_with_data(packed, headers={"Content-Encoding": "gzip"})
    assert http.get("/") == b'{"a":1}'
    assert http.stats.bytes == len(packed)


# What is tried again, and what is not.


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(httpserver: HTTPServer, http: VendorHTTP, status: int):
    httpserver.expect_ordered_request("/base/").respond_with_data("busy", status=status)
    httpserver.expect_ordered_request("/base/").respond_with_data("busy", status=status)
    httpserver.expect_ordered_request("/base/").respond_with_data(b"{}")
    assert http.post("/", b"{}") == b"{}"
    assert (http.stats.requests, http.stats.retries) == (3, 2)


def test_a_lasting_failure_ends_with_the_vendors_own_words(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_json({"code": "internal", "message": "no\x00 disk"}, status=500)
    with pytest.raises(VendorUnavailable, match=r"cannot answer now \(HTTP 500: no disk\)\. Gave up after 4 attempts"):
        http.get("/")
    assert http.stats.requests == 4


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_not_tried_again(httpserver: HTTPServer, http: VendorHTTP, status: int):
    httpserver.expect_request("/base/").respond_with_json({"message": "invalid token"}, status=status)
    with pytest.raises(CredentialError, match=rf"credential.*HTTP {status}: invalid token"):
        http.get("/")
    assert http.stats.requests == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "no such\\nfield"}', "HTTP 422: no such field"),
        (b'{"errors": [{"detail": "bad day"}]}', "HTTP 422: bad day"),
        (b'{"error": {"message": "bad day"}}', "HTTP 422: bad day"),
        (b"plain words", "HTTP 422: plain words"),
        (b"<html>long page</html>", r"\(HTTP 422\)"),
        (b"", r"\(HTTP 422\)"),
        (b'{"message": "%b"}' % (b"x" * 5000), "x{300}…"),
    ],
)
def test_a_refused_request_is_not_tried_again_and_says_why(
    httpserver: HTTPServer, http: VendorHTTP, body: bytes, message: str
):
    httpserver.expect_request("/base/").respond_with_data(body, status=422)
    with pytest.raises(RequestRejected, match=message):
        http.get("/")
    assert http.stats.requests == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"nonsense\r\n\r\n",
        COMPLETE[:-3],
        HEAD + b'\r\n{"a": [1, 2',
        HEAD + b'Content-Length: 6\r\n\r\n{"a": ',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n',
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"a": 1}', mtime=0)[:-9],
        HEAD + b"Content-Encoding: gzip\r\n\r\nnot packed",
        reset,
    ],
)
def test_a_broken_answer_is_asked_for_again(broken: bytes | Callable[[socket.socket], None]):
    with serve_raw(broken, COMPLETE) as address, build_client(address) as http:
        assert http.get("/") == b'{"a": 1}'
        assert http.stats.retries == 1


def test_wrong_json_that_is_whole_is_left_to_the_reader():
    with serve_raw(HEAD + b'\r\n{"a": oops}') as address, build_client(address) as http:
        assert http.get("/") == b'{"a": oops}'


# How long.


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Collect how long stamina means to wait, and let it wait."""
    delays: list[float] = []

    def record_delay(details: RetryDetails) -> None:
        delays.append(details.wait_for)

    stamina.set_testing(False)
    set_on_retry_hooks([record_delay])
    yield delays
    set_on_retry_hooks(None)


def test_the_vendor_says_how_long_to_wait(httpserver: HTTPServer, http: VendorHTTP, waits: list[float]):
    headers = {"Retry-After": "1"}
    httpserver.expect_ordered_request("/base/").respond_with_data("", status=429, headers=headers)
    httpserver.expect_ordered_request("/base/").respond_with_data(b"{}")
    assert http.get("/") == b"{}"
    assert 1 <= waits[0] <= 1.5


def test_a_wait_longer_than_a_worker_may_sleep_is_handed_to_the_queue(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_data("", status=429, headers={"Retry-After": "600"})
    with pytest.raises(VendorUnavailable, match="asks for fewer requests") as exc_info:
        http.get("/")
    assert exc_info.value.retry_after == 600
    assert http.stats.requests == 1


def test_a_vendor_that_hangs_is_given_up_in_plain_words():
    message = r"did not answer within 0\.2 seconds\. Gave up after 2"
    with serve_raw(lambda connection: time.sleep(2)) as address, build_client(address, timeout=0.2, attempts=2) as http:
        assert get_error(http, VendorUnavailable, message)


def test_a_body_that_only_drips_is_given_up():
    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    with serve_raw(drip) as address, build_client(address, exchange_seconds=0.3, attempts=2) as http:
        assert get_error(http, VendorUnavailable, "too slowly")


# How much.

PACKED = HEAD + b"Content-Encoding: gzip\r\n\r\n"


@pytest.mark.parametrize(
    "response",
    [
        HEAD + b"Content-Length: 100001\r\n\r\n",
        HEAD + b"\r\n" + b" " * 100_001,
        lambda connection: connection.sendall(PACKED + pack_spaces(50_000_000)),
        lambda connection: connection.sendall(PACKED + pack_spaces(100_001)),
    ],
    ids=["announced", "sent", "packed to a thousandth", "packed, and hardly too large"],
)
def test_an_answer_that_is_too_large_is_refused_unread(response: bytes | Callable[[socket.socket], None]):
    with serve_raw(response) as address, build_client(address) as http:
        with pytest.raises(InvalidResponse, match="larger than the 100,000 bytes"):
            http.get("/")
        assert http.stats.requests == 1


def test_an_answer_packed_in_a_way_nobody_asked_for_is_refused():
    with serve_raw(HEAD + b"Content-Encoding: br\r\n\r\nxx") as address, build_client(address) as http:
        assert get_error(http, InvalidResponse, "packed as 'br'")


# Where to.


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("https://elsewhere.example", "not one of this vendor's hosts"),
        ("https://vendor.example.evil.example", "not one of this vendor's hosts"),
        ("https://vendor.example:8443", "only spoken to over https, on port 443"),
        ("http://vendor.example", "only spoken to over https"),
        ("https://user:word@vendor.example", "must not hold a user name"),
        ("https://vendor.example/?x=1", "must not hold"),
        ("ftp://vendor.example", "must begin with https"),
        ("vendor.example", "must begin with https"),
        ("https://", "must begin with https"),
        ("https://[::1", "not a web address"),
        ("http://127.0.0.1:8001", "names 127.0.0.1 for port 8000, not port 8001"),
        ("https://added.example:8443", "names added.example for https on port 443, not port 8443"),
        ("http://added.example", "names added.example for https on port 443, not port 80"),
        ("http://added.example:443", "names added.example for https on port 443"),
        ("http://[::1]:9001", "names ::1 for port 9000, not port 9001"),
    ],
)
def test_no_request_leaves_for_a_host_that_is_not_allowed(base_url: str, why: str):
    allowed_hosts = ["127.0.0.1:8000", "added.example", "[::1]:9000"]
    with pytest.raises(HostNotAllowed, match=why):
        VendorHTTP(base_url, "x", hosts=["vendor.example"], allowed_hosts=allowed_hosts, bounds=Bounds())


@pytest.mark.parametrize(
    "base_url",
    [
        "https://vendor.example/api",
        "https://VENDOR.example:443/",
        "http://127.0.0.1:8000/x",
        "https://127.0.0.1:8000",
        "https://loop.example",
        "http://[::1]:9000/x",
        "http://any.example:8123",
    ],
)
def test_the_vendors_own_and_the_added_hosts_are_allowed(base_url: str):
    allowed_hosts = ["127.0.0.1:8000", "Loop.example ", "[::1]:9000", "any.example:*"]
    VendorHTTP(base_url, "x", hosts=["vendor.example"], allowed_hosts=allowed_hosts, bounds=Bounds()).close()


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_vendors_address_is_followed(httpserver: HTTPServer, http: VendorHTTP, status: int):
    httpserver.expect_request("/base/old").respond_with_data("", status=status, headers={"Location": "../new"})
    httpserver.expect_request("/new", "POST", data=b'{"q":1}').respond_with_data(b"{}")
    assert http.post("/old", b'{"q":1}') == b"{}"


def test_a_redirect_to_another_host_is_not_followed(httpserver: HTTPServer, http: VendorHTTP):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        target = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        httpserver.expect_request("/base/").respond_with_data("", status=307, headers={"Location": target})
        with pytest.raises(HostNotAllowed, match="redirects to 127"):
            http.get("/")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_redirect_that_would_drop_the_body_or_never_ends_is_refused(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_data("", status=302, headers={"Location": "/base/"})
    with pytest.raises(RequestRejected, match="is the base URL right"):
        http.post("/", b"{}")
    with pytest.raises(RequestRejected, match="more than 3 times"):
        http.get("/")
