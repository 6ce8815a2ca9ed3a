"""Downloads of exports, long tables, and the queries that run."""

import csv
import http.client
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.test import Client

from tests.support.api_clients import API
from tests.support.factories import SourceFactory
from tests.support.processes import wait_for
from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import Column, get_columns
from usage.exports import FORMATS, export
from usage.exports.copy import ExportQuery
from usage.models import Source
from usage.snapshot import open_snapshot

# Rows of 1.4 KB that hardly shrink: as CSV 28 MB, and packed more than buffers of sockets hold. Otherwise an export has
# ended before a test looks.
RUN_COUNT = 20_000


def create_many_runs(count: int = RUN_COUNT) -> Source:
    """Commit a long table of runs of one source."""
    source: Source = SourceFactory(slug="many")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO usage_environmentusage
                (source_id, day, record_id, environment_class_id, project_id, created_at, stopped_at)
            SELECT %s, '2026-01-01', 'run-' || g, (
                       SELECT translate(string_agg(encode(sha512((g || ':' || part)::bytea), 'base64'), ''), E'\\n', '')
                       FROM generate_series(1, 14) AS part
                   ), 'p' || g %% 7, timestamptz '2026-01-01Z', timestamptz '2026-01-01Z' + g * interval '0.1 second'
            FROM generate_series(1, %s) AS g
            """,
            [source.pk, count],
        )
    return source


def download(client: Client, kind: str, **query: str) -> bytes:
    """Return the whole body of an export."""
    response = client.get(f"{API}/{kind}/", query)
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def stream(queryset: QuerySet[Any], format_name: str, columns: Sequence[Column] | None = None) -> Iterator[bytes]:
    """Yield an export without a response: all columns of the API unless some are given."""
    selected = columns or get_columns(RECORD_SERIALIZERS[queryset.model])
    with open_snapshot() as snapshot:
        yield from FORMATS[format_name].write(ExportQuery(snapshot, queryset, selected))


def respond(queryset: QuerySet[Any], filename: str = "x.csv", format_name: str = "csv", **options: Any) -> Any:
    """Return the response of an export with all columns of the API."""
    return export(queryset, filename, format_name, get_columns(RECORD_SERIALIZERS[queryset.model]), **options)


def parse_csv(body: bytes) -> list[dict[str, str]]:
    """Read CSV as strictly as Python can."""
    return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


def get_url(port: int, form: str) -> str:
    """Return the address of the export of all environment usage."""
    return f"http://127.0.0.1:{port}{API}/environment-usage/?format={form}&ordering=stopped_at"


@contextmanager
def request_export(port: int, secret: str, form: str = "csv", **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Request an export over HTTP; yields the response, its body not read."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as http_connection:
        http_connection.request("GET", get_url(port, form), headers={"Authorization": f"Bearer {secret}", **headers})
        with closing(http_connection.getresponse()) as response:
            yield response


@contextmanager
def open_export(port: int, secret: str, form: str = "csv", **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Request an export once the one before has given back its slot; yields the response, its body not read."""
    with ExitStack() as stack:

        def request() -> http.client.HTTPResponse | None:
            response = stack.enter_context(request_export(port, secret, form, **headers))
            return None if response.status == 503 else response

        yield wait_for(request, "a slot for the export")


def unpack_gzip(body: bytes) -> bytes:
    """Return the content of a gzip member; raises zlib.error or AssertionError where it is not complete."""
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    content = reader.decompress(body)
    assert reader.eof
    return content


def list_exporting_backends() -> list[int]:
    """Return the process ids of exports that run on this database."""
    running = "datname = current_database() AND query LIKE 'COPY (%%' AND state = 'active'"
    with connection.cursor() as cursor:
        # In the transaction of a test, the first answer would stay.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(f"SELECT pid FROM pg_stat_activity WHERE {running}")
        return [pid for (pid,) in cursor.fetchall()]


def kill(pids: list[int]) -> None:
    """End these backends of the database, of which there is at least one."""
    assert pids, "the export has ended already"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [pids])
