"""Exports: every row, exactly, as CSV and NDJSON; flat memory; broken where broken; safe to open in a spreadsheet."""

import json
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, DataError, connection
from django.test import Client

from portal.accounts.models import create_token
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.api_clients import client as client
from tests.support.exports import create_many_runs, download, open_export, parse_csv, respond, stream
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import get_columns
from usage.exports import ExportStream
from usage.exports.copy import ExportQuery
from usage.exports.progress import ExportState, ExportTracker
from usage.exports.response import ExportTooSlow, expire_stream
from usage.models import EnvironmentUsage
from usage.slots import count_under_way
from usage.snapshot import open_snapshot
from usage.timeouts import limit_query_time

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


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
    rows = get(client, f"{kind}/")["results"]
    lines = download(client, kind, format="ndjson").decode().splitlines()
    assert [json.loads(line) for line in lines] == rows
    for cells, row in zip(parse_csv(download(client, kind, format="csv")), rows, strict=True):
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
    rows = parse_csv(download(client, "environment-usage", format="csv", ordering="stopped_at"))
    assert [row["user_id"] for row in rows] == ODD
    assert [json.loads(row["extra"])["said"] for row in rows] == ODD
    lines = download(client, "environment-usage", format="ndjson", ordering="stopped_at").decode().split("\n")
    assert [json.loads(line)["user_id"] for line in lines if line] == ODD


def test_every_record_ends_in_crlf_and_line_breaks_inside_a_cell_stay_as_they_are(client: Client) -> None:
    EnvironmentUsageFactory(user_id="one\ntwo", runner_id="")
    body = download(client, "environment-usage", format="csv")
    assert body.endswith(b"\r\n")
    assert b'"one\ntwo"' in body
    assert body.count(b"\r\n") == 2


def test_numbers_are_never_touched_and_keep_every_digit(client: Client) -> None:
    quantities = [Decimal("-0.00000000000000000000000000001"), Decimal("98765432109876543210987654321.5"), Decimal(-7)]
    source = SourceFactory()
    for quantity in quantities:
        ResourceUsageFactory(source=source, consumed_quantity=quantity, project_id=-11)
    rows = parse_csv(download(client, "resource-usage", format="csv", ordering="day"))
    assert [Decimal(row["consumed_quantity"]) for row in rows] == quantities
    assert {row["project_id"] for row in rows} == {"-11"}


def test_an_export_is_asked_for_by_the_accept_header_as_well(client: Client) -> None:
    EnvironmentUsageFactory()
    for accept, kind in (("text/csv", "text/csv"), ("application/x-ndjson", "application/x-ndjson")):
        response = client.get(f"{API}/environment-usage/", headers={"Accept": accept})
        assert response["Content-Type"].startswith(kind)
        assert b"".join(response.streaming_content).count(b"run-") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
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
def test_the_most_specific_type_of_the_accept_header_is_given(client: Client, accept: str, kind: str) -> None:
    response = client.get(f"{API}/environment-usage/", headers={"Accept": accept})
    assert response["Content-Type"].startswith(kind)
    assert b"".join(response)


def test_the_format_parameter_wins_over_the_accept_header(client: Client) -> None:
    EnvironmentUsageFactory()
    response = client.get(f"{API}/environment-usage/", {"format": "csv"}, headers={"Accept": "application/json"})
    assert len(parse_csv(b"".join(response))) == 1


def test_the_file_is_named_after_kind_range_and_instant(client: Client) -> None:
    query = {"format": "csv", "from": "2026-01-01", "to": "2026-02-01T00:00:00Z"}
    response = client.get(f"{API}/environment-usage/", query)
    response.close()
    disposition = response["Content-Disposition"]
    assert disposition.startswith('attachment; filename="environment-usage_2026-01-01_2026-02-01T000000Z_as-of-20')
    assert disposition.endswith('Z.csv"')


def test_a_limited_token_takes_out_only_what_it_sees() -> None:
    hidden_record, visible_record = EnvironmentUsageFactory(), EnvironmentUsageFactory()
    limited_client = create_api_client(sources=[visible_record.source])
    (row,) = parse_csv(download(limited_client, "environment-usage", format="csv"))
    assert row["record_id"] == visible_record.record_id
    assert get_problem_details(
        limited_client.get(f"{API}/environment-usage/", {"format": "csv", "source": hidden_record.source.slug})
    )
    assert parse_csv(download(create_api_client(sources=[]), "environment-usage", format="csv")) == []


def test_an_export_is_of_one_instant_whatever_is_loaded_meanwhile() -> None:
    create_many_runs(3_000)
    blocks = stream(EnvironmentUsage.objects.order_by("stopped_at", "id"), "csv")
    head = next(blocks)
    EnvironmentUsage.objects.all().delete()
    assert len(parse_csv(head + b"".join(blocks))) == 3_000


def test_what_an_export_says_of_its_data_is_asked_on_its_own_connection() -> None:
    EnvironmentUsageFactory.create_batch(2)
    with open_snapshot() as snapshot:
        EnvironmentUsage.objects.all().delete()
        with snapshot.share(), limit_query_time(60):
            assert connection.connection is snapshot.connection.connection
            assert EnvironmentUsage.objects.count() == 2
        with snapshot.connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            assert cursor.fetchone() == ("1h",)
        assert EnvironmentUsage.objects.count() == 0


@pytest.mark.parametrize("rows", [1, 3_000])
def test_a_snapshot_that_ends_before_its_rows_were_taken_does_not_wait_for_them(rows: int) -> None:
    create_many_runs(rows)
    columns = get_columns(RECORD_SERIALIZERS[EnvironmentUsage])

    def abandon_records() -> None:
        with open_snapshot() as snapshot:
            records = ExportQuery(snapshot, EnvironmentUsage.objects.all(), columns).read_csv()
            next(records)
            unread_records.append(records)

    unread_records: list[Any] = []
    thread = threading.Thread(target=abandon_records, daemon=True)
    thread.start()
    thread.join(30)
    assert unread_records
    assert not thread.is_alive()


def test_a_query_that_fails_at_once_fails_before_the_answer_begins() -> None:
    EnvironmentUsageFactory()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE usage_environmentusage RENAME COLUMN runner_id TO gone")
    try:
        with pytest.raises((psycopg.Error, DatabaseError), match="runner_id"):
            respond(EnvironmentUsage.objects.all())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE usage_environmentusage RENAME COLUMN gone TO runner_id")


@pytest.fixture
def secret() -> str:
    """A token's secret."""
    return create_token("test")[1]


def test_an_export_is_compressed_for_those_who_can_read_it(port: int, secret: str) -> None:
    EnvironmentUsageFactory.create_batch(50)
    with open_export(port, secret, **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(response.read()) > 100


def test_keys_are_written_the_same_in_every_format(client: Client) -> None:
    moment = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC) + timedelta(hours=1)
    ResourceUsageFactory(resource_key=UUID(int=5), last_seen=moment)
    (row,) = parse_csv(download(client, "resource-usage", format="csv"))
    assert row["resource_key"] == "00000000-0000-0000-0000-000000000005"
    assert row["last_seen"] == "2026-01-01T13:00:00.000005Z"


class Follower(ExportTracker):
    """Keeps how an export ended."""

    def __init__(self) -> None:
        super().__init__("owner", "export")
        self.ends: list[ExportState] = []

    def record_end(self, state: ExportState) -> None:
        """Keep how it ended."""
        self.ends.append(state)


def test_an_export_that_lasts_too_long_gives_back_what_it_holds_and_breaks_off_for_its_reader() -> None:
    follower, stack, released = Follower(), ExitStack(), list[bool]()
    stack.callback(released.append, True)
    blocks = ExportStream(iter([b"first", b"second"]), stack, follower)

    expire_stream(weakref.ref(blocks))

    assert (follower.ends, released) == ([ExportState.BROKEN_OFF], [True])
    with pytest.raises(TimeoutError):
        next(blocks)


def test_an_export_that_has_ended_does_not_last_too_long() -> None:
    follower = Follower()
    blocks = ExportStream(iter([b"first", b"second"]), tracker=follower)
    reference = weakref.ref(blocks)
    assert list(blocks) == [b"first", b"second"]
    del blocks

    expire_stream(reference)

    assert follower.ends == [ExportState.DONE]


def test_an_export_whose_time_ends_while_its_last_block_is_read_breaks_off() -> None:
    def iterate_blocks() -> Iterator[bytes]:
        yield b"first"
        blocks.expire()

    follower = Follower()
    blocks = ExportStream(iterate_blocks(), tracker=follower)

    assert next(blocks) == b"first"
    with pytest.raises(TimeoutError):
        next(blocks)
    assert follower.ends == [ExportState.BROKEN_OFF]


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_an_export_that_is_too_slow_for_its_first_block_is_an_error_that_says_what_to_do(form: str) -> None:
    EnvironmentUsageFactory()
    # As PostgreSQL does where a statement reaches its limit of time.
    cancelled = EnvironmentUsage.objects.extra(where=["pg_cancel_backend(pg_backend_pid())"])

    with pytest.raises(ExportTooSlow, match="narrow the filters"):
        respond(cancelled, f"x.{form}", form)

    assert count_under_way() == 0


def test_an_export_that_the_database_cannot_read_raises_why() -> None:
    EnvironmentUsageFactory()

    with pytest.raises(DataError, match="division by zero"):
        respond(EnvironmentUsage.objects.extra(where=["1 / (revision - revision) = 1"]), "x.xlsx", "xlsx")

    assert count_under_way() == 0
