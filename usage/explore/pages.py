"""The pages of a long answer: some rows at a time; the files have all."""

from typing import Any, Final

from django.core.paginator import Page, Paginator

from usage.explore.params import Params, replace_params
from usage.explore.rows import AnswerRows, Row
from usage.links import PageLink

PAGE: Final = "page"
ROWS: Final = 50
MAX_PAGE: Final = 100_000


def cut_page(rows: AnswerRows, number: int) -> Page[Row]:
    """Return a page of an answer, the last page for a number beyond it."""
    return Paginator(rows.results if rows.is_grouped else [], ROWS).get_page(number)  # else they are the totals


def build_page_links(page: Page[Any], params: Params) -> list[PageLink]:
    """Return the links to the other pages, none where there is one page."""
    numbers = page.paginator.page_range
    places = (("First", 1), ("Previous", page.number - 1), ("Next", page.number + 1), ("Last", len(numbers)))
    links = [
        PageLink(
            label, f"?{replace_params(params, page=str(place))}" if place in numbers and place != page.number else ""
        )
        for label, place in places
    ]
    return links if len(numbers) > 1 else []
