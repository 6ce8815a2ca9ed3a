"""The status of a response decides before its body, and a body is decompressed in every accepted encoding."""

import gzip
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from sync.errors import CredentialError, HostNotAllowed, InvalidResponse, RequestRejected, SyncError, VendorUnavailable
from tests.support.raw_vendor import COMPLETE, HEAD, build_client, get_error, pack_spaces, reset, serve_raw, trickle

GZIP = HEAD + b"Content-Encoding: gzip\r\n"
RECORDS = b'{"records": [' + b",".join(b'{"id": %d}' % number for number in range(10_000)) + b"]}"


Body = bytes | Callable[[socket.socket], None]

BROKEN: dict[str, tuple[bytes, Body]] = {
    "gzip without a body": (b"Content-Encoding: gzip\r\nContent-Length: 0\r\n", b""),
    "gzip that ends with the connection": (b"Content-Encoding: gzip\r\n", b""),
    "gzip that is none": (b"Content-Encoding: gzip\r\n", b"no gzip at all"),
    "gzip cut off": (b"Content-Encoding: gzip\r\n", gzip.compress(b'{"message": "who?"}')[:-9]),
    "unknown packing": (b"Content-Encoding: zstd\r\n", b"(\xb5/\xfd"),
    "two packings": (b"Content-Encoding: gzip, br\r\n", b"xx"),
    "shorter than promised": (b"Content-Length: 500\r\n", b'{"message": "wh'),
    "chunks cut off": (b"Transfer-Encoding: chunked\r\n", b'ff\r\n{"message'),
    "chunks that are none": (b"Transfer-Encoding: chunked\r\n", b"oops\r\n"),
    "too large": (b"", b" " * 1_000_000),
    "a bomb": (b"Content-Encoding: gzip\r\n", lambda connection: connection.sendall(pack_spaces(10_000_000))),
    "connection reset": (b"Content-Length: 500\r\n", reset),
    "trickling": (b"Content-Length: 50000\r\n", lambda connection: trickle(connection, b" ", 0.02)),
    "silent": (b"Content-Length: 500\r\n", lambda connection: time.sleep(1)),
}


def build_response(status: bytes, headers: bytes, body: Body) -> Body:
    """Return an answer that ends its connection."""
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + headers + b"\r\n"
    if isinstance(body, bytes):
        return head + body

    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        body(connection)

    return serve


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (b"401 Unauthorized", CredentialError),
        (b"403 Forbidden", CredentialError),
        (b"422 Odd", RequestRejected),
        (b"429 Too Many", VendorUnavailable),
        (b"503 Busy", VendorUnavailable),
    ],
)
def test_the_status_of_an_error_decides_whatever_its_body_is(broken: str, status: bytes, kind: type[SyncError]):
    headers, body = BROKEN[broken]
    with serve_raw(build_response(status, b"Retry-After: 77\r\n" + headers, body)) as address:
        with build_client(address, error_seconds=0.3) as http:
            error = get_error(http, kind, f"HTTP {status[:3].decode()}")
    assert http.stats.requests == 1
    assert error.retry_after == (77 if kind is VendorUnavailable else None)


def test_a_packed_error_gives_its_reason():
    packed = gzip.compress(b'{"message": "key expired"}')
    for name in (b"gzip", b"X-GZIP", b" gzip "):
        with (
            serve_raw(build_response(b"401 No", b"Content-Encoding: " + name + b"\r\n", packed)) as address,
            build_client(address) as http,
        ):
            get_error(http, CredentialError, "HTTP 401: key expired")


@pytest.mark.parametrize("broken", BROKEN)
def test_a_redirect_is_judged_by_its_target_whatever_its_body_is(broken: str):
    headers, body = BROKEN[broken]
    redirect_away = build_response(b"307 Away", b"Location: http://elsewhere.example/\r\n" + headers, body)
    with serve_raw(redirect_away) as address, build_client(address) as http:
        get_error(http, HostNotAllowed, "redirects to elsewhere.example")
    redirect_here = build_response(b"307 Here", b"Location: /new\r\n" + headers, body)
    with serve_raw(redirect_here, COMPLETE) as address, build_client(address) as http:
        assert http.get("/") == b'{"a": 1}'


def test_a_connection_is_used_again_after_an_error_that_was_read_to_its_end():
    connections = []

    def refuse_twice(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(2):
            connection.sendall(b"HTTP/1.1 422 Odd\r\nContent-Length: 2\r\n\r\n{}")
            connection.recv(65536)

    with serve_raw(refuse_twice) as address, build_client(address) as http:
        for _ in range(2):
            get_error(http, RequestRejected, "HTTP 422")
    assert len(connections) == 1


# Bodies of successes.


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(RECORDS),
        gzip.compress(RECORDS[:70_000]) + gzip.compress(RECORDS[70_000:]),
        b"".join(gzip.compress(RECORDS[start : start + 1000]) for start in range(0, len(RECORDS), 1000)),
        gzip.compress(b"") + gzip.compress(RECORDS) + gzip.compress(b""),
        gzip.compress(RECORDS) + b"\0" * 1000,
        gzip.compress(RECORDS[:7]) + b"\0" * 20_000 + gzip.compress(RECORDS[7:]),
    ],
    ids=["one member", "two members", "many members", "empty members", "zeros after", "zeros between"],
)
@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"GZip"])
def test_every_member_of_a_packed_body_is_read(packed: bytes, name: bytes):
    with serve_raw(HEAD + b"Content-Encoding: " + name + b"\r\n\r\n" + packed) as address:
        with build_client(address, max_bytes=1_000_000) as http:
            assert http.get("/") == RECORDS
    assert http.stats.bytes == len(packed)


def test_members_that_arrive_byte_by_byte_are_read():
    packed = gzip.compress(b'{"a":') + b"\0" + gzip.compress(b"1}")

    def drip(connection: socket.socket) -> None:
        connection.sendall(GZIP + b"\r\n")
        for byte in packed:
            connection.sendall(bytes([byte]))

    with serve_raw(drip) as address, build_client(address) as http:
        assert http.get("/") == b'{"a":1}'


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b'{"a": ') + gzip.compress(b"1}")[:-9],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
        zlib.compress(b"{}"),
    ],
    ids=["nothing", "no end", "second member cut off", "garbage after", "wrong checksum", "another packing"],
)
def test_a_packed_success_that_is_not_all_there_is_asked_for_again(packed: bytes):
    with serve_raw(GZIP + b"\r\n" + packed, COMPLETE) as address, build_client(address) as http:
        assert http.get("/") == b'{"a": 1}'
        assert http.stats.retries == 1


@pytest.mark.parametrize(
    "packed",
    [
        b"".join([gzip.compress(b" " * 50_000)] * 3),
        gzip.compress(b"") * 2000 + gzip.compress(b" " * 100_001),
        gzip.compress(b"{}") + gzip.compress(b" " * 100_000_000, 9),
    ],
    ids=["three members", "many empty members", "small member and bomb"],
)
def test_members_are_too_large_together(packed: bytes):
    with serve_raw(GZIP + b"\r\n" + packed) as address, build_client(address) as http:
        get_error(http, InvalidResponse, "larger than the 100,000 bytes")
    assert http.stats.requests == 1


@pytest.mark.parametrize("name", ["br", "zstd", "deflate", "gzip, gzip", "x-unknown" * 100])
def test_another_packing_is_refused_by_name(name: str):
    with (
        serve_raw(HEAD + f"Content-Encoding: {name}\r\n\r\n".encode() + b"xx") as address,
        build_client(address) as http,
    ):
        get_error(http, InvalidResponse, f"packed as '{name[:40]}'")


@pytest.mark.parametrize(
    "length", [b"many", b"-1", b"8, 9", b"8.0", b"1e3", b"9" * 25, b"9" * 5000, b"\xb2", b"+8", b"0x8", b""]
)
def test_a_length_that_is_none_is_a_failure_of_the_vendor(length: bytes):
    with serve_raw(HEAD + b"Content-Length: " + length + b'\r\n\r\n{"a": 1}') as address, build_client(address) as http:
        with pytest.raises((VendorUnavailable, InvalidResponse)):
            http.get("/")


@pytest.mark.parametrize("length", [b"7", b"9", b"8, 8"])
def test_a_length_that_lies_gives_no_part_of_an_answer(length: bytes):
    with (
        serve_raw(HEAD + b"Content-Length: " + length + b'\r\n\r\n{"a": 1}', COMPLETE) as address,
        build_client(address) as http,
    ):
        assert http.get("/") == b'{"a": 1}'
