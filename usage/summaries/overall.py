"""One answer over all vendors: how much of what was used, per vendor, source, service, metric and unit."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as django_filters
from rest_framework.exceptions import ValidationError

from usage.exactly import total
from usage.filters import (
    EnvironmentUsageFilter,
    InstantsForm,
    MomentFilter,
    OfSourcesFilter,
    RecipeUsageFilter,
    ResourceUsageFilter,
    UsageFilter,
    ZoneFilter,
)
from usage.models import Source
from usage.moments import EXPECTED, EXPECTED_ZONE
from usage.summaries.answer import answer
from usage.summaries.intervals import INTERVALS
from usage.summaries.question import Question, asked
from usage.summaries.shapes import SHAPES
from usage.trust import reporting, trust_of

SERVICE: Final = {"environment-usage": "environment_class_id", "resource-usage": "resource_type"}
FILTERS: Final[dict[str, type[UsageFilter]]] = {
    "environment-usage": EnvironmentUsageFilter,
    "resource-usage": ResourceUsageFilter,
    "recipe-usage": RecipeUsageFilter,
}
# Measure, metric and unit; a metric that is '' stands in the row itself, as its unit does.
QUANTITIES: Final = {
    "environment-usage": (("runtime_seconds", "runtime", "seconds"),),
    "resource-usage": (("consumed_quantity", "", ""),),
    "recipe-usage": (
        ("task_count", "tasks", "tasks"),
        ("job_succeeded_count", "jobs_succeeded", "jobs"),
        ("job_failed_count", "jobs_failed", "jobs"),
    ),
}
NAMES: Final = ("vendor", "source", "service", "metric", "unit")
TOTALLED: Final = ("vendor", "metric", "unit")


class OverallFilter(OfSourcesFilter):
    """What usage of every kind may be asked by."""

    source_path = "id"

    tz = ZoneFilter(help_text=f"The zone that dates and intervals are of: {EXPECTED_ZONE}. Default: UTC.")

    class Meta:
        form = InstantsForm

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        """Add the range, whose names no Python class body can hold."""
        bounds: dict[str, django_filters.Filter] = {
            "from": MomentFilter(method="of_range", help_text=f"Begins the half-open range: {EXPECTED}."),
            "to": MomentFilter(method="of_range", help_text=f"Ends the half-open range: {EXPECTED}. Not included."),
        }
        return OrderedDict(bounds | super().get_filters())

    def of_range(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Leave the sources as they are: the range is of their records."""
        return queryset


def overall(filterset: OverallFilter, interval: str, row_scope: frozenset[int] | None) -> dict[str, Any]:
    """Return the answer about every kind of usage; `interval` is '' for one row over the whole range.

    `filterset` is valid. Raises ValidationError where a kind that is asked for cannot be cut like this.
    """
    cleaned, ids = filterset.form.cleaned_data, filterset.source_ids()
    trust = trust_of(
        None,
        source_ids=ids,
        start=cleaned.get("from"),
        end=cleaned.get("to"),
        zone=cleaned["tz"],
        row_scope=row_scope,
    )
    results = [line for kind in SHAPES for line in lines_of(kind, filterset, interval, ids, row_scope)]
    results.sort(key=lambda line: [str(line.get(name, "")) for name in (interval, *NAMES)])
    return {"meta": trust.meta(), "totals": totals_of(results), "results": results}


def totals_of(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sums of rows per vendor, metric and unit, to the last digit; of no value at all the sum is null."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(tuple(line[name] for name in TOTALLED), []).append(line)
    return [
        {
            **dict(zip(TOTALLED, key, strict=True)),
            "quantity": exact_sum(line["quantity"] for line in found),
            "records": sum(line["records"] for line in found),
        }
        for key, found in sorted(groups.items())
    ]


def exact_sum(quantities: Iterable[str | None]) -> str | None:
    """Return the sum of the numbers that are there, with all their digits; None where there is none."""
    known = [Decimal(quantity) for quantity in quantities if quantity is not None]
    return f"{total(known):f}" if known else None


def lines_of(
    kind: str, overall: OverallFilter, interval: str, ids: list[int] | None, row_scope: frozenset[int] | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind of usage; none where no source reports it."""
    shape = SHAPES[kind]
    sources = reporting(shape.kind, ids, row_scope)
    if not sources:
        return
    data = overall.data if isinstance(overall.data, QueryDict) else QueryDict()
    known = {name: data[name] for name in ("from", "to", "tz", "source", "vendor") if name in data}
    visible = Source.objects.all() if row_scope is None else Source.objects.filter(pk__in=sorted(row_scope))
    filterset = FILTERS[kind](known, sources=visible)
    if not filterset.is_valid():
        raise ValidationError(filterset.errors)
    said = {
        "group_by": ",".join(filter(None, ("vendor", "source", SERVICE.get(kind, ""), interval))),
        "measures": ",".join(["records", *(measure for measure, *_ in QUANTITIES[kind])]),
    }
    if shape.smallest == "day" and interval == "hour":
        raise ValidationError({"interval": ["“hour” would cut a UTC day of a source; ask for other vendors alone."]})
    question = asked(said, shape, filterset, lambda _: sources, row_scope)
    for row in answered(question)["results"]:
        if not row["records"]:
            continue
        for measure, metric, unit in QUANTITIES[kind]:
            yield {
                **({interval: row[interval]} if interval else {}),
                "vendor": row["vendor"],
                "source": row["source"],
                "service": row[SERVICE[kind]] if kind in SERVICE else "recipes",
                "metric": metric or row["billing_metric"],
                "unit": unit or row["consumed_unit"],
                "quantity": None if row[measure] is None else str(row[measure]),
                "records": row["records"],
            }


def answered(question: Question) -> dict[str, Any]:
    """Return the answer about one kind; what is wrong with its interval is told of the parameter that asked for it."""
    try:
        return answer(question)
    except ValidationError as error:
        said: Any = error.detail
        raise ValidationError({{"group_by": "interval"}.get(name, name): text for name, text in said.items()}) from None


def interval_of(text: str | None, faults: Mapping[str, list[Any]] | None = None) -> str:
    """Return the interval that is asked for, '' for none.

    Raises ValidationError where it is none, or where `faults` say what else is wrong with the request.
    """
    unknown = text is not None and text not in INTERVALS
    problems = {"interval": [f"“{text}” is not one of: {', '.join(INTERVALS)}."]} if unknown else {}
    if problems or faults:
        raise ValidationError({**problems, **(faults or {})})
    return text or ""
