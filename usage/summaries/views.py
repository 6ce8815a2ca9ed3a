"""The addresses of the summaries: one per kind of usage, and one over all of them."""

import json
from collections.abc import Callable
from typing import Any, ClassVar, Final

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from usage.api.access import AuthorizeFirstMixin, filter_by_scope, get_access
from usage.api.filters import (
    EnvironmentUsageFilterSet,
    RecipeUsageFilterSet,
    ResourceUsageFilterSet,
    StrictFilterBackend,
    find_param_errors,
)
from usage.models import KIND_NAMES, EnvironmentUsage, RecipeUsage, ResourceUsage, Source
from usage.slots import RETRY_SECONDS, take_slot_if_large
from usage.snapshot import consistent_snapshot
from usage.summaries.combined import CombinedFilterSet, parse_interval, summarize_all
from usage.summaries.examples import LINES, OVERALL, build_summary_example
from usage.summaries.intervals import BASELINES, INTERVALS, list_intervals
from usage.summaries.metrics import JSON_DIMENSIONS, METRICS, MetricSet
from usage.summaries.params import COMMON_PARAMS, ENVIRONMENT_PARAMS, MAX_LIMIT, parse_params
from usage.summaries.query import SummaryQuery
from usage.summaries.result import summarize
from usage.summaries.serializers import OverallSerializer, SummarySerializer
from usage.timeouts import QueryTimeout

HELP = {
    "measures": "What to add up, comma-separated: {measures}. Default: {default}.",
    "group_by": "What to group by, comma-separated: any of {dimensions}, and at most one interval: {intervals}.",
    "order_by": "Names of rows' dimensions or measures, comma-separated, - before one for the largest first; with "
    "compare also change_ and a measure. Default: by interval, then the largest first.",
    "limit": "How many groups to give of each metric and unit: the largest over the whole range by the first measure "
    "in order_by (without - the smallest), else by the first measure that is no count of records. What is left out is "
    "added up in others, per interval too.",
    "compare": "Also another period; needs from and to. previous: the one of the same length before. last_month, "
    "last_year: the same days then. same_weekday: as many whole weeks before as the range reaches into. Of a range "
    "that is not over the last three take the days up to today.",
    "fill": "zero: also a row for every interval without records; needs an interval, from and to.",
    "basis": "stopped: a run's whole runtime belongs to when it stopped. accrued: it is split over the time it lasted.",
}
SUMMARY_SECONDS: Final = 30.0
HELP_INTERVAL = "Also one row per interval. Default: one row for the whole range."


class SummaryTooSlow(APIException):
    """A summary whose statement took too long."""

    status_code = 503
    default_detail = (
        f"The summary takes longer than {SUMMARY_SECONDS:.0f} seconds and was stopped. A shorter range or a single "
        "source makes it faster; so does grouping by whole days and by columns that are added up beforehand, such as "
        "project, type or class. Groups of tags, of fields of details and of single resources read every record."
    )
    wait = RETRY_SECONDS


def build_parameters(metrics: MetricSet, names: tuple[str, ...]) -> list[OpenApiParameter]:
    """Return the summary's own parameters as the schema has them."""
    texts = {
        "measures": ", ".join(metrics.measures),
        "default": ", ".join(metrics.default_measures),
        "dimensions": ", ".join([*metrics.dimension_names, *(JSON_DIMENSIONS if metrics.has_json else ())]),
        "intervals": ", ".join(list_intervals(metrics.smallest_interval)),
    }
    schemas: dict[str, dict[str, Any]] = {
        "group_by": {"type": "string", "examples": [LINES[KIND_NAMES[metrics.kind]][0]]},
        "measures": {"type": "string", "examples": [",".join(metrics.default_measures)]},
        "order_by": {"type": "string", "examples": [f"-{metrics.default_measures[1]}"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "examples": [10]},
        "compare": {"type": "string", "enum": [*BASELINES]},
        "fill": {"type": "string", "enum": ["zero"]},
        "basis": {"type": "string", "enum": ["stopped", "accrued"], "default": "stopped"},
    }
    return [OpenApiParameter(name, schemas[name], description=HELP[name].format(**texts)) for name in names]


def describe_summary(metrics: MetricSet, names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return the decorator that describes a summary."""
    example = OpenApiExample(
        "answer", build_summary_example(KIND_NAMES[metrics.kind]), response_only=True, status_codes=["200"]
    )
    return extend_schema(
        parameters=build_parameters(metrics, names),
        filters=True,
        responses={200: SummarySerializer},
        examples=[example],
    )


class SummaryView(AuthorizeFirstMixin, GenericAPIView[Any]):
    """Grouped sums of one kind of usage, exact, by the list's own filters."""

    scope = "usage:read"
    permission: ClassVar[str]
    metrics: ClassVar[MetricSet]
    parameters: ClassVar[tuple[str, ...]] = (*COMMON_PARAMS, "format")
    detail = False
    filter_backends = (StrictFilterBackend,)
    pagination_class = None
    renderer_classes = (JSONRenderer,)
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> HttpResponse:
        """Return meta, the totals of the whole filter, the rows, and what the limit left out."""
        query = self.parse_query(request)
        return answer_within_limits(lambda take_slot: summarize(query, take_slot))

    def parse_query(self, request: Request) -> SummaryQuery:
        filterset, errors = self.check_filters(request)
        return parse_params(request.query_params, self.metrics, filterset, errors)

    def check_filters(self, request: Request) -> tuple[Any, dict[str, list[Any]]]:
        """Return the filter set and the errors of its parameters and of unknown parameters."""
        filterset: Any = StrictFilterBackend().get_filterset(request, self.get_queryset(), self)
        return filterset, find_param_errors(request.query_params, filterset, self.parameters)

    def get_queryset(self) -> Any:
        return filter_by_scope(super().get_queryset(), self.request, "source_id")


def answer_within_limits(compute: Callable[[Callable[[], None]], dict[str, Any]]) -> HttpResponse:
    """Return what `compute` returns as JSON; it receives the function that takes a slot for a large answer.

    Raises SummaryTooSlow after SUMMARY_SECONDS, and SlotsTaken. One snapshot serves the numbers and their data
    quality, whatever is loaded meanwhile.
    """
    with take_slot_if_large() as take_slot:
        try:
            with consistent_snapshot(seconds=SUMMARY_SECONDS):
                result = compute(take_slot)
        except QueryTimeout as error:
            raise SummaryTooSlow from error
        return HttpResponse(json.dumps(result, ensure_ascii=False), content_type="application/json")


@describe_summary(METRICS["environment-usage"], ENVIRONMENT_PARAMS)
class EnvironmentSummaryView(SummaryView):
    """Sums of completed runs of environments."""

    queryset = EnvironmentUsage.objects.all()
    filterset_class = EnvironmentUsageFilterSet
    permission = "usage.view_environmentusage"
    metrics = METRICS["environment-usage"]
    parameters = (*ENVIRONMENT_PARAMS, "format")


@describe_summary(METRICS["resource-usage"], COMMON_PARAMS)
class ResourceSummaryView(SummaryView):
    """Sums of what resources consumed, per metric and unit."""

    queryset = ResourceUsage.objects.all()
    filterset_class = ResourceUsageFilterSet
    permission = "usage.view_resourceusage"
    metrics = METRICS["resource-usage"]


@describe_summary(METRICS["recipe-usage"], COMMON_PARAMS)
class RecipeSummaryView(SummaryView):
    """Sums of what recipes did; deleted recipes are a row of their own."""

    queryset = RecipeUsage.objects.all()
    filterset_class = RecipeUsageFilterSet
    permission = "usage.view_recipeusage"
    metrics = METRICS["recipe-usage"]


class CombinedSummaryView(SummaryView):
    """How much was used of everything, in one answer over all vendors."""

    queryset = Source.objects.all()
    filterset_class = CombinedFilterSet
    permission = "usage.view_environmentusage"
    others_permissions = ("usage.view_resourceusage", "usage.view_recipeusage")
    parameters = ("interval", "format")

    @extend_schema(
        parameters=[OpenApiParameter("interval", OpenApiTypes.STR, enum=INTERVALS, description=HELP_INTERVAL)],
        filters=True,
        responses={200: OverallSerializer},
        examples=[OpenApiExample("answer", OVERALL, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> HttpResponse:
        """Return meta, totals, and a quantity per vendor, source, service, metric, unit and interval."""
        self.check_every_kind(request)
        filterset, errors = self.check_filters(request)
        interval = parse_interval(request.query_params.get("interval"), errors)
        return answer_within_limits(lambda take_slot: summarize_all(filterset, interval, take_slot))

    def get_queryset(self) -> Any:
        return filter_by_scope(Source.objects.all(), self.request, "id")

    def check_every_kind(self, request: Request) -> None:
        """Raise PermissionDenied, with the missing permissions, for a person who may see some kinds of usage only."""
        access = get_access(request)
        refusals = [access.refusal(self.scope, name) for name in self.others_permissions] if access else []
        if any(refusals):
            raise PermissionDenied(" ".join(filter(None, refusals)))
