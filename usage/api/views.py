"""The API of usage: read-only lists, details and exports, whose rows PostgreSQL renders."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from usage.api.access import AuthorizeFirstMixin, filter_by_scope, get_name_access
from usage.api.filters import (
    EnvironmentUsageFilterSet,
    RecipeUsageFilterSet,
    ResourceUsageFilterSet,
    StrictFilterBackend,
)
from usage.api.json_rows import read_json_batch, read_json_row
from usage.api.pagination import (
    FIELDS_HELP,
    Batch,
    KeysetPaginator,
    Orderings,
    PageParams,
    filter_settled,
    read_watermark,
)
from usage.api.renderers import EXPORT_RENDERERS
from usage.api.serializers import (
    EnvironmentUsageSerializer,
    ManifestSerializer,
    RecipeUsageSerializer,
    ResourceUsageSerializer,
)
from usage.columns import Column, get_columns, select_columns
from usage.data_quality import MAX_LISTED_DAYS
from usage.datetimes import format_iso
from usage.directory.lookup import list_name_columns, select_usage_columns
from usage.exports import FORMATS, ExportRequest, ExportTooSlow, compute_manifest, export
from usage.exports.archive import select_dropped_days
from usage.exports.file_names import build_export_name
from usage.exports.formats.csv import parse_bom
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage
from usage.snapshot import consistent_snapshot
from usage.standby import get_data_time
from usage.timeouts import QueryTimeout

# The manifest of an export does not depend on these parameters.
NOT_IN_MANIFEST = ("format", "ordering", "fields", "cursor", "page_size", "count", "bom")
BOM_HELP = "Of format=csv. 1: the file begins with a byte order mark, by which Excel knows it for UTF-8."


class ReadViewSet(AuthorizeFirstMixin, GenericViewSet[Any]):
    """Lists and details of a model's rows within the request's row scope.

    `scope` and `permission`: what a token and a member of staff need. `source_path`: the ORM path from a row to its
    source's id. `orderings`: the total orders of the list by name, each with an index; `ordering`: the name of the
    default. `followed`: the column that `updated_since` follows up to the watermark, '' for none.
    """

    scope: ClassVar[str]
    permission: ClassVar[str]
    source_path: ClassVar[str] = "source_id"
    orderings: ClassVar[Orderings]
    ordering: ClassVar[str]
    followed: ClassVar[str] = ""

    http_method_names = ["get", "head"]
    filter_backends = (StrictFilterBackend,)
    pagination_class = KeysetPaginator
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Any]:
        return filter_by_scope(super().get_queryset(), self.request, self.source_path)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected columns; raises ValidationError if `fields` names an unknown one."""
        serializer: Any = self.get_serializer_class()
        return select_columns(get_columns(serializer), self.request.query_params)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the query parameters besides the filters."""
        names = {"list": KeysetPaginator.query_params, "retrieve": ("fields",)}
        return (*names.get(self.action, ()), "format")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered rows."""
        paginator = KeysetPaginator()
        return paginator.get_paginated_response(paginator.paginate_queryset(self.filter_list(request), request, self))

    @extend_schema(parameters=[OpenApiParameter("fields", str, description=FIELDS_HELP)])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one row."""
        queryset = self.filter_queryset(self.get_queryset())
        columns = self.columns
        try:
            queryset = queryset.filter(**{self.lookup_field: kwargs[self.lookup_field]})
        except DjangoValidationError:  # e.g. a date that no calendar has
            raise NotFound from None
        return self.build_row_response(queryset, columns)

    def build_row_response(self, queryset: QuerySet[Any], columns: Sequence[Column], **options: Any) -> HttpResponse:
        """Return the only row of a queryset as a response; raises NotFound for none."""
        row = read_json_row(queryset, columns)
        if row is None:
            raise NotFound
        return HttpResponse(row, content_type="application/json", **options)

    def read_batch(self, queryset: QuerySet[Any], keys: Sequence[str], size: int, *, reverse: bool) -> Batch:
        return read_json_batch(queryset, self.columns, keys, size, reverse=reverse)

    def get_last_page_members(self) -> dict[str, Any]:
        """Return the members of a list's last page besides its rows."""
        return {}

    def filter_list(self, request: Request) -> QuerySet[Any]:
        """Return the filtered rows; raises one ValidationError that names every invalid parameter of the list."""
        errors: dict[str, Any] = {}
        with collect_errors(errors):
            queryset = self.filter_queryset(self.get_queryset())
        with collect_errors(errors):
            PageParams.parse(request, self.orderings, self.ordering)
        with collect_errors(errors):
            _ = self.columns
        if errors:
            raise ValidationError(errors)
        return queryset


@contextmanager
def collect_errors(errors: dict[str, Any]) -> Iterator[None]:
    """Add the messages of a ValidationError to `errors`, except for a name that has some."""
    try:
        yield
    except ValidationError as error:
        detail: Any = error.detail
        errors.update({name: messages for name, messages in detail.items() if name not in errors})


class UsageViewSet(ReadViewSet):
    """Lists, details and exports of one kind of usage; a detail shows a withdrawn record too."""

    scope = "usage:read"
    followed = "changed_at"

    @property
    def columns_on_request(self) -> tuple[str, ...]:
        """The columns that are given only where `fields` names them: names of ids."""
        serializer: Any = self.get_serializer_class()
        return tuple(list_name_columns(serializer.Meta.model))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected columns, also of names; raises ValidationError if `fields` names an unknown one."""
        serializer: Any = self.get_serializer_class()
        access = get_name_access(self.request)
        return select_usage_columns(serializer.Meta.model, get_columns(serializer), self.request.query_params, access)

    def get_renderers(self) -> list[BaseRenderer]:
        exports = EXPORT_RENDERERS if self.action == "list" else ()
        return [JSONRenderer(), *(renderer() for renderer in exports)]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the query parameters besides the filters; an export has no pages."""
        paging = {"cursor", "page_size", "count"} if self.export_format else set()
        export_params = ("bom",) if self.action == "list" else ()
        return (*(name for name in super().parameters if name not in paging), *export_params)

    @property
    def export_format(self) -> str | None:
        """The format of the export, None for a page of JSON."""
        renderer = getattr(self.request, "accepted_renderer", None)
        return renderer.format if renderer and renderer.format in FORMATS else None

    @extend_schema(parameters=[OpenApiParameter("bom", str, enum=["0", "1"], description=BOM_HELP)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of the filtered records, or all of them as an export."""
        if "bom" in request.query_params and self.export_format != "csv":
            raise ValidationError({"bom": ["Only of format=csv."]})
        if self.export_format is None:
            return super().list(request, *args, **kwargs)
        bom = parse_bom(request.query_params, default=False)
        queryset = self.filter_list(request)
        ordering = PageParams.parse(request, self.orderings, self.ordering).ordering
        watermark = read_watermark(request, self)  # before the rows are read
        rows = ordering.apply(filter_settled(queryset, self, watermark))
        filterset = self.get_valid_filterset(request)
        response = export(
            rows,
            self.build_file_name(request),
            self.export_format,
            self.columns,
            filterset=filterset,
            request=ExportRequest(
                title=str(rows.model._meta.verbose_name_plural),
                url=request.build_absolute_uri(),
                params=[(name, text) for name, texts in request.query_params.lists() for text in texts],
                zone=filterset.form.cleaned_data["tz"],
                bom=bom,
            ),
        )
        response["Link"] = f'<{self.build_manifest_address(request)}>; rel="describedby"; type="application/json"'
        if watermark is not None:
            response["Portal-Settled-Until"] = str(format_iso(watermark))
        return response

    def get_last_page_members(self) -> dict[str, Any]:
        """Return the days of the range whose records the list has no more: archived days, and pruned days."""
        days = select_dropped_days(self.get_valid_filterset(self.request))
        is_archived = Q(archived_at__isnull=False)
        conditions = {"archived_days": is_archived, "pruned_days": ~is_archived}
        counts = days.aggregate(**{name: Count("pk", filter=condition) for name, condition in conditions.items()})
        members = {}
        for name, condition in conditions.items():
            if counts[name]:
                listed = days.filter(condition).values_list("source__slug", "day")[:MAX_LISTED_DAYS]
                named_days = [{"source": slug, "day": day.isoformat()} for slug, day in listed]
                members[name] = {"total": counts[name], "days": named_days}
        return members

    @extend_schema(responses=ManifestSerializer, filters=True)
    @action(detail=False, url_path="export-manifest", url_name="export-manifest")
    def export_manifest(self, request: Request) -> HttpResponseBase:
        """Return what an export with these filters contains: rows, sums per unit, a digest, and its data quality."""
        queryset = self.filter_queryset(self.get_queryset())
        watermark = read_watermark(request, self)
        queryset = filter_settled(queryset, self, watermark)
        try:
            with consistent_snapshot(seconds=settings.PORTAL_EXPORT_SECONDS):
                manifest = compute_manifest(queryset, self.get_valid_filterset(request))
        except QueryTimeout as error:
            raise ExportTooSlow from error
        manifest = {"kind": self.basename, "filters": self.get_filter_values(request), **manifest}
        if watermark is not None:
            manifest["settled_until"] = format_iso(watermark)
        return JsonResponse(manifest, json_dumps_params={"ensure_ascii": False})

    def build_manifest_address(self, request: Request) -> str:
        query = request.query_params.copy()
        for name in NOT_IN_MANIFEST:
            query.pop(name, None)
        address = f"{request.path}export-manifest/{'?' if query else ''}{query.urlencode()}"
        return request.build_absolute_uri(address)

    def get_filter_values(self, request: Request) -> dict[str, Any]:
        """Return the filters of the request as they were parsed, JSON-ready: instants in UTC, lists as lists."""
        cleaned = self.get_valid_filterset(request).form.cleaned_data
        return {name: to_json(cleaned[name]) for name in request.query_params if name in cleaned}

    def get_valid_filterset(self, request: Request) -> Any:
        """Return the filter set of a request whose filters are valid."""
        filterset: Any = StrictFilterBackend().get_filterset(request, self.get_queryset(), self)
        filterset.is_valid()
        return filterset

    def build_file_name(self, request: Request) -> str:
        """Return e.g. `resource-usage_2026-01-01_2026-02-01_as-of-20260203T101500Z.csv`."""
        return build_export_name(self.basename, request.query_params, str(self.export_format), get_data_time())


def to_json(value: Any) -> Any:
    """Return a parsed parameter, JSON-ready."""
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, date):
        return format_iso(value)
    return value if value is None or isinstance(value, (bool, int)) else str(value)


class EnvironmentUsageViewSet(UsageViewSet):
    """Completed runs of environments."""

    queryset = EnvironmentUsage.objects.all()
    serializer_class = EnvironmentUsageSerializer
    filterset_class = EnvironmentUsageFilterSet
    permission = "usage.view_environmentusage"
    ordering = "-stopped_at"
    orderings = {
        "stopped_at": ("stopped_at", "id"),
        "changed_at": ("changed_at", "id"),
        "project_id": ("project_id", "stopped_at", "id"),
        "user_id": ("user_id", "stopped_at", "id"),
        "environment_id": ("environment_id", "stopped_at", "id"),
    }


class ResourceUsageViewSet(UsageViewSet):
    """What resources consumed, per UTC day."""

    queryset = ResourceUsage.objects.all()
    serializer_class = ResourceUsageSerializer
    filterset_class = ResourceUsageFilterSet
    permission = "usage.view_resourceusage"
    ordering = "-day"
    orderings = {
        "day": ("day", "source_id", "resource_key"),
        "changed_at": ("changed_at", "id"),
        "resource_type": ("resource_type", "day", "source_id", "resource_key"),
    }


class RecipeUsageViewSet(UsageViewSet):
    """Hours of recipes."""

    queryset = RecipeUsage.objects.all()
    serializer_class = RecipeUsageSerializer
    filterset_class = RecipeUsageFilterSet
    permission = "usage.view_recipeusage"
    ordering = "-starts_at"
    orderings = {
        "starts_at": ("starts_at", "id"),
        "changed_at": ("changed_at", "id"),
        "workspace_id": ("workspace_id", "starts_at", "id"),
    }
