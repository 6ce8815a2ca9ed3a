"""Exports of a long table: flat memory, broken where they fail, ended where their reader is gone, bounded in number."""

import csv
import http.client
import io
import json
import os
import socket
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
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
from tests.support.api_clients import API, create_api_client
from tests.support.database import commit_rows
from tests.support.exports import (
    RUN_COUNT,
    create_many_runs,
    download,
    get_url,
    kill,
    list_exporting_backends,
    open_export,
    parse_csv,
    request_export,
    respond,
    stream,
    unpack_gzip,
)
from tests.support.processes import wait_for
from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import get_columns
from usage.exports import BROKEN, ExportStream
from usage.exports.copy import BLOCK_BYTES, ExportQuery, Record
from usage.models import EnvironmentUsage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("secret")]
# An XLSX file is complete before its first byte is sent: it cannot break off.
FORMS = ["csv", "ndjson", "parquet"]


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A token's secret, and a long table behind it, which other connections read."""
    with commit_rows(django_db_blocker):
        create_many_runs()
        yield create_token("test")[1]


@pytest.fixture
def secret(stored: str, db: None) -> str:
    """The token's secret."""
    return stored


@pytest.fixture
def hurried_port(web_server: Callable[..., int]) -> int:
    """The portal behind granian, where no export may take longer than three seconds."""
    return web_server(PORTAL_EXPORT_SECONDS="3")


def test_an_export_is_the_whole_filtered_set_and_not_a_page() -> None:
    rows = parse_csv(
        download(create_api_client(), "environment-usage", format="csv", project_id="p3", ordering="stopped_at")
    )
    expected = EnvironmentUsage.objects.filter(project_id="p3").order_by("stopped_at", "id")
    assert [row["record_id"] for row in rows] == list(expected.values_list("record_id", flat=True))
    assert len(rows) == RUN_COUNT // 7


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

    def fail_midway(query: ExportQuery, *args: Any) -> Iterator[Record]:
        records = read_records(query, *args)
        yield from islice(records, 1000)
        kill(list_exporting_backends())
        yield from records

    monkeypatch.setattr(ExportQuery, "read_records", fail_midway)
    with pytest.raises((psycopg.Error, DatabaseError)):
        respond(EnvironmentUsage.objects.order_by("id"), "x.xlsx", "xlsx")
    assert not list_exporting_backends()


def test_a_parquet_file_that_breaks_off_is_taken_by_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.exports.formats.parquet.BATCH_BYTES", 64 * 1024)
    response = respond(EnvironmentUsage.objects.order_by("id"), "x.parquet", "parquet")
    blocks = iter(response.streaming_content)
    body = next(blocks)
    kill(list_exporting_backends())
    chunks: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        chunks.extend(blocks)
    body += b"".join(chunks)
    assert body.endswith(BROKEN)
    with pytest.raises(pa.ArrowInvalid):
        parquet.read_table(io.BytesIO(body))


def test_over_http_an_export_arrives_whole(port: int, secret: str) -> None:
    with open_export(port, secret) as response:
        body = response.read()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/csv")
    assert body == b"".join(stream(EnvironmentUsage.objects.order_by("id"), "csv"))
    assert len(parse_csv(body)) == RUN_COUNT


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_that_fails_midway_ends_in_a_broken_connection(
    port: int, secret: str, form: str, encoding: str
) -> None:
    with open_export(port, secret, form, **{"Accept-Encoding": encoding}) as response:
        response.read(BLOCK_BYTES)
        kill(wait_for(list_exporting_backends, "the export to run"))
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_an_export_that_packs_well_and_fails_before_any_of_it_is_sent_is_an_error() -> None:
    [day] = [column for column in get_columns(RECORD_SERIALIZERS[EnvironmentUsage]) if column.name == "day"]
    # The same cell two hundred times: 44 MB, more than a socket's buffers hold, and less than a block when packed.
    blocks: Any = stream(
        EnvironmentUsage.objects.order_by("id"), "csv", [replace(day, name=f"day_{n}") for n in range(200)]
    )

    def fail_after_first_block() -> Iterator[bytes]:
        with closing(blocks):
            yield next(blocks)
            kill(list_exporting_backends())
            yield from blocks

    response = StreamingHttpResponse(ExportStream(fail_after_first_block()), content_type="text/csv")
    middleware = GZipMiddleware(lambda _: response)
    with closing(response), pytest.raises((psycopg.Error, DatabaseError)):
        middleware(RequestFactory().get("/", headers={"Accept-Encoding": "gzip"}))


@pytest.mark.parametrize("name", ["csv", "ndjson"])
def test_what_an_export_that_fails_midway_has_sent_breaks_its_reader_too(name: str) -> None:
    blocks = ExportStream(stream(EnvironmentUsage.objects.order_by("id"), name))
    body = next(blocks)
    kill(list_exporting_backends())
    chunks: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        chunks.extend(blocks)
    body += b"".join(chunks)
    assert body.endswith(BROKEN)
    with pytest.raises((csv.Error, json.JSONDecodeError)):
        parse_csv(body) if name == "csv" else [json.loads(line) for line in body.splitlines()]


def test_asking_for_the_headers_alone_leaves_no_export_running(port: int, secret: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        connection.request(
            "HEAD", f"{API}/environment-usage/?format=csv", headers={"Authorization": f"Bearer {secret}"}
        )
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Disposition"].endswith('.csv"')
        assert response.read() == b""
    wait_for(lambda: not list_exporting_backends(), "the export to stop")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_httpx_raises_where_an_export_fails_midway(port: int, secret: str, form: str, encoding: str) -> None:
    headers = {"Authorization": f"Bearer {secret}", "Accept-Encoding": encoding}
    with ExitStack() as stack:

        def open_stream() -> httpx2.Response | None:
            response = stack.enter_context(httpx2.stream("GET", get_url(port, form), headers=headers, timeout=60))
            return None if response.status_code == 503 else response

        blocks = wait_for(open_stream, "a slot for the export").iter_raw()
        next(blocks)
        kill(wait_for(list_exporting_backends, "the export to run"))
        with pytest.raises(httpx2.RemoteProtocolError):
            list(blocks)


@pytest.mark.parametrize("form", FORMS)
def test_curl_exits_with_an_error_where_an_export_fails_midway(
    port: int, secret: str, tmp_path: Path, form: str
) -> None:
    target, options = tmp_path / form, ["--limit-rate", "1M", "--fail", "--retry", "10", "--retry-delay", "1"]
    command = ["curl", "-sS", *options, "-o", str(target), "-H", f"Authorization: Bearer {secret}", get_url(port, form)]
    with subprocess.Popen(command) as curl:
        wait_for(target.exists, "curl to receive")
        kill(wait_for(list_exporting_backends, "the export to run"))
        assert curl.wait(60) == 18  # a partial file


@pytest.mark.parametrize("shuts_down", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_leaves_is_noticed_soon(port: int, secret: str, form: str, *, shuts_down: bool) -> None:
    with open_export(port, secret, form) as response:
        response.read(BLOCK_BYTES)
        assert wait_for(list_exporting_backends, "the export to run")
        if shuts_down:
            with socket.socket(fileno=os.dup(response.fileno())) as connection:
                connection.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: not list_exporting_backends(), "the export to be ended")


def test_a_reader_that_stalls_loses_its_connection_and_holds_nothing(hurried_port: int, secret: str) -> None:
    with open_export(hurried_port, secret) as response:
        response.read(BLOCK_BYTES)
        assert wait_for(list_exporting_backends, "the export to run")
        wait_for(lambda: not list_exporting_backends(), "the export to be ended")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    with open_export(hurried_port, secret) as response:
        assert response.status == 200


def test_a_reader_that_stalls_for_ever_gives_its_place_to_others(hurried_port: int, secret: str) -> None:
    with open_export(hurried_port, secret) as stalled_response:
        stalled_response.read(BLOCK_BYTES)
        with request_export(hurried_port, secret) as response:
            assert response.status == 503
        with open_export(hurried_port, secret) as response:
            assert response.status == 200


def test_an_export_beyond_those_sent_at_once_is_told_when_to_come_again(port: int, secret: str) -> None:
    with open_export(port, secret) as response:
        response.read(BLOCK_BYTES)
        with request_export(port, secret) as refused_response:
            assert (refused_response.status, refused_response.headers["Retry-After"]) == (503, "10")
            assert refused_response.headers["Content-Type"] == "application/problem+json"
        response.read()
    with open_export(port, secret) as response:
        assert response.status == 200


def test_a_compressed_export_is_the_export(port: int, secret: str) -> None:
    bodies = []
    for encoding in ("identity", "gzip"):
        with open_export(port, secret, "ndjson", **{"Accept-Encoding": encoding}) as response:
            bodies.append(response.read())
    assert unpack_gzip(bodies[1]) == bodies[0]
    assert len(bodies[1]) < len(bodies[0]) * 0.65
