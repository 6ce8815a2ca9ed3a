"""Rejected records: what could not be kept, why, and another try."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin.actions import ask, may_sync, who
from sync.engine import plan
from sync.models import Trigger
from sync.serializers import RejectedRecordSerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import at, badge, verbatim
from usage.admin.filters import ChoiceFilter, RangeFilter, SourceOfDayFilter
from usage.columns import columns_of
from usage.models import RejectedRecord, SourceDay


class ResolvedFilter(ChoiceFilter):
    """Records that still come so, and those that no longer do."""

    title = "still rejected"
    parameter_name = "status"
    everything = "Open and resolved"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return what may be asked for."""
        return [("open", "Open"), ("resolved", "Resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the open or the resolved ones."""
        if not self.value():
            return queryset
        if self.value() not in {"open", "resolved"}:
            raise self.refuse(request, f"“{self.value()}” is no status; there are open and resolved.")
        return queryset.filter(resolved_at__isnull=self.value() == "open")


@admin.register(RejectedRecord)
class RejectedRecordAdmin(ReadOnlyAdmin):
    """Records that could not be kept, the latest first."""

    source_path = "source_day__source_id"
    exported = columns_of(RejectedRecordSerializer)
    list_display = ("last_seen", "source_day", "reason", "status", "first_seen")
    list_filter = (SourceOfDayFilter, ResolvedFilter, ("last_seen_at", RangeFilter))
    offered_lookups = ("source", "status", "last_seen_at__range__gte", "last_seen_at__range__lte")
    keyset = ("last_seen_at", "id")
    actions = ("read_again",)
    fields = (
        "day_link",
        "reason",
        "payload_shown",
        "status",
        "first_seen",
        "last_seen",
        "resolved_at",
        "attempt",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the day and its source along, without the credential."""
        rows = super().get_queryset(request)
        return rows.select_related("source_day__source").defer("source_day__source__credential")

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Tell Django whether the list's action is offered."""
        return may_sync(request)

    @admin.action(description="Read their days again", permissions=["sync"])
    def read_again(self, request: HttpRequest, records: QuerySet[RejectedRecord]) -> None:
        """Have the days of the chosen records read again."""
        days = SourceDay.objects.filter(pk__in=records.order_by().values("source_day")).select_related("source")
        ask(request, lambda: plan.reread(days, Trigger.ADMIN, who(request)))

    def read_day_again(self, request: HttpRequest, record: RejectedRecord) -> None:
        """Have the day of one record read again."""
        ask(request, lambda: plan.reread([record.source_day], Trigger.ADMIN, who(request)))

    def page_actions(self, request: HttpRequest, obj: RejectedRecord) -> Sequence[PageAction]:
        """Another try."""
        return (PageAction("read-again", "Read its day again", self.read_day_again),) if may_sync(request) else ()

    @admin.display(description="source day")
    def day_link(self, record: RejectedRecord) -> SafeString:
        """The day it came with."""
        url = reverse("admin:usage_sourceday_change", args=[record.source_day_id])
        return format_html('<a href="{}">{}</a>', url, record.source_day)

    @admin.display(description="payload")
    def payload_shown(self, record: RejectedRecord) -> SafeString | str:
        """The record as the vendor sent it."""
        return verbatim(record.payload)

    @admin.display(description="status")
    def status(self, record: RejectedRecord) -> SafeString:
        """Whether it still comes so."""
        return badge("Resolved", "good") if record.resolved_at else badge("Open", "warn")

    @admin.display(description="last seen (UTC)")
    def last_seen(self, record: RejectedRecord) -> str:
        """When it last came."""
        return at(record.last_seen_at)

    @admin.display(description="first seen (UTC)")
    def first_seen(self, record: RejectedRecord) -> str:
        """When it first came."""
        return at(record.first_seen_at)
