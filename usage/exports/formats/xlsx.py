"""XLSX: the rows on a sheet *usage* and what the file is of on a sheet *About*, by XlsxWriter.

It is written into a temporary file and sent when it is complete. Text is text, never a formula or a link. A cell's
number is a double, which Excel itself rounds to 15 digits: a number of more significant digits is written as text, with
all of them. Dates are dates, and instants are dates with a time in the zone of the request. A text longer than a
cell can hold ends in CUT.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from rest_framework.exceptions import ValidationError

from usage.columns import CELL_SQL, DAY, INSTANT, INTEGER, JSON, NUMBER, TEXT, TEXT_LIST
from usage.exports.about import Line
from usage.exports.copy import BLOCK_BYTES, ExportQuery
from usage.exports.formats.base import ExportFormat

MAX_CELL: Final = 32_767  # UTF-16 code units
EXACT_DIGITS: Final = 15
CUT: Final = "… [cut: a cell holds no more]"
TOO_MANY_ROWS: Final = "too_many_rows"  # code of the error
# Excel takes 1900 for a leap year, so dates before March of that year are written as text.
FIRST_DATE: Final = date(1900, 3, 1)
# A cell counts the days since this day.
DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001 (a cell has no zone)
ONE_DAY: Final = timedelta(days=1)
FIRST_DAY: Final = 61  # FIRST_DATE
WIDTHS: Final = {INSTANT: 24, JSON: 40, DAY: 12, NUMBER: 18}
DEFAULT_WIDTH: Final = 22
ABOUT_WIDTHS: Final = (30, 110)
DATE_FORMATS: Final = {DAY: "yyyy-mm-dd", INSTANT: "yyyy-mm-dd hh:mm:ss.000"}
# Writing takes a row after the other, so that memory stays flat.
OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
# The database sends a character more than a cell can have: enough to see that a text is cut. Python's reader of CSV
# takes no cell of more than 131,072.
SHORT_CELL_SQL: Final = {
    **CELL_SQL,
    **{kind: f"left({CELL_SQL.get(kind, 't.{0}::text')}, {MAX_CELL + 1})" for kind in (TEXT, JSON, TEXT_LIST)},
}
NOTES: Final[tuple[Line, ...]] = (
    ("Numbers", f"A number of more than {EXACT_DIGITS} digits is a text, so that none of them is lost."),
    ("Times", "They are of the time zone above, to the millisecond. Where its clocks go back, an hour comes twice."),
    ("Long texts", f"A text that is longer than a cell can hold ends in “{CUT}”."),
)

WriteCell = Callable[[int, int, str], Any]


class Format(ExportFormat):
    """A workbook of one sheet, capped at PORTAL_XLSX_MAX_ROWS rows."""

    name = "xlsx"
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    title = "Excel (XLSX)"
    position = 2

    @classmethod
    def get_hint(cls) -> str:
        return f"one sheet, up to {settings.PORTAL_XLSX_MAX_ROWS:,} rows"

    def write(self, query: ExportQuery) -> Iterator[bytes]:
        """Yield the file once it is complete; raises ValidationError where there are more rows than are allowed."""
        require_rows_at_most(query, settings.PORTAL_XLSX_MAX_ROWS)
        lines = csv.reader(str(record, "utf-8") for record in query.read_records(SHORT_CELL_SQL))
        # The null of a file of one column is an empty line.
        names, rows = next(lines), (cells or [""] for cells in lines)
        yield from iterate_workbook(names, [column.kind for column in query.columns], rows, query.about, query.zone)


def require_rows_at_most(query: ExportQuery, allowed: int) -> None:
    """Raise ValidationError where the query has more rows; counts to the first row beyond."""
    if query.count_rows(allowed + 1) <= allowed:
        return
    reason = f"An XLSX file may have {allowed:,} rows and these are more; use csv, or narrow the filters."
    raise ValidationError({"format": [reason]}, code=TOO_MANY_ROWS)


def iterate_workbook(
    names: Iterable[str],
    kinds: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    about: Iterable[Line],
    zone: ZoneInfo,
) -> Iterator[bytes]:
    """Yield a workbook once it is complete: a bold header that stays in sight, then the rows; *About* is a sheet of it.

    `kinds`: those of the columns (usage/columns.py), whose cells are texts as CSV has them; None and an empty text are
    empty cells.
    """
    import xlsxwriter  # takes 50 ms to import

    with tempfile.TemporaryFile(prefix="portal-xlsx-") as file:
        with xlsxwriter.Workbook(file, OPTIONS) as book:
            bold = book.add_format({"bold": True})
            date_formats = {kind: book.add_format({"num_format": text}) for kind, text in DATE_FORMATS.items()}
            sheet = book.add_worksheet("usage")
            sheet.freeze_panes(1, 0)
            for index, (name, kind) in enumerate(zip(names, kinds, strict=True)):
                sheet.set_column(index, index, WIDTHS.get(kind, DEFAULT_WIDTH))
                sheet.write_string(0, index, cut_text(name), bold)
            writers = [build_cell_writer(sheet, kind, date_formats, zone) for kind in kinds]
            for number, cells in enumerate(rows, start=1):
                for index, (write_cell, cell) in enumerate(zip(writers, cells, strict=True)):
                    if cell:
                        write_cell(number, index, cell)
            page = book.add_worksheet("About")
            for index, width in enumerate(ABOUT_WIDTHS):
                page.set_column(index, index, width)
            for number, (name, text) in enumerate((*about, *NOTES)):
                page.write_string(number, 0, name, bold)
                page.write_string(number, 1, cut_text(text))
        file.seek(0)
        yield from iter(partial(file.read, BLOCK_BYTES), b"")


def build_cell_writer(sheet: Any, kind: str, date_formats: Mapping[str, Any], zone: ZoneInfo) -> WriteCell:
    """Return how the cells of a column are written."""

    def write_text(row: int, index: int, cell: str) -> None:
        sheet.write_string(row, index, cut_text(cell))

    def write_number(row: int, index: int, cell: str) -> None:
        if is_exact(cell):
            sheet.write_number(row, index, float(cell))
        else:
            write_text(row, index, cell)

    def write_date(row: int, index: int, cell: str) -> None:
        day = date.fromisoformat(cell)
        if day >= FIRST_DATE:
            sheet.write_datetime(row, index, day, date_formats[DAY])
        else:
            write_text(row, index, cell)

    def write_instant(row: int, index: int, cell: str) -> None:
        local = datetime.fromisoformat(cell).astimezone(zone).replace(tzinfo=None)
        days = (local - DAY_ZERO) / ONE_DAY
        if days >= FIRST_DAY:
            sheet.write_number(row, index, days, date_formats[INSTANT])
        else:
            write_text(row, index, cell)

    writers = {NUMBER: write_number, INTEGER: write_number, DAY: write_date, INSTANT: write_instant}
    return writers.get(kind, write_text)


def cut_text(text: str) -> str:
    """Return a text that fits into a cell: a longer text is cut and marked."""
    if 2 * len(text) <= MAX_CELL:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL:
        return text
    # Half of a surrogate pair at the cut is left out.
    return units[: 2 * (MAX_CELL - len(CUT))].decode("utf-16-le", "ignore") + CUT


def is_exact(number: str) -> bool:
    """Return whether a number, as PostgreSQL writes it, has no more digits than a cell stores."""
    digits = number.lstrip("-").replace(".", "", 1)
    return digits.isdecimal() and len(digits) < 300 and len(digits.strip("0")) <= EXACT_DIGITS
