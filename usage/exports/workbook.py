"""XLSX: one sheet, written to a temporary file and sent from there, so it is whole before anything is sent.

Texts are texts, never formulas or links. A cell's number is a double, which Excel itself rounds to 15 digits: a
number of more significant digits is written as text, with all of them. Dates are dates; instants are texts, as in
CSV, since a cell has neither a zone nor microseconds. A text longer than a cell can hold ends in CUT.
"""

import csv
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import IO, Any

import xlsxwriter
from django.db import models
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from usage.columns import AS_TYPED, NUMBER, Column, field_of
from usage.exports.copying import BLOCK_BYTES, Record, Snapshot

LARGEST_SHEET = 1_048_575  # rows besides the header
LARGEST_CELL = 32_767  # characters
EXACT_DIGITS = 15
CUT = "… [cut: a cell holds no more]"
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}

Write = Callable[[int, int, str], Any]


def workbook(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> tuple[Iterator[bytes], int]:
    """Return a workbook of the rows of `queryset`, in its order, as blocks, and its length in bytes.

    Raises ValidationError where there are more rows than a sheet can hold.
    """
    refuse_too_many(snapshot, queryset)
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed, and so gone, when it was sent or nobody reads it)
    with tempfile.TemporaryDirectory() as folder, xlsxwriter.Workbook(file, {**OPTIONS, "tmpdir": folder}) as book:
        fill(book, snapshot.records(queryset, columns, AS_TYPED), queryset.model, columns)
    length = file.tell()
    file.seek(0)
    return sent(file), length


def refuse_too_many(snapshot: Snapshot, queryset: QuerySet[Any]) -> None:
    """Raise ValidationError where there are more rows than a sheet can hold; counts no further than that."""
    rows = queryset.using(snapshot.connection.alias).order_by().values("pk")[: LARGEST_SHEET + 1]
    with snapshot.shared():
        if rows.count() <= LARGEST_SHEET:
            return
    reason = (
        f"A sheet of XLSX holds {LARGEST_SHEET:,} rows and these are more; use csv or ndjson, or narrow the filters."
    )
    raise ValidationError({"format": [reason]})


def fill(book: xlsxwriter.Workbook, records: Iterator[Record], model: Any, columns: Sequence[Column]) -> None:
    """Write the header and every record of CSV into a new sheet."""
    sheet = book.add_worksheet("usage")
    sheet.freeze_panes(1, 0)
    for place, name in enumerate(next(csv.reader([str(next(records), "utf-8")]))):
        sheet.write_string(0, place, name, book.add_format({"bold": True}))
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    writers = [writer(sheet, field_of(model, column.path), column.kind, day) for column in columns]
    for row, cells in enumerate(csv.reader(str(record, "utf-8") for record in records), start=1):
        for place, (write, cell) in enumerate(zip(writers, cells, strict=True)):
            if cell:
                write(row, place, cell)


def writer(sheet: Worksheet, field: Any, kind: str, day: Format) -> Write:
    """Return how cells of a column are written."""

    def text(row: int, place: int, cell: str) -> None:
        whole = len(cell) <= LARGEST_CELL
        sheet.write_string(row, place, cell if whole else cell[: LARGEST_CELL - len(CUT)] + CUT)

    def number(row: int, place: int, cell: str) -> None:
        (sheet.write_number(row, place, float(cell)) if is_exact(cell) else text(row, place, cell))

    def a_date(row: int, place: int, cell: str) -> None:
        on = date.fromisoformat(cell)
        # Excel takes 1900 for a leap year: before March of that year its dates are not the calendar's.
        (sheet.write_datetime(row, place, on, day) if on.year > 1900 else text(row, place, cell))

    if kind == NUMBER or isinstance(field, models.IntegerField):
        return number
    return a_date if isinstance(field, models.DateField) and not isinstance(field, models.DateTimeField) else text


def is_exact(number: str) -> bool:
    """Tell whether a number, as PostgreSQL writes it, has no more digits than a cell keeps."""
    digits = number.lstrip("-").replace(".", "", 1)
    return digits.isdecimal() and len(digits) < 300 and len(digits.strip("0")) <= EXACT_DIGITS


def sent(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a file, and close it."""
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
