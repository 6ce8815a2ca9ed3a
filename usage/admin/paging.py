"""Pages of a list that may be millions long: counted up to a bound only, estimated beyond it."""

import json
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet

MOST_ROWS = 10_000


class BoundedPaginator(Paginator[Any]):
    """Pages of the first 10,000 rows; `estimate` says how many there are about when there are more.

    Neither costs more at ten million rows than at ten thousand: counting ends at the bound, the estimate
    is the planner's, from its statistics. A person who needs the rows beyond narrows the filter or exports.
    """

    object_list: QuerySet[Any]
    most = f"{MOST_ROWS:,}"

    @cached_property
    def counted(self) -> int:
        """The number of rows, or one more than the bound where there are more."""
        number: int = self.object_list.order_by()[: MOST_ROWS + 1].count()
        return number

    @cached_property
    def count(self) -> int:
        """The number of rows that can be paged to."""
        return min(self.counted, MOST_ROWS)

    @cached_property
    def estimate(self) -> int | None:
        """About how many rows there are, to two digits; None where `count` is exact."""
        if self.counted <= MOST_ROWS:
            return None
        plan = json.loads(self.object_list.order_by().explain(format="json"))
        return rough(max(plan[0]["Plan"]["Plan Rows"], self.counted))

    @property
    def estimate_shown(self) -> str:
        """The estimate with its thousands apart."""
        return f"{self.estimate:,}"


def rough(number: int) -> int:
    """Return `number` rounded to its two leading digits, as far as a planner's estimate is worth."""
    return round(number, 2 - len(str(number)))
