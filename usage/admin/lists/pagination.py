"""Pages of the admin's lists by the API's keyset core, so that the last page opens as fast as the first.

Rows are counted up to MAX_COUNTED; the length of a longer list is the planner's estimate.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.http import urlencode
from rest_framework.exceptions import ValidationError

from usage.api.pagination import Cursor, KeysetPage, Ordering, fetch_page
from usage.formatting import round_to_two_digits
from usage.links import PageLink
from usage.timeouts import QueryTimeout, limit_query_time

MAX_COUNTED = 1_000
PAGE_SECONDS = 8.0  # a filter that no index helps ends here, with a sentence
COUNT_SECONDS = 0.5  # a count that takes longer is estimated instead
FORWARDS, BACKWARDS, END = "cursor", "before", "end"
POSITION: Final = (FORWARDS, BACKWARDS)
LAST_PAGE: Final = Cursor((), backwards=True)


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows a list has; an estimate where they are too many to count."""

    number: int
    is_exact: bool

    def __str__(self) -> str:
        return f"{self.number:,}" if self.is_exact else f"about {self.number:,}"


class KeysetList(ChangeList):
    """A list in one total order that an index has; `cursor` or `before` in the address is the position of the page.

    The order is that of the admin's `keyset`, the largest first. `queryset` stays the complete filtered set.
    """

    model_admin: Any
    row_count: RowCount
    too_slow = False
    page_links: Sequence[PageLink] = ()

    def get_keyset_ordering(self) -> Ordering:
        return Ordering(self.model_admin.keyset, descending=True)

    def get_link_labels(self) -> tuple[str, str, str, str]:
        """Return the labels of the links to the first, previous, next and last page."""
        return ("Newest", "Newer", "Older", "Oldest")

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the filtered rows; the position of the page is no filter."""
        for name in POSITION:
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ordering = self.get_keyset_ordering()
        return [f"-{column}" if ordering.descending else column for column in ordering.columns]

    def get_results(self, request: HttpRequest) -> None:
        self.multi_page = self.can_show_all = self.show_full_result_count = False
        self.full_result_count, self.show_admin_actions = None, True
        try:
            with limit_query_time(PAGE_SECONDS):
                self.fetch_results(request)
        except QueryTimeout:
            self.result_list, self.row_count, self.too_slow = [], RowCount(0, is_exact=False), True
        self.result_count = self.row_count.number

    def fetch_results(self, request: HttpRequest) -> None:
        """Fetch the rows of the page, the links to the other pages, and the number of rows."""
        key, ordering = self.get_cursor_key(request), self.get_keyset_ordering()
        page = fetch_page(self.queryset, ordering, self.list_per_page, self.parse_cursor(request, key))
        self.result_list = page.rows
        if page.has_previous or page.has_next:
            self.page_links = self.build_links(page, key)
            self.row_count = count_rows(self.queryset)
        else:
            self.row_count = RowCount(len(page.rows), is_exact=True)

    def get_cursor_key(self, request: HttpRequest) -> str:
        """Return what a cursor is valid for: the list, its filters and its order."""
        return repr((self.opts.label_lower, self.get_keyset_ordering(), sorted(self.filter_params.items())))

    def parse_cursor(self, request: HttpRequest, key: str) -> Cursor | None:
        """Return where the page begins, None for the beginning of the list; a cursor of another list gets a message."""
        text = next((request.GET[name] for name in POSITION if name in request.GET), None)
        if text is None:
            return None
        if request.GET.get(BACKWARDS) == END:
            return LAST_PAGE
        try:
            return Cursor.parse(text, key, self.model, self.get_keyset_ordering())
        except ValidationError:
            messages.warning(request, "That page belongs to other filters or another order; the list begins anew.")
            return None

    def build_links(self, page: KeysetPage, key: str) -> tuple[PageLink, ...]:
        first, previous, following, last = self.get_link_labels()
        return (
            PageLink(first, self.build_url() if page.has_previous else ""),
            PageLink(previous, self.build_cursor_url(BACKWARDS, page.previous_cursor, key)),
            PageLink(following, self.build_cursor_url(FORWARDS, page.next_cursor, key)),
            PageLink(last, self.build_url(**{BACKWARDS: END}) if page.has_next else ""),
        )

    def build_cursor_url(self, name: str, cursor: Cursor | None, key: str) -> str:
        """Return the address of the page at a cursor, '' for none."""
        return self.build_url(**{name: cursor.sign(key)}) if cursor else ""

    def build_url(self, **position: str) -> str:
        return f"?{urlencode({**self.filter_params, **position}, doseq=True)}"


def count_rows(queryset: QuerySet[Any]) -> RowCount:
    """Return how many rows there are, counted up to MAX_COUNTED and estimated beyond."""
    rows = queryset.order_by()
    try:
        with limit_query_time(COUNT_SECONDS):
            number = rows[: MAX_COUNTED + 1].count()
    except QueryTimeout:
        number = MAX_COUNTED + 1
    if number <= MAX_COUNTED:
        return RowCount(number, is_exact=True)
    plan = json.loads(rows.explain(format="json"))
    return RowCount(round_to_two_digits(max(plan[0]["Plan"]["Plan Rows"], number)), is_exact=False)
