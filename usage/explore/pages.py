"""The pages of a long answer: some rows at a time; the files have all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from usage.explore.params import Params, replace_params
from usage.explore.rows import AnswerRows
from usage.links import PageLink

PAGE: Final = "page"
ROWS: Final = 50
MAX_PAGE: Final = 100_000


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """The page of an answer that is shown: its rows, which of `row_count` they are, and links to the others."""

    rows: AnswerRows
    first: int
    last: int
    row_count: int
    links: list[PageLink]


def parse_page(data: Mapping[str, str]) -> int:
    """Return the number of the page, 1 where the address has none; raises ValueError that names the allowed numbers."""
    text = data.get(PAGE, "1")
    if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_PAGE and len(text) < 9:
        return int(text)
    raise ValueError(f"“{text}” is not a whole number from 1 to {MAX_PAGE}.")


def cut_page(rows: AnswerRows, number: int, params: Params) -> AnswerPage:
    """Return a page of an answer, the last page for a number beyond it."""
    all_rows = rows.results if rows.is_grouped else []  # else they are the totals
    count = max(1, -(-len(all_rows) // ROWS))
    number = min(number, count)
    start = (number - 1) * ROWS
    results = all_rows[start : start + ROWS]
    places = (("First", 1), ("Previous", number - 1), ("Next", number + 1), ("Last", count))
    links = [
        PageLink(
            label, f"?{replace_params(params, page=str(place))}" if 1 <= place <= count != 1 and place != number else ""
        )
        for label, place in places
    ]
    return AnswerPage(
        replace(rows, results=results), start + 1, start + len(results), len(all_rows), links if count > 1 else []
    )
