"""The addresses of the summaries: one per kind of usage, and one over all of them."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

from django.db import DEFAULT_DB_ALIAS
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from usage.access import RightsFirst, access_of, in_scope
from usage.exports.copying import one_state
from usage.filters import (
    EnvironmentUsageFilter,
    RecipeUsageFilter,
    ResourceUsageFilter,
    StrictFilterBackend,
    problems_of,
)
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source
from usage.summaries.answer import answer
from usage.summaries.examples import LINES, OVERALL, summary_of
from usage.summaries.intervals import INTERVALS
from usage.summaries.overall import OverallFilter, interval_of, overall
from usage.summaries.question import LARGEST_LIMIT, OF_ENVIRONMENTS, PARAMETERS, Question, asked
from usage.summaries.serializers import OverallSerializer, SummarySerializer
from usage.summaries.shapes import SHAPES, Shape
from usage.trust import reporting

HELP = {
    "measures": "What to add up, comma-separated: {measures}. Default: {default}.",
    "group_by": "What to group by, comma-separated: any of {dimensions}, and at most one interval: {intervals}.",
    "order_by": "Names of rows' dimensions or measures, comma-separated, - before one for the largest first. Default: "
    "by interval, then the largest first.",
    "limit": "How many groups to give of each metric and unit: the largest over the whole range by the first measure "
    "in order_by (without - the smallest), else by the first measure that is no count of records. What is left out is "
    "added up in others, per interval too.",
    "compare": "previous: also the period of the same length before; needs from and to.",
    "fill": "zero: also a row for every interval without records; needs an interval, from and to.",
    "basis": "stopped: a run's whole runtime belongs to when it stopped. accrued: it is split over the time it lasted.",
}
HELP_INTERVAL = "Also one row per interval. Default: one row for the whole range."


def parameters_of(shape: Shape, names: tuple[str, ...]) -> list[OpenApiParameter]:
    """Return the summary's own parameters as the schema has them."""
    words = {
        "measures": ", ".join(shape.measures),
        "default": ", ".join(shape.default),
        "dimensions": ", ".join([*shape.dimensions, *(["details.<field>", "tag:<key>"] if shape.json else [])]),
        "intervals": ", ".join(INTERVALS[INTERVALS.index(shape.smallest) :]),
    }
    schemas: dict[str, dict[str, Any]] = {
        "group_by": {"type": "string", "examples": [LINES[kind_of(shape)][0]]},
        "measures": {"type": "string", "examples": [",".join(shape.default)]},
        "order_by": {"type": "string", "examples": [f"-{shape.default[1]}"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "examples": [10]},
        "compare": {"type": "string", "enum": ["previous"]},
        "fill": {"type": "string", "enum": ["zero"]},
        "basis": {"type": "string", "enum": ["stopped", "accrued"], "default": "stopped"},
    }
    return [OpenApiParameter(name, schemas[name], description=HELP[name].format(**words)) for name in names]


def summary_schema(shape: Shape, names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return the decorator that describes a summary."""
    example = OpenApiExample("answer", summary_of(kind_of(shape)), response_only=True, status_codes=["200"])
    return extend_schema(
        parameters=parameters_of(shape, names), filters=True, responses={200: SummarySerializer}, examples=[example]
    )


def kind_of(shape: Shape) -> str:
    """Return the name of a shape's kind."""
    return next(kind for kind, one in SHAPES.items() if one is shape)


class SummaryView(RightsFirst, GenericAPIView[Any]):
    """Grouped sums of one kind of usage, exact, by the list's own filters."""

    scope = "usage:read"
    permission: ClassVar[str]
    shape: ClassVar[Shape]
    parameters: ClassVar[tuple[str, ...]] = (*PARAMETERS, "format")
    detail = False
    filter_backends = (StrictFilterBackend,)
    pagination_class = None
    renderer_classes = (JSONRenderer,)
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> HttpResponse:
        """Return meta, the totals of the whole filter, the rows, and what the limit left out."""
        question = self.question(request)
        # One state for the numbers and for what is said of them, whatever is loaded meanwhile.
        with one_state(DEFAULT_DB_ALIAS):
            said = answer(question)
        return HttpResponse(json.dumps(said, ensure_ascii=False), content_type="application/json")

    def question(self, request: Request) -> Question:
        """Return the question; raises ValidationError that names everything that is wrong."""
        filterset: Any = StrictFilterBackend().get_filterset(request, self.get_queryset(), self)
        faults = problems_of(request.query_params, filterset, self.parameters)
        scope = row_scope(request)
        return asked(request.query_params, self.shape, filterset, lambda ids: self.sources(ids, scope), scope, faults)

    def get_queryset(self) -> Any:
        """Return the records within the row scope."""
        return in_scope(super().get_queryset(), self.request, "source_id")

    def sources(self, ids: list[int] | None, scope: frozenset[int] | None) -> list[Source]:
        """Return the sources that the question is about."""
        return reporting(self.shape.kind, ids, scope)


def row_scope(request: Request) -> frozenset[int] | None:
    """Return the ids of the only sources that may be seen, None for all."""
    access = access_of(request)
    return access.source_ids if access is not None else frozenset()


@summary_schema(SHAPES["environment-usage"], OF_ENVIRONMENTS)
class EnvironmentSummaryView(SummaryView):
    """Sums of completed runs of environments."""

    queryset = EnvironmentUsage.objects.all()
    filterset_class = EnvironmentUsageFilter
    permission = "usage.view_environmentusage"
    shape = SHAPES["environment-usage"]
    parameters = (*OF_ENVIRONMENTS, "format")


@summary_schema(SHAPES["resource-usage"], PARAMETERS)
class ResourceSummaryView(SummaryView):
    """Sums of what resources consumed, per metric and unit."""

    queryset = ResourceUsage.objects.all()
    filterset_class = ResourceUsageFilter
    permission = "usage.view_resourceusage"
    shape = SHAPES["resource-usage"]


@summary_schema(SHAPES["recipe-usage"], PARAMETERS)
class RecipeSummaryView(SummaryView):
    """Sums of what recipes did; deleted recipes are a row of their own."""

    queryset = RecipeUsage.objects.all()
    filterset_class = RecipeUsageFilter
    permission = "usage.view_recipeusage"
    shape = SHAPES["recipe-usage"]


class OverallSummaryView(SummaryView):
    """How much was used of everything, in one answer over all vendors."""

    queryset = Source.objects.all()
    filterset_class = OverallFilter
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
        filterset: Any = StrictFilterBackend().get_filterset(request, self.get_queryset(), self)
        faults = problems_of(request.query_params, filterset, self.parameters)
        interval = interval_of(request.query_params.get("interval"), faults)
        with one_state(DEFAULT_DB_ALIAS):
            said = overall(filterset, interval, row_scope(request))
        return HttpResponse(json.dumps(said, ensure_ascii=False), content_type="application/json")

    def get_queryset(self) -> Any:
        """Return the sources that may be seen."""
        return in_scope(Source.objects.all(), self.request, "id")

    def check_every_kind(self, request: Request) -> None:
        """Refuse whoever may see some kinds of usage only; raises PermissionDenied that names what is missing."""
        access = access_of(request)
        refusals = [access.refusal(self.scope, name) for name in self.others_permissions] if access else []
        if any(refusals):
            raise PermissionDenied(" ".join(filter(None, refusals)))
