"""An answer as a file: CSV, or XLSX with a second sheet that says what was asked and how far it can be trusted.

Every line has all columns; `line` tells results from others and totals, so a sum over the results is a filter away.
CSV is as the exports write it (usage/exports/copying.py): its first line is the header, and text that a spreadsheet
would run as a formula gets a leading apostrophe. What is said of the whole stands in columns of its own.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from usage.explore.address import Said
from usage.explore.asking import Answer
from usage.explore.kinds import label_of
from usage.explore.lines import Line, Lines, lines_of
from usage.explore.table import columns
from usage.explore.words import worth_of
from usage.exports.formulas import FORMULA_STARTS
from usage.exports.workbook import CUT, LARGEST_CELL, is_exact

CSV: Final = "text/csv; charset=utf-8; header=present"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
COMPARED: Final = ("previous", "change", "relative_change")
WIDTH: Final = 18


@dataclass(frozen=True, slots=True)
class Sheet:
    """The columns of a file by name, which of them hold numbers, and its lines."""

    names: list[str]
    numbers: list[bool]
    rows: Iterator[list[str | None]]


def sheet_of(answer: Answer) -> Sheet:
    """Return an answer's columns and lines."""
    lines, meta = lines_of(answer), answer.said["meta"]
    parts = ("", *COMPARED) if lines.compared else ("",)
    measured = [f"{part}_{name}".strip("_") for name in lines.measures for part in parts]
    texts, about = ["line", *columns(lines)], ["complete", "as_of"]
    names = [*texts, *measured, f"share_of_{lines.main}", *about]
    numbers = [False] * len(texts) + [True] * (len(measured) + 1) + [False] * len(about)
    return Sheet(names, numbers, rows_of(lines, meta))


def rows_of(lines: Lines, meta: dict[str, Any]) -> Iterator[list[str | None]]:
    """Yield every line's cells as texts, None for what is not known: the results, the others, the totals."""
    for sort, some in (("result", lines.results), ("others", lines.others), ("total", lines.totals)):
        for line in some:
            named = [line.get(name) for name in columns(lines)]
            cells = [sort, *named, *measured(lines, line), lines.share(line), bool(meta["complete"]), meta["as_of"]]
            yield [written(cell) for cell in cells]


def measured(lines: Lines, line: Line) -> Iterator[Any]:
    """Yield the numbers of a line, each with what it was before where that was asked for."""
    for name in lines.measures:
        yield line[name]
        if lines.compared:
            yield from (line[part][name] for part in COMPARED)


def written(value: Any) -> str | None:
    """Return a value as text, numbers with all their digits."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_csv(answer: Answer) -> bytes:
    """Return an answer as CSV."""
    sheet = sheet_of(answer)
    safe = (
        [cell if number else neutral(cell) for number, cell in zip(sheet.numbers, row, strict=True)]
        for row in sheet.rows
    )
    lines: list[list[str | None]] = [[*sheet.names], *safe]
    return "".join(f"{','.join(map(quoted, line))}\r\n" for line in lines).encode()


def neutral(cell: str | None) -> str | None:
    """Return a text that no spreadsheet runs as a formula."""
    return f"'{cell}" if cell and cell.startswith(tuple(FORMULA_STARTS)) else cell


def quoted(cell: str | None) -> str:
    """Return a cell as RFC 4180 has it: nothing for null, quotes for an empty text."""
    if cell is None:
        return ""
    if not cell or any(sign in cell for sign in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def as_xlsx(answer: Answer, said: Said, address: str) -> bytes:
    """Return an answer as a workbook; `said` is the question, `address` the page that asks it."""
    asked = sheet_of(answer)
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, OPTIONS) as book:
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet("usage")
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, len(asked.names) - 1, WIDTH)
        for place, name in enumerate(asked.names):
            sheet.write_string(0, place, name, bold)
        for at, row in enumerate(asked.rows, start=1):
            for place, (number, cell) in enumerate(zip(asked.numbers, row, strict=True)):
                write(sheet, at, place, cell, number=number)
        about = book.add_worksheet("About")
        about.set_column(0, 0, 2 * WIDTH)
        about.set_column(1, 1, 6 * WIDTH)
        for at, (name, text) in enumerate(about_lines(answer, said, address)):
            about.write_string(at, 0, name, bold)
            write(about, at, 1, text, number=False)
    return file.getvalue()


def write(sheet: Worksheet, row: int, place: int, cell: str | None, *, number: bool) -> None:
    """Write one cell: a number as such where a cell keeps all its digits, everything else as text."""
    if cell is None:
        return
    if number and is_exact(cell):
        sheet.write_number(row, place, float(cell))
        return
    sheet.write_string(row, place, cell if len(cell) <= LARGEST_CELL else cell[: LARGEST_CELL - len(CUT)] + CUT)


def about_lines(answer: Answer, said: Said, address: str) -> Iterator[tuple[str, str]]:
    """Yield what was asked, where, and how far the answer can be trusted."""
    meta = answer.said["meta"]
    yield "Usage of", answer.kind.label
    yield "As of", meta["as_of"]
    yield "Asked at", address
    for name, value in said:
        yield label_of(name), value
    yield "Time zone", meta["tz"]
    worth = worth_of(meta)
    for sentence in worth.sentences:
        yield "How far it can be trusted", sentence
    for title, named_days in worth.days:
        for one in named_days:
            yield title, f"{one['source']} {one['day']}"
    yield "Numbers", "A number of more than 15 digits is a text, so that none of them is lost."
    yield (
        "Lines",
        "result: a row of the answer; others: what the limit left out; total: of all that was asked for.",
    )


def file_name(answer: Answer, said: Said, ending: str) -> str:
    """Return a file's name: the kind, the sources and the range as they were asked for, and when it was answered."""
    meta = answer.said["meta"]
    source = re.sub(r"[^0-9A-Za-z.-]+", "-", dict(said).get("source", ""))[:60]
    bounds = [str(meta[name] or "open")[:10] for name in ("from", "to")]
    at = datetime.fromisoformat(meta["as_of"])
    named = "_".join(filter(None, (answer.kind.name, source, *bounds)))
    return f"{named}_as-of_{at:%Y-%m-%dT%H%M}Z.{ending}"


def headers(answer: Answer, name: str) -> dict[str, str]:
    """Return the headers of a download: its name, and what the API's exports say of themselves."""
    meta = answer.said["meta"]
    said = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "Portal-As-Of": meta["as_of"],
        "Portal-Complete": "true" if meta["complete"] else "false",
        "Portal-Complete-Through": meta["complete_through"],
        "Portal-Provisional-From": meta["provisional_from"],
        "Portal-Restated-Since": meta["restated_since"],
    }
    return {header: value for header, value in said.items() if value}
