"""Rejected records: what could not be stored, why, and syncing their days again."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin.actions import has_sync_permission, sync_day, sync_days
from sync.admin.badges import build_rejected_badge
from sync.serializers import RejectedRecordSerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import build_list_column, render_verbatim
from usage.admin.filters import RangeListFilter, SourceListFilter, TextListFilter, build_choice_filter
from usage.columns import get_columns
from usage.formatting import format_timestamp
from usage.models import RejectedRecord, SourceDay
from usage.text_search import build_search
from usage.timeouts import QueryTimeout, limit_query_time

MIN_SEARCH_LENGTH = 3  # characters: fewer are in no index
EXCERPT_LENGTH = 120
MAX_SEARCH_SECONDS = 8.0
DAY_FIELDS = ("get_day_link", "get_day_status")


ResolvedFilter = build_choice_filter(
    "status",
    "status",
    {
        "open": ("Open: still rejected", Q(resolved_at=None)),
        "resolved": ("Resolved: no longer rejected", Q(resolved_at__isnull=False)),
    },
    "Open and resolved",
)


class ReasonFilter(TextListFilter):
    """Records whose reason contains a text."""

    title = "reason contains"
    parameter_name = "reason"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the text; raises IncorrectLookupParameters where it is too short."""
        text = (self.value() or "").strip()
        if not text:
            return queryset
        if len(text) < MIN_SEARCH_LENGTH:
            raise self.build_error(request, f"Give at least {MIN_SEARCH_LENGTH} characters of the reason.")
        return queryset.filter(build_search(["reason__icontains"], text))


@admin.register(RejectedRecord)
class RejectedRecordAdmin(ReadOnlyAdmin):
    """Records that could not be stored, those of the latest days first."""

    source_path = "source_id"
    keyset = ("day", "id")
    exported = get_columns(RejectedRecordSerializer)
    list_display = ("get_day", "source", "get_reason", "get_status", "get_payload_excerpt", "get_last_seen")
    list_display_links = ("get_reason",)
    list_filter = (SourceListFilter, ResolvedFilter, ReasonFilter, ("day", RangeListFilter))
    allowed_lookups = ("source", "status", "reason", "day__range__gte", "day__range__lte")
    ordering = ("-day", "-id")
    row_name_plural = "rejected records"
    actions = ("read_again",)
    fields = (
        "reason",
        "get_payload",
        *DAY_FIELDS,
        "get_status",
        "get_first_seen",
        "get_last_seen",
        "resolved_at",
    )
    get_day = build_list_column("day", lambda record: f"{record.day}")
    get_reason = build_list_column("reason", lambda record: record.reason)
    get_payload = build_list_column("payload", lambda record: render_verbatim(indent_json(record.payload)))
    get_status = build_list_column("status", build_rejected_badge)
    get_last_seen = build_list_column("last seen (UTC)", lambda record: format_timestamp(record.last_seen_at))
    get_first_seen = build_list_column("first seen (UTC)", lambda record: format_timestamp(record.first_seen_at))
    get_payload_excerpt = build_list_column(
        "payload", lambda record: format_html('<span class="error-text">{}</span>', record.payload[:EXCERPT_LENGTH])
    )
    get_day_status = build_list_column(
        "status of the day",
        lambda record: SourceDay.objects.with_status().get(pk=record.source_day_id).describe_status(),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add the source, without its credential."""
        rows = super().get_queryset(request)
        return rows.select_related("source").defer("source__credential")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Hide the link to the day and its status from a person who may not see days."""
        if request.user.has_perm("usage.view_sourceday"):
            return self.fields
        return tuple(name for name in self.fields if name not in DAY_FIELDS)

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Tell Django whether the list's action is offered."""
        return has_sync_permission(request)

    @admin.action(description="Sync their days again", permissions=["sync"])
    def read_again(self, request: HttpRequest, records: QuerySet[RejectedRecord]) -> None:
        days_of_records = SourceDay.objects.filter(pk__in=records.order_by().values("source_day"))
        try:
            with limit_query_time(MAX_SEARCH_SECONDS):
                days = list(days_of_records.select_related("source").defer("source__credential"))
        except QueryTimeout:
            messages.error(request, "These are too many records at once. Narrow the filter, by source or by day.")
            return
        sync_days(request, days)

    def sync_day(self, request: HttpRequest, record: RejectedRecord) -> None:
        sync_day(request, record.source_day)

    def get_page_actions(self, request: HttpRequest, obj: RejectedRecord) -> Sequence[PageAction]:
        action = PageAction("read-again", "Sync its day again", self.sync_day)
        return (action,) if has_sync_permission(request) else ()

    def get_page_summary(self, request: HttpRequest, obj: RejectedRecord) -> str:
        """Return whether it is resolved, and how it may be."""
        if obj.resolved_at:
            resolved_at = format_timestamp(obj.resolved_at)
            return f"Resolved: the sync of {obj.day} of {obj.source} at {resolved_at} UTC no longer had it."
        return (
            f"Not stored. Syncing its day again (1 day, {obj.day} of {obj.source}) requests it from the vendor once "
            "more. Until it is resolved the day is partial."
        )

    @admin.display(description="source day")
    def get_day_link(self, record: RejectedRecord) -> SafeString:
        url = reverse("admin:usage_sourceday_change", args=[record.source_day_id])
        return format_html('<a href="{}">{} {}</a>', url, record.source, record.day)


def indent_json(payload: str) -> str:
    """Return JSON with one field a line and the digits of every number as they are; any other text unchanged."""
    try:
        return msgspec.json.format(payload, indent=2)
    except msgspec.DecodeError:
        return payload
