"""The API of how usage gets in: sources, their days, runs, restatements, rejected records, and asking for a run."""

import json
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.reverse import reverse

from sync.engine.plan import EARLIEST, check_range, request_sync
from sync.errors import SyncError
from sync.filters import RejectedRecordFilter, RestatementFilter, SourceDayFilter, SourceFilter, SyncRunFilter
from sync.models import SyncRun, Trigger
from sync.serializers import (
    RejectedRecordSerializer,
    RestatementSerializer,
    SourceDaySerializer,
    SourceSerializer,
    SyncRequestSerializer,
    SyncRunSerializer,
    with_condition,
)
from usage.access import access_of, visible_sources
from usage.api import ReadViewSet
from usage.columns import PLAIN, Column, chosen, columns_of
from usage.models import RejectedRecord, Restatement, Source, SourceDay
from usage.pagination import FIELDS

SLUG = "[-a-zA-Z0-9_]+"
SLUG_COLUMN: Final = (Column("slug", "slug", PLAIN),)


class NotNow(APIException):
    """The request is understood, but the source's state stands against it."""

    status_code = HTTPStatus.CONFLICT


class SyncViewSet(ReadViewSet):
    """Lists and details of how usage gets in."""

    scope = "sync:read"


class SourceViewSet(SyncViewSet):
    """Accounts at vendors; `sync` asks for days of one to be read again."""

    queryset = Source.objects.all()
    serializer_class = SourceSerializer
    filterset_class = SourceFilter
    permission = "usage.view_source"
    source_path = "id"
    lookup_field = "slug"
    lookup_value_regex = SLUG
    ordering = "slug"
    orderings = {"slug": ("slug",)}
    http_method_names = ["get", "head", "post"]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The slug alone is rendered by PostgreSQL, and the serializer does the rest; raises as the base does."""
        self.offered()
        return SLUG_COLUMN

    @property
    def parameters(self) -> tuple[str, ...]:
        """A run that is asked for is told of in full."""
        return ("format",) if self.action == "sync" else super().parameters

    def offered(self) -> list[str]:
        """Return the names of the members that are asked for, all of them where `fields` names none."""
        members = [Column(name, name, PLAIN) for name in SourceSerializer.Meta.fields]
        return [column.name for column in chosen(members, self.request.query_params.get("fields"))]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one page of sources, how each does and how far it is read."""
        queryset, walk = self.asked(request)
        page = walk.page(queryset, self.columns)
        slugs = [row["slug"] for row in json.loads(b"[%b]" % page.rows)]
        found = {source.slug: source for source in with_condition(list(queryset.filter(slug__in=slugs)))}
        rows = b",".join(self.rendered(found[slug]) for slug in slugs if slug in found)
        return HttpResponse(walk.envelope(replace(page, rows=rows)), content_type="application/json")

    @extend_schema(parameters=[OpenApiParameter("fields", str, description=FIELDS)])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return one source, how it does and how far it is read."""
        self.offered()
        source = with_condition([self.get_object()])[0]
        return HttpResponse(self.rendered(source), content_type="application/json")

    def get_queryset(self) -> QuerySet[Any]:
        """Leave the credential where it is."""
        return super().get_queryset().defer("credential")

    def rendered(self, source: Source) -> bytes:
        """Return the JSON of one source."""
        said = SourceSerializer(source).data
        return JSONRenderer().render({name: said[name] for name in self.offered()})

    @extend_schema(
        request=SyncRequestSerializer,
        responses={202: OpenApiResponse(SyncRunSerializer, description="The run; its address is in Location.")},
    )
    @action(detail=True, methods=["post"], scope="sync:run", permission="usage.change_sourceday")
    def sync(self, request: Request, slug: str) -> HttpResponse:
        """Ask for the days from `from` up to, not including, `to` to be read again.

        A second request for the range of a run that has not ended gets that run.
        """
        source: Source = self.get_object()
        access = access_of(request)
        requested_by = access.name if access else ""
        asked = SyncRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        days = (asked.validated_data["from"], asked.validated_data["to"])
        try:
            check_range(source, *days)
        except SyncError as error:
            raise ValidationError({"from" if days[0] < EARLIEST else "to": [error.reason]}) from None
        try:
            run = request_sync(source, *days, Trigger.API, requested_by)
        except SyncError as error:
            raise NotNow(error.reason) from None
        address = reverse("api:sync-runs-detail", args=[run.pk], request=request)
        found = SyncRun.objects.filter(pk=run.pk)
        return self.one(found, columns_of(SyncRunSerializer), status=202, headers={"Location": address})


class SourceDayViewSet(SyncViewSet):
    """The days of one source: where each stands in the queue, and how far what is held of it can be trusted."""

    queryset = SourceDay.objects.all()
    serializer_class = SourceDaySerializer
    filterset_class = SourceDayFilter
    permission = "usage.view_sourceday"
    lookup_field = "day"
    lookup_value_regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
    ordering = "-day"
    orderings = {"day": ("day",)}

    def get_queryset(self) -> QuerySet[Any]:
        """Return the days of the source in the address; raises Http404 where whoever asks can see none of that name."""
        slug = self.kwargs.get("source_slug")
        source = visible_sources(self.request).filter(slug=slug).values_list("pk", flat=True).first()
        if source is None and not getattr(self, "swagger_fake_view", False):
            raise Http404
        return super().get_queryset().filter(source=source)


class SyncRunViewSet(SyncViewSet):
    """Requests to read days of a source, and how far each got."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    filterset_class = SyncRunFilter
    permission = "sync.view_syncrun"
    ordering = "-created_at"
    orderings = {"created_at": ("created_at", "id"), "id": ("id",)}


class RestatementViewSet(SyncViewSet):
    """Days that came back different from what was held of them."""

    queryset = Restatement.objects.all()
    serializer_class = RestatementSerializer
    filterset_class = RestatementFilter
    permission = "usage.view_restatement"
    source_path = "source_day__source_id"
    followed = "at"
    ordering = "-at"
    orderings = {"at": ("at", "id")}


class RejectedRecordViewSet(SyncViewSet):
    """Records that could not be kept as usage."""

    queryset = RejectedRecord.objects.all()
    serializer_class = RejectedRecordSerializer
    filterset_class = RejectedRecordFilter
    permission = "usage.view_rejectedrecord"
    ordering = "-day"
    orderings = {"day": ("day", "id"), "last_seen_at": ("last_seen_at", "id"), "id": ("id",)}
