"""Exports: every row, exactly, as CSV and NDJSON; flat memory; broken where broken; safe to open in a spreadsheet."""

import csv
import http.client
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory

from portal.compression import GZipMiddleware
from portal.models import create_token
from tests.callers import API, bearer, get, refused, served
from tests.exporting import MANY, download, many_runs, table
from tests.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.processes import wait_for
from usage.columns import columns_of
from usage.exports import BLOCK_BYTES, BROKEN, Stream, export, stream_csv, stream_ndjson
from usage.models import EnvironmentUsage, ResourceUsage, Source
from usage.serializers import RECORD_SERIALIZERS

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    return bearer()


@pytest.fixture
def many() -> Source:
    """Commit a long table."""
    return many_runs()


def test_the_header_is_the_fields_of_the_api_in_their_order(client: Client) -> None:
    for model, serializer in RECORD_SERIALIZERS.items():
        kind = str(model._meta.verbose_name_plural).replace(" ", "-")
        header = download(client, kind, format="csv")
        assert header.decode() == ",".join(serializer().fields) + "\r\n"


@pytest.mark.parametrize("kind", ["environment-usage", "resource-usage", "recipe-usage"])
def test_csv_ndjson_and_the_pages_of_a_list_say_the_same(client: Client, kind: str) -> None:
    EnvironmentUsageFactory.create_batch(5, created_at=None)
    ResourceUsageFactory.create_batch(5, tags={"team": ["a", "b"]}, region_id=None)
    RecipeUsageFactory.create_batch(5, recipe_id=None, task_count=None)
    listed = get(client, f"{kind}/")["results"]
    lines = download(client, kind, format="ndjson").decode().splitlines()
    assert [json.loads(line) for line in lines] == listed
    for cells, row in zip(table(download(client, kind, format="csv")), listed, strict=True):
        for name, value in row.items():
            expected = json.loads(cells[name]) if isinstance(value, dict) else cells[name]
            assert expected == ({None: ""}.get(value, str(value)) if not isinstance(value, dict) else value)


ODD = [
    "a,b",
    'say "x"',
    "two\r\nlines",
    "tab\there",
    "naïve ☃ 🎈",
    "back\\slash",
    "\\.",
    "NULL",
    "",
    " spaces ",
    "\x01\x02",
]


def test_any_text_comes_through_both_formats_unharmed(client: Client) -> None:
    source = SourceFactory()
    for number, text in enumerate(ODD):
        EnvironmentUsageFactory(source=source, user_id=text, extra={"said": text}, record_id=str(number))
    rows = table(download(client, "environment-usage", format="csv", ordering="id"))
    assert [row["user_id"] for row in rows] == ODD
    assert [json.loads(row["extra"])["said"] for row in rows] == ODD
    lines = download(client, "environment-usage", format="ndjson", ordering="id").decode().split("\n")
    assert [json.loads(line)["user_id"] for line in lines if line] == ODD


def test_every_record_ends_in_crlf_and_line_breaks_inside_a_cell_stay_as_they_are(client: Client) -> None:
    EnvironmentUsageFactory(user_id="one\ntwo", runner_id="")
    body = download(client, "environment-usage", format="csv")
    assert body.endswith(b"\r\n")
    assert b'"one\ntwo"' in body
    assert body.count(b"\r\n") == 2


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_a_spreadsheet_would_run_is_neutralised(client: Client, start: str) -> None:
    EnvironmentUsageFactory(user_id=f"{start}cmd|' /C calc'!A0", project_id=f"x{start}y", extra={"k": f"{start}1"})
    (row,) = table(download(client, "environment-usage", format="csv"))
    assert row["user_id"] == f"'{start}cmd|' /C calc'!A0"
    assert row["project_id"] == f"x{start}y"
    assert json.loads(row["extra"]) == {"k": f"{start}1"}
    (line,) = download(client, "environment-usage", format="ndjson").splitlines()
    assert json.loads(line)["user_id"] == f"{start}cmd|' /C calc'!A0"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_formula_in_the_first_column_is_neutralised_and_what_is_empty_or_missing_stays_so(
    client: Client, start: str
) -> None:
    EnvironmentUsageFactory(user_id=f'{start}1,"a"\n{start}2', runner_id="", created_at=None)
    EnvironmentUsageFactory(user_id=f"{start}1", runner_id="r", created_at=None)
    body = download(client, "environment-usage", format="csv", fields="user_id,runner_id,created_at", ordering="id")
    quote = b'"' if start == "\r" else b""
    first = f'"\'{start}1,""a""\n{start}2","",'.encode()
    assert body == b"\r\n".join(
        [b"user_id,runner_id,created_at", first, quote + f"'{start}1".encode() + quote + b",r,", b""]
    )


def test_json_that_is_no_object_begins_no_formula_either() -> None:
    for said in (-1, "=1+1", "+1", "@a", "\ta", "\ra", [-1]):
        record = EnvironmentUsageFactory(extra=said)
        (row,) = table(b"".join(stream_csv(EnvironmentUsage.objects.filter(pk=record.pk))))
        assert json.loads(row["extra"]) == said
        # A number is left alone as every number is; all else begins with a sign of JSON's own.
        assert row["extra"][0] in {'"', "["} or row["extra"] == "-1"


def test_numbers_are_never_touched_and_keep_every_digit(client: Client) -> None:
    exact = [Decimal("-0.00000000000000000000000000001"), Decimal("98765432109876543210987654321.5"), Decimal(-7)]
    source = SourceFactory()
    for quantity in exact:
        ResourceUsageFactory(source=source, consumed_quantity=quantity, project_id=-11)
    rows = table(download(client, "resource-usage", format="csv", ordering="id"))
    assert [Decimal(row["consumed_quantity"]) for row in rows] == exact
    assert {row["project_id"] for row in rows} == {"-11"}


def test_an_export_is_the_whole_filtered_set_and_not_a_page(client: Client, many: Source) -> None:
    rows = table(download(client, "environment-usage", format="csv", project_id="p3", ordering="stopped_at"))
    kept = EnvironmentUsage.objects.filter(project_id="p3").order_by("stopped_at", "id")
    assert [row["record_id"] for row in rows] == list(kept.values_list("record_id", flat=True))
    assert len(rows) > 10_000


def test_an_export_is_asked_for_by_the_accept_header_as_well(client: Client) -> None:
    EnvironmentUsageFactory()
    for accept, kind in (("text/csv", "text/csv"), ("application/x-ndjson", "application/x-ndjson")):
        response = client.get(f"{API}/environment-usage/", headers={"Accept": accept})
        assert response["Content-Type"].startswith(kind)
        assert b"".join(response.streaming_content).count(b"run-") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv;q=0.9, application/json;q=0.1", "text/csv"),
        ("application/json;q=0.1, text/csv", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("text/csv; charset=utf-8; header=present", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("application/json, text/csv", "application/json"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("", "application/json"),
        ("application/json;q=x, ;;, a/b/c", "application/json"),
    ],
)
def test_the_format_that_is_wanted_most_is_given(client: Client, accept: str, kind: str) -> None:
    answer = client.get(f"{API}/environment-usage/", headers={"Accept": accept})
    assert answer["Content-Type"].startswith(kind)
    assert b"".join(answer) is not None


def test_the_format_parameter_wins_over_the_accept_header(client: Client) -> None:
    EnvironmentUsageFactory()
    answer = client.get(f"{API}/environment-usage/", {"format": "csv"}, headers={"Accept": "application/json"})
    assert len(table(b"".join(answer))) == 1
    refused(client.get(f"{API}/environment-usage/", headers={"Accept": "application/json;q=0"}), 406)


def test_the_file_is_named_after_kind_range_and_instant(client: Client) -> None:
    query = {"format": "csv", "from": "2026-01-01", "to": "2026-02-01T00:00:00Z"}
    response = client.get(f"{API}/environment-usage/", query)
    response.close()
    named = response["Content-Disposition"]
    assert named.startswith('attachment; filename="environment-usage_2026-01-01_2026-02-01T000000Z_as-of-20')
    assert named.endswith('Z.csv"')


def test_a_limited_token_takes_out_only_what_it_sees() -> None:
    hidden, seen = EnvironmentUsageFactory(), EnvironmentUsageFactory()
    limited = bearer(sources=[seen.source])
    (row,) = table(download(limited, "environment-usage", format="csv"))
    assert row["record_id"] == seen.record_id
    assert refused(limited.get(f"{API}/environment-usage/", {"format": "csv", "source": hidden.source.slug}))
    assert table(download(bearer(sources=[]), "environment-usage", format="csv")) == []


def test_blocks_are_of_64_kilobytes_and_memory_stays_flat(many: Source) -> None:
    queryset = EnvironmentUsage.objects.order_by("stopped_at", "id")
    for stream in (stream_csv, stream_ndjson):
        assert list(stream(queryset[:1]))
        tracemalloc.start()
        try:
            sizes = [len(block) for block in stream(queryset)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sum(sizes) > 10 * 1024 * 1024
        assert min(sizes[:-1]) >= BLOCK_BYTES
        assert max(sizes) < BLOCK_BYTES + 4096
        assert peak < 2 * 1024 * 1024


def test_an_export_is_of_one_instant_whatever_is_loaded_meanwhile(many: Source) -> None:
    stream = stream_csv(EnvironmentUsage.objects.order_by("stopped_at", "id"))
    head = next(stream)
    EnvironmentUsage.objects.all().delete()
    assert len(table(head + b"".join(stream))) == MANY


def test_a_query_that_fails_at_once_fails_before_the_answer_begins() -> None:
    EnvironmentUsageFactory()
    columns = columns_of(RECORD_SERIALIZERS[EnvironmentUsage])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE usage_environmentusage RENAME COLUMN runner_id TO gone")
    try:
        with pytest.raises((psycopg.Error, DatabaseError), match="runner_id"):
            export(EnvironmentUsage.objects.all(), "x.csv", columns=columns)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE usage_environmentusage RENAME COLUMN gone TO runner_id")


def copying() -> list[int]:
    """Return the process ids of exports that run on this database."""
    asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY (%%' AND state = 'active'"
    with connection.cursor() as cursor:
        cursor.execute(asked)
        return [pid for (pid,) in cursor.fetchall()]


@pytest.fixture
def port() -> Iterator[int]:
    """The portal behind granian, over real HTTP."""
    with served() as where:
        yield where


@pytest.fixture
def secret() -> str:
    """A token's secret."""
    return create_token("test")[1]


def opened(port: int, secret: str, form: str = "csv", **headers: str) -> tuple[Any, http.client.HTTPResponse]:
    """Ask for an export over HTTP; returns the connection and the answer, its body not read."""
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    address = f"{API}/environment-usage/?format={form}&ordering=id"
    asking.request("GET", address, headers={"Authorization": f"Bearer {secret}", **headers})
    return asking, asking.getresponse()


def test_over_http_an_export_arrives_whole(many: Source, port: int, secret: str) -> None:
    asking, answer = opened(port, secret)
    with closing(asking):
        body = answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert body == b"".join(stream_csv(EnvironmentUsage.objects.order_by("id")))
    assert len(table(body)) == MANY


def kill(pids: list[int]) -> None:
    """End these backends of the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [pids])


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_that_fails_midway_ends_in_a_broken_connection(
    many: Source, port: int, secret: str, form: str, encoding: str
) -> None:
    asking, answer = opened(port, secret, form, **{"Accept-Encoding": encoding})
    with closing(asking):
        answer.read(BLOCK_BYTES)
        kill(wait_for(copying, "the export to run"))
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_an_export_that_packs_well_and_fails_before_any_of_it_is_sent_is_an_error(many: Source) -> None:
    columns = [
        column for column in columns_of(RECORD_SERIALIZERS[EnvironmentUsage]) if column.name in {"source", "day"}
    ]
    stream: Any = stream_csv(EnvironmentUsage.objects.order_by("id"), columns)

    def failing() -> Iterator[bytes]:
        with closing(stream):
            yield next(stream)
            kill(copying())
            yield from stream

    answer = StreamingHttpResponse(Stream(failing()), content_type="text/csv")
    packing = GZipMiddleware(lambda _: answer)
    with closing(answer), pytest.raises((psycopg.Error, DatabaseError)):
        packing(RequestFactory().get("/", headers={"Accept-Encoding": "gzip"}))


@pytest.mark.parametrize("stream", [stream_csv, stream_ndjson])
def test_what_an_export_that_fails_midway_has_sent_breaks_its_reader_too(many: Source, stream: Any) -> None:
    blocks = Stream(stream(EnvironmentUsage.objects.order_by("id")))
    body = next(blocks)
    kill(copying())
    sent: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        sent.extend(blocks)
    body += b"".join(sent)
    assert body.endswith(BROKEN)
    with pytest.raises((csv.Error, json.JSONDecodeError)):
        table(body) if stream is stream_csv else [json.loads(line) for line in body.splitlines()]


def test_an_export_stops_when_its_reader_goes_away(many: Source, port: int, secret: str) -> None:
    asking, answer = opened(port, secret)
    answer.read(BLOCK_BYTES)
    assert wait_for(copying, "the export to run")
    answer.close()
    asking.close()
    wait_for(lambda: not copying(), "the export to stop")
    assert ResourceUsage.objects.count() == 0


def test_asking_for_the_headers_alone_leaves_no_export_running(many: Source, port: int, secret: str) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(asking):
        asking.request("HEAD", f"{API}/environment-usage/?format=csv", headers={"Authorization": f"Bearer {secret}"})
        answer = asking.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].endswith('.csv"')
        assert answer.read() == b""
    wait_for(lambda: not copying(), "the export to stop")


def test_an_export_is_compressed_for_those_who_can_read_it(port: int, secret: str) -> None:
    EnvironmentUsageFactory.create_batch(50)
    asking, answer = opened(port, secret, **{"Accept-Encoding": "gzip"})
    with closing(asking):
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.read()) > 100


def test_keys_are_written_the_same_in_every_format(client: Client) -> None:
    moment = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC) + timedelta(hours=1)
    ResourceUsageFactory(resource_key=UUID(int=5), last_seen=moment)
    (row,) = table(download(client, "resource-usage", format="csv"))
    assert row["resource_key"] == "00000000-0000-0000-0000-000000000005"
    assert row["last_seen"] == "2026-01-01T13:00:00.000005Z"
