"""An answer as lines: one shape for every kind of usage, from which the page, the chart and the files are made."""

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final

from usage.explore.asking import Answer
from usage.explore.kinds import UNITS
from usage.summaries.overall import NAMES, TOTALLED
from usage.summaries.shapes import SHAPES

RATIO: Final = Context(prec=12)
UNIT_OF: Final = {"consumed_quantity": "consumed_unit", "quantity": "unit"}

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """An answer in lines as the API has them.

    `interval`: '' for none. `apart`: the dimensions that sums are never added over. `main`: the measure that
    shares are of. `others`: what the limit left out, `left_out` groups, and with an interval, that of each.
    """

    interval: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    apart: tuple[str, ...]
    results: list[Line]
    totals: list[Line]
    others: list[Line]
    others_over_time: list[Line]
    left_out: int
    compared: bool

    @property
    def main(self) -> str:
        """The measure that a question is mostly about: the first that is no count of records."""
        return next((name for name in self.measures if name != "records"), self.measures[0])

    @property
    def mattering(self) -> tuple[str, ...]:
        """The measures as a person reads them: the main one first, where it is seen without scrolling."""
        return (self.main, *(name for name in self.measures if name != self.main))

    @property
    def parted(self) -> bool:
        """Whether there is more to see than totals."""
        return bool(self.interval) or any(name not in self.apart for name in self.dimensions)

    def key(self, line: Line) -> tuple[Any, ...]:
        """Return the metric and the unit of a line, or whatever else its sums are kept apart by."""
        return tuple(line[name] for name in self.apart)

    def share(self, line: Line) -> Decimal | None:
        """Return which part of its total a line's main measure is, None where there is none."""
        total = next((total[self.main] for total in self.totals if self.key(total) == self.key(line)), None)
        if total is None or line[self.main] is None or not Decimal(total) or not additive(self.main):
            return None
        return RATIO.divide(Decimal(line[self.main]), Decimal(total))


def additive(measure: str) -> bool:
    """Tell whether sums of a measure may be added."""
    return measure == "quantity" or any(
        shape.measures[measure].additive for shape in SHAPES.values() if measure in shape.measures
    )


def unit_of(measure: str, line: Line) -> str:
    """Return the unit of a measure in a line, '' for a plain count."""
    return str(line.get(UNIT_OF[measure]) or "") if measure in UNIT_OF else UNITS.get(measure, "")


def lines_of(answer: Answer) -> Lines:
    """Return the lines of an answer."""
    question, said = answer.question, answer.said
    if question is None:
        return of_everything(answer)
    others = said["others"] or {"totals": [], "groups": 0}
    return Lines(
        interval=question.interval,
        dimensions=tuple(one.name for one in question.dimensions),
        measures=question.measures,
        apart=tuple(one.name for one in question.dimensions if one.name in question.shape.always),
        results=said["results"],
        totals=said["totals"],
        others=others["totals"],
        others_over_time=others.get("results", []),
        left_out=others["groups"],
        compared=question.compare,
    )


def of_everything(answer: Answer) -> Lines:
    """Return the lines of an answer about every kind."""
    return Lines(
        interval=answer.interval,
        dimensions=NAMES,
        measures=("quantity", "records"),
        apart=TOTALLED,
        results=answer.said["results"],
        totals=answer.said["totals"],
        others=[],
        others_over_time=[],
        left_out=0,
        compared=False,
    )
