"""Exports of a long table: flat memory, broken where they fail, ended where their reader is gone, bounded in number."""

import csv
import http.client
import io
import json
import socket
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pyarrow as pa
import pytest
from django.db import DatabaseError
from django.http import StreamingHttpResponse
from django.test import RequestFactory
from pyarrow import parquet
from pytest_django import DjangoDbBlocker

from portal.accounts.models import create_token
from portal.middleware import GZipMiddleware
from tests.support.api_clients import API, bearer
from tests.support.database import commit_rows
from tests.support.exports import (
    MANY,
    copying,
    download,
    kill,
    many_runs,
    opened,
    respond,
    stream,
    table,
    unpacked,
)
from tests.support.processes import wait_for
from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import get_columns
from usage.exports import BROKEN, ExportStream
from usage.exports.copy import BLOCK_BYTES, ExportQuery, Record
from usage.models import EnvironmentUsage, ResourceUsage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("secret")]
# An XLSX file is complete before its first byte is sent: it cannot break off.
FORMS = ["csv", "ndjson", "parquet"]


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A token's secret, and a long table behind it, which other connections read."""
    with commit_rows(django_db_blocker):
        many_runs()
        yield create_token("test")[1]


@pytest.fixture
def secret(stored: str, db: None) -> str:
    """The token's secret."""
    return stored


@pytest.fixture
def port(web_server: Callable[..., int]) -> int:
    """The portal behind granian."""
    return web_server()


@pytest.fixture
def hurried_port(web_server: Callable[..., int]) -> int:
    """The portal behind granian, where no export may take longer than three seconds."""
    return web_server(PORTAL_EXPORT_SECONDS="3")


def test_an_export_is_the_whole_filtered_set_and_not_a_page() -> None:
    rows = table(download(bearer(), "environment-usage", format="csv", project_id="p3", ordering="stopped_at"))
    kept = EnvironmentUsage.objects.filter(project_id="p3").order_by("stopped_at", "id")
    assert [row["record_id"] for row in rows] == list(kept.values_list("record_id", flat=True))
    assert len(rows) == MANY // 7


def test_blocks_are_of_64_kilobytes_and_memory_stays_flat() -> None:
    queryset = EnvironmentUsage.objects.order_by("stopped_at", "id")
    for name in ("csv", "ndjson"):
        assert list(stream(queryset[:1], name))
        tracemalloc.start()
        try:
            sizes = [len(block) for block in stream(queryset, name)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sum(sizes) > 10 * 1024 * 1024
        assert min(sizes[:-1]) >= BLOCK_BYTES
        assert max(sizes) < BLOCK_BYTES + 4096
        assert peak < 2 * 1024 * 1024


def test_a_workbook_that_fails_while_it_is_made_is_an_error_and_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    read_records = ExportQuery.read_records

    def fail_midway(query: ExportQuery, *given: Any) -> Iterator[Record]:
        records = read_records(query, *given)
        yield from islice(records, 1000)
        kill(copying())
        yield from records

    monkeypatch.setattr(ExportQuery, "read_records", fail_midway)
    with pytest.raises((psycopg.Error, DatabaseError)):
        respond(EnvironmentUsage.objects.order_by("id"), "x.xlsx", "xlsx")
    assert not copying()


def test_a_parquet_file_that_breaks_off_is_taken_by_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.exports.formats.parquet.BATCH_BYTES", 64 * 1024)
    answer = respond(EnvironmentUsage.objects.order_by("id"), "x.parquet", "parquet")
    blocks = iter(answer.streaming_content)
    body = next(blocks)
    kill(copying())
    sent: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        sent.extend(blocks)
    body += b"".join(sent)
    assert body.endswith(BROKEN)
    with pytest.raises(pa.ArrowInvalid):
        parquet.read_table(io.BytesIO(body))


def test_over_http_an_export_arrives_whole(port: int, secret: str) -> None:
    asking, answer = opened(port, secret)
    with closing(asking):
        body = answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert body == b"".join(stream(EnvironmentUsage.objects.order_by("id"), "csv"))
    assert len(table(body)) == MANY


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_that_fails_midway_ends_in_a_broken_connection(
    port: int, secret: str, form: str, encoding: str
) -> None:
    asking, answer = opened(port, secret, form, **{"Accept-Encoding": encoding})
    with closing(asking):
        answer.read(BLOCK_BYTES)
        kill(wait_for(copying, "the export to run"))
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_an_export_that_packs_well_and_fails_before_any_of_it_is_sent_is_an_error() -> None:
    [day] = [column for column in get_columns(RECORD_SERIALIZERS[EnvironmentUsage]) if column.name == "day"]
    # The same cell a hundred times: 44 MB, more than a socket's buffers hold, and less than a block when packed.
    blocks: Any = stream(
        EnvironmentUsage.objects.order_by("id"), "csv", [replace(day, name=f"day_{n}") for n in range(100)]
    )

    def failing() -> Iterator[bytes]:
        with closing(blocks):
            yield next(blocks)
            kill(copying())
            yield from blocks

    answer = StreamingHttpResponse(ExportStream(failing()), content_type="text/csv")
    packing = GZipMiddleware(lambda _: answer)
    with closing(answer), pytest.raises((psycopg.Error, DatabaseError)):
        packing(RequestFactory().get("/", headers={"Accept-Encoding": "gzip"}))


@pytest.mark.parametrize("name", ["csv", "ndjson"])
def test_what_an_export_that_fails_midway_has_sent_breaks_its_reader_too(name: str) -> None:
    blocks = ExportStream(stream(EnvironmentUsage.objects.order_by("id"), name))
    body = next(blocks)
    kill(copying())
    sent: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        sent.extend(blocks)
    body += b"".join(sent)
    assert body.endswith(BROKEN)
    with pytest.raises((csv.Error, json.JSONDecodeError)):
        table(body) if name == "csv" else [json.loads(line) for line in body.splitlines()]


def test_an_export_stops_when_its_reader_goes_away(port: int, secret: str) -> None:
    asking, answer = opened(port, secret)
    answer.read(BLOCK_BYTES)
    assert wait_for(copying, "the export to run")
    answer.close()
    asking.close()
    wait_for(lambda: not copying(), "the export to stop")
    assert ResourceUsage.objects.count() == 0


def test_asking_for_the_headers_alone_leaves_no_export_running(port: int, secret: str) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(asking):
        asking.request("HEAD", f"{API}/environment-usage/?format=csv", headers={"Authorization": f"Bearer {secret}"})
        answer = asking.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].endswith('.csv"')
        assert answer.read() == b""
    wait_for(lambda: not copying(), "the export to stop")


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
