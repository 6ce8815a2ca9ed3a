"""XLSX: one sheet, sent while its rows are read, so that memory stays flat and a reader who leaves is noticed.

XlsxWriter makes the workbook around the sheet; the rows are written here, which takes a tenth of its time. Texts are
texts, never formulas or links. A cell's number is a double, which Excel itself rounds to 15 digits: a number of more
significant digits is written as text, with all of them. Dates are dates; instants are texts, as in CSV, since a cell
has neither a zone nor microseconds. A text longer than a cell can hold ends in CUT. A workbook that breaks off has no
directory at its end, and no reader takes it.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any

import xlsxwriter
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from xlsxwriter.utility import xl_col_to_name

from usage.columns import DAY, INSTANT, JSON, NUMBER, WHOLE, Column
from usage.exports.copying import BLOCK_BYTES, Record, Snapshot
from usage.exports.outbox import Outbox

LARGEST_SHEET = 1_048_575  # rows besides the header
LARGEST_CELL = 32_767  # characters, of UTF-16: one beyond U+FFFF counts twice
EXACT_DIGITS = 15
CUT = "… [cut: a cell holds no more]"
SHEET = "xl/worksheets/sheet1.xml"
PACKED = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
FIRST_DAY = date(1899, 12, 30).toordinal()
WIDTHS = {INSTANT: 28, JSON: 40, DAY: 12, NUMBER: 18}
USUAL_WIDTH = 22
DAY_CELL = re.compile(r'<col min="\d+" max="\d+" width="[0-9.]+" style="(\d+)"')
# What XML cannot hold, or would read otherwise; _x…_ is how a workbook writes such a character (ECMA-376, 22.9.2.19).
UNSAFE = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

Write = Callable[[int, str], str]


def workbook_blocks(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Return the rows of `queryset`, in its order, as blocks of a workbook.

    Raises ValidationError where there are more rows than a sheet can hold.
    """
    rows = counted(snapshot, queryset)
    return zipped(snapshot.records(queryset, columns), rows, columns)


def counted(snapshot: Snapshot, queryset: QuerySet[Any]) -> int:
    """Return how many rows there are; counts no further than a sheet goes, and then raises ValidationError."""
    rows = queryset.using(snapshot.connection.alias).order_by().values("pk")[: LARGEST_SHEET + 1]
    with snapshot.shared():
        number: int = rows.count()
    if number <= LARGEST_SHEET:
        return number
    reason = (
        f"A sheet of XLSX holds {LARGEST_SHEET:,} rows and these are more; use csv or ndjson, or narrow the filters."
    )
    raise ValidationError({"format": [reason]})


def zipped(records: Iterator[Record], rows: int, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield a workbook whose sheet holds these records of CSV, the first of them the header."""
    next(records)  # the frame has the header
    frame = frame_of(tuple(columns))
    out = Outbox()
    with zipfile.ZipFile(out, "w", **PACKED) as book:  # type: ignore[call-overload]
        for name, part in frame.parts:
            book.writestr(name, part)
        with book.open(SHEET, "w") as sheet:
            sheet.write(frame.head(rows))
            for block in written(records, columns, frame.day_style):
                sheet.write(block)
                if len(out.posted) >= BLOCK_BYTES:
                    yield out.emptied()
            sheet.write(frame.tail)
    yield out.emptied()


class Frame:
    """An empty workbook as XlsxWriter makes it: `parts` besides the sheet, and the sheet around its rows."""

    def __init__(self, made: bytes, last_column: str) -> None:
        with zipfile.ZipFile(io.BytesIO(made)) as book:
            self.parts = [(name, book.read(name)) for name in book.namelist() if name != SHEET]
            sheet = book.read(SHEET).decode()
        self._last = last_column
        self._head, end, tail = sheet.partition("</sheetData>")
        self.tail = (end + tail).encode()
        styled = DAY_CELL.search(sheet)
        self.day_style = styled.group(1) if styled else ""

    def head(self, rows: int) -> bytes:
        """Return the sheet up to its second row; it says how far the sheet goes, and some readers go by that."""
        held, holds = f'ref="A1:{self._last}1"', f'ref="A1:{self._last}{rows + 1}"'
        return self._head.replace('ref="A1"', held, 1).replace(held, holds, 1).encode()


@cache
def frame_of(columns: tuple[Column, ...]) -> Frame:
    """Return the workbook around rows of these columns: a bold header that stays in sight, and widths that fit."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"constant_memory": True, "in_memory": True}) as book:
        sheet = book.add_worksheet("usage")
        sheet.freeze_panes(1, 0)
        bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
        for place, column in enumerate(columns):
            width = WIDTHS.get(column.kind, USUAL_WIDTH)
            sheet.set_column(place, place, width, day if column.kind == DAY else None)
            sheet.write_string(0, place, column.name, bold)
    return Frame(file.getvalue(), xl_col_to_name(len(columns) - 1))


def written(records: Iterator[Record], columns: Sequence[Column], day_style: str) -> Iterator[bytes]:
    """Yield the rows of a sheet in blocks of XML."""
    writers = [writer(column.kind, xl_col_to_name(place), day_style) for place, column in enumerate(columns)]
    block: list[str] = []
    size = 0
    for row, cells in enumerate(csv.reader(str(record, "utf-8") for record in records), start=2):
        line = "".join([write(row, cell) for write, cell in zip(writers, cells, strict=True) if cell])
        block.append(f'<row r="{row}">{line}</row>')
        size += len(line)
        if size >= BLOCK_BYTES:
            yield "".join(block).encode()
            block.clear()
            size = 0
    yield "".join(block).encode()


def writer(kind: str, letter: str, day_style: str) -> Write:
    """Return how the cells of a column are written."""

    def text(row: int, cell: str) -> str:
        if 2 * len(cell) > LARGEST_CELL:
            cell = fitted(cell)
        if UNSAFE.search(cell):
            cell = UNSAFE.sub(escaped, cell)
        return f'<c r="{letter}{row}" t="inlineStr"><is><t xml:space="preserve">{cell}</t></is></c>'

    def number(row: int, cell: str) -> str:
        return f'<c r="{letter}{row}"><v>{cell}</v></c>' if is_exact(cell) else text(row, cell)

    def a_date(row: int, cell: str) -> str:
        # Excel takes 1900 for a leap year: before March of that year its dates are not the calendar's.
        serial = serial_of(cell)
        return f'<c r="{letter}{row}" s="{day_style}"><v>{serial}</v></c>' if serial > 366 else text(row, cell)

    return {NUMBER: number, WHOLE: number, DAY: a_date}.get(kind, text)


def fitted(cell: str) -> str:
    """Return a text as a cell can hold it, cut where it is too long."""
    units = cell.encode("utf-16-le")
    if len(units) <= 2 * LARGEST_CELL:
        return cell
    # Half of a character at the cut is left out.
    return units[: 2 * (LARGEST_CELL - len(CUT))].decode("utf-16-le", "ignore") + CUT


def escaped(unsafe: re.Match[str]) -> str:
    """Return how a workbook writes a character that XML cannot hold, or a text that it would take for one."""
    found = unsafe.group()
    if len(found) > 1:
        return f"_x005F{found}"
    return ENTITIES.get(found) or f"_x{ord(found):04X}_"


@lru_cache(maxsize=4096)
def serial_of(day: str) -> int:
    """Return the number of a day in a workbook."""
    return date.fromisoformat(day).toordinal() - FIRST_DAY


def is_exact(number: str) -> bool:
    """Tell whether a number, as PostgreSQL writes it, has no more digits than a cell keeps."""
    digits = number.lstrip("-").replace(".", "", 1)
    return digits.isdecimal() and len(digits) < 300 and len(digits.strip("0")) <= EXACT_DIGITS
