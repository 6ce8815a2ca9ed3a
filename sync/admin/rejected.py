"""Rejected records: what could not be kept, why, and another try."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.contrib import admin, messages
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
from usage.admin.filters import ChoiceFilter, RangeFilter, SourceFilter
from usage.bounded import TookTooLong, bounded
from usage.columns import columns_of
from usage.coverage import trust_in_words
from usage.models import RejectedRecord, SourceDay

SHORTEST_SEARCH = 3  # letters: fewer are in no index
EXCERPT = 120
SEARCH_SECONDS = 8.0
OF_DAY = ("day_link", "day_trust")


class ResolvedFilter(ChoiceFilter):
    """Records that still come so, and those that no longer do."""

    title = "status"
    parameter_name = "status"
    everything = "Open and resolved"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return what may be asked for."""
        return [("open", "Open: still rejected"), ("resolved", "Resolved: no longer so")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the open or the resolved ones; raises IncorrectLookupParameters for anything else."""
        if not self.value():
            return queryset
        if self.value() not in {"open", "resolved"}:
            raise self.refuse(request, f"“{self.value()}” is no status; there are open and resolved.")
        return queryset.filter(resolved_at__isnull=self.value() == "open")


class ReasonFilter(ChoiceFilter):
    """Records whose reason holds a text."""

    template = "admin/portal/filter_exact.html"
    title = "reason contains"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return nothing: any text may be typed."""
        return []

    def has_output(self) -> bool:
        """Always there."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows whose reason holds the text; raises IncorrectLookupParameters for one that is too short."""
        typed = (self.value() or "").strip()
        if not typed:
            return queryset
        if len(typed) < SHORTEST_SEARCH:
            raise self.refuse(request, f"Give at least {SHORTEST_SEARCH} letters of the reason.")
        return queryset.filter(reason__icontains=typed)


@admin.register(RejectedRecord)
class RejectedRecordAdmin(ReadOnlyAdmin):
    """Records that could not be kept, those of the latest days first."""

    source_path = "source_id"
    keyset = ("day", "id")
    exported = columns_of(RejectedRecordSerializer)
    list_display = ("day_shown", "source", "reason_shown", "status", "payload_begins", "last_seen")
    list_display_links = ("reason_shown",)
    list_filter = (SourceFilter, ResolvedFilter, ReasonFilter, ("day", RangeFilter))
    offered_lookups = ("source", "status", "reason", "day__range__gte", "day__range__lte")
    ordering = ("-day", "-id")
    rows_are = "rejected records"
    actions = ("read_again",)
    fields = ("reason", "payload_shown", "day_link", "day_trust", "status", "first_seen", "last_seen", "resolved_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        rows = super().get_queryset(request)
        return rows.select_related("source").defer("source__credential")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Lead to the day, and tell of it, only who may see days; the page's words name it to everyone."""
        if request.user.has_perm("usage.view_sourceday"):
            return self.fields
        return tuple(name for name in self.fields if name not in OF_DAY)

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Tell Django whether the list's action is offered."""
        return may_sync(request)

    @admin.action(description="Read their days again", permissions=["sync"])
    def read_again(self, request: HttpRequest, records: QuerySet[RejectedRecord]) -> None:
        """Have the days of the chosen records read again."""
        of_records = SourceDay.objects.filter(pk__in=records.order_by().values("source_day"))
        try:
            with bounded(SEARCH_SECONDS):
                days = list(of_records.select_related("source").defer("source__credential"))
        except TookTooLong:
            messages.error(request, "These are too many records at once: narrow the filter, by source or by day.")
            return
        ask(request, lambda: plan.reread(days, Trigger.ADMIN, who(request)))

    def read_day_again(self, request: HttpRequest, record: RejectedRecord) -> None:
        """Have the day of one record read again."""
        ask(request, lambda: plan.reread([record.source_day], Trigger.ADMIN, who(request)))

    def page_actions(self, request: HttpRequest, obj: RejectedRecord) -> Sequence[PageAction]:
        """Another try."""
        return (PageAction("read-again", "Read its day again", self.read_day_again),) if may_sync(request) else ()

    def page_words(self, request: HttpRequest, obj: RejectedRecord) -> str:
        """What became of it."""
        if obj.resolved_at:
            return f"Resolved: when {obj.day} of {obj.source} was read at {at(obj.resolved_at)} UTC, it came no more."
        return (
            f"Not kept. Reading its day again, 1 day, {obj.day} of {obj.source}, asks the vendor for it once more; "
            "until then the day is partial."
        )

    @admin.display(description="day")
    def day_shown(self, record: RejectedRecord) -> str:
        """The date in the source's zone."""
        return f"{record.day}"

    @admin.display(description="reason")
    def reason_shown(self, record: RejectedRecord) -> str:
        """Why it could not be kept."""
        return record.reason

    @admin.display(description="payload begins")
    def payload_begins(self, record: RejectedRecord) -> SafeString:
        """The beginning of the record as the vendor sent it."""
        return format_html('<span class="error-text">{}</span>', record.payload[:EXCERPT])

    @admin.display(description="source day")
    def day_link(self, record: RejectedRecord) -> SafeString:
        """The day it came with."""
        url = reverse("admin:usage_sourceday_change", args=[record.source_day_id])
        return format_html('<a href="{}">{} {}</a>', url, record.source, record.day)

    @admin.display(description="the day's trust")
    def day_trust(self, record: RejectedRecord) -> str:
        """How far that day can be trusted."""
        return trust_in_words(record.source_day)

    @admin.display(description="payload")
    def payload_shown(self, record: RejectedRecord) -> SafeString | str:
        """The record as the vendor sent it, a field a line where it is JSON."""
        return verbatim(laid_out(record.payload))

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


def laid_out(payload: str) -> str:
    """Return JSON one field a line, every number with the digits it came with; any other text as it is."""
    try:
        return msgspec.json.format(payload, indent=2)
    except msgspec.DecodeError:
        return payload
