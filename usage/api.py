"""The API of usage: read-only lists, details and exports, declared on one base and rendered by PostgreSQL."""

import re
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import sha256
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.http import quote_etag
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from usage.access import RightsFirst, access_of, in_scope
from usage.columns import Column, chosen, columns_of
from usage.exports import FORMATS, digested, export, one_state
from usage.filters import EnvironmentUsageFilter, RecipeUsageFilter, ResourceUsageFilter, StrictFilterBackend
from usage.filters.trusted import trust_of_filtered
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage
from usage.pagination import FIELDS, KeysetPagination, Orderings, Walk, fetched
from usage.renderers import EXPORT_RENDERERS
from usage.serializers import (
    EnvironmentUsageSerializer,
    ManifestSerializer,
    RecipeUsageSerializer,
    ResourceUsageSerializer,
)
from usage.settled import settled_until
from usage.trust import Trust, written

T = TypeVar("T")
ETAG_DIGITS = 32
# What the manifest of an export is not asked by: it is of the same set, whatever its form.
OF_THE_FORM = ("format", "ordering", "fields", "cursor", "page_size", "count")


class ReadViewSet(RightsFirst, GenericViewSet[Any]):
    """Lists and details of a model's rows, within the sources that whoever asks may see.

    `scope` and `permission`: what a token and a member of staff need. `source_path`: from a row to its source's
    id. `orderings`: the orders a list may be asked for, each total and held by an index; `ordering`: the default.
    `followed`: the column that `updated_since` follows up to the settled mark, '' where nothing is followed.
    """

    scope: ClassVar[str]
    permission: ClassVar[str]
    source_path: ClassVar[str] = "source_id"
    orderings: ClassVar[Orderings]
    ordering: ClassVar[str]
    followed: ClassVar[str] = ""

    http_method_names = ["get", "head"]
    filter_backends = (StrictFilterBackend,)
    pagination_class = KeysetPagination
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows within the row scope."""
        return in_scope(super().get_queryset(), self.request, self.source_path)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the answer; raises ValidationError where `fields` names others than there are."""
        serializer: Any = self.get_serializer_class()
        return chosen(columns_of(serializer), self.request.query_params.get("fields"))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The query parameters that are understood besides the filters."""
        return ("fields", "format") if self.detail else (*KeysetPagination.parameters, "format")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered rows."""
        queryset, walk = self.asked(request)
        page = walk.page(queryset, self.columns)
        return answered(walk.envelope(page))

    @extend_schema(parameters=[OpenApiParameter("fields", str, description=FIELDS)])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one row."""
        rows = self.filter_queryset(self.get_queryset())
        columns = self.columns
        try:
            found = rows.filter(**{self.lookup_field: kwargs[self.lookup_field]})
        except DjangoValidationError:  # e.g. a date that no calendar has
            raise NotFound from None
        return self.one(found, columns)

    def one(self, queryset: QuerySet[Any], columns: Sequence[Column], **answer: Any) -> HttpResponse:
        """Return the only row of `queryset` as an answer; raises NotFound where there is none."""
        found = fetched(queryset.order_by(), columns, (), 1)
        if not found.text:
            raise NotFound
        return HttpResponse(found.text, content_type="application/json", **answer)

    def asked(self, request: Request) -> tuple[QuerySet[Any], Walk]:
        """Return the filtered rows and the walk; raises ValidationError that names all that is wrong with either."""
        problems: dict[str, Any] = {}
        queryset = caught(problems, lambda: self.filter_queryset(self.get_queryset()))
        walk = caught(problems, lambda: Walk.asked(request, self.orderings, self.ordering, self.followed))
        caught(problems, lambda: self.columns)
        if queryset is None or walk is None or problems:
            raise ValidationError(problems)
        return queryset, walk


def answered(body: bytes) -> HttpResponse:
    """Return JSON as an answer with its entity tag, by a digest that processors compute themselves (SHA-256)."""
    return HttpResponse(
        body, content_type="application/json", headers={"ETag": quote_etag(sha256(body).hexdigest()[:ETAG_DIGITS])}
    )


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
    followed = "changed_at"

    def get_renderers(self) -> list[BaseRenderer]:
        """Offer exports of lists."""
        exports = EXPORT_RENDERERS if self.action == "list" else ()
        return [JSONRenderer(), *(renderer() for renderer in exports)]

    @property
    def parameters(self) -> tuple[str, ...]:
        """An export is not paged, and its manifest says nothing of single columns."""
        if self.action == "export_manifest":
            return ("format",)
        paging = {"cursor", "page_size", "count"} if self.download else set()
        return tuple(name for name in super().parameters if name not in paging)

    @property
    def download(self) -> str | None:
        """The format in which the whole set is sent, None for a page of JSON."""
        renderer = getattr(self.request, "accepted_renderer", None)
        return renderer.format if renderer and renderer.format in FORMATS else None

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered records, or all of them as an export."""
        if self.download is None:
            return super().list(request, *args, **kwargs)
        queryset, walk = self.asked(request)
        mark = walk.mark()  # read before the rows are
        rows = walk.ordering.apply(walk.settled(queryset, mark))
        answer = export(rows, self.file_name(request), self.download, self.columns, lambda: self.trust(request))
        answer["Link"] = f'<{self.manifest_address(request)}>; rel="describedby"; type="application/json"'
        if mark is not None:
            answer["Portal-Settled-Until"] = str(written(mark))
        return answer

    @extend_schema(responses=ManifestSerializer, filters=True)
    @action(detail=False, url_path="export-manifest", url_name="export-manifest")
    def export_manifest(self, request: Request) -> HttpResponseBase:
        """Return what an export with these filters holds: rows, sums per unit, a digest, and how far to trust it."""
        queryset = self.filter_queryset(self.get_queryset())
        mark = settled_until() if "updated_since" in request.query_params else None
        if mark is not None:
            queryset = queryset.filter(changed_at__lt=mark)
        with one_state(queryset.db):
            numbers, trust = digested(queryset), self.trust(request)
        said = {"kind": self.basename, "filters": self.understood(request), **numbers.said(), "meta": trust.meta()}
        if mark is not None:
            said["settled_until"] = written(mark)
        return JsonResponse(said, json_dumps_params={"ensure_ascii": False})

    def manifest_address(self, request: Request) -> str:
        """Return where the manifest of the export that is asked for is found."""
        query = request.query_params.copy()
        for name in OF_THE_FORM:
            query.pop(name, None)
        address = f"{request.path}export-manifest/{'?' if query else ''}{query.urlencode()}"
        return request.build_absolute_uri(address)

    def understood(self, request: Request) -> dict[str, Any]:
        """Return the filters of the request as they were understood: instants in UTC, lists as lists."""
        cleaned = self.filters(request).form.cleaned_data
        return {name: as_understood(cleaned[name]) for name in request.query_params if name in cleaned}

    def trust(self, request: Request) -> Trust:
        """Return how far the filtered records can be trusted."""
        access = access_of(request)
        return trust_of_filtered(self.filters(request), access.source_ids if access else frozenset())

    def filters(self, request: Request) -> Any:
        """Return the filter set of a request that was found to be well asked."""
        filterset: Any = StrictFilterBackend().get_filterset(request, self.get_queryset(), self)
        filterset.is_valid()
        return filterset

    def file_name(self, request: Request) -> str:
        """Return e.g. `resource-usage_2026-01-01_2026-02-01_as-of-20260203T101500Z.csv`."""
        bounds = [re.sub(r"[^0-9A-Za-z.-]", "", request.query_params.get(bound, "")) for bound in ("from", "to")]
        said = [self.basename, *filter(None, bounds), f"as-of-{timezone.now():%Y%m%dT%H%M%SZ}"]
        return f"{'_'.join(map(str, said))}.{self.download}"


def as_understood(value: Any) -> Any:
    """Return a cleaned parameter as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [as_understood(one) for one in value]
    if isinstance(value, date):
        return written(value)
    return value if value is None or isinstance(value, (bool, int)) else str(value)


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
