"""The test of a connection, against the sandbox and real servers with faults: each has its own message."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sync.http.network import create_tls
from sync.sources import PROBE_BOUNDS, ProbeResult, probe
from sync.vendors import readers
from tests.support.connection_tests import PATHS, create_source
from tests.support.connection_tests import loopback as loopback
from tests.support.sandbox_server import SandboxServer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


def assert_failed(result: ProbeResult, problem: str, advice: str) -> None:
    """Expect a test that failed to say what is wrong and what to do."""
    assert not result.ok
    assert problem in result.message
    assert advice in result.advice


@pytest.mark.parametrize("vendor", PATHS)
def test_a_vendor_that_answers_as_promised_is_told_so(sandbox: SandboxServer, vendor: str) -> None:
    result = probe(create_source(sandbox.url + PATHS[vendor], vendor))

    assert result.ok, result.message
    assert readers()[vendor].title in result.message
    assert result.advice == ""


@pytest.mark.parametrize("vendor", PATHS)
def test_a_wrong_credential_is_told_and_not_repeated(sandbox: SandboxServer, vendor: str) -> None:
    result = probe(create_source(sandbox.url + PATHS[vendor], vendor, credential="not-the-sandboxes"))

    assert_failed(result, "does not accept the credential (HTTP 401", "Make a new key at the vendor")
    assert "not-the-sandboxes" not in result.message + result.advice


@pytest.mark.parametrize("vendor", PATHS)
@pytest.mark.parametrize(
    ("fault", "problem", "advice"),
    [
        ("forbidden", "(HTTP 403: ", "give it that right at the vendor"),
        ("rate_limited", "asks for fewer requests (HTTP 429", "Wait a minute."),
        ("unavailable", "cannot answer now (HTTP 50", "The vendor has a problem of its own"),
        ("wrong_json", "Not ", "Check the base URL of the source"),
        ("reset", "broke off the connection", "Try again in a few minutes"),
        ("redirect", "redirects to ", "Check the base URL of the source"),
    ],
)
def test_what_the_vendor_answers_is_told(
    sandbox: SandboxServer, vendor: str, fault: str, problem: str, advice: str
) -> None:
    sandbox.faults.set(fault)

    result = probe(create_source(sandbox.url + PATHS[vendor], vendor))

    assert_failed(result, "is not a page of runs" if (fault, vendor) == ("wrong_json", "ona") else problem, advice)


def test_a_vendor_that_does_not_answer_is_told(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.sources.PROBE_BOUNDS", type(PROBE_BOUNDS)(timeout=0.5, attempts=1))
    sandbox.faults.set("hang")

    assert_failed(
        probe(create_source(sandbox.url + PATHS["ona"])), "did not answer within 0.5 seconds", "slow or overloaded"
    )


def test_an_address_with_another_path_is_told(sandbox: SandboxServer) -> None:
    assert_failed(
        probe(create_source(f"{sandbox.url}/ona/elsewhere")),
        "HTTP 404",
        "Something answers there, but not the vendor's API",
    )


def test_a_closed_port_is_told(free_port: int) -> None:
    result = probe(create_source(f"http://127.0.0.1:{free_port}"))

    assert_failed(result, "refused the connection: nothing listens there", "Check the host and the port")


def test_a_host_without_an_address_is_told() -> None:
    assert_failed(
        probe(create_source("https://no-such-host.invalid/api")), "could not be resolved (DNS)", "Check the spelling"
    )


def test_a_host_that_is_not_the_vendors_is_told_and_not_asked() -> None:
    result = probe(create_source("https://evil.example"))

    assert_failed(
        result, "evil.example is not one of this vendor's hosts", "Credentials go to the vendor's own hosts only"
    )


def test_a_variable_that_is_not_set_is_told() -> None:
    stored_source = create_source("https://app.ona.com/api", credential="")
    stored_source.credential_env = "PORTAL_VENDOR_NOWHERE_SET"

    assert_failed(
        probe(stored_source), "The environment variable PORTAL_VENDOR_NOWHERE_SET is not set", "Set the variable"
    )


def test_a_server_without_tls_is_told(sandbox: SandboxServer) -> None:
    result = probe(create_source(f"https://127.0.0.1:{urlsplit(sandbox.url).port}/ona/api"))

    assert_failed(result, "No TLS connection to 127.0.0.1", "http:// instead of https://")


# Certificates, of a real server that speaks TLS.

Certificate = Callable[..., Path]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificate]:
    """Make certificates; those of the test's own authority are trusted."""
    now = datetime.now(UTC)
    ca_key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])

    def write_certificate(days: int = 1, address: str = "127.0.0.1", *, by: str = "authority") -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        itself, unknown = by == "itself", by == "unknown"
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(
                name if itself else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "?")]) if unknown else ca_name
            )
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .sign(key if itself else ca_key, hashes.SHA256())
        )
        path = tmp_path / "server.pem"
        plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(plain + certificate.public_bytes(pem))
        return path

    root = (
        x509.CertificateBuilder()
        .subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    (tmp_path / "authority.pem").write_bytes(root.public_bytes(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    create_tls.cache_clear()
    yield write_certificate
    create_tls.cache_clear()


def read_request(connection: ssl.SSLSocket) -> None:
    """Read a whole request: a connection that is closed with a part of it unread is reset, and the answer is lost."""
    with connection.makefile("rb") as stream:
        stream.readline()
        headers = http.client.parse_headers(stream)
        stream.read(int(headers["Content-Length"] or 0))


@contextmanager
def serve_tls(certificate: Path) -> Iterator[str]:
    """Serve TLS and nothing else on 127.0.0.1; yields the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    with context.wrap_socket(connection, server_side=True) as tls_connection:
                        read_request(tls_connection)
                        tls_connection.sendall(
                            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        )
                except OSError:
                    continue

    with create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/api"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("certificate", "problem", "advice"),
    [
        ({"by": "itself"}, "not to be trusted: self-signed", "its authority must be made known"),
        ({"by": "unknown"}, "not to be trusted: signed by nobody whom this machine trusts", "must be made known"),
        ({"days": -1}, "not to be trusted: expired", "must renew its certificate"),
        ({"address": "127.0.0.9"}, "not to be trusted: that of another host", "it answers as somebody else"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted_is_told_with_the_reason(
    authority: Certificate, certificate: dict[str, Any], problem: str, advice: str
) -> None:
    with serve_tls(authority(**certificate)) as address:
        result = probe(create_source(address))

    assert_failed(result, problem, advice)


def test_a_certificate_of_a_known_authority_is_trusted(authority: Certificate) -> None:
    with serve_tls(authority()) as address:
        assert_failed(probe(create_source(address)), "HTTP 404", "not the vendor's API")


def test_a_person_never_waits_as_long_as_a_worker_would() -> None:
    assert PROBE_BOUNDS.total_seconds <= 15
    assert PROBE_BOUNDS.attempts <= 2
