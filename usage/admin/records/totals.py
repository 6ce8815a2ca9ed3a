"""What the filtered set of a usage list adds up to, per unit, by the code of the summaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS

from usage.admin.display import NOTHING, exact, rounded
from usage.admin.exporting.words import trust_in_words
from usage.admin.records.units import beneath, human
from usage.bounded import bounded
from usage.exactly import total
from usage.exports import one_state
from usage.filters import UsageFilter
from usage.filters.trusted import as_instant, trust_of_filtered
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord
from usage.summaries.answer import find
from usage.summaries.question import Question
from usage.summaries.shapes import SHAPES
from usage.trust import Trust, reporting

SECONDS = 5.0
TOO_MANY: Final = "These are too many records to add up here. Narrow the range."
SHAPE_OF: Final = {shape.kind: shape for shape in SHAPES.values()}
MEASURES: Final[dict[type[UsageRecord], tuple[tuple[str, str, str], ...]]] = {
    EnvironmentUsage: (("runtime_seconds", "Runtime", "seconds"),),
    ResourceUsage: (("consumed_quantity", "", ""),),
    RecipeUsage: (
        ("task_count", "Tasks", "tasks"),
        ("job_succeeded_count", "Jobs succeeded", "jobs"),
        ("job_failed_count", "Jobs failed", "jobs"),
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One sum: what it is of, the number, its unit, and how many records have part in it (None: all)."""

    title: str
    value: Decimal | int | None
    unit: str
    records: int | None = None

    @property
    def number(self) -> str:
        """The sum with all its digits."""
        return exact(self.value)

    @property
    def rounded(self) -> str:
        """The sum as it is read at a glance."""
        return NOTHING if self.value is None else rounded(Decimal(self.value))

    @property
    def beneath(self) -> Sequence[str]:
        """All digits of the sum where some are not shown above, and the sum as people say it."""
        return () if self.value is None else beneath(self.value, self.unit)

    @property
    def words(self) -> str:
        """The sum as people say it, where that helps."""
        return human(self.value, self.unit)

    @property
    def records_shown(self) -> str:
        """The number of records with its thousands apart."""
        return exact(self.records)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of a filtered set. `lines`: one per unit; `metrics`: one per metric and unit, where there are such.

    `unknown`: how many records have no runtime, which is then of the others.
    """

    records: int
    lines: Sequence[Line]
    metrics: Sequence[Line]
    trust: Trust
    unknown: int = 0

    @property
    def records_shown(self) -> str:
        """The number of records with its thousands apart."""
        return exact(self.records)

    @property
    def unknown_shown(self) -> str:
        """The number of records without a runtime with its thousands apart."""
        return exact(self.unknown)

    @property
    def trusted(self) -> Sequence[str]:
        """How far the sums can be trusted, in sentences."""
        return list(trust_in_words(self.trust.meta()))


def totals_of(kind: type[UsageRecord], filterset: UsageFilter, row_scope: frozenset[int] | None) -> Totals:
    """Return the totals of a valid filter set; raises TookTooLong where a sum takes longer than SECONDS."""
    with one_state(DEFAULT_DB_ALIAS), bounded(SECONDS):
        trust = trust_of_filtered(filterset, row_scope)
        found = find(question_of(kind, filterset, row_scope)).totals
    records = sum(int(sums["records"]) for sums in found.values())
    if kind is ResourceUsage:
        metrics = [Line(key[0], sums["consumed_quantity"], key[1], int(sums["records"])) for key, sums in found.items()]
        metrics.sort(key=lambda line: (line.unit, -(line.value or 0), line.title))
        return Totals(records, per_unit(metrics), metrics, trust)
    sums: dict[str, Any] = next(iter(found.values()), {})
    lines = [Line(title, sums.get(name), unit) for name, title, unit in MEASURES[kind]]
    return Totals(records, lines, (), trust, int(sums.get("records_without_runtime") or 0))


def question_of(kind: type[UsageRecord], filterset: UsageFilter, row_scope: frozenset[int] | None) -> Question:
    """Return the question that the filters ask: everything in one, its range that of the list to the instant."""
    shape, cleaned = SHAPE_OF[kind], filterset.form.cleaned_data
    start, end = (as_instant(cleaned.get(bound)) for bound in ("from", "to"))
    # The range is the question's from here on, as in usage.summaries.question.asked.
    cleaned.update({name: None for name in ("from", "to") if name in cleaned})
    return Question(
        shape=shape,
        filterset=filterset,
        sources=reporting(kind, filterset.source_ids(), row_scope),
        row_scope=row_scope,
        zone=cleaned["tz"],
        start=start,
        end=end,
        measures=shape.default,
    )


def per_unit(metrics: Sequence[Line]) -> list[Line]:
    """Return one sum per unit; different units are never added."""
    parts: dict[str, list[Decimal]] = {}
    for line in metrics:
        parts.setdefault(line.unit, []).append(Decimal(line.value or 0))
    return [Line("Consumed", total(values), unit) for unit, values in parts.items()]
