"""Text cells of CSV that a spreadsheet would run as a formula get a leading apostrophe.

A formula begins with a sign, half or full width, whatever a spreadsheet leaves out before it: spaces, line breaks, a
byte order mark. The check runs on blocks of 64 KB: hardly any cell needs it, and a check of every cell in SQL slows the
database down, which is what an export waits for.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

SIGNS: Final = "=+-@＝＋－＠"
# Cells that begin with one of these are taken for formulas whatever follows.
BREAKS: Final = "\t\r"
# White space, control characters, and characters without width.
SKIPPED: Final = "".join(
    map(
        chr,
        (
            *range(0x21),
            *range(0x7F, 0xA1),
            0xAD,
            0x1680,
            *range(0x2000, 0x2010),
            *range(0x2028, 0x2030),
            *range(0x205F, 0x2065),
            0x3000,
            0xFEFF,
        ),
    )
)


def match_any(characters: str) -> bytes:
    """Return a pattern of one of these characters in UTF-8."""
    return b"(?:%b)" % b"|".join(re.escape(character.encode()) for character in characters)


# A formula in a cell as PostgreSQL writes it, quoted or not.
FORMULA: Final = re.compile(b'"?(?:%b|%b*%b)' % tuple(map(match_any, (BREAKS, SKIPPED, SIGNS))))
# The bytes that a sign or a break ends in; every byte that may come before them in a cell with a formula.
ENDS: Final = bytes({character.encode()[-1] for character in SIGNS + BREAKS})
BEFORE: Final = bytes(set((SIGNS + SKIPPED).encode()) - set(ENDS) - set(b"\n"))
# Maps every end of a sign to one byte and every end of a cell to another, so that one search finds both.
NORMALIZED: Final = bytes.maketrans(ENDS + b"\n", b"=" * len(ENDS) + b",")
# A cell as PostgreSQL writes it, quoted or not, and what ends it.
CELL: Final = re.compile(rb'("(?:[^"]|"")*"|[^",\n]*)([,\n])')


def may_hold_formula(records: bytes) -> bool:
    """Return whether a cell may begin as a formula does; a negative number does so, too."""
    normalized = records.translate(NORMALIZED, BEFORE)
    return b",=" in normalized or b',"=' in normalized or normalized.startswith((b"=", b'"='))


def escape_formulas(records: Iterable[bytes], text_columns: Collection[int]) -> list[bytes]:
    """Return the records, each ending in LF, with an apostrophe before every formula in the columns of text.

    `text_columns` are indexes from 0.
    """
    return [escape_record(record, text_columns) if may_hold_formula(record) else record for record in records]


def escape_record(record: bytes, text_columns: Collection[int]) -> bytes:
    """Return one record with its formulas escaped."""
    cells = enumerate(CELL.findall(record))
    return b"".join((escape_cell(cell) if index in text_columns else cell) + end for index, (cell, end) in cells)


def escape_cell(cell: bytes) -> bytes:
    """Return a cell, quoted or not, with an apostrophe before a formula."""
    if not FORMULA.match(cell):
        return cell
    return b"\"'" + cell[1:] if cell.startswith(b'"') else b"'" + cell
