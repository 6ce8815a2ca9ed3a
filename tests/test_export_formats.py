"""XLSX and Parquet: every row with its exact values; what a format cannot hold is refused or written as text."""

import builtins
import io
import json
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import psycopg
import pyarrow as pa
import pytest
from django.db import DatabaseError
from django.test import Client
from openpyxl.utils.escape import unescape
from pyarrow import parquet

from tests.callers import API, bearer, refused
from tests.exporting import copying, download, kill, many_runs
from tests.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from usage.exports import BROKEN, export
from usage.exports.workbook import CUT, LARGEST_CELL, is_exact
from usage.models import EnvironmentUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ("environment-usage", "resource-usage", "recipe-usage")


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    return bearer()


def sheet(body: bytes) -> list[dict[str, Any]]:
    """Return the cells of a workbook by the names of its header, as openpyxl's cells."""
    rows = openpyxl.load_workbook(io.BytesIO(body))["usage"].iter_rows()
    names = [cell.value for cell in next(rows)]
    return [dict(zip(names, row, strict=True)) for row in rows]


def arrow(body: bytes) -> pa.Table:
    """Return a Parquet file as a table."""
    return parquet.read_table(io.BytesIO(body))


@pytest.mark.parametrize("kind", KINDS)
def test_xlsx_and_parquet_say_what_ndjson_says(client: Client, kind: str) -> None:
    EnvironmentUsageFactory.create_batch(3, created_at=None)
    ResourceUsageFactory.create_batch(3, tags={"team": "a"}, region_id=None)
    RecipeUsageFactory.create_batch(3, recipe_id=None, task_count=None)
    said = [json.loads(line) for line in download(client, kind, format="ndjson").splitlines()]
    cells, table = sheet(download(client, kind, format="xlsx")), arrow(download(client, kind, format="parquet"))
    assert len(said) == len(cells) == table.num_rows == 3
    assert list(cells[0]) == table.column_names == list(said[0])
    for line, written, typed in zip(said, cells, table.to_pylist(), strict=True):
        for name, value in line.items():
            assert as_said(written[name].value) == plain(value)
            assert as_said(typed[name]) == plain(value, empty="")


def plain(value: Any, empty: Any = None) -> Any:
    """Return a value of JSON as text, numbers in their shortest form; an empty text as `empty`."""
    if isinstance(value, dict):
        return json.dumps(value)
    return empty if value == "" else as_said(value)


def as_said(value: Any) -> Any:
    """Return a cell as text, numbers in their shortest form."""
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.date()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value[:1] == "2" and value.endswith("Z"):
        return datetime.fromisoformat(value).isoformat().replace("+00:00", "Z")
    try:
        return value if value is None else f"{Decimal(str(value)).normalize():f}"
    except ArithmeticError:
        return str(value)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_in_a_workbook_is_never_a_formula(client: Client, start: str) -> None:
    EnvironmentUsageFactory(user_id=f"{start}1+1", project_id="https://example.com/x", runner_id="007")
    (row,) = sheet(download(client, "environment-usage", format="xlsx"))
    assert (row["user_id"].value, row["user_id"].data_type) == (f"{start}1+1", "s")
    assert row["project_id"].hyperlink is None
    assert (row["runner_id"].value, row["runner_id"].data_type) == ("007", "s")


def test_a_number_that_a_cell_would_round_is_written_as_text(client: Client) -> None:
    source = SourceFactory()
    for quantity in ("123456789012345", "0.5", "1234567890123456", "12345678901234567890.12"):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(quantity), project_id=9_007_199_254_740_993)
    rows = sheet(download(client, "resource-usage", format="xlsx", ordering="id"))
    assert [(row["consumed_quantity"].data_type, str(row["consumed_quantity"].value)) for row in rows] == [
        ("n", "123456789012345"),
        ("n", "0.5"),
        ("s", "1234567890123456"),
        ("s", "12345678901234567890.12"),
    ]
    assert rows[0]["project_id"].value == "9007199254740993"
    assert rows[0]["day"].value == datetime(2026, 1, 1)  # noqa: DTZ001 (a cell has no zone)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "", "1e5"])
def test_what_is_no_plain_number_is_no_number_cell(number: str) -> None:
    assert not is_exact(number)


def test_a_cell_counts_characters_as_a_workbook_does(client: Client) -> None:
    source = SourceFactory()
    for number, text in enumerate(
        ("x" * (LARGEST_CELL - 2) + "🎈", "x" + "🎈" * (LARGEST_CELL // 2), "x" + "🎈" * LARGEST_CELL)
    ):
        EnvironmentUsageFactory(source=source, user_id=text, record_id=str(number))
    cells = [row["user_id"].value for row in sheet(download(client, "environment-usage", format="xlsx", ordering="id"))]
    assert [len(cell.encode("utf-16-le")) // 2 for cell in cells] == [LARGEST_CELL, LARGEST_CELL, LARGEST_CELL - 1]
    assert [cell.endswith(CUT) for cell in cells] == [False, False, True]
    assert set(cells[2].removesuffix(CUT)) == {"x", "🎈"}


def test_a_text_longer_than_a_cell_says_that_it_is_cut(client: Client) -> None:
    EnvironmentUsageFactory(user_id="x" * (LARGEST_CELL + 1), project_id="y" * LARGEST_CELL)
    (row,) = sheet(download(client, "environment-usage", format="xlsx"))
    assert len(row["user_id"].value) == LARGEST_CELL
    assert row["user_id"].value.endswith(CUT)
    assert row["project_id"].value == "y" * LARGEST_CELL


def test_a_set_that_no_sheet_holds_is_refused_before_anything_is_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage.exports.workbook.LARGEST_SHEET", 3)
    source = SourceFactory()
    EnvironmentUsageFactory.create_batch(3, source=source)
    assert len(sheet(download(client, "environment-usage", format="xlsx"))) == 3
    EnvironmentUsageFactory(source=source)
    said = refused(client.get(f"{API}/environment-usage/", {"format": "xlsx"}))
    assert said["format"] == [
        "A sheet of XLSX holds 3 rows and these are more; use csv or ndjson, or narrow the filters."
    ]


@pytest.mark.parametrize(
    "odd", ["\x01", "\r", "_x000D_", "a & b < c > d", "  spaces  ", "line\nbreak", '"quoted"', "\uffff"]
)
def test_a_workbook_holds_characters_that_xml_does_not(client: Client, odd: str) -> None:
    EnvironmentUsageFactory(user_id=f"a{odd}z", project_id=odd)
    (row,) = sheet(download(client, "environment-usage", format="xlsx"))
    assert unescape(row["user_id"].value) == f"a{odd}z"
    assert unescape(row["project_id"].value) == odd


def test_a_workbook_tells_readers_that_go_by_it_how_far_it_goes(client: Client) -> None:
    EnvironmentUsageFactory.create_batch(3)
    body = download(client, "environment-usage", format="xlsx", fields="id")
    book = openpyxl.load_workbook(io.BytesIO(body), read_only=True)
    assert book["usage"].calculate_dimension() == "A1:A4"
    assert len(list(book["usage"].iter_rows())) == 4
    assert openpyxl.load_workbook(io.BytesIO(body))["usage"].freeze_panes == "A2"


def test_a_workbook_that_breaks_off_is_taken_by_no_reader() -> None:
    many_runs()
    answer = export(EnvironmentUsage.objects.order_by("id"), "x.xlsx", "xlsx")
    blocks = iter(answer.streaming_content)  # type: ignore[arg-type]
    body = next(blocks)
    kill(copying())
    sent: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        sent.extend(blocks)
    body += b"".join(sent)
    assert body.endswith(BROKEN)
    with pytest.raises(zipfile.BadZipFile):
        sheet(body)


def test_parquet_is_typed(client: Client) -> None:
    ResourceUsageFactory(consumed_quantity=Decimal("0.5"), last_seen=datetime(2026, 1, 1, 5, 0, 0, 7, tzinfo=UTC))
    table = arrow(download(client, "resource-usage", format="parquet"))
    types = {field.name: field.type for field in table.schema}
    assert types["consumed_quantity"] == pa.decimal128(38, 9)
    assert types["last_seen"] == pa.timestamp("us", "UTC")
    assert types["day"] == pa.date32()
    assert types["id"] == types["project_id"] == pa.int64()
    assert types["tags"] == types["resource_key"] == types["source"] == pa.string()
    (row,) = table.to_pylist()
    assert (row["consumed_quantity"], row["day"]) == (Decimal("0.5"), date(2026, 1, 1))
    assert row["last_seen"] == datetime(2026, 1, 1, 5, 0, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quantities", "expected"),
    [
        (["1", "0.123456789012"], pa.decimal128(38, 12)),
        (["1", "12345678901234567890123456789012345678"], pa.decimal128(38, 0)),
        (["0.5", "12345678901234567890123456789012345678"], pa.string()),
        (["1", "123456789012345678901234567890123456789"], pa.string()),
    ],
)
def test_quantities_in_parquet_are_decimals_that_hold_all_of_them_or_else_text(
    client: Client, quantities: list[str], expected: Any
) -> None:
    source = SourceFactory()
    for quantity in quantities:
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(quantity))
    column = arrow(download(client, "resource-usage", format="parquet", ordering="id"))["consumed_quantity"]
    assert column.type == expected
    assert [Decimal(value) for value in column.to_pylist()] == [Decimal(quantity) for quantity in quantities]


def test_an_empty_parquet_file_has_its_columns(client: Client) -> None:
    table = arrow(download(client, "recipe-usage", format="parquet"))
    assert (table.num_rows, table.column_names[:3]) == (0, ["id", "source", "day"])


def test_without_pyarrow_parquet_is_refused_with_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = builtins.__import__

    def without(name: str, *asked: Any, **also: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return found(name, *asked, **also)

    monkeypatch.setattr(builtins, "__import__", without)
    said = refused(client.get(f"{API}/environment-usage/", {"format": "parquet"}))
    assert "usage-portal[parquet]" in said["format"][0]


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_the_accept_header_asks_for_these_formats_as_well(client: Client, form: str) -> None:
    EnvironmentUsageFactory()
    asked = client.get(f"{API}/environment-usage/", {"format": form})
    body = b"".join(asked.streaming_content)  # type: ignore[attr-defined]
    answer = client.get(f"{API}/environment-usage/", headers={"Accept": asked["Content-Type"]})
    assert answer["Content-Type"] == asked["Content-Type"]
    assert answer["Content-Disposition"].endswith(f'.{form}"')
    assert b"".join(answer.streaming_content)[:4] == body[:4]  # type: ignore[attr-defined]


def test_a_parquet_file_that_breaks_off_is_taken_by_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    many_runs()
    monkeypatch.setattr("usage.exports.parquet.BATCH_BYTES", 64 * 1024)
    answer = export(EnvironmentUsage.objects.order_by("id"), "x.parquet", "parquet")
    blocks = iter(answer.streaming_content)  # type: ignore[arg-type]
    body = next(blocks)
    kill(copying())
    sent: list[bytes] = []
    with pytest.raises((psycopg.Error, DatabaseError)):
        sent.extend(blocks)
    body += b"".join(sent)
    assert body.endswith(BROKEN)
    with pytest.raises(pa.ArrowInvalid):
        arrow(body)
