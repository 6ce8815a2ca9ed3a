"""The rows of an answer: one form for every kind of usage, from which the page, the chart and the files are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cached_property
from typing import Any, Final

from usage.directory.lookup import build_name_name
from usage.explore.kinds import UNITS
from usage.explore.query import Answer
from usage.summaries.combined import DIMENSIONS, PARTITION
from usage.summaries.metrics import METRICS
from usage.summaries.names import get_name_kind

RATIO: Final = Context(prec=12)
UNIT_COLUMNS: Final = {"consumed_quantity": "consumed_unit", "quantity": "unit"}

Row = dict[str, Any]


@dataclass(frozen=True)
class AnswerRows:
    """The rows of an answer as the API has them.

    `interval`: '' for none. `limit`: the number of groups, None for all. `by_change`: they are ordered by it.
    `partition`: the dimensions that sums are never added over. `others`: what the limit left
    out, `other_groups` groups; with an interval, `others_over_time` has a row for each. `name_columns`: the columns
    with the names that ids have today, by the dimension of the ids.
    """

    interval: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    partition: tuple[str, ...]
    results: list[Row]
    totals: list[Row]
    others: list[Row] = field(default_factory=list)
    others_over_time: list[Row] = field(default_factory=list)
    other_groups: int = 0
    has_previous: bool = False
    limit: int | None = None
    by_change: bool = False
    name_columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The measure that shares are of: the first that is not a count of records."""
        return next((name for name in self.measures if name != "records"), self.measures[0])

    @property
    def ordered_measures(self) -> tuple[str, ...]:
        """The measures, the main measure first, where it is seen without scrolling."""
        return (self.main, *(name for name in self.measures if name != self.main))

    @property
    def is_grouped(self) -> bool:
        """Whether the answer has more than totals."""
        return bool(self.interval) or any(name not in self.partition for name in self.dimensions)

    @cached_property
    def shared_names(self) -> set[tuple[str, str]]:
        """The names of a dimension that several ids have."""
        ids: dict[tuple[str, str], set[Any]] = {}
        for row in self.results:
            for dimension, column in self.name_columns.items():
                if row[column]:
                    ids.setdefault((dimension, row[column]), set()).add(row[dimension])
        return {name for name, sharing_ids in ids.items() if len(sharing_ids) > 1}

    def get_name(self, row: Row, dimension: str) -> str:
        """Return the name of a row's id, '' where it is no id or has no name."""
        return row.get(self.name_columns.get(dimension, "")) or ""

    def get_text(self, row: Row, dimension: str) -> str:
        """Return the text of a row's value: its name, with the id where another id has the same name."""
        value, name = row[dimension], self.get_name(row, dimension)
        if not name:
            return "none" if value in (None, "") else str(value)
        return f"{name} ({value})" if (dimension, name) in self.shared_names else name

    def get_key(self, row: Row) -> tuple[Any, ...]:
        """Return the values of a row's partition, such as its metric and its unit."""
        return tuple(row[name] for name in self.partition)

    @cached_property
    def main_totals(self) -> dict[tuple[Any, ...], Any]:
        return {self.get_key(total): total[self.main] for total in self.totals}

    def get_share(self, row: Row) -> Decimal | None:
        """Return a row's share (0 to 1) in the total of the main measure, None where there is none."""
        total = self.main_totals.get(self.get_key(row))
        if total is None or row[self.main] is None or not Decimal(total) or not is_additive(self.main):
            return None
        return RATIO.divide(Decimal(row[self.main]), Decimal(total))


def is_additive(measure: str) -> bool:
    """Return whether sums of a measure may be added."""
    return measure == "quantity" or any(
        metrics.measures[measure].additive for metrics in METRICS.values() if measure in metrics.measures
    )


def get_unit(measure: str, row: Row) -> str:
    """Return the unit of a measure in a row, '' for a plain count."""
    return str(row.get(UNIT_COLUMNS[measure]) or "") if measure in UNIT_COLUMNS else UNITS.get(measure, "")


def build_rows(answer: Answer) -> AnswerRows:
    """Return the rows of an answer."""
    query, summary = answer.query, answer.summary
    if query is None:
        return build_combined_rows(answer)
    others = summary["others"] or {"totals": [], "groups": 0}
    return AnswerRows(
        interval=query.interval,
        dimensions=tuple(dimension.name for dimension in query.dimensions),
        measures=tuple(query.measures),
        partition=query.partition,
        results=summary["results"],
        totals=summary["totals"],
        others=others["totals"],
        others_over_time=others.get("results", []),
        other_groups=others["groups"],
        has_previous=bool(query.compare),
        limit=query.limit,
        by_change=bool(query.changes),
        name_columns={
            dimension.name: build_name_name(dimension.name)
            for dimension in query.dimensions
            if get_name_kind(query, dimension.name) is not None
        },
    )


def build_combined_rows(answer: Answer) -> AnswerRows:
    """Return the rows of an answer about every kind."""
    return AnswerRows(
        interval=answer.interval,
        dimensions=DIMENSIONS,
        measures=("quantity", "records"),
        partition=PARTITION,
        results=answer.summary["results"],
        totals=answer.summary["totals"],
        name_columns={"service": "service_name"},
    )
