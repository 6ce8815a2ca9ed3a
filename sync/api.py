"""The API of sources, source days, runs, restatements and rejected records."""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from django.db.models import Case, F, Func, JSONField, QuerySet, TextField, When
from django.db.models.functions import JSONObject
from django.http import Http404, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.reverse import reverse

from sync.engine.acceptance import accept_findings
from sync.engine.names import request_names
from sync.engine.plan import EARLIEST, check_range, request_sync
from sync.errors import SyncError
from sync.filters import (
    RejectedRecordFilterSet,
    RestatementFilterSet,
    SourceDayFilterSet,
    SourceFilterSet,
    SyncRunFilterSet,
)
from sync.models import SyncRun, Trigger
from sync.serializers import (
    AcceptanceRequestSerializer,
    RejectedRecordSerializer,
    RestatementSerializer,
    SourceDaySerializer,
    SourceSerializer,
    StoredDaySerializer,
    SyncRequestSerializer,
    SyncRunSerializer,
    annotate_condition,
)
from usage.api.access import get_access, get_visible_sources
from usage.api.pagination import FIELDS_HELP, Batch, read_instances
from usage.api.views import ReadViewSet
from usage.columns import PLAIN, Column, get_columns, select_columns
from usage.models import RejectedRecord, Restatement, Source, SourceDay

SLUG = "[-a-zA-Z0-9_]+"
SOURCE_COLUMNS: Final = tuple(Column(name, name, PLAIN) for name in SourceSerializer.Meta.fields)
DAY_COLUMNS: Final = (*get_columns(StoredDaySerializer), Column("accepted", "accepted", PLAIN))
# In the format of every instant of the API.
ACCEPTED_AT: Final = Func(
    F("accepted_at"),
    template="replace((%(expressions)s AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'",
    output_field=TextField(),
)
ACCEPTED: Final = Case(
    When(
        accepted_at__isnull=False,
        then=JSONObject(reason=F("accepted_reason"), at=ACCEPTED_AT, by=F("accepted_by")),
    ),
    output_field=JSONField(),
)


class Conflict(APIException):
    """The state of the source or the day does not allow the request."""

    status_code = HTTPStatus.CONFLICT


def get_caller_name(request: Request) -> str:
    """Return the name that runs and acceptances record."""
    access = get_access(request)
    return access.name if access else ""


class SyncViewSet(ReadViewSet):
    """Lists and details that need the scope sync:read."""

    scope = "sync:read"


class SourceViewSet(SyncViewSet):
    """Accounts at vendors; `sync` requests a sync of days of one, `sync_names` one of its names."""

    queryset = Source.objects.all()
    serializer_class = SourceSerializer
    filterset_class = SourceFilterSet
    permission = "usage.view_source"
    source_path = "id"
    lookup_field = "slug"
    lookup_value_regex = SLUG
    ordering = "slug"
    orderings = {"slug": ("slug",)}
    http_method_names = ["get", "head", "post"]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected members; raises ValidationError if `fields` names an unknown one."""
        return select_columns(SOURCE_COLUMNS, self.request.query_params)

    def read_batch(self, queryset: QuerySet[Any], keys: Sequence[str], size: int, *, reverse: bool) -> Batch:
        """Return the sources of a page, each rendered by its serializer: its health and coverage are no columns."""
        batch = read_instances(queryset, keys, size, reverse=reverse)
        return replace(batch, rows=",".join(map(self.render, annotate_condition(batch.rows))))

    @extend_schema(parameters=[OpenApiParameter("fields", str, description=FIELDS_HELP)])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one source with its health and its coverage."""
        _ = self.columns
        (source,) = annotate_condition([self.get_object()])
        return HttpResponse(self.render(source), content_type="application/json")

    def get_queryset(self) -> QuerySet[Any]:
        """Return the sources without their credentials."""
        return super().get_queryset().select_related("directory").defer("credential")

    def render(self, source: Source) -> str:
        """Return the selected members of a source as JSON."""
        data = SourceSerializer(source).data
        return JSONRenderer().render({column.name: data[column.name] for column in self.columns}).decode()

    @extend_schema(
        request=SyncRequestSerializer,
        responses={202: OpenApiResponse(SyncRunSerializer, description="The run; its address is in Location.")},
    )
    @action(detail=True, methods=["post"], scope="sync:run", permission="usage.change_sourceday")
    def sync(self, request: Request, slug: str) -> HttpResponse:
        """Request a sync of the days from `from` up to, not including, `to`.

        A second request for the range of a run that has not ended returns that run.
        """
        source: Source = self.get_object()
        serializer = SyncRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        days = (serializer.validated_data["from"], serializer.validated_data["to"])
        try:
            check_range(source, *days)
        except SyncError as error:
            raise ValidationError({"from" if days[0] < EARLIEST else "to": [error.reason]}) from None
        try:
            run = request_sync(source, *days, Trigger.API, get_caller_name(request))
        except SyncError as error:
            raise Conflict(error.reason) from None
        return self.build_run_response(request, run)

    @extend_schema(
        request=None,
        responses={202: OpenApiResponse(SyncRunSerializer, description="The run; its address is in Location.")},
    )
    @action(detail=True, methods=["post"], url_path="sync-names", scope="sync:run", permission="usage.change_sourceday")
    def sync_names(self, request: Request, slug: str) -> HttpResponse:
        """Request that the names of the source's ids are read.

        A second request before the run has ended returns that run.
        """
        source: Source = self.get_object()
        try:
            run = request_names(source, Trigger.API, get_caller_name(request))
        except SyncError as error:
            raise Conflict(error.reason) from None
        return self.build_run_response(request, run)

    def build_run_response(self, request: Request, run: SyncRun) -> HttpResponse:
        """Return a run that was requested, with its address."""
        address = reverse("api:sync-runs-detail", args=[run.pk], request=request)
        queryset = SyncRun.objects.filter(pk=run.pk)
        return self.build_row_response(
            queryset, get_columns(SyncRunSerializer), status=202, headers={"Location": address}
        )


class SourceDayViewSet(SyncViewSet):
    """The days of one source: their state and their data quality; `accept` accepts the findings of one."""

    queryset = SourceDay.objects.all()
    serializer_class = SourceDaySerializer
    filterset_class = SourceDayFilterSet
    permission = "usage.view_sourceday"
    lookup_field = "day"
    lookup_value_regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
    ordering = "-day"
    orderings = {"day": ("day",)}
    http_method_names = ["get", "head", "post"]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected columns of a day and its acceptance; raises ValidationError if `fields` names an unknown one."""
        return select_columns(DAY_COLUMNS, self.request.query_params)

    def get_queryset(self) -> QuerySet[Any]:
        """Return the days of the source in the address; raises Http404 for a source outside the row scope."""
        slug = self.kwargs.get("source_slug")
        source = get_visible_sources(self.request).filter(slug=slug).values_list("pk", flat=True).first()
        if source is None and not getattr(self, "swagger_fake_view", False):
            raise Http404
        days: QuerySet[Any] = super().get_queryset().filter(source=source).annotate(accepted=ACCEPTED)
        return days

    @extend_schema(request=AcceptanceRequestSerializer, responses=SourceDaySerializer)
    @action(detail=True, methods=["post"], scope="sync:run", permission="usage.change_sourceday")
    def accept(self, request: Request, source_slug: str, day: str) -> HttpResponse:
        """Accept the differences and rejected records of a day, with a reason.

        They no longer count against the source's health, and the data quality of the day states the reason. A later
        read with other findings ends the acceptance.
        """
        source_day: SourceDay = self.get_object()
        serializer = AcceptanceRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            accept_findings(source_day, get_caller_name(request), serializer.validated_data["reason"])
        except SyncError as error:
            raise Conflict(error.reason) from None
        return self.build_row_response(self.get_queryset().filter(pk=source_day.pk), self.columns)


class SyncRunViewSet(SyncViewSet):
    """Requests to sync days of a source, with their progress."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    filterset_class = SyncRunFilterSet
    permission = "sync.view_syncrun"
    ordering = "-created_at"
    orderings = {"created_at": ("created_at", "id"), "id": ("id",)}


class RestatementViewSet(SyncViewSet):
    """Days that came back different from what was stored of them."""

    queryset = Restatement.objects.all()
    serializer_class = RestatementSerializer
    filterset_class = RestatementFilterSet
    permission = "usage.view_restatement"
    source_path = "source_day__source_id"
    followed = "at"
    ordering = "-at"
    orderings = {"at": ("at", "id")}


class RejectedRecordViewSet(SyncViewSet):
    """Records that could not be stored as usage."""

    queryset = RejectedRecord.objects.all()
    serializer_class = RejectedRecordSerializer
    filterset_class = RejectedRecordFilterSet
    permission = "usage.view_rejectedrecord"
    ordering = "-day"
    orderings = {"day": ("day", "id"), "last_seen_at": ("last_seen_at", "id"), "id": ("id",)}
