"""The one way out: what is retried, what is not, how long, how much, and where to."""

import gzip
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from stamina.instrumentation import RetryDetails, set_on_retry_hooks
from werkzeug import Request, Response

from sync.errors import (
    CredentialError,
    ErrorCode,
    HostNotAllowed,
    InvalidResponse,
    LeaseLost,
    ReadDeferred,
    RequestRejected,
    SyncError,
    VendorUnavailable,
)
from sync.http import Bounds, VendorHTTP
from tests.support.raw_vendor import HEAD, SECRET, WHOLE, client, failure, raw, reset


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    """Retry at once; the one test of waiting itself switches this off."""
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def http(httpserver: HTTPServer) -> Iterator[VendorHTTP]:
    with client(httpserver.url_for("/base")) as opened:
        yield opened


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
    with pytest.raises(SyncError) as raised:
        http.post("/", b"{}")
    assert raised.value.code == code


def test_one_connection_serves_many_requests():
    accepted = []

    def thrice(connection: socket.socket) -> None:
        accepted.append(connection)
        for _ in range(3):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
            connection.recv(65536)

    with raw(thrice) as address, client(address) as http:
        assert [http.get("/") for _ in range(3)] == [b"{}"] * 3
    assert len(accepted) == 1


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
    ("answer", "said"),
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
    httpserver: HTTPServer, http: VendorHTTP, answer: bytes, said: str
):
    httpserver.expect_request("/base/").respond_with_data(answer, status=422)
    with pytest.raises(RequestRejected, match=said):
        http.get("/")
    assert http.stats.requests == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"nonsense\r\n\r\n",
        WHOLE[:-3],
        HEAD + b'\r\n{"a": [1, 2',
        HEAD + b'Content-Length: 6\r\n\r\n{"a": ',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n',
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"a": 1}', mtime=0)[:-9],
        HEAD + b"Content-Encoding: gzip\r\n\r\nnot packed",
        reset,
    ],
)
def test_a_broken_answer_is_asked_for_again(broken: bytes | Callable[[socket.socket], None]):
    with raw(broken, WHOLE) as address, client(address) as http:
        assert http.get("/") == b'{"a": 1}'
        assert http.stats.retries == 1


def test_wrong_json_that_is_whole_is_left_to_the_reader():
    with raw(HEAD + b'\r\n{"a": oops}') as address, client(address) as http:
        assert http.get("/") == b'{"a": oops}'


# How long.


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Collect how long stamina means to wait, and let it wait."""
    seen: list[float] = []

    def note(details: RetryDetails) -> None:
        seen.append(details.wait_for)

    stamina.set_testing(False)
    set_on_retry_hooks([note])
    yield seen
    set_on_retry_hooks(None)


def test_the_vendor_says_how_long_to_wait(httpserver: HTTPServer, http: VendorHTTP, waits: list[float]):
    asked = {"Retry-After": "1"}
    httpserver.expect_ordered_request("/base/").respond_with_data("", status=429, headers=asked)
    httpserver.expect_ordered_request("/base/").respond_with_data(b"{}")
    assert http.get("/") == b"{}"
    assert 1 <= waits[0] <= 1.5


def test_a_wait_longer_than_a_worker_may_sleep_is_handed_to_the_queue(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_data("", status=429, headers={"Retry-After": "600"})
    with pytest.raises(VendorUnavailable, match="asks for fewer requests") as failed:
        http.get("/")
    assert failed.value.retry_after == 600
    assert http.stats.requests == 1


def test_a_vendor_that_hangs_is_given_up_in_plain_words():
    said = r"did not answer within 0\.2 seconds\. Gave up after 2"
    with raw(lambda connection: time.sleep(2)) as address, client(address, timeout=0.2, attempts=2) as http:
        assert failure(http, VendorUnavailable, said)


def test_a_body_that_only_drips_is_given_up():
    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    with raw(drip) as address, client(address, exchange_seconds=0.3, attempts=2) as http:
        assert failure(http, VendorUnavailable, "too slowly")


# How much.


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 100001\r\n\r\n",
        HEAD + b"\r\n" + b" " * 100_001,
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 100_000_000, 9, mtime=0),
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 100_001, mtime=0),
    ],
)
def test_an_answer_that_is_too_large_is_refused_unread(answer: bytes):
    with raw(answer) as address, client(address) as http:
        with pytest.raises(InvalidResponse, match="larger than the 100,000 bytes"):
            http.get("/")
        assert http.stats.requests == 1


def test_an_answer_packed_in_a_way_nobody_asked_for_is_refused():
    with raw(HEAD + b"Content-Encoding: br\r\n\r\nxx") as address, client(address) as http:
        assert failure(http, InvalidResponse, "packed as 'br'")


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
    added = ["127.0.0.1:8000", "added.example", "[::1]:9000"]
    with pytest.raises(HostNotAllowed, match=why):
        VendorHTTP(base_url, "x", hosts=["vendor.example"], allowed_hosts=added, bounds=Bounds())


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
    added = ["127.0.0.1:8000", "Loop.example ", "[::1]:9000", "any.example:*"]
    VendorHTTP(base_url, "x", hosts=["vendor.example"], allowed_hosts=added, bounds=Bounds()).close()


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_vendors_address_is_followed(httpserver: HTTPServer, http: VendorHTTP, status: int):
    httpserver.expect_request("/base/old").respond_with_data("", status=status, headers={"Location": "../new"})
    httpserver.expect_request("/new", "POST", data=b'{"q":1}').respond_with_data(b"{}")
    assert http.post("/old", b'{"q":1}') == b"{}"


def test_a_redirect_to_another_host_is_not_followed(httpserver: HTTPServer, http: VendorHTTP):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        target = f"http://127.0.0.1:{other.getsockname()[1]}/"
        httpserver.expect_request("/base/").respond_with_data("", status=307, headers={"Location": target})
        with pytest.raises(HostNotAllowed, match="redirects to 127"):
            http.get("/")
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_redirect_that_would_drop_the_body_or_never_ends_is_refused(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_data("", status=302, headers={"Location": "/base/"})
    with pytest.raises(RequestRejected, match="is the base URL right"):
        http.post("/", b"{}")
    with pytest.raises(RequestRejected, match="more than 3 times"):
        http.get("/")


# Why there was no answer, in words for people.


def test_a_refused_connection_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client(f"http://127.0.0.1:{port}", attempts=1) as http:
        assert failure(http, VendorUnavailable, rf"127\.0\.0\.1:{port} refused the connection")


def test_an_unknown_name_is_named():
    bounds = Bounds(attempts=1)
    with VendorHTTP("https://nowhere.invalid", "x", hosts=["nowhere.invalid"], bounds=bounds) as http:
        assert failure(http, VendorUnavailable, r"name nowhere\.invalid could not be resolved")


def test_a_server_without_tls_is_named():
    with (
        raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address,
        client(address.replace("http:", "https:"), attempts=1) as http,
    ):
        assert failure(http, VendorUnavailable, "No TLS connection")


@pytest.fixture
def self_signed(tmp_path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path = tmp_path / "server.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_certificate_that_nobody_vouches_for_is_named_at_once(self_signed: ssl.SSLContext):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept_tls, args=(listener, self_signed))
        thread.start()
        with client(f"https://127.0.0.1:{listener.getsockname()[1]}") as http:
            assert failure(http, VendorUnavailable, "certificate of .* is not to be trusted: self-signed")
            assert http.stats.requests == 1
        thread.join()


def _accept_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    try:
        context.wrap_socket(connection, server_side=True)
    except OSError:
        connection.close()


# What others decide passes through.


def test_a_lost_lease_ends_the_read_before_the_next_request(httpserver: HTTPServer):
    def renew() -> None:
        if reading.stats.requests == 2:
            raise LeaseLost("taken over")

    httpserver.expect_request("/").respond_with_data("{}")
    with client(httpserver.url_for(""), renew) as reading:
        assert [reading.get("/"), reading.get("/")] == [b"{}"] * 2
        failure(reading, LeaseLost, "taken over")
    assert reading.stats.requests == 2


def test_a_used_up_request_rate_puts_the_read_off(httpserver: HTTPServer):
    class UsedUp:
        def acquire(self) -> None:
            raise ReadDeferred("later", retry_after=40)

    http = VendorHTTP(
        httpserver.url_for(""), "x", hosts=[], allowed_hosts=["localhost:*"], bounds=Bounds(), limiter=UsedUp()
    )
    with http, pytest.raises(ReadDeferred):
        http.get("/")
    assert not httpserver.log


# In the background.


def test_requests_in_the_background_run_side_by_side():
    both = threading.Barrier(2, timeout=60)

    def together(request: Request) -> Response:
        both.wait()
        return Response(request.get_data())

    with HTTPServer(threaded=True) as server, client(server.url_for("")) as http:
        server.expect_request("/").respond_with_handler(together)
        waiting = [http.post_ahead("/", body) for body in (b"[1]", b"[2]")]
        assert [answer() for answer in waiting] == [b"[1]", b"[2]"]
        assert http.stats.requests == 2


def test_a_failure_in_the_background_is_raised_where_it_is_waited_for(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_json({"message": "who?"}, status=401)
    answer = http.post_ahead("/", b"{}")
    with pytest.raises(CredentialError, match=r"who\?"):
        answer()


def test_a_lease_is_renewed_by_the_thread_that_reads_while_it_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sync.http.client.RENEW_SECONDS", 0.05)
    renewed = []

    def renew() -> None:
        renewed.append(threading.get_ident())
        if len(renewed) == 4:
            raise LeaseLost("taken over")

    with raw(lambda connection: time.sleep(1)) as address, client(address) as http:
        http._before_request = renew
        answer = http.post_ahead("/", b"{}")
        with pytest.raises(LeaseLost):
            answer()
    assert set(renewed) == {threading.get_ident()}


# The credential.


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 500])
def test_the_credential_is_in_no_log_and_no_error_even_if_the_vendor_repeats_it(
    httpserver: HTTPServer, http: VendorHTTP, status: int, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    for noisy in ("httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, noisy)
    echo = f"you sent APIKey {SECRET}, 1234%24s3cr3t%2Fkey and {SECRET.upper()}"
    target = {"Location": "http://s3cr3t.example/"}
    httpserver.expect_request("/base/").respond_with_json({"message": echo}, status=status, headers=target)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - each status has its own, and all are looked at
        raise http.build_invalid_response(f"told: {echo}", http.get("/"))
    shown = [repr(http), repr(vars(http)["_secret"]), caplog.text, *map(repr, vars(failed.value).values())]
    shown += [str(failed.value), repr(failed.value)]
    assert "s3cr3t/key" not in "".join(shown).lower()
    assert "s3cr3t%2fkey" not in "".join(shown).lower()


def test_a_credential_that_no_header_can_carry_is_refused_without_showing_it():
    with pytest.raises(CredentialError) as refused:
        VendorHTTP("https://vendor.example", "Bearer a\nb", hosts=["vendor.example"], bounds=Bounds())
    assert "a\nb" not in str(refused.value)


def test_an_excerpt_of_a_wrong_answer_fits_into_the_database(http: VendorHTTP):
    assert "\x00" not in http.build_invalid_response("odd", b"\x00\xff" * 5000).payload


def test_the_bounds_are_those_of_the_settings(settings):
    settings.PORTAL_HTTP_TIMEOUT_SECONDS = 7
    settings.PORTAL_HTTP_MAX_BYTES = 8
    settings.PORTAL_HTTP_ATTEMPTS = 9
    bounds = Bounds.from_settings()
    assert (bounds.timeout, bounds.max_bytes, bounds.attempts) == (7, 8, 9)
