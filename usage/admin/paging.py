"""Pages of a list that may be millions long: each begins behind a row, so the last opens as fast as the first.

Nothing is counted beyond MOST_COUNTED rows; a longer list says about how many it has, by the planner's statistics.
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

from usage.bounded import TookTooLong, bounded
from usage.pagination import Cursor, Ordering

MOST_COUNTED = 1_000
PAGE_SECONDS = 8.0  # a filter that no index helps ends here, with a sentence
COUNT_SECONDS = 0.5  # a count that takes longer is estimated instead
FORWARDS, BACKWARDS, END = "cursor", "before", "end"
POSITION: Final = (FORWARDS, BACKWARDS)


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows a list has; an estimate where they are too many to count."""

    number: int
    exact: bool

    @property
    def words(self) -> str:
        """The number with its thousands apart; an estimate says so."""
        return f"{self.number:,}" if self.exact else f"about {self.number:,}"


@dataclass(frozen=True, slots=True)
class Step:
    """A way to another page: its words and its address, '' where there is no such page."""

    words: str
    address: str


class KeysetList(ChangeList):
    """A page of a list in one total order that an index holds; `cursor` and `before` say where it begins or ends.

    The order is that of the admin's `keyset`, the largest first. `queryset` stays the whole filtered set.
    """

    model_admin: Any
    total: Total
    too_slow = False
    steps: Sequence[Step] = ()

    def order(self) -> Ordering:
        """Return the order of the list."""
        return Ordering(self.model_admin.keyset, descending=True)

    def words_of_steps(self) -> tuple[str, str, str, str]:
        """Return what the ways to the first, previous, next and last page are called."""
        return ("Newest", "Newer", "Older", "Oldest")

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the filtered rows; where the page begins is no filter."""
        for name in POSITION:
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the columns of the order, as Django has them."""
        order = self.order()
        return [f"-{column}" if order.descending else column for column in order.columns]

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, and tell how many rows there are about."""
        self.multi_page = self.can_show_all = self.show_full_result_count = False
        self.full_result_count, self.show_admin_actions = None, True
        try:
            with bounded(PAGE_SECONDS, self.queryset.db):
                self.fetch(request)
        except TookTooLong:
            self.result_list, self.total, self.too_slow = [], Total(0, exact=False), True
        self.result_count = self.total.number

    def fetch(self, request: HttpRequest) -> None:
        """Fetch the rows of the page and one more, which tells whether there is another page."""
        question, order = self.question(request), self.order()
        cursor = self.beginning(request, question)
        from_end = request.GET.get(BACKWARDS) == END
        backwards = from_end or (cursor is not None and cursor.backwards)
        way = order.reversed() if backwards else order
        rest = way.after(self.queryset, cursor.position) if cursor else self.queryset
        found = list(way.apply(rest)[: self.list_per_page + 1])
        more, rows = len(found) > self.list_per_page, found[: self.list_per_page]
        self.result_list = rows[::-1] if backwards else rows
        before, behind = (more, cursor is not None) if backwards else (cursor is not None, more)
        self.steps = self.ways(question, order, before=before, behind=behind)
        self.total = total_of(self.queryset) if before or behind else Total(len(rows), exact=True)

    def question(self, request: HttpRequest) -> str:
        """Return what a position belongs to: the list, its filters and its order."""
        return repr((self.opts.label_lower, self.order(), sorted(self.filter_params.items())))

    def beginning(self, request: HttpRequest, question: str) -> Cursor | None:
        """Return where the page begins, None for the list's own beginning; a position of another list is told of."""
        text = next((request.GET[name] for name in POSITION if name in request.GET), None)
        if text is None or request.GET.get(BACKWARDS) == END:
            return None
        try:
            return Cursor.read(text, question, self.queryset, self.order())
        except ValidationError:
            messages.warning(request, "That page belongs to other filters or another order; the list begins anew.")
            return None

    def ways(self, question: str, order: Ordering, *, before: bool, behind: bool) -> tuple[Step, ...]:
        """Return the ways to the first, previous, next and last page; () where all rows are on this one."""
        if not before and not behind:
            return ()
        rows: Any = self.result_list
        back = Cursor(place_of(rows[0], order), backwards=True).signed(question) if rows and before else ""
        on = Cursor(place_of(rows[-1], order), backwards=False).signed(question) if rows and behind else ""
        first, previous, following, last = self.words_of_steps()
        return (
            Step(first, self.address() if before else ""),
            Step(previous, self.address(**{BACKWARDS: back}) if back else ""),
            Step(following, self.address(**{FORWARDS: on}) if on else ""),
            Step(last, self.address(**{BACKWARDS: END}) if behind else ""),
        )

    def address(self, **position: str) -> str:
        """Return the address of this list with its filters, beginning elsewhere."""
        return f"?{urlencode({**self.filter_params, **position}, doseq=True)}"


def place_of(row: Any, order: Ordering) -> tuple[Any, ...]:
    """Return where a row stands in an order."""
    return tuple(getattr(row, column) for column in order.columns)


def total_of(queryset: QuerySet[Any]) -> Total:
    """Return how many rows there are, counted up to MOST_COUNTED and estimated beyond."""
    rows = queryset.order_by()
    try:
        with bounded(COUNT_SECONDS, queryset.db):
            counted = rows[: MOST_COUNTED + 1].count()
    except TookTooLong:
        counted = MOST_COUNTED + 1
    if counted <= MOST_COUNTED:
        return Total(counted, exact=True)
    plan = json.loads(rows.explain(format="json"))
    return Total(rough(max(plan[0]["Plan"]["Plan Rows"], counted)), exact=False)


def rough(number: int) -> int:
    """Return `number` rounded to its two leading digits, as far as a planner's estimate is worth."""
    return round(number, 2 - len(str(number)))
