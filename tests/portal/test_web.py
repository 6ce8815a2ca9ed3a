"""The web server: strangers do not hold it up, it stops when asked to, and it replaces what died."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection, transaction

from portal.accounts.models import create_token
from portal.environment import BASE_DIR
from portal.web import STOP_SECONDS
from tests.benchmarks.cost import children
from tests.support.api_clients import API, hold_port, is_ready
from tests.support.exports import create_many_runs
from tests.support.processes import WAIT_SECONDS, PortalProcess, build_environment, portal_process, wait_for
from tests.support.trickle import trickle_connections

# Another process has to see what a test stores.
pytestmark = pytest.mark.django_db(transaction=True)
# How long a load balancer waits at most.
LIVE_SECONDS = 1
PAGE = f"{API}/environment-usage/?page_size=1000"
# Ten times what a worker is given to stop: a server that does not hear the signal never ends.
END_SECONDS = 10 * STOP_SECONDS
# What the server has said: before granian listens for signals, and before its workers do.
MOMENTS = ("", "Starting granian", "Spawning worker-1")


@pytest.fixture
def secret() -> str:
    """A token's secret, and records behind it."""
    create_many_runs(2000)
    return create_token("test")[1]


def get(port: int, path: str, secret: str = "", seconds: float = 30) -> tuple[int, bytes]:
    """Return status and body of a GET."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def assert_serves(port: int, secret: str) -> None:
    """Ask for a page of the API and for the health of the process, several times while others trickle."""
    for _ in range(4):
        assert get(port, "/health/live", seconds=LIVE_SECONDS)[0] == 200
        assert get(port, PAGE, secret)[0] == 200
        time.sleep(0.5)


SCRIPT = "/static/vendor/chartjs/chart.umd.min.js"
HEAD = b"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = HEAD + (
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n"
    b"Cookie: csrftoken=abcdefghijklmnopqrstuvwxyzabcdef; sessionid=abcdefghijklmnopqrstuvwxyzabcdef\r\n\r\n"
)


def test_strangers_who_read_a_page_a_byte_a_second_do_not_hold_the_portal_up(port: int, secret: str) -> None:
    # Somebody else: one person has a few requests answered at once.
    stranger = create_token("stranger")[1]
    head = f"GET {PAGE} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stranger}\r\n\r\n"
    with trickle_connections(port, head.encode(), read=True):
        assert_serves(port, secret)


def test_strangers_of_every_sort_at_once_do_not_hold_the_portal_up_nor_a_database_connection(
    port: int, secret: str
) -> None:
    # Each sort alone fills fewer threads than the server has.
    head = f"GET {SCRIPT} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with (
        trickle_connections(port, BODY, send=b"a"),
        trickle_connections(port, HEAD + b"X-Slow: ", send=b"a"),
        trickle_connections(port, head, read=True),
    ):
        # Had each stranger a connection to the database, the pool would have none left.
        assert_serves(port, secret)


def open_connections() -> int:
    """Return how many connections other processes have to this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0]) - 1


def test_a_body_that_is_too_large_is_refused_unread(port: int) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: 99999999\r\n\r\nabc"
    for path, kind in ((b"/accounts/login/", b"multipart/form-data; boundary=x"), (b"/api/v1/sync/", b"text/csv")):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(head % (path, kind))
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def web(port: int) -> list[str]:
    return ["-m", "portal.web", "--port", str(port)]


def measure_end(process: PortalProcess) -> float:
    """Ask a server to stop; returns how long it took, with nothing of it left."""
    started_at = time.monotonic()
    process.terminate()
    process.wait(END_SECONDS)
    seconds = time.monotonic() - started_at
    wait_for(lambda: not list_processes(process.pid), "the workers to end")
    return seconds


def list_processes(leader: int) -> list[int]:
    """Return the living processes of a session."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            pids.append(int(stat.parent.name))
    return pids


def test_sigterm_ends_the_server_at_any_moment_of_its_start() -> None:
    for moment in MOMENTS:
        with hold_port() as port, portal_process(web(port)) as process:
            time.sleep(0.05)
            wait_for(lambda: moment in process.output(), moment)  # noqa: B023 (called at once)
            assert measure_end(process) < END_SECONDS


def test_sigterm_ends_the_server_while_strangers_trickle() -> None:
    with hold_port() as port, portal_process(web(port)) as process:
        wait_for(lambda: is_ready(port), "the server to answer")
        with trickle_connections(port, BODY, send=b"a"), trickle_connections(port, HEAD + b"X-Slow: ", send=b"a"):
            time.sleep(1)
            assert measure_end(process) < END_SECONDS


def test_a_taken_port_is_refused_and_the_first_server_keeps_it(port: int) -> None:
    command = [sys.executable, *web(port)]
    second = subprocess.run(
        command, cwd=BASE_DIR, env=build_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert second.stderr == f"Port {port} of 127.0.0.1 is taken; choose another with --port or --host.\n"
    assert get(port, "/health/live")[0] == 200


def test_an_address_of_another_machine_is_refused_by_its_name() -> None:
    command = [sys.executable, "-m", "portal.web", "--host", "192.0.2.1"]
    result = subprocess.run(command, cwd=BASE_DIR, env=build_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Port 8000 of 192.0.2.1 cannot be used" in result.stderr


def test_a_worker_that_is_killed_is_replaced_and_all_end_with_a_server_that_is_killed() -> None:
    with hold_port() as port, portal_process(web(port)) as process:
        wait_for(lambda: is_ready(port), "the server to answer")
        before = children(process.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len({*children(process.pid)} - {before[0]}) == 2, "another worker")
        wait_for(lambda: is_ready(port), "the server to answer")
        assert process.poll() is None
        process.kill()
        process.wait()
        wait_for(lambda: not list_processes(process.pid), "the workers to end")


# A process that makes a server, which makes a worker and is gone before that has started.
ORPHAN = f"""
import os, time
server = os.fork()
if server == 0:
    server = os.getpid()
    if os.fork() == 0:
        time.sleep(1)
        from portal.web import load_application
        load_application(server)
        time.sleep({WAIT_SECONDS})
    os._exit(0)
os.waitpid(server, 0)
time.sleep({WAIT_SECONDS})
"""


def test_a_worker_that_starts_after_its_server_was_killed_ends_too() -> None:
    with portal_process(["-c", ORPHAN]) as process:
        wait_for(lambda: len(list_processes(process.pid)) == 2, "the worker to begin")
        wait_for(lambda: list_processes(process.pid) == [process.pid], "the worker to end")


@pytest.fixture
def small(web_server: Callable[..., int]) -> int:
    """A web server that answers two requests of a person at once, and has three connections for all."""
    return web_server(PORTAL_REQUESTS_AT_ONCE="2", PORTAL_DB_POOL_SIZE="3")


def test_a_request_without_a_free_connection_is_told_to_come_again(small: int, secret: str) -> None:
    people = [secret, *(create_token(f"person {number}")[1] for number in range(3))]
    with ThreadPoolExecutor(8) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE usage_environmentusage IN ACCESS EXCLUSIVE MODE")
            futures = [pool.submit(get, small, PAGE, person, 60) for person in 2 * people]
            wait_for(lambda: sum(future.done() for future in futures) >= 5, "those without a connection")
            assert get(small, "/health/live")[0] == 200
        responses = [future.result() for future in futures]
    assert sorted(status for status, _ in responses) == [200] * 3 + [503] * 5
    assert all(b"every connection to it is in use" in body for status, body in responses if status == 503)


def test_one_person_s_slow_requests_leave_threads_and_connections_to_others(small: int, secret: str) -> None:
    other_secret = create_token("other")[1]
    with ThreadPoolExecutor(8) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE usage_environmentusage IN ACCESS EXCLUSIVE MODE")
            futures = [pool.submit(get, small, PAGE, secret, 60) for _ in range(8)]
            wait_for(lambda: sum(future.done() for future in futures) >= 4, "those beyond the ones that wait")
            assert get(small, f"{API}/resource-usage/", other_secret)[0] == 200
        responses = [future.result() for future in futures]
    assert sorted(status for status, _ in responses) == [200] * 4 + [429] * 4
    assert all(b"2 requests of yours are under way" in body for status, body in responses if status == 429)


def test_no_request_fails_once_the_database_has_ended_every_connection(port: int, secret: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert {status for status, _ in pool.map(lambda _: get(port, PAGE, secret), range(40))} == {200}
        assert open_connections() > 4
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert {status for status, _ in pool.map(lambda _: get(port, PAGE, secret), range(8))} == {200}
