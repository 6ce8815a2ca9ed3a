"""CSV as RFC 4180 defines it, in UTF-8.

CRLF ends every record and the header has the API's field names. A null is an empty cell, an empty text is `""`. Text
that a spreadsheet would run as a formula gets a leading apostrophe; numbers keep all their digits. A byte order mark,
on request, makes Excel read the file as UTF-8.
"""

from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rest_framework.exceptions import ValidationError

from usage.columns import TEXT, TEXT_LIST
from usage.exports.copy import ExportQuery, Record
from usage.exports.csv_injection import escape_formulas, may_hold_formula
from usage.exports.formats.base import ExportFormat


class Format(ExportFormat):
    """Rows as PostgreSQL writes them, with other line ends and without formulas."""

    name = "csv"
    media_type = "text/csv"
    parameters = "; charset=utf-8; header=present"
    title = "CSV"
    hint = "for spreadsheets and scripts"
    position = 1

    def write(self, query: ExportQuery) -> Iterator[bytes]:
        text_columns = {index for index, column in enumerate(query.columns) if column.kind in {TEXT, TEXT_LIST}}
        yield from iterate_blocks(query.read_csv(), text_columns, bom=query.bom)


def iterate_blocks(batches: Iterable[Sequence[Record]], text_columns: Collection[int], *, bom: bool) -> Iterator[bytes]:
    """Yield batches of records as `finish_records` has them; `bom`: they begin with a byte order mark."""
    mark = BOM_UTF8 if bom else b""
    for records in batches:
        yield mark + finish_records(records, text_columns)
        mark = b""


def finish_records(records: Sequence[Record], text_columns: Collection[int]) -> bytes:
    """Return records that end in LF without formulas in the columns of text, each ending in CRLF."""
    block = b"".join(records)
    if may_hold_formula(block):
        records = escape_formulas(map(bytes, records), text_columns)
        block = b"".join(records)
    # An LF within a cell stays.
    if block.count(b"\n") == len(records):
        return block.replace(b"\n", b"\r\n")
    return b"\r\n".join([*(record[:-1] for record in records), b""])


def parse_bom(params: Mapping[str, str], *, default: bool) -> bool:
    """Return whether the file begins with a byte order mark; raises ValidationError that names `bom`."""
    text = params.get("bom", str(int(default)))
    if text not in {"0", "1"}:
        raise ValidationError({"bom": [f"“{text}” is not one of: 0, 1."]})
    return text == "1"
