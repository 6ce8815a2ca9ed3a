"""The API of usage: read-only lists, details and exports, declared on one base and rendered by PostgreSQL."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from usage.access import RightsFirst, in_scope
from usage.columns import Column, columns_of
from usage.exports import csv_response, ndjson_response
from usage.filters import EnvironmentUsageFilter, RecipeUsageFilter, ResourceUsageFilter, StrictFilterBackend
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage
from usage.pagination import KeysetPagination, Orderings, Walk, fetched
from usage.renderers import CSVRenderer, NDJSONRenderer
from usage.serializers import EnvironmentUsageSerializer, RecipeUsageSerializer, ResourceUsageSerializer

T = TypeVar("T")
Download = Callable[[QuerySet[Any], str, Sequence[Column]], StreamingHttpResponse]
DOWNLOADS: dict[str, Download] = {"csv": csv_response, "ndjson": ndjson_response}


class ReadViewSet(RightsFirst, GenericViewSet[Any]):
    """Lists and details of a model's rows, within the sources that whoever asks may see.

    `scope` and `permission`: what a token and a member of staff need. `source_path`: from a row to its source's
    id. `orderings`: the orders a list may be asked for, each total and held by an index; `ordering`: the default.
    """

    scope: ClassVar[str]
    permission: ClassVar[str]
    source_path: ClassVar[str] = "source_id"
    orderings: ClassVar[Orderings]
    ordering: ClassVar[str]

    http_method_names = ["get", "head"]
    filter_backends = (StrictFilterBackend,)
    pagination_class = KeysetPagination
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows within the row scope."""
        return in_scope(super().get_queryset(), self.request, self.source_path)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the answer."""
        serializer: Any = self.get_serializer_class()
        return columns_of(serializer)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The query parameters that are understood besides the filters."""
        return ("format",) if self.detail else (*KeysetPagination.parameters, "format")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered rows."""
        queryset, walk = self.asked(request)
        page = walk.page(queryset, self.columns)
        return HttpResponse(walk.envelope(page), content_type="application/json")

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one row."""
        rows = self.filter_queryset(self.get_queryset())
        try:
            found = rows.filter(**{self.lookup_field: kwargs[self.lookup_field]})
        except DjangoValidationError:  # e.g. a date that no calendar has
            raise NotFound from None
        return self.one(found, self.columns)

    def one(self, queryset: QuerySet[Any], columns: Sequence[Column], **answer: Any) -> HttpResponse:
        """Return the only row of `queryset` as an answer; raises NotFound where there is none."""
        rows = fetched(queryset.order_by()[:1], columns, ())
        if not rows:
            raise NotFound
        return HttpResponse(rows[0][0].encode(), content_type="application/json", **answer)

    def asked(self, request: Request) -> tuple[QuerySet[Any], Walk]:
        """Return the filtered rows and the walk; raises ValidationError that names all that is wrong with either."""
        problems: dict[str, Any] = {}
        queryset = caught(problems, lambda: self.filter_queryset(self.get_queryset()))
        walk = caught(problems, lambda: Walk.asked(request, self.orderings, self.ordering))
        if queryset is None or walk is None:
            raise ValidationError(problems)
        return queryset, walk


def caught(problems: dict[str, Any], ask: Callable[[], T]) -> T | None:
    """Return what `ask` gives, or None with what is wrong added to `problems`, first come first kept."""
    try:
        return ask()
    except ValidationError as error:
        named: Any = error.detail
        problems.update({name: said for name, said in named.items() if name not in problems})
        return None


class UsageViewSet(ReadViewSet):
    """Lists, details and exports of one kind of usage; a detail shows a withdrawn record too."""

    scope = "usage:read"

    def get_renderers(self) -> list[BaseRenderer]:
        """Offer exports of lists."""
        return [JSONRenderer()] if self.detail else [JSONRenderer(), CSVRenderer(), NDJSONRenderer()]

    @property
    def parameters(self) -> tuple[str, ...]:
        """An export is not paged."""
        return ("ordering", "format") if self.download else super().parameters

    @property
    def download(self) -> Download | None:
        """How the whole set is sent, None for a page of JSON."""
        renderer = getattr(self.request, "accepted_renderer", None)
        return DOWNLOADS.get(renderer.format) if renderer else None

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered records, or all of them as an export."""
        if self.download is None:
            return super().list(request, *args, **kwargs)
        queryset, walk = self.asked(request)
        return self.download(walk.ordering.apply(queryset), self.file_name(request), self.columns)

    def file_name(self, request: Request) -> str:
        """Return e.g. `resource-usage_2026-01-01_2026-02-01_as-of-20260203T101500Z.csv`."""
        bounds = [re.sub(r"[^0-9A-Za-z.-]", "", request.query_params.get(bound, "")) for bound in ("from", "to")]
        said = [self.basename, *filter(None, bounds), f"as-of-{timezone.now():%Y%m%dT%H%M%SZ}"]
        return f"{'_'.join(map(str, said))}.{request.accepted_renderer.format}"


class EnvironmentUsageViewSet(UsageViewSet):
    """Completed runs of environments."""

    queryset = EnvironmentUsage.objects.all()
    serializer_class = EnvironmentUsageSerializer
    filterset_class = EnvironmentUsageFilter
    permission = "usage.view_environmentusage"
    ordering = "-stopped_at"
    orderings = {
        "stopped_at": ("stopped_at", "id"),
        "changed_at": ("changed_at", "id"),
        "project_id": ("project_id", "stopped_at", "id"),
        "user_id": ("user_id", "stopped_at", "id"),
        "environment_id": ("environment_id", "stopped_at", "id"),
        "id": ("id",),
    }


class ResourceUsageViewSet(UsageViewSet):
    """What resources consumed, per UTC day."""

    queryset = ResourceUsage.objects.all()
    serializer_class = ResourceUsageSerializer
    filterset_class = ResourceUsageFilter
    permission = "usage.view_resourceusage"
    ordering = "-day"
    orderings = {
        "day": ("day", "id"),
        "changed_at": ("changed_at", "id"),
        "resource_type": ("resource_type", "day", "id"),
        "resource_id": ("resource_id", "day", "id"),
        "id": ("id",),
    }


class RecipeUsageViewSet(UsageViewSet):
    """Hours of recipes."""

    queryset = RecipeUsage.objects.all()
    serializer_class = RecipeUsageSerializer
    filterset_class = RecipeUsageFilter
    permission = "usage.view_recipeusage"
    ordering = "-starts_at"
    orderings = {
        "starts_at": ("starts_at", "id"),
        "changed_at": ("changed_at", "id"),
        "workspace_id": ("workspace_id", "starts_at", "id"),
        "id": ("id",),
    }
