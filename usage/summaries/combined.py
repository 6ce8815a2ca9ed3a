"""One summary over all vendors: quantities per vendor, source, service, metric and unit."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as django_filters
from rest_framework.exceptions import ValidationError

from usage.api.filters import (
    EnvironmentUsageFilterSet,
    InstantsForm,
    MomentFilter,
    RecipeUsageFilterSet,
    ResourceUsageFilterSet,
    SourceRelatedFilterSet,
    UsageFilterSet,
    ZoneFilter,
)
from usage.api.filters.widgets import EndInput
from usage.data_quality import assess, get_reporting_sources
from usage.datetimes import EXPECTED, EXPECTED_ZONE
from usage.decimals import add_exactly
from usage.param_values import list_texts
from usage.summaries.intervals import INTERVALS, list_intervals
from usage.summaries.metrics import METRICS
from usage.summaries.query import SummaryQuery, build_query, check_range
from usage.summaries.result import summarize
from usage.summaries.rows import reads_rollups

SERVICE: Final = {"environment-usage": "environment_class_id", "resource-usage": "resource_type"}
FILTERS: Final[dict[str, type[UsageFilterSet]]] = {
    "environment-usage": EnvironmentUsageFilterSet,
    "resource-usage": ResourceUsageFilterSet,
    "recipe-usage": RecipeUsageFilterSet,
}
# Measure, metric and unit; a metric '' is in the row itself, as its unit is.
QUANTITIES: Final = {
    "environment-usage": (("runtime_seconds", "runtime", "seconds"),),
    "resource-usage": (("consumed_quantity", "", ""),),
    "recipe-usage": (
        ("task_count", "tasks", "tasks"),
        ("job_succeeded_count", "jobs_succeeded", "jobs"),
        ("job_failed_count", "jobs_failed", "jobs"),
    ),
}
DIMENSIONS: Final = ("vendor", "source", "service", "metric", "unit")
PARTITION: Final = ("vendor", "metric", "unit")
CUTTING_PARAMS: Final = frozenset({"from", "to", "tz"})
Row = dict[str, Any]


class CombinedFilterSet(SourceRelatedFilterSet):
    """The filters of a summary of every kind of usage."""

    source_path = "id"

    tz = ZoneFilter(help_text=f"The zone that dates and intervals are of: {EXPECTED_ZONE}. Default: UTC.")

    class Meta:
        form = InstantsForm

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        """Add `from` and `to`: `from` cannot be a name in a class body."""
        bounds: dict[str, django_filters.Filter] = {
            "from": MomentFilter(method="keep", help_text=f"Begins the half-open range: {EXPECTED}."),
            "to": MomentFilter(
                method="keep", widget=EndInput, help_text=f"Ends the half-open range: {EXPECTED}. Not included."
            ),
        }
        return OrderedDict(bounds | super().get_filters())

    def keep(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Return the sources unchanged: the range applies to their records."""
        return queryset


def summarize_all(filterset: CombinedFilterSet, interval: str, take_slot: Callable[[], None]) -> dict[str, Any]:
    """Return the summary of every kind of usage; `interval` '' gives one row over the whole range.

    `filterset` is valid; `take_slot`: see `summarize`. Raises ValidationError where the range or the interval would cut
    the records of a kind.
    """
    kinds, cleaned = list_reported_kinds(filterset), filterset.form.cleaned_data
    try:
        quality = assess(
            None,
            source_ids=filterset.get_source_ids(),
            start=cleaned.get("from"),
            end=cleaned.get("to"),
            zone=cleaned["tz"],
            row_scope=filterset.row_scope,
            reads_rollups=lambda: all(reads_rollups(build_kind_query(kind, filterset, interval)) for kind in kinds),
        )
        rows = [row for kind in kinds for row in build_rows(kind, filterset, interval, take_slot)]
    except ValidationError as error:
        raise ValidationError(add_advice(error.detail, kinds)) from None
    rows.sort(key=lambda row: (get_start(row, interval), [str(row[name]) for name in DIMENSIONS]))
    return {"meta": quality.meta(), "totals": build_totals(rows), "results": rows}


def get_start(row: Row, interval: str) -> Any:
    """Return what orders the intervals of rows: an instant for hours, which a zone may show twice, else the label."""
    return datetime.fromisoformat(row[interval]) if interval == "hour" else row.get(interval, "")


def add_advice(detail: Any, kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return the messages of a ValidationError; where kinds differ in what would cut a record, no zone serves all."""
    advice = " Where no zone suits all of them, ask for other vendors alone." if len(kinds) > 1 else ""
    return {
        name: [f"{text}{advice if name in CUTTING_PARAMS else ''}" for text in texts] for name, texts in detail.items()
    }


def build_totals(rows: Iterable[Row]) -> list[Row]:
    """Return the exact sums of rows per vendor, metric and unit; without any value the sum is null."""
    partitions: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        partitions.setdefault(tuple(row[name] for name in PARTITION), []).append(row)
    return [
        {
            **dict(zip(PARTITION, key, strict=True)),
            "quantity": add_quantities(row["quantity"] for row in members),
            "records": sum(row["records"] for row in members),
        }
        for key, members in sorted(partitions.items())
    ]


def add_quantities(quantities: Iterable[str | None]) -> str | None:
    """Return the sum of the numbers that are not None, with all their digits; None where all are."""
    numbers = [Decimal(quantity) for quantity in quantities if quantity is not None]
    return f"{add_exactly(numbers):f}" if numbers else None


def build_rows(kind: str, combined: CombinedFilterSet, interval: str, take_slot: Callable[[], None]) -> Iterator[Row]:
    """Yield the rows of one kind of usage."""
    if interval and interval not in list_intervals(METRICS[kind].smallest_interval):
        raise ValidationError({"interval": ["“hour” would cut a UTC day of a source; ask for other vendors alone."]})
    for row in summarize_kind(build_kind_query(kind, combined, interval), take_slot):
        for measure, metric, unit in QUANTITIES[kind]:
            yield {
                **({interval: row[interval]} if interval else {}),
                "vendor": row["vendor"],
                "source": row["source"],
                "service": row[SERVICE[kind]] if kind in SERVICE else "recipes",
                "service_name": row.get("environment_class_name"),
                "metric": metric or row["billing_metric"],
                "unit": unit or row["consumed_unit"],
                "quantity": None if row[measure] is None else str(row[measure]),
                "records": row["records"],
            }


def build_filterset(kind: str, combined: CombinedFilterSet) -> UsageFilterSet:
    """Return the valid filter set of one kind with the filters of all; raises ValidationError."""
    data, params = combined.data or {}, QueryDict(mutable=True)
    for name in ("from", "to", "tz", "source", "vendor"):
        if name in data:
            params.setlist(name, list_texts(data, name))
    filterset = FILTERS[kind](params, row_scope=combined.row_scope, names=combined.names)
    if not filterset.is_valid():
        raise ValidationError(filterset.errors)
    return filterset


def list_reported_kinds(combined: CombinedFilterSet) -> list[str]:
    """Return the kinds of usage that any of the sources reports."""
    ids = combined.get_source_ids()
    return [kind for kind, metrics in METRICS.items() if get_reporting_sources(metrics.kind, ids, combined.row_scope)]


def build_kind_query(kind: str, combined: CombinedFilterSet, interval: str) -> SummaryQuery:
    """Return the query about one kind; raises ValidationError."""
    return build_query(
        METRICS[kind],
        build_filterset(kind, combined),
        measures=("records", *(measure for measure, *_ in QUANTITIES[kind])),
        group_by=("vendor", "source", *([SERVICE[kind]] if kind in SERVICE else [])),
        interval=interval,
    )


def summarize_kind(query: SummaryQuery, take_slot: Callable[[], None]) -> list[Row]:
    """Return the rows of the summary of one kind that have records; an error of its interval names `interval`."""
    check_range(query)
    try:
        rows: list[Row] = summarize(query, take_slot)["results"]
    except ValidationError as error:
        detail: Any = error.detail
        renamed = {"interval" if name == "group_by" else name: text for name, text in detail.items()}
        raise ValidationError(renamed) from None
    return [row for row in rows if row["records"]]


def parse_interval(text: str | None, errors: Mapping[str, list[Any]] | None = None) -> str:
    """Return the interval, '' for None.

    Raises ValidationError for an unknown interval; it also has the other `errors` of the request.
    """
    unknown = text is not None and text not in INTERVALS
    interval_errors = {"interval": [f"“{text}” is not one of: {', '.join(INTERVALS)}."]} if unknown else {}
    if interval_errors or errors:
        raise ValidationError({**interval_errors, **(errors or {})})
    return text or ""
