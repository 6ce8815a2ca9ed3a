"""Exports over real HTTP: broken where they fail, ended where their reader is gone or stalls, bounded in number."""

import http.client
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path

import httpx2
import pytest

from portal.accounts.models import create_token
from tests.support.api_clients import API
from tests.support.exports import copying, kill, many_runs, opened, unpacked
from tests.support.processes import wait_for
from usage.exports.copy import BLOCK_BYTES

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
# An XLSX file is complete before its first byte is sent: it cannot break off.
FORMS = ["csv", "ndjson", "parquet"]


@pytest.fixture
def secret() -> str:
    """A token's secret, and a long table behind it."""
    many_runs()
    return create_token("test")[1]


@pytest.fixture
def port(web_server: Callable[..., int]) -> int:
    """The portal behind granian."""
    return web_server()


@pytest.fixture
def hurried_port(web_server: Callable[..., int]) -> int:
    """The portal behind granian, where no export may take longer than three seconds."""
    return web_server(PORTAL_EXPORT_SECONDS="3")


def test_httpx_raises_where_an_export_fails_midway(port: int, secret: str) -> None:
    for form, encoding in product(FORMS, ("identity", "gzip")):
        address = f"http://127.0.0.1:{port}{API}/environment-usage/?format={form}&ordering=stopped_at"
        asked = {"Authorization": f"Bearer {secret}", "Accept-Encoding": encoding}
        with httpx2.stream("GET", address, headers=asked, timeout=60) as answer:
            blocks = answer.iter_raw()
            next(blocks)
            kill(wait_for(copying, "the export to run"))
            with pytest.raises(httpx2.RemoteProtocolError):
                list(blocks)
        wait_for(lambda: not copying(), "the export to stop")


def test_curl_exits_with_an_error_where_an_export_fails_midway(port: int, secret: str, tmp_path: Path) -> None:
    for form in FORMS:
        address = f"http://127.0.0.1:{port}{API}/environment-usage/?format={form}&ordering=stopped_at"
        slowly = ["curl", "-sS", "--limit-rate", "1M", "-o", str(tmp_path / form)]
        with subprocess.Popen([*slowly, "-H", f"Authorization: Bearer {secret}", address]) as running:
            wait_for(lambda: (tmp_path / form).exists(), "curl to receive")  # noqa: B023 (called at once)
            kill(wait_for(copying, "the export to run"))
            assert running.wait(60) == 18  # a partial file
        wait_for(lambda: not copying(), "the export to be ended")  # or the next form's would not be the one killed


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_leaves_is_noticed_soon(port: int, secret: str, form: str) -> None:
    asking, answer = opened(port, secret, form)
    answer.read(BLOCK_BYTES)
    assert wait_for(copying, "the export to run")
    asking.sock.shutdown(socket.SHUT_RDWR)
    answer.close()
    asking.close()
    wait_for(lambda: not copying(), "the export to be ended")


def test_a_reader_that_stalls_loses_its_connection_and_holds_nothing(hurried_port: int, secret: str) -> None:
    asking, answer = opened(hurried_port, secret)
    with closing(asking):
        answer.read(BLOCK_BYTES)
        assert wait_for(copying, "the export to run")
        wait_for(lambda: not copying(), "the export to be ended")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    whole, after = opened(hurried_port, secret)
    with closing(whole):
        assert after.status == 200


def test_a_reader_that_stalls_for_ever_gives_its_place_to_others(hurried_port: int, secret: str) -> None:
    stalled, answer = opened(hurried_port, secret)

    def is_served() -> bool:
        other, found = opened(hurried_port, secret)
        with closing(other):
            return found.status == 200

    with closing(stalled):
        answer.read(BLOCK_BYTES)
        assert not is_served()
        wait_for(is_served, "the place to be free though the reader neither reads nor leaves", every=1)


def test_an_export_beyond_those_sent_at_once_is_told_when_to_come_again(port: int, secret: str) -> None:
    asking, answer = opened(port, secret)
    with closing(asking):
        answer.read(BLOCK_BYTES)
        second, refusal = opened(port, secret)
        with closing(second):
            assert (refusal.status, refusal.headers["Retry-After"]) == (503, "10")
            assert refusal.headers["Content-Type"] == "application/problem+json"
        answer.read()

    def served_again() -> bool:
        third, found = opened(port, secret)
        with closing(third):
            return found.status == 200

    wait_for(served_again, "the place to be free again")


def test_a_compressed_export_is_the_export(port: int, secret: str) -> None:
    bodies = []
    for encoding in ("identity", "gzip"):
        wait_for(lambda: not copying(), "the place to be free")
        asking, answer = opened(port, secret, "ndjson", **{"Accept-Encoding": encoding})
        with closing(asking):
            bodies.append(answer.read())
    assert unpacked(bodies[1]) == bodies[0]
    assert len(bodies[1]) < len(bodies[0]) / 3
