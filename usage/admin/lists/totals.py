"""The sums of the records in a usage list, per unit, by the code of the summaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from usage.api.filters import UsageFilterSet
from usage.data_quality import assess_filtered
from usage.data_quality.messages import describe_quality, get_tone
from usage.decimals import add_exactly
from usage.formatting import Amount, format_number, scale_amount
from usage.labels import get_label
from usage.models import KIND_NAMES, ResourceUsage, UsageRecord
from usage.snapshot import consistent_snapshot
from usage.summaries.combined import QUANTITIES
from usage.summaries.metrics import METRICS_BY_KIND
from usage.summaries.query import build_query
from usage.summaries.rows import reads_rollups
from usage.summaries.sql import fetch_groups
from usage.units import explain_units

SECONDS = 5.0
TOO_MANY: Final = "These are too many records to add up here. Narrow the range."


@dataclass(frozen=True, slots=True)
class ListSum:
    """One sum; `title`: its measure or its metric. `records`: the number of its records, None for all."""

    title: str
    value: Decimal | int | None
    unit: str
    records: int | None = None

    @property
    def amount(self) -> Amount:
        return scale_amount(self.value, self.unit)

    @property
    def record_count(self) -> str:
        return format_number(self.records)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of a filtered set: `sums` one per unit, `metrics` one per metric and unit, of a kind with metrics.

    `without_runtime`: how many records have no runtime and are not in its sum. `quality`: sentences; `tone`: theirs.
    """

    records: int
    sums: Sequence[ListSum]
    metrics: Sequence[ListSum]
    quality: Sequence[str]
    tone: str
    without_runtime: int = 0

    @property
    def record_count(self) -> str:
        return format_number(self.records)

    @property
    def units(self) -> dict[str, str]:
        return explain_units(list_sum.unit for list_sum in self.sums)


def compute_totals(kind: type[UsageRecord], filterset: UsageFilterSet) -> Totals:
    """Return the totals of a valid filter set; raises QueryTimeout where a sum takes longer than SECONDS."""
    query = build_query(METRICS_BY_KIND[kind], filterset)
    with consistent_snapshot(seconds=SECONDS):
        meta = assess_filtered(filterset, reads_rollups=partial(reads_rollups, query)).meta()
        groups = fetch_groups(query, lambda: None).totals
    quality, tone = list(describe_quality(meta)), get_tone(meta)
    records = sum(int(measures["records"]) for measures in groups.values())
    if kind is ResourceUsage:
        metrics = [
            ListSum(key[0], measures["consumed_quantity"], key[1], int(measures["records"]))
            for key, measures in groups.items()
        ]
        metrics.sort(key=lambda metric: (metric.unit, -(metric.value or 0), metric.title))
        return Totals(records, add_by_unit(metrics), metrics, quality, tone)
    measures: dict[str, Any] = next(iter(groups.values()), {})
    sums = [ListSum(get_label(name), measures.get(name), unit) for name, _, unit in QUANTITIES[KIND_NAMES[kind]]]
    return Totals(records, sums, (), quality, tone, int(measures.get("records_without_runtime") or 0))


def add_by_unit(metrics: Sequence[ListSum]) -> list[ListSum]:
    """Return one sum per unit; different units are never added."""
    values: dict[str, list[Decimal]] = {}
    for metric in metrics:
        values.setdefault(metric.unit, []).append(Decimal(metric.value or 0))
    return [ListSum("Consumed", add_exactly(numbers), unit) for unit, numbers in values.items()]
