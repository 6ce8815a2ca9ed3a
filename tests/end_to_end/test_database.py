"""The database may restart: what starts meanwhile waits for it, and what runs goes on without a failure."""

import http.client
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_django
from django.db import close_old_connections, connection, connections

from portal import startup
from portal.accounts.models import create_token
from portal.embedded.server import free_port
from tests.support.api_clients import API, create_api_client, hold_port, is_ready
from tests.support.data_folders import copy_migrated
from tests.support.factories import EnvironmentUsageFactory
from tests.support.other_database import call_on
from tests.support.processes import PortalProcess, portal_process, wait_for

PAGE = f"{API}/environment-usage/"
# Half of what the pool waits for otherwise: a test waits it out.
WAIT_SECONDS, CONNECT_SECONDS = 5.0, 2.0
WEB = f"""
import sys
from portal import pool, web
pool.WAIT_SECONDS, pool.CONNECT_SECONDS = {WAIT_SECONDS}, {CONNECT_SECONDS}
web.main(sys.argv[1:])
"""
WORKER = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "1", "--without-mingle"]


class Outage:
    """A portal's own PostgreSQL and Valkey, which a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self.services = copy_migrated(folder)
        self.settings = self.services.start()
        self.postgres, self.valkey = self.services.servers
        self.token = call_on(self.settings["DATABASE_URL"], lambda: create_token("test")[1])

    def status(self, port: int, path: str = PAGE) -> int:
        """Return the status of a GET with a token."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as asking:
            asking.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            return asking.getresponse().status

    def statuses(self, port: int, count: int = 8) -> set[int]:
        """Return the statuses of requests that are sent at once."""
        with ThreadPoolExecutor(count) as askers:
            return set(askers.map(lambda _: self.status(port), range(count)))


@pytest.fixture(scope="module")
def outage(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Outage]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        with django_db_blocker.unblock():
            outage = Outage(Path(name, "data"))
        yield outage
        outage.services.remove()


@dataclass
class Programs:
    """A web server and a worker that were started while their servers were away."""

    port: int
    web: PortalProcess
    worker: PortalProcess


@pytest.fixture(scope="module")
def programs(outage: Outage) -> Iterator[Programs]:
    """Start them, and their servers one after the other."""
    outage.postgres.stop()
    outage.valkey.stop()
    with (
        hold_port() as port,
        portal_process(["-c", WEB, "--port", str(port), "--workers", "1"], **outage.settings) as web,
        portal_process(WORKER, **outage.settings) as worker,
    ):
        for process in (web, worker):
            wait_for(lambda: "waiting for a server" in process.output(), "the process to wait")  # noqa: B023
            assert "the database" in process.output()
        outage.postgres.ensure_running()
        wait_for(lambda: re.search(r"waiting.*Redis|Redis.*waiting", web.output()), "the web server to wait for Redis")
        assert web.poll() is None
        assert worker.poll() is None
        outage.valkey.ensure_running()
        wait_for(lambda: is_ready(port), "the web server to serve")
        yield Programs(port, web, worker)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_web_server_and_a_worker_that_start_before_their_servers_wait_for_them(programs: Programs) -> None:
    wait_for(lambda: " ready." in programs.worker.output(), "the worker to be ready")
    assert is_ready(programs.port)


@pytest.mark.slow
@pytest.mark.django_db
def test_no_request_fails_after_the_database_has_restarted(outage: Outage, programs: Programs) -> None:
    for crashed in (False, True):
        assert outage.statuses(programs.port) == {200}
        if crashed:
            os.kill(outage.postgres.pid() or 0, signal.SIGKILL)
        else:
            outage.postgres.stop()
        assert outage.status(programs.port, "/health/live") == 200
        outage.postgres.ensure_running()
        assert outage.statuses(programs.port) == {200}


@pytest.mark.slow
@pytest.mark.django_db
def test_requests_while_the_database_is_away_are_told_to_come_again_and_are_served_soon_after(
    outage: Outage, programs: Programs
) -> None:
    assert outage.statuses(programs.port) == {200}
    outage.postgres.stop()
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(outage.status, programs.port, "/admin/login/")
        assert outage.statuses(programs.port) == {503}
        assert page.result() in {302, 503}
    # Longer than one attempt of the pool to connect, whose pauses grow.
    time.sleep(1.2 * CONNECT_SECONDS)
    outage.postgres.ensure_running()
    began = time.monotonic()
    assert outage.statuses(programs.port) == {200}
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.django_db
def test_a_database_that_is_stopped_in_its_tracks_hides_from_no_probe_and_keeps_none_from_an_answer(
    outage: Outage, programs: Programs
) -> None:
    port = programs.port
    wait_for(lambda: is_ready(port), "the web server to be ready")
    stopped = [outage.postgres.pid() or 0, *list_children(outage.postgres.pid() or 0)]
    time.sleep(1.1)  # no earlier answer holds any more
    try:
        send(stopped, signal.SIGSTOP)
        with ThreadPoolExecutor(101) as probes:
            ready = [probes.submit(time_response, outage, port, "/health/ready") for _ in range(100)]
            time.sleep(0.3)
            live = probes.submit(time_response, outage, port, "/health/live")
        assert {response.result()[0] for response in ready} == {503}
        # The bound is two seconds; the rest is the hundred threads of this test.
        assert max(response.result()[1] for response in ready) < 4
        assert live.result()[0] == 200
        assert live.result()[1] < 1.4
    finally:
        send(stopped, signal.SIGCONT)
    wait_for(lambda: is_ready(port), "the web server to be ready again")


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which PostgreSQL may have ended one."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def time_response(outage: Outage, port: int, path: str) -> tuple[int, float]:
    """Return the status of a response, and the seconds until it."""
    started = time.monotonic()
    return outage.status(port, path), time.monotonic() - started


def list_children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()]


def test_a_process_whose_database_never_answers_ends_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startup, "WAIT_SECONDS", 0.1)
    monkeypatch.setitem(connection.settings_dict, "PORT", str(free_port()))
    with pytest.raises(SystemExit, match=r"The portal does not start: the database does not answer\. .*refused"):
        startup.wait_for_servers()


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_that_the_server_ended_fails_no_request() -> None:
    EnvironmentUsageFactory.create_batch(3)
    client = create_api_client()
    close_old_connections()
    assert client.get(PAGE).status_code == 200
    end_backend(connection.connection.info.backend_pid)
    # Django's test client keeps this from its requests, before and after each of which it happens.
    close_old_connections()
    assert client.get(PAGE).status_code == 200


def end_backend(pid: int) -> None:
    """Let the server end one connection."""
    second_connection = connections["default"].copy()
    try:
        with second_connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            assert cursor.fetchone() == (True,)
    finally:
        second_connection.close()


@pytest.mark.django_db
def test_no_load_pays_for_an_index_of_what_was_withdrawn() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%withdrawn_at IS NOT NULL%'")
        assert cursor.fetchall() == []
