"""XLSX and Parquet: every row with its exact values; what a format cannot hold is refused or written as text."""

import builtins
import io
import json
import tracemalloc
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from django.test import Client
from openpyxl.utils.escape import unescape
from pyarrow import parquet

from tests.support.api_clients import API, get, get_problem_details
from tests.support.api_clients import client as client
from tests.support.exports import create_many_runs, download, stream
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from usage.columns import DAY, INSTANT
from usage.datetimes import UTC_ZONE
from usage.exports.formats.xlsx import CUT, MAX_CELL, is_exact, iterate_workbook
from usage.models import EnvironmentUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ("environment-usage", "resource-usage", "recipe-usage")


def read_sheet(body: bytes) -> list[dict[str, Any]]:
    """Return the cells of a workbook by the names of its header, as openpyxl's cells."""
    rows = openpyxl.load_workbook(io.BytesIO(body))["usage"].iter_rows()
    names = [cell.value for cell in next(rows)]
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_parquet(body: bytes) -> pa.Table:
    """Return a Parquet file as a table."""
    return parquet.read_table(io.BytesIO(body))


@pytest.mark.parametrize("kind", KINDS)
def test_xlsx_and_parquet_say_what_ndjson_says(client: Client, kind: str) -> None:
    EnvironmentUsageFactory.create_batch(3, created_at=None)
    ResourceUsageFactory.create_batch(3, tags={"team": "a"}, region_id=None)
    RecipeUsageFactory.create_batch(3, recipe_id=None, task_count=None)
    lines = [json.loads(line) for line in download(client, kind, format="ndjson").splitlines()]
    cells, table = (
        read_sheet(download(client, kind, format="xlsx")),
        read_parquet(download(client, kind, format="parquet")),
    )
    assert len(lines) == len(cells) == table.num_rows == 3
    assert list(cells[0]) == [name for name in table.column_names if not name.endswith("_exact")] == list(lines[0])
    for line, written, typed in zip(lines, cells, table.to_pylist(), strict=True):
        for name, value in line.items():
            assert is_same(parse(written[name].value), normalize(value))
            assert parse(typed[name]) == normalize(value, empty="")


def normalize(value: Any, empty: Any = None) -> Any:
    """Return a value of JSON as text, numbers in their shortest form; an empty text as `empty`."""
    if isinstance(value, dict):
        return json.dumps(value)
    return empty if value == "" else parse(value)


def is_same(cell: Any, value: Any) -> bool:
    """Return whether a cell of a workbook, whose instants have milliseconds, is a value."""
    if isinstance(cell, datetime) and isinstance(value, datetime):
        return abs(cell - value) <= timedelta(milliseconds=1)
    return bool(cell == value)


def parse(value: Any) -> Any:
    """Return a date or an instant as an instant, any other cell as text, numbers in their shortest form."""
    if isinstance(value, str) and value[:1] == "2" and "-" in value[:5]:
        value = datetime.fromisoformat(value)
    if isinstance(value, date):
        instant = value if isinstance(value, datetime) else datetime.combine(value, time())
        return instant.replace(tzinfo=UTC)
    try:
        return value if value is None else f"{Decimal(str(value)).normalize():f}"
    except ArithmeticError:
        return str(value)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_in_a_workbook_is_never_a_formula(client: Client, start: str) -> None:
    EnvironmentUsageFactory(user_id=f"{start}1+1", project_id="https://example.com/x", runner_id="007")
    (row,) = read_sheet(download(client, "environment-usage", format="xlsx"))
    assert (row["user_id"].value, row["user_id"].data_type) == (f"{start}1+1", "s")
    assert row["project_id"].hyperlink is None
    assert (row["runner_id"].value, row["runner_id"].data_type) == ("007", "s")


def test_a_number_that_a_cell_would_round_is_written_as_text(client: Client) -> None:
    source = SourceFactory()
    for quantity in ("123456789012345", "0.5", "1234567890123456", "12345678901234567890.12"):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(quantity), project_id=9_007_199_254_740_993)
    rows = read_sheet(download(client, "resource-usage", format="xlsx", ordering="day"))
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
    for number, text in enumerate(("x" * (MAX_CELL - 2) + "🎈", "x" + "🎈" * (MAX_CELL // 2), "x" + "🎈" * MAX_CELL)):
        EnvironmentUsageFactory(source=source, user_id=text, record_id=str(number))
    cells = [
        row["user_id"].value
        for row in read_sheet(download(client, "environment-usage", format="xlsx", ordering="stopped_at"))
    ]
    assert [len(cell.encode("utf-16-le")) // 2 for cell in cells] == [MAX_CELL, MAX_CELL, MAX_CELL - 1]
    assert [cell.endswith(CUT) for cell in cells] == [False, False, True]
    assert set(cells[2].removesuffix(CUT)) == {"x", "🎈"}


def test_a_value_of_any_length_leaves_the_other_rows_of_a_workbook_as_they_are(client: Client) -> None:
    source = SourceFactory()
    EnvironmentUsageFactory(source=source, project_id="p" * 2_000, extra={"log": '"' * 200_000})
    EnvironmentUsageFactory(source=source, record_id="after")
    first, second = read_sheet(download(client, "environment-usage", format="xlsx", ordering="stopped_at"))
    assert len(first["extra"].value) == MAX_CELL
    assert first["extra"].value.endswith(CUT)
    assert second["record_id"].value == "after"


def test_instants_in_a_workbook_are_dates_with_a_time_in_the_zone_that_is_asked_for(client: Client) -> None:
    EnvironmentUsageFactory(stopped_at=datetime(2026, 7, 1, 22, 15, 30, 250_000, tzinfo=UTC), created_at=None)
    for zone, expected in (("UTC", (1, 22)), ("Asia/Tokyo", (2, 7)), ("Europe/Berlin", (2, 0))):
        query = {} if zone == "UTC" else {"tz": zone}
        body = download(client, "environment-usage", format="xlsx", **query)
        (row,) = read_sheet(body)
        day, hour = expected
        assert row["stopped_at"].value == datetime(2026, 7, day, hour, 15, 30, 250_000)  # noqa: DTZ001 (a cell has no zone)
        assert row["stopped_at"].number_format == "yyyy-mm-dd hh:mm:ss.000"
        assert row["created_at"].value is None
        assert read_about(body)["Time zone"] == [zone]
    assert list_csv_instants(client) == ["2026-07-01T22:15:30.25Z"]


def read_about(body: bytes) -> dict[str, list[str]]:
    """Return the sheet *About* of a workbook."""
    values: dict[str, list[str]] = {}
    for name, text in openpyxl.load_workbook(io.BytesIO(body))["About"].iter_rows(values_only=True):
        values.setdefault(str(name), []).append(str(text))
    return values


def list_csv_instants(client: Client) -> list[str]:
    """Return the instants of a CSV file, which are in UTC in any zone of the request."""
    lines = download(client, "environment-usage", format="csv", tz="Asia/Tokyo", fields="stopped_at")
    return lines.decode().split()[1:]


def test_a_day_before_those_that_a_workbook_can_count_is_a_text() -> None:
    texts = ["1900-02-28", "1900-02-28T23:59:59Z"]
    rows = [texts, ["1900-03-01", "1900-03-01T00:00:00Z"]]

    before, first = read_sheet(b"".join(iterate_workbook(["day", "at"], [DAY, INSTANT], rows, [], UTC_ZONE)))

    assert [cell.value for cell in before.values()] == texts
    assert [cell.value for cell in first.values()] == [datetime(1900, 3, 1)] * 2  # noqa: DTZ001 (a cell has no zone)


def test_a_workbook_says_what_it_is_of_and_what_it_is_worth(client: Client) -> None:
    EnvironmentUsageFactory(project_id="a,b")
    body = download(client, "environment-usage", format="xlsx", project_id="a\\,b", **{"from": "2026-01-01"})
    metadata = read_about(body)
    assert metadata["Contents"] == ["environment usage"]
    assert metadata["Project"] == ["a\\,b"]
    assert metadata["From"] == ["2026-01-01"]
    assert metadata["Asked at"][0].startswith("http://testserver/api/v1/environment-usage/?format=xlsx")
    assert metadata["How far it can be trusted"][0].startswith("Not complete")
    assert datetime.fromisoformat(metadata["As of"][0])
    book = openpyxl.load_workbook(io.BytesIO(body))
    assert all(cell.font.bold for cell in book["usage"][1])
    assert {book["usage"].column_dimensions[letter].width > 10 for letter in "ABCD"} == {True}


def test_a_text_longer_than_a_cell_says_that_it_is_cut(client: Client) -> None:
    EnvironmentUsageFactory(user_id="x" * (MAX_CELL + 1), project_id="y" * MAX_CELL)
    (row,) = read_sheet(download(client, "environment-usage", format="xlsx"))
    assert len(row["user_id"].value) == MAX_CELL
    assert row["user_id"].value.endswith(CUT)
    assert row["project_id"].value == "y" * MAX_CELL


def test_a_workbook_of_one_column_has_empty_cells_where_it_is_null(client: Client) -> None:
    for created_at in (None, datetime(2026, 1, 1, 5, tzinfo=UTC)):
        EnvironmentUsageFactory(created_at=created_at)
    query = {"format": "xlsx", "fields": "created_at", "ordering": "stopped_at"}
    cells = read_sheet(download(client, "environment-usage", **query))
    assert [row["created_at"].value for row in cells] == [None, datetime(2026, 1, 1, 5)]  # noqa: DTZ001


def test_more_rows_than_a_workbook_may_have_are_refused_before_anything_is_sent(client: Client, settings: Any) -> None:
    settings.PORTAL_XLSX_MAX_ROWS = 3
    source = SourceFactory()
    EnvironmentUsageFactory.create_batch(3, source=source)
    assert len(read_sheet(download(client, "environment-usage", format="xlsx"))) == 3
    EnvironmentUsageFactory(source=source)
    errors = get_problem_details(client.get(f"{API}/environment-usage/", {"format": "xlsx"}))
    assert errors["format"] == ["An XLSX file may have 3 rows and these are more; use csv, or narrow the filters."]


@pytest.mark.parametrize(
    "text", ["\x01", "\r", "_x000D_", "a & b < c > d", "  spaces  ", "line\nbreak", '"quoted"', "\uffff"]
)
def test_a_workbook_holds_characters_that_xml_does_not(client: Client, text: str) -> None:
    EnvironmentUsageFactory(user_id=f"a{text}z", project_id=text)
    (row,) = read_sheet(download(client, "environment-usage", format="xlsx"))
    assert unescape(row["user_id"].value) == f"a{text}z"
    assert unescape(row["project_id"].value) == text


def test_a_workbook_tells_readers_that_go_by_it_how_far_it_goes(client: Client) -> None:
    EnvironmentUsageFactory.create_batch(3)
    body = download(client, "environment-usage", format="xlsx", fields="id")
    book = openpyxl.load_workbook(io.BytesIO(body), read_only=True)
    assert book["usage"].calculate_dimension() == "A1:A4"
    assert len(list(book["usage"].iter_rows())) == 4
    assert openpyxl.load_workbook(io.BytesIO(body))["usage"].freeze_panes == "A2"


def test_a_workbook_is_made_with_flat_memory() -> None:
    create_many_runs(4_000)
    first = EnvironmentUsage.objects.earliest("id").pk
    peaks = []
    for rows in (500, 500, 4_000):  # the first run imports what it needs
        tracemalloc.start()
        try:
            body = stream(EnvironmentUsage.objects.filter(pk__lt=first + rows).order_by("id"), "xlsx")
            assert sum(map(len, body)) > rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1024 * 1024


def test_parquet_is_typed(client: Client) -> None:
    ResourceUsageFactory(consumed_quantity=Decimal("0.5"), last_seen=datetime(2026, 1, 1, 5, 0, 0, 7, tzinfo=UTC))
    table = read_parquet(download(client, "resource-usage", format="parquet"))
    types = {field.name: field.type for field in table.schema}
    assert types["consumed_quantity"] == pa.decimal128(38, 18)
    assert types["consumed_quantity_exact"] == pa.string()
    assert types["last_seen"] == pa.timestamp("us", "UTC")
    assert types["day"] == pa.date32()
    assert types["id"] == types["project_id"] == pa.int64()
    assert types["tags"] == types["resource_key"] == types["source"] == pa.string()
    (row,) = table.to_pylist()
    assert (row["consumed_quantity"], row["consumed_quantity_exact"]) == (Decimal("0.5"), None)
    assert row["day"] == date(2026, 1, 1)
    assert row["last_seen"] == datetime(2026, 1, 1, 5, 0, 0, 7, tzinfo=UTC)


FITTING = ["1", "-0.000000000000000001", "99999999999999999999.999999999999999999", "5.0000000000000000000000"]
BEYOND = ["0.0000000000000000001", "100000000000000000000", "-12345678901234567890123456789012345678.5"]


def test_a_number_that_no_decimal_holds_is_a_text_in_a_column_that_is_always_there(client: Client) -> None:
    source = SourceFactory()
    for number, quantity in enumerate((*FITTING, *BEYOND), start=1):
        ResourceUsageFactory(source=source, day=date(2026, 1, number), consumed_quantity=Decimal(quantity))
    EnvironmentUsageFactory(created_at=None)
    table = read_parquet(download(client, "resource-usage", format="parquet", ordering="day"))
    assert table["consumed_quantity"].to_pylist() == [*map(Decimal, FITTING), None, None, None]
    assert table["consumed_quantity_exact"].to_pylist() == [*[None] * len(FITTING), *BEYOND]
    create_source_days(rolled=True)
    (sums,) = get(client, "resource-usage/export-manifest/")["sums"]
    assert (sums["rows"], sums["without"], sums["beyond_decimal"]) == (7, 0, 3)
    (sums,) = get(client, "environment-usage/export-manifest/")["sums"]
    assert (sums["without"], sums["beyond_decimal"]) == (1, 0)
    body = download(client, "resource-usage", format="parquet", fields="consumed_quantity,id")
    assert read_parquet(body).column_names == ["consumed_quantity", "consumed_quantity_exact", "id"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_parquet_file_of_a_kind_has_one_schema(client: Client, kind: str) -> None:
    empty = read_parquet(download(client, kind, format="parquet")).schema
    EnvironmentUsageFactory(created_at=None)
    ResourceUsageFactory(consumed_quantity=Decimal(BEYOND[2]))
    RecipeUsageFactory(task_count=None)
    assert read_parquet(download(client, kind, format="parquet")).schema.equals(empty, check_metadata=True)


def test_an_empty_parquet_file_has_its_columns(client: Client) -> None:
    table = read_parquet(download(client, "recipe-usage", format="parquet"))
    assert (table.num_rows, table.column_names[:3]) == (0, ["id", "source", "day"])


def test_without_pyarrow_parquet_is_refused_with_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ = builtins.__import__

    def refuse_pyarrow(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return import_(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse_pyarrow)
    errors = get_problem_details(client.get(f"{API}/environment-usage/", {"format": "parquet"}))
    assert "the extra `parquet`" in errors["format"][0]


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_the_accept_header_asks_for_these_formats_as_well(client: Client, form: str) -> None:
    EnvironmentUsageFactory()
    expected = client.get(f"{API}/environment-usage/", {"format": form})
    body = b"".join(expected.streaming_content)  # type: ignore[attr-defined]
    response = client.get(f"{API}/environment-usage/", headers={"Accept": expected["Content-Type"]})
    assert response["Content-Type"] == expected["Content-Type"]
    assert response["Content-Disposition"].endswith(f'.{form}"')
    assert b"".join(response.streaming_content)[:4] == body[:4]  # type: ignore[attr-defined]
