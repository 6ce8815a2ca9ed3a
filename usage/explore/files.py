"""An answer as a file: CSV, or XLSX with a second sheet about the question and the data quality.

Every line has all columns; `line` separates results from others and totals, so a filter gives the sum over the results.
Both are written as the exports write them (usage/exports/formats/). Figures of the answer as such have their own
columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from zoneinfo import ZoneInfo

from usage.columns import DAY, INSTANT, INTEGER, NUMBER, PLAIN, TEXT, get_kind
from usage.explore.params import Params, get_values
from usage.explore.quality import describe_answer_quality
from usage.explore.query import Answer, list_totals_notes
from usage.explore.rows import AnswerRows, Row, build_rows
from usage.explore.table import get_columns
from usage.exports.about import ExportRequest, Line, describe_request
from usage.exports.copy import batch_records
from usage.exports.file_names import build_export_name
from usage.exports.formats import FORMATS
from usage.exports.formats.csv import iterate_blocks
from usage.exports.formats.xlsx import iterate_workbook
from usage.models import UsageRecord

CSV: Final = "text/csv; charset=utf-8; header=present"
XLSX: Final = FORMATS["xlsx"].media_type
COMPARED: Final = ("previous", "change", "relative_change")
LINES: Final = "result: a row of the answer; others: what the limit left out; total: of all that was asked for."


@dataclass(frozen=True, slots=True)
class Sheet:
    """The columns of a file by name, their kinds (usage/columns.py), and its lines."""

    names: list[str]
    kinds: list[str]
    rows: Iterator[list[str | None]]


def build_sheet(answer: Answer) -> Sheet:
    """Return an answer's columns and lines."""
    rows, meta = build_rows(answer), answer.summary["meta"]
    parts = ("", *COMPARED) if rows.has_previous else ("",)
    kinds = {"line": PLAIN}
    kinds |= {name: get_column_kind(rows, name, answer.kind.model) for name in get_file_columns(rows)}
    kinds |= {f"{part}_{name}".strip("_"): NUMBER for name in rows.measures for part in parts}
    kinds |= {f"share_of_{rows.main}": NUMBER, "complete": PLAIN, "as_of": INSTANT}
    return Sheet([*kinds], [*kinds.values()], iterate_lines(rows, meta))


def get_file_columns(rows: AnswerRows) -> list[str]:
    """Return the names of the columns before the numbers; after a column of ids the column of their names."""
    columns = ((name, rows.name_columns.get(name)) for name in get_columns(rows))
    return [name for pair in columns for name in pair if name]


def get_column_kind(rows: AnswerRows, name: str, model: type[UsageRecord] | None) -> str:
    """Return the kind of a column before the numbers: an interval, a whole number, or text."""
    if name == rows.interval:
        return INSTANT if name == "hour" else DAY
    columns = {field.name for field in model._meta.concrete_fields} if model else set()
    return INTEGER if model and name in columns and get_kind(model, name) == INTEGER else TEXT


def iterate_lines(rows: AnswerRows, meta: dict[str, Any]) -> Iterator[list[str | None]]:
    """Yield every line's cells as texts, None for unknown values: the results, the others, the totals."""
    for kind, line_rows in (("result", rows.results), ("others", rows.others), ("total", rows.totals)):
        for row in line_rows:
            names = [row.get(name) for name in get_file_columns(rows)]
            numbers = iterate_numbers(rows, row)
            cells = [kind, *names, *numbers, rows.get_share(row), bool(meta["complete"]), meta["as_of"]]
            yield [format_cell(cell) for cell in cells]


def iterate_numbers(rows: AnswerRows, row: Row) -> Iterator[Any]:
    """Yield the numbers of a row, each followed by its comparison if there is one."""
    for name in rows.measures:
        yield row[name]
        if rows.has_previous:
            yield from (row[part][name] for part in COMPARED)


def format_cell(value: Any) -> str | None:
    """Return a value as text, numbers with all their digits."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def iterate_csv(answer: Answer, *, bom: bool) -> Iterator[bytes]:
    """Return an answer as CSV, about 64 KB at a time; `bom`: it begins with a byte order mark."""
    sheet = build_sheet(answer)
    text_columns = {index for index, kind in enumerate(sheet.kinds) if kind == TEXT}
    lines: Iterator[Iterable[str | None]] = chain([sheet.names], sheet.rows)
    return iterate_blocks(batch_records(map(format_record, lines)), text_columns, bom=bom)


def format_record(cells: Iterable[str | None]) -> bytes:
    """Return a line of CSV that ends in LF."""
    return f"{','.join(map(quote, cells))}\n".encode()


def quote(cell: str | None) -> str:
    """Return a cell as RFC 4180 has it: nothing for null, quotes for an empty text."""
    if cell is None:
        return ""
    if not cell or any(sign in cell for sign in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def iterate_xlsx(answer: Answer, params: Params, url: str) -> Iterator[bytes]:
    """Return an answer as a workbook, once it is complete; `params` are those of the page at `url`."""
    sheet, zone = build_sheet(answer), ZoneInfo(answer.summary["meta"]["tz"])
    request = ExportRequest(answer.kind.label, url, params, zone)
    return iterate_workbook(sheet.names, sheet.kinds, sheet.rows, describe_answer(answer, request), zone)


def describe_answer(answer: Answer, request: ExportRequest) -> Iterator[Line]:
    """Yield (name, text) of the question, its address, and the data quality of the answer."""
    meta = answer.summary["meta"]
    quality = describe_answer_quality(meta)
    sentences = [*quality.sentences, *list_totals_notes(answer)]
    yield from describe_request(request, meta["as_of"], meta.get("replica_lag_seconds"), sentences)
    for title, days in quality.days:
        for day in days:
            yield title, day.get("words") or f"{day['source']} {day['day']}"
    yield "Lines", LINES


def build_file_name(answer: Answer, params: Params, extension: str) -> str:
    """Return a file's name: the kind, the sources and the range of the question, and the instant of the answer."""
    at = datetime.fromisoformat(answer.summary["meta"]["as_of"])
    return build_export_name(answer.kind.name, dict(params), extension, at, sources=get_values(params, "source"))
