"""Why there was no answer, what others decide meanwhile, requests in the background, and the credential."""

import logging
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.errors import (
    CredentialError,
    LeaseLost,
    ReadDeferred,
    VendorUnavailable,
)
from sync.http import Bounds, VendorHTTP
from tests.support.raw_vendor import SECRET, build_client, get_error, serve_raw
from tests.support.vendor_http import http as http


def test_a_refused_connection_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with build_client(f"http://127.0.0.1:{port}", attempts=1) as http:
        assert get_error(http, VendorUnavailable, rf"127\.0\.0\.1:{port} refused the connection")


def test_an_unknown_name_is_named():
    bounds = Bounds(attempts=1)
    with VendorHTTP("https://nowhere.invalid", "x", hosts=["nowhere.invalid"], bounds=bounds) as http:
        assert get_error(http, VendorUnavailable, r"name nowhere\.invalid could not be resolved")


def test_a_server_without_tls_is_named():
    with (
        serve_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address,
        build_client(address.replace("http:", "https:"), attempts=1) as http,
    ):
        assert get_error(http, VendorUnavailable, "No TLS connection")


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
        with build_client(f"https://127.0.0.1:{listener.getsockname()[1]}") as http:
            assert get_error(http, VendorUnavailable, "certificate of .* is not to be trusted: self-signed")
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
    with build_client(httpserver.url_for(""), renew) as reading:
        assert [reading.get("/"), reading.get("/")] == [b"{}"] * 2
        get_error(reading, LeaseLost, "taken over")
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
    barrier = threading.Barrier(2, timeout=60)

    def respond_together(request: Request) -> Response:
        barrier.wait()
        return Response(request.get_data())

    with HTTPServer(threaded=True) as server, build_client(server.url_for("")) as http:
        server.expect_request("/").respond_with_handler(respond_together)
        pending = [http.post_ahead("/", body) for body in (b"[1]", b"[2]")]
        assert [get_body() for get_body in pending] == [b"[1]", b"[2]"]
        assert http.stats.requests == 2


def test_a_failure_in_the_background_is_raised_where_it_is_waited_for(httpserver: HTTPServer, http: VendorHTTP):
    httpserver.expect_request("/base/").respond_with_json({"message": "who?"}, status=401)
    get_body = http.post_ahead("/", b"{}")
    with pytest.raises(CredentialError, match=r"who\?"):
        get_body()


def test_a_lease_is_renewed_by_the_thread_that_reads_while_it_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sync.http.client.RENEW_SECONDS", 0.05)
    thread_ids = []

    def renew() -> None:
        thread_ids.append(threading.get_ident())
        if len(thread_ids) == 4:
            raise LeaseLost("taken over")

    with serve_raw(lambda connection: time.sleep(1)) as address, build_client(address) as http:
        http._before_request = renew
        get_body = http.post_ahead("/", b"{}")
        with pytest.raises(LeaseLost):
            get_body()
    assert set(thread_ids) == {threading.get_ident()}


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
    with pytest.raises(Exception) as exc_info:  # noqa: PT011 - each status has its own, and all are looked at
        raise http.build_invalid_response(f"told: {echo}", http.get("/"))
    texts = [repr(http), repr(vars(http)["_secret"]), caplog.text, *map(repr, vars(exc_info.value).values())]
    texts += [str(exc_info.value), repr(exc_info.value)]
    assert "s3cr3t/key" not in "".join(texts).lower()
    assert "s3cr3t%2fkey" not in "".join(texts).lower()


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
