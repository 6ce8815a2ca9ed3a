"""An answer as a file: CSV, or XLSX with a second sheet that says what was asked and how far it can be trusted.

Every line has all columns; `line` tells results from others and totals, so a sum over the results is a filter away.
CSV is as the exports write it (usage/exports/copying.py): its first line is the header, and text that a spreadsheet
would run as a formula gets a leading apostrophe. What is said of the whole stands in columns of its own.
"""

import io
from collections.abc import Callable, Iterator
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
from usage.exports.workbook import CUT, LARGEST_CELL, is_exact

FORMULA_STARTS: Final = tuple("=+-@\t\r")
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
class Column:
    """A column of a file: its name, whether it holds numbers, and how its value is got from a kind of line."""

    name: str
    number: bool
    of: Callable[[str, Line], Any]


def columns_of(lines: Lines, meta: dict[str, Any]) -> list[Column]:
    """Return the columns of a file."""
    found = [Column("line", False, lambda sort, _: sort)]
    found += [Column(name, False, lambda _, line, name=name: line.get(name)) for name in columns(lines)]  # type: ignore[misc]
    for name in lines.measures:
        found.append(Column(name, True, lambda _, line, name=name: line[name]))  # type: ignore[misc]
        for part in COMPARED if lines.compared else ():
            found.append(
                Column(f"{part}_{name}", True, lambda _, line, name=name, part=part: line.get(part, {}).get(name))  # type: ignore[misc]
            )
    share = Column(f"share_of_{lines.main}", True, lambda _, line: lines.share(line))
    complete = str(bool(meta["complete"])).lower()
    about = [Column("complete", False, lambda *_: complete), Column("as_of", False, lambda *_: meta["as_of"])]
    return [*found, share, *about]


def lines_in(lines: Lines) -> Iterator[tuple[str, Line]]:
    """Yield every line with what it is: result, others or total."""
    for sort, some in (("result", lines.results), ("others", lines.others), ("total", lines.totals)):
        for line in some:
            yield sort, line


def cells(lines: Lines, found: list[Column]) -> Iterator[list[str | None]]:
    """Yield the cells of every line as texts, None for what is not known."""
    for sort, line in lines_in(lines):
        yield [written(column.of(sort, line)) for column in found]


def written(value: Any) -> str | None:
    """Return a value as text, numbers with all their digits."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_csv(answer: Answer) -> bytes:
    """Return an answer as CSV."""
    lines = lines_of(answer)
    found = columns_of(lines, answer.said["meta"])
    rows = [[column.name for column in found]]
    rows += [
        [cell if column.number else neutral(cell) for column, cell in zip(found, row, strict=True)]  # type: ignore[misc]
        for row in cells(lines, found)
    ]
    return "".join(f"{','.join(map(quoted, row))}\r\n" for row in rows).encode()


def neutral(cell: str | None) -> str | None:
    """Return a text that no spreadsheet runs as a formula."""
    return f"'{cell}" if cell and cell.startswith(FORMULA_STARTS) else cell


def quoted(cell: str | None) -> str:
    """Return a cell as RFC 4180 has it: nothing for null, quotes for an empty text."""
    if cell is None:
        return ""
    if not cell or any(sign in cell for sign in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def as_xlsx(answer: Answer, said: Said, address: str) -> bytes:
    """Return an answer as a workbook; `said` is the question, `address` the page that asks it."""
    lines = lines_of(answer)
    found = columns_of(lines, answer.said["meta"])
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, OPTIONS) as book:
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet("usage")
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, len(found) - 1, WIDTH)
        for place, column in enumerate(found):
            sheet.write_string(0, place, column.name, bold)
        for at, row in enumerate(cells(lines, found), start=1):
            for place, (column, cell) in enumerate(zip(found, row, strict=True)):
                write(sheet, at, place, cell, number=column.number)
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


def file_name(answer: Answer, ending: str) -> str:
    """Return a file's name: the kind, the range as it was asked for, and when it was answered."""
    meta = answer.said["meta"]
    bounds = [str(meta[name] or "open")[:10] for name in ("from", "to")]
    at = datetime.fromisoformat(meta["as_of"])
    return f"{answer.kind.name}_{'_'.join(bounds)}_as-of_{at:%Y-%m-%dT%H%M}Z.{ending}"


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
