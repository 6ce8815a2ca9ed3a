"""One deadline over a whole exchange: who sends a byte now and then holds no worker, who sends much may go on."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpcore2
import pytest
import stamina

from sync.errors import LeaseLost, VendorUnavailable
from sync.http import Bounds, VendorHTTP
from sync.http.background import BackgroundThreads
from sync.http.deadline import DEADLINE, Deadline, DeadlineError
from sync.http.network import DeadlineStream
from tests.support.raw_vendor import COMPLETE, HEAD, build_client, get_error, serve_raw, trickle

# A bound on time in these tests has ten times the headroom and more: without a deadline they would last for ever.
SOON = 10.0


def drip(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Return a handler that sends `head`, then `piece` every 50 ms for ever."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        trickle(connection, piece, 0.05)

    return serve


TRICKLING = {
    "header lines": drip(HEAD, b"X-Wait: a little\r\n"),
    "a header letter by letter": drip(HEAD + b"X-Wait: ", b"a"),
    "a status line letter by letter": drip(b"HTTP/1.1 200 ", b"O"),
    "interim answers": drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a body byte by byte": drip(HEAD + b"Content-Length: 90000\r\n\r\n", b" "),
    "chunks of one byte": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "an extension of a chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=", b"a"),
    "packed, byte by byte": drip(HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\0", b"n"),
}


@pytest.mark.parametrize("case", TRICKLING)
def test_an_answer_that_trickles_ends_at_the_deadline(case: str):
    started_at = time.monotonic()
    with serve_raw(TRICKLING[case]) as address:
        with build_client(address, exchange_seconds=0.5, attempts=2) as http:
            get_error(
                http, VendorUnavailable, r"too slowly: it was not there after 0\.5 seconds\. Gave up after 2 attempts"
            )
    assert http.stats.requests == 2
    assert time.monotonic() - started_at < SOON


def test_a_thread_that_had_to_wait_names_the_deadline_all_the_same(monkeypatch: pytest.MonkeyPatch):
    now, calls = 0.0, 0

    def read_clock() -> float:
        nonlocal now, calls
        calls += 1
        now += 1.0 if calls == 3 else 0.001  # between the two instants that the first wait is made of
        return now

    class Silence(httpcore2.NetworkStream):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            nonlocal now
            now += timeout or 0
            raise httpcore2.ReadTimeout

    monkeypatch.setattr("sync.http.deadline.monotonic", read_clock)
    monkeypatch.setattr("sync.http.network.monotonic", read_clock)
    token = DEADLINE.set(Deadline(Bounds(exchange_seconds=10.0), threading.Event()))
    try:
        with pytest.raises(DeadlineError):
            DeadlineStream(Silence()).read(1, timeout=60.0)
    finally:
        DEADLINE.reset(token)


def test_a_tls_handshake_that_never_ends_is_given_up():
    started_at = time.monotonic()
    with serve_raw(drip(b"\x16\x03\x03\x40\x00", b"\0")) as address:
        with build_client(address.replace("http:", "https:"), exchange_seconds=0.5, attempts=1) as http:
            get_error(http, VendorUnavailable, "too slowly|in time|No TLS")
    assert time.monotonic() - started_at < SOON


def test_a_name_that_is_never_resolved_is_given_up(monkeypatch: pytest.MonkeyPatch):
    never = threading.Event()
    # A resolver that hangs cannot be had here, and Python cannot interrupt one.
    monkeypatch.setattr("sync.http.network.socket.getaddrinfo", lambda *_, **__: never.wait(60))
    started_at = time.monotonic()
    with build_client("http://localhost:9", exchange_seconds=0.5, attempts=1) as http:
        get_error(http, VendorUnavailable, "could not be reached in time")
    never.set()
    assert time.monotonic() - started_at < SOON


def test_a_name_that_no_resolver_takes_is_named():
    with VendorHTTP(
        "https://" + "a" * 70 + ".example", "x", hosts=["a" * 70 + ".example"], bounds=Bounds(attempts=1)
    ) as http:
        get_error(http, VendorUnavailable, "could not be resolved|failed")


def test_a_body_that_moves_goes_on_after_the_deadline():
    body = b'{"records": [' + b" " * 90_000 + b"]}"

    def slowly(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 1500):
            connection.sendall(body[start : start + 1500])
            time.sleep(0.03)

    started_at = time.monotonic()
    with serve_raw(slowly) as address:
        with build_client(address, exchange_seconds=0.5, progress_bytes=3000, progress_seconds=1.0) as http:
            assert http.get("/") == body
    assert http.stats.requests == 1
    assert time.monotonic() - started_at > 1.5  # It did go on: three times the deadline.


def test_a_body_that_stops_moving_is_given_up():
    def stall(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 90000\r\n\r\n" + b" " * 20_000)
        trickle(connection, b" ", 0.05)

    started_at = time.monotonic()
    with serve_raw(stall) as address:
        with build_client(address, exchange_seconds=0.3, progress_bytes=3000, progress_seconds=0.5, attempts=1) as http:
            get_error(http, VendorUnavailable, "too slowly")
    assert time.monotonic() - started_at < SOON


# The lease.


def lose_lease_after(calls: int, thread_ids: list[int]) -> Callable[[], None]:
    """Return a function that renews a lease `calls` times and then loses it; it appends its threads to `thread_ids`."""

    def renew() -> None:
        thread_ids.append(threading.get_ident())
        if len(thread_ids) > calls:
            raise LeaseLost("taken over")

    return renew


@pytest.fixture
def _quick_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.http.client.RENEW_SECONDS", 0.05)


@pytest.mark.usefixtures("_quick_renewal")
@pytest.mark.parametrize("case", [*TRICKLING, "nothing at all"])
def test_a_worker_that_lost_its_lease_stops_reading(case: str):
    ended = threading.Event()
    serve = TRICKLING.get(case, lambda connection: connection.recv(1))

    def watch(connection: socket.socket) -> None:
        try:
            serve(connection)
        finally:
            ended.set()

    thread_ids: list[int] = []
    with serve_raw(watch) as address:
        with build_client(address, lose_lease_after(3, thread_ids), timeout=60.0) as http:
            get_error(http, LeaseLost, "taken over")
        assert ended.wait(SOON), "the connection is still read from"
    assert set(thread_ids) == {threading.get_ident()}
    assert http.stats.requests == 1


@pytest.mark.usefixtures("_quick_renewal")
def test_a_lease_is_renewed_while_a_retry_waits():
    stamina.set_testing(False)
    renewals: list[float] = []
    busy = b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\n\r\n"
    with serve_raw(busy, COMPLETE) as address, build_client(address, lambda: renewals.append(time.monotonic())) as http:
        assert http.get("/") == b'{"a": 1}'
    assert len(renewals) > 5


@pytest.mark.usefixtures("_quick_renewal")
def test_a_lost_lease_ends_a_wait_and_what_was_to_follow():
    stamina.set_testing(False)
    thread_ids: list[int] = []
    started_at = time.monotonic()
    with serve_raw(b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\r\n", COMPLETE) as address:
        with build_client(address, lose_lease_after(3, thread_ids)) as http:
            get_error(http, LeaseLost, "taken over")
        assert time.monotonic() - started_at < 2
        time.sleep(3)
    assert http.stats.requests == 1


@pytest.mark.usefixtures("_quick_renewal")
def test_requests_in_the_background_end_with_the_read():
    started, ended = threading.Semaphore(0), threading.Semaphore(0)

    def hang(connection: socket.socket) -> None:
        started.release()
        threading.Thread(target=wait_for_end, args=(connection.dup(),), daemon=True).start()

    def wait_for_end(connection: socket.socket) -> None:
        # The rest of the request may come in a packet of its own.
        with connection, suppress(ConnectionError):
            while connection.recv(65536):
                pass
        ended.release()

    with serve_raw(hang) as address:
        with build_client(address, timeout=60.0) as http:
            for _ in range(6):
                http.post_ahead("/", b"{}")
            assert all(started.acquire(timeout=SOON) for _ in range(4))
        assert all(ended.acquire(timeout=SOON) for _ in range(4))
    assert http.stats.requests == 4


def test_what_still_waits_in_the_background_does_not_hold_up_the_end_of_the_process():
    threads = BackgroundThreads(2)
    threads.submit(time.sleep, 60)
    started = [thread for thread in threading.enumerate() if thread.name == "vendor-http"]
    assert started
    assert all(thread.daemon for thread in started)


def test_background_threads_are_few_and_run_everything():
    threads = BackgroundThreads(2)
    outcomes = [threads.submit(threading.get_ident) for _ in range(50)]
    threads.close()
    assert len({outcome.result(SOON) for outcome in outcomes}) <= 2
    with pytest.raises(RuntimeError):
        threads.submit(time.sleep, 0)
