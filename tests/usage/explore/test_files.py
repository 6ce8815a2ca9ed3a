"""Files of Explore: all rows with others and totals marked, exact, safe to open, and with their data quality."""

import csv
import io
from codecs import BOM_UTF8
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
import time_machine
from django.test import Client

from tests.support.factories import EnvironmentUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.filled_portal import fill_portal
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.slots import hold_slot

pytestmark = pytest.mark.django_db
FILE = "/admin/explore/export/"


def fetch_lines(client: Client, query: str) -> list[dict[str, str]]:
    """Return the rows of the CSV file of a query."""
    create_source_days(rolled=False)
    response = client.get(f"{FILE}?{query}&format=csv")
    assert response.status_code == 200, response.getvalue()
    content = response.getvalue()
    assert content.startswith(BOM_UTF8)
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def fetch_workbook(client: Client, query: str) -> Any:
    """Return the workbook of a query."""
    create_source_days(rolled=False)
    response = client.get(f"{FILE}?{query}&format=xlsx")
    assert response.status_code == 200, response.getvalue()
    return openpyxl.load_workbook(io.BytesIO(response.getvalue()))


def create_usage() -> None:
    """Store usage of four projects in two units."""
    source = SourceFactory(slug="gcore-main", vendor="gcore")
    for number in range(4):
        ResourceUsageFactory(
            source=source, project_id=number, consumed_quantity=Decimal("12345678901234567.25") * (number + 1)
        )
    ResourceUsageFactory(source=source, project_id=9, consumed_unit="bytes", consumed_quantity=Decimal(3))


def test_a_file_has_every_row_the_others_and_the_totals_marked() -> None:
    create_usage()
    query = "kind=resource-usage&group_by=project_id&limit=2&from=2026-01-01&to=2026-01-02&compare=previous"
    lines = fetch_lines(sign_in_as("viewer"), query)
    assert list(lines[0]) == [
        "line",
        "project_id",
        "project_name",
        "billing_metric",
        "consumed_unit",
        "records",
        "previous_records",
        "change_records",
        "relative_change_records",
        "consumed_quantity",
        "previous_consumed_quantity",
        "change_consumed_quantity",
        "relative_change_consumed_quantity",
        "share_of_consumed_quantity",
        "complete",
        "as_of",
    ]
    by_line: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        by_line.setdefault(line["line"], []).append(line)
    assert {line_type: len(typed_lines) for line_type, typed_lines in by_line.items()} == {
        "result": 3,
        "others": 1,
        "total": 2,
    }
    for unit in ("minutes", "bytes"):
        parts = [line for line in (*by_line["result"], *by_line["others"]) if line["consumed_unit"] == unit]
        (total,) = [line for line in by_line["total"] if line["consumed_unit"] == unit]
        assert sum(Decimal(line["consumed_quantity"]) for line in parts) == Decimal(total["consumed_quantity"])
    assert by_line["total"][1]["consumed_quantity"] == "123456789012345672.50"
    assert {line["complete"] for line in lines} == {"false"}


def test_a_file_has_the_rows_that_the_page_cuts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from usage.explore import pages

    monkeypatch.setattr(pages, "ROWS", 1)
    create_usage()
    lines = fetch_lines(sign_in_as("viewer"), "kind=resource-usage&group_by=project_id")
    assert [line["project_id"] for line in lines if line["line"] == "result"] == ["3", "2", "1", "0", "9"]


def test_a_text_that_would_run_is_a_text_and_a_negative_number_a_number() -> None:
    source = SourceFactory()
    for project in ("=1+1", "@cmd", "-x", "＋y", " \n=z", 'a "b", c'):
        EnvironmentUsageFactory(source=source, project_id=project, stopped_at=datetime(2026, 1, 4, tzinfo=UTC))
    query = "kind=environment-usage&group_by=project_id&from=2026-01-05&to=2026-01-09&compare=previous"
    client = sign_in_as("viewer")
    lines = [line for line in fetch_lines(client, query) if line["line"] == "result"]
    assert {line["project_id"] for line in lines} == {"'=1+1", "'@cmd", "'-x", "'＋y", "' \n=z", 'a "b", c'}
    assert {line["change_records"] for line in lines} == {"-1"}
    sheet = fetch_workbook(client, query)["usage"]
    cells = {cell.value: cell.data_type for cell in sheet["B"][1:7]}
    assert cells == dict.fromkeys(("=1+1", "@cmd", "-x", "＋y", " \n=z", 'a "b", c'), "s")


def test_an_unknown_number_is_an_empty_cell_and_an_empty_text_is_quoted() -> None:
    EnvironmentUsageFactory(created_at=None, project_id="")
    create_source_days(rolled=False)
    query = "kind=environment-usage&group_by=project_id&measures=runtime_seconds&format=csv&bom=0"
    header, row, *_ = sign_in_as("viewer").get(f"{FILE}?{query}").getvalue().decode().split("\r\n")
    assert header == "line,project_id,project_name,runtime_seconds,share_of_runtime_seconds,complete,as_of"
    assert row.startswith('result,"",,,,false,')


def test_a_workbook_keeps_every_digit_and_says_what_it_is_of() -> None:
    create_usage()
    client = sign_in_as("viewer")
    book = fetch_workbook(
        client, "kind=resource-usage&group_by=project_id&from=2026-01-01&to=2026-01-02&source=gcore-main"
    )
    assert book.sheetnames == ["usage", "About"]
    rows = list(book["usage"].iter_rows(values_only=True))
    assert rows[0][:4] == ("line", "project_id", "project_name", "billing_metric")
    by_project = {row[1]: row for row in rows[1:] if row[0] == "result"}
    assert by_project[9][6] == 3
    assert by_project[3][6] == "49382715604938269.00"
    assert isinstance(rows[1][-1], datetime)
    about = list(book["About"].iter_rows(values_only=True))
    about_values = dict(about)
    assert about_values["Contents"] == "Resources"
    assert about_values["Group by"] == "project_id"
    assert about_values["Source"] == "gcore-main"
    assert about_values["Asked at"].endswith(
        "?kind=resource-usage&group_by=project_id&from=2026-01-01&to=2026-01-02&source=gcore-main"
    )
    assert any("never read" in str(value) for _, value in about)
    assert ("Days never read (1)", "gcore-main 2026-01-01") in about


def test_a_file_is_named_after_its_kind_range_and_moment_and_says_what_it_is_worth() -> None:
    fill_portal()
    client = sign_in_as("viewer")
    with time_machine.travel(datetime(2026, 11, 23, 13, 5, tzinfo=UTC), tick=False):
        client = sign_in_as("viewer")
        response = client.get(f"{FILE}?kind=environment-usage&from=2026-11-01&to=2026-11-16&group_by=day&format=csv")
        assert response.getvalue()
    assert response["Content-Disposition"] == (
        'attachment; filename="environment-usage_2026-11-01_2026-11-16_as-of-20261123T130500Z.csv"'
    )
    # The session of that day has ended.
    of_one = sign_in_as("viewer").get(f"{FILE}?kind=environment-usage&from=2026-11-01&source=ona-main&format=csv")
    assert 'filename="environment-usage_ona-main_2026-11-01_open_as-of-' in of_one["Content-Disposition"]
    assert response["Portal-Complete"] == "true"
    assert response["Portal-Complete-Through"] == "2026-11-15"
    assert "no-store" in response["Cache-Control"]


def test_everything_is_exported_with_a_total_per_metric_and_unit() -> None:
    create_usage()
    EnvironmentUsageFactory(source=SourceFactory(vendor="ona"))
    lines = fetch_lines(sign_in_as("viewer"), "kind=usage&interval=day")
    totals = {
        (line["vendor"], line["metric"], line["unit"]): line["quantity"] for line in lines if line["line"] == "total"
    }
    assert totals == {
        ("gcore", "instance_minutes", "bytes"): "3",
        ("gcore", "instance_minutes", "minutes"): "123456789012345672.50",
        ("ona", "runtime", "seconds"): "3600.000000",
    }


def test_a_file_that_cannot_be_made_says_why() -> None:
    client = sign_in_as("viewer")
    for query, message in (
        ("kind=resource-usage&group_by=colour&format=csv", "group_by"),
        ("kind=resource-usage&format=pdf", "Give csv or xlsx."),
        ("kind=resource-usage&format=csv&bom=yes", "“yes” is not one of: 0, 1."),
        ("kind=cost&format=csv", "is not one of"),
    ):
        response = client.get(f"{FILE}?{query}")
        assert response.status_code == 400
        assert message in response.content.decode()
        assert response["Content-Type"].startswith("text/plain")


def test_a_workbook_has_intervals_as_dates_and_hours_of_the_zone_that_is_asked_for() -> None:
    EnvironmentUsageFactory(stopped_at=datetime(2026, 1, 4, 22, 30, tzinfo=UTC))
    client, range_query = sign_in_as("viewer"), "from=2026-01-04&to=2026-01-06&tz=Europe/Berlin"
    for interval, expected in (("hour", datetime(2026, 1, 4, 23)), ("week", datetime(2025, 12, 29))):  # noqa: DTZ001 (a cell has no zone)
        book = fetch_workbook(client, f"kind=environment-usage&group_by={interval}&{range_query}")
        assert book["usage"]["B2"].value == expected
        assert book["usage"]["B2"].is_date
        assert ("Time zone", "Europe/Berlin") in list(book["About"].iter_rows(values_only=True))


def test_dates_of_a_file_are_the_apis() -> None:
    ResourceUsageFactory(day=date(2026, 2, 11))
    lines = fetch_lines(sign_in_as("viewer"), "kind=resource-usage&group_by=quarter")
    assert [line["quarter"] for line in lines] == ["2026-01-01", ""]


def test_a_file_is_streamed_and_holds_a_slot_until_its_end() -> None:
    create_usage()
    create_source_days(rolled=False)
    client = sign_in_as("viewer")
    address = f"{FILE}?kind=resource-usage&group_by=project_id&format="
    for extension in ("csv", "xlsx"):
        download = client.get(address + extension)
        assert download.streaming
        refused_response = client.get(address + extension)
        assert (refused_response.status_code, refused_response["Retry-After"]) == (503, "10")
        assert "as the portal makes at once" in refused_response.content.decode()
        assert download.getvalue()
    assert client.get(address + "pdf").status_code == 400
    assert client.get(address + "csv").status_code == 200


def test_a_large_page_without_a_free_slot_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.summaries.sql.LARGE_ANSWER", 3)
    create_usage()
    create_source_days(rolled=False)
    client = sign_in_as("viewer")
    address = "/admin/explore/?kind=resource-usage&group_by=project_id"
    assert client.get(address).context["answer"]
    with hold_slot():
        page = client.get(address)
    assert "answer" not in page.context
    assert "as the portal makes at once" in page.content.decode()
    assert client.get(address).context["answer"]
