"""LibreOffice opens the files of the portal as intended: every cell of a workbook, and no formula in a CSV file."""

import io
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from django.test import Client
from openpyxl.cell import Cell

from tests.support.api_clients import create_api_client
from tests.support.exports import download
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.users import sign_in_as
from tests.system.programs import find_program
from usage.exports.formats.xlsx import CUT, MAX_CELL

pytestmark = pytest.mark.django_db(transaction=True)
ZONE = ZoneInfo("Europe/Berlin")
TEXTS = [
    "Zoë Größe ☃ 🎈",
    "=1+1",
    "＝1+1",
    " \n=1+1",
    "@SUM(A1)",
    "-x",
    "007",
    "1e5",
    "2026-01-01",
    "  spaces  ",
    "TRUE",
    "a,b",
]
# Fields as it writes them, whatever its language: comma, quote, UTF-8, from line 1, and formulas are evaluated.
CSV_AS_UTF_8 = "--infilter=CSV:44,34,76,1,,0,false,true,false,false,false,0,true"
SECONDS = 240


def convert(folder: Path, *options: str, **files: bytes) -> dict[str, Any]:
    """Have LibreOffice open files and save them as workbooks; returns these by the names of the files."""
    output_folder = folder / "saved"
    output_folder.mkdir(exist_ok=True)
    paths = []
    for name, body in files.items():
        paths.append(folder / name.replace("_", "."))
        paths[-1].write_bytes(body)
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = [find_program("soffice"), profile, "--headless", "--norestore", *options]
    command += ["--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(output_folder), *map(str, paths)]
    variables = {**os.environ, "HOME": str(folder)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, result.stderr
    return {
        name: openpyxl.load_workbook(output_folder / f"{path.stem}.xlsx")
        for name, path in zip(files, paths, strict=True)
    }


def store_odd_records() -> None:
    """Store texts, numbers and instants that spreadsheets like to change."""
    source = SourceFactory(slug="odd")
    at = datetime(2026, 7, 1, 22, 15, 30, 250_000, tzinfo=UTC)
    for number, text in enumerate([*TEXTS, "x" * (MAX_CELL + 1)]):
        EnvironmentUsageFactory(
            source=source,
            user_id=text,
            record_id=f"r{number}",
            stopped_at=at + timedelta(hours=number),
            created_at=None,
        )
    later = at + timedelta(days=2)
    EnvironmentUsageFactory(source=source, record_id="long", stopped_at=later, extra={"log": "y" * 200_000})
    for quantity in ("0.5", "-123456789012.345", "123456789012345", "1234567890123456", "12345678901234567890.12"):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(quantity), last_seen=at, tags={"größe": "ß"})
    RecipeUsageFactory(source=source, recipe_name="=cmd|' /C calc'!A0", task_count=None)


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    store_odd_records()
    return create_api_client()


def assert_same_cells(ours: Any, theirs: Any) -> None:
    """Compare all sheets of two workbooks, cell by cell."""
    assert ours.sheetnames == theirs.sheetnames == ["usage", "About"]
    for sheet in ours.sheetnames:
        assert ours[sheet].dimensions == theirs[sheet].dimensions
        for row in ours[sheet].iter_rows():
            for cell in row:
                their_cell = theirs[sheet][cell.coordinate]
                assert are_same(cell, their_cell), (sheet, cell.coordinate, their_cell.value, cell.value)


def are_same(ours: Cell, theirs: Cell) -> bool:
    """Return whether two cells have the same type and value; each program rounds times to a millisecond its own way."""
    if isinstance(ours.value, datetime) and isinstance(theirs.value, datetime):
        return ours.is_date and theirs.is_date and abs(ours.value - theirs.value) < timedelta(milliseconds=1.5)
    return (ours.data_type, ours.is_date, ours.value) == (theirs.data_type, theirs.is_date, theirs.value)


def test_every_cell_of_a_workbook_is_what_libreoffice_shows(client: Client, tmp_path: Path) -> None:
    kinds = {"environment_xlsx": "environment-usage", "resource_xlsx": "resource-usage", "recipe_xlsx": "recipe-usage"}
    zone_params = {"environment-usage": {"tz": ZONE.key}, "recipe-usage": {"tz": ZONE.key}}
    files = {name: download(client, kind, format="xlsx", **zone_params.get(kind, {})) for name, kind in kinds.items()}
    page = sign_in_as("viewer").get("/admin/explore/export/?kind=environment-usage&group_by=day,user_id&format=xlsx")
    files["explore_xlsx"] = page.getvalue()
    workbooks = convert(tmp_path, **files)
    for name, body in files.items():
        assert_same_cells(openpyxl.load_workbook(io.BytesIO(body)), workbooks[name])
    sheet = workbooks["environment_xlsx"]["usage"]
    assert all(cell.font.bold for cell in sheet[1])
    assert sheet.column_dimensions["A"].width == pytest.approx(22, abs=1)
    rows = list(sheet.iter_rows(min_row=2, values_only=True))
    names = [cell.value for cell in sheet[1]]
    by_id = {row[names.index("record_id")]: dict(zip(names, row, strict=True)) for row in rows}
    assert [by_id[f"r{number}"]["user_id"] for number in range(len(TEXTS))] == TEXTS
    assert by_id["long"]["extra"].endswith(CUT)
    lines = map(json.loads, download(client, "environment-usage", format="ndjson").splitlines())
    for line in lines:
        local = datetime.fromisoformat(line["stopped_at"]).astimezone(ZONE).replace(tzinfo=None)
        assert abs(by_id[line["record_id"]]["stopped_at"] - local) < timedelta(milliseconds=1)


def test_no_cell_of_a_csv_becomes_a_formula_and_umlauts_stay(client: Client, tmp_path: Path) -> None:
    files = {
        "environment_csv": download(client, "environment-usage", format="csv", bom="1", ordering="stopped_at"),
        "recipe_csv": download(client, "recipe-usage", format="csv"),
        "explore_csv": sign_in_as("viewer")
        .get("/admin/explore/export/?kind=environment-usage&group_by=user_id&format=csv")
        .getvalue(),
        "raw_csv": b"id,text\n1,=1+1\n",
    }
    workbooks = convert(tmp_path, CSV_AS_UTF_8, **files)
    formulas = {name: count_formulas(book) for name, book in workbooks.items()}
    assert formulas == {"environment_csv": 0, "recipe_csv": 0, "explore_csv": 0, "raw_csv": 1}
    sheet = workbooks["environment_csv"].worksheets[0]
    names = [cell.value for cell in sheet[1]]
    assert names[0] == "id"
    assert sheet.cell(2, names.index("user_id") + 1).value == TEXTS[0]


def count_formulas(book: Any) -> int:
    """Return how many cells of a workbook have a formula."""
    return sum(cell.data_type == "f" for sheet in book for row in sheet.iter_rows() for cell in row)
