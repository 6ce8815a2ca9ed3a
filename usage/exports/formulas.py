"""Text cells of CSV that a spreadsheet would run as a formula are made text again by a leading apostrophe.

Asked of every cell in SQL this was dear: PostgreSQL is what an export waits for. Hardly any cell begins so, and that
none of 64 KB does is seen at once.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

FORMULA_STARTS: Final = "=+-@\t\r"
STARTS: Final = FORMULA_STARTS.encode()
# To see the beginnings of cells at once: every start of a formula looks the same, and so do the ends of a cell.
AT_ONCE: Final = bytes.maketrans(STARTS + b"\n", b"=" * len(STARTS) + b",")
# A cell as PostgreSQL writes it, in quotes or without any, and what ends it.
CELL: Final = re.compile(rb'("(?:[^"]|"")*"|[^",\n]*)([,\n])')
BARE: Final = tuple(STARTS[at : at + 1] for at in range(len(STARTS)))
QUOTED: Final = tuple(b'"' + start for start in BARE)


def may_hold_formula(records: bytes) -> bool:
    """Tell whether a cell of whole records may begin as a formula does: a number below zero does, too."""
    seen = records.translate(AT_ONCE)
    return b",=" in seen or b',"=' in seen or seen.startswith((b"=", b'"='))


def without_formulas(records: Iterable[bytes], texts: Collection[int]) -> list[bytes]:
    """Return records that each end in LF with an apostrophe before every formula in the columns of text.

    `texts` are their places, from 0.
    """
    return [as_text(record, texts) if may_hold_formula(record) else record for record in records]


def as_text(record: bytes, texts: Collection[int]) -> bytes:
    """Return one record so."""
    cells = CELL.findall(record)
    return b"".join(b"".join((neutral(cell) if at in texts else cell, end)) for at, (cell, end) in enumerate(cells))


def neutral(cell: bytes) -> bytes:
    """Return a cell, in quotes or without, with an apostrophe before what a spreadsheet would run."""
    if cell.startswith(QUOTED):
        return b"\"'" + cell[1:]
    return b"'" + cell if cell.startswith(BARE) else cell
