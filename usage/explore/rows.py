"""The rows of an answer: one form for every kind of usage, from which the page, the chart and the files are made."""

from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cached_property
from typing import Any, Final

from usage.explore.kinds import UNITS
from usage.explore.query import Answer
from usage.summaries.combined import DIMENSIONS, PARTITION
from usage.summaries.metrics import METRICS

RATIO: Final = Context(prec=12)
UNIT_COLUMNS: Final = {"consumed_quantity": "consumed_unit", "quantity": "unit"}

Row = dict[str, Any]


@dataclass(frozen=True)
class AnswerRows:
    """The rows of an answer as the API has them.

    `interval`: '' for none. `partition`: the dimensions that sums are never added over. `others`: what the limit left
    out, `other_groups` groups; with an interval, `others_over_time` has a row for each.
    """

    interval: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    partition: tuple[str, ...]
    results: list[Row]
    totals: list[Row]
    others: list[Row]
    others_over_time: list[Row]
    other_groups: int
    has_previous: bool

    @property
    def main(self) -> str:
        """The measure that shares are of: the first that is no count of records."""
        return next((name for name in self.measures if name != "records"), self.measures[0])

    @property
    def ordered_measures(self) -> tuple[str, ...]:
        """The measures, the main one first, where it is seen without scrolling."""
        return (self.main, *(name for name in self.measures if name != self.main))

    @property
    def is_grouped(self) -> bool:
        """Whether there is more to see than totals."""
        return bool(self.interval) or any(name not in self.partition for name in self.dimensions)

    def get_key(self, row: Row) -> tuple[Any, ...]:
        """Return the values of a row's partition, such as its metric and its unit."""
        return tuple(row[name] for name in self.partition)

    @cached_property
    def main_totals(self) -> dict[tuple[Any, ...], Any]:
        """The total of the main measure by the values of the partition."""
        return {self.get_key(total): total[self.main] for total in self.totals}

    def get_share(self, row: Row) -> Decimal | None:
        """Return the share of one that a row's main measure has in its total, None where there is none."""
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
        dimensions=tuple(one.name for one in query.dimensions),
        measures=tuple(query.measures),
        partition=query.partition,
        results=summary["results"],
        totals=summary["totals"],
        others=others["totals"],
        others_over_time=others.get("results", []),
        other_groups=others["groups"],
        has_previous=query.compare,
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
        others=[],
        others_over_time=[],
        other_groups=0,
        has_previous=False,
    )
