"""Source days: the status of each, its numbers, and syncing it again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sync.admin.acceptance import show_acceptance
from sync.admin.actions import accept_day, has_sync_permission, sync_day, sync_days
from sync.admin.badges import build_status_badge, build_verification_badge
from sync.admin.coverage.panel import DayPanel
from sync.serializers import StoredDaySerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import build_list_column, render_badge, render_json, render_number, render_prose
from usage.admin.filters import RangeListFilter, SourceListFilter, build_column_filter
from usage.admin.sums import format_sum
from usage.columns import build_columns, get_columns
from usage.formatting import NOTHING, format_timestamp
from usage.models import DayState, SourceDay, Verification
from usage.models.day import SourceDayQuerySet

MAX_SUMS: Final = 3


@admin.register(SourceDay)
class SourceDayAdmin(ReadOnlyAdmin):
    """Days of the sources, the latest first."""

    change_form_template = "admin/coverage/day_page.html"
    source_path = "source_id"
    exported = (
        *get_columns(StoredDaySerializer),
        *build_columns(SourceDay, "accepted_at", "accepted_by", "accepted_reason"),
    )
    list_display = (
        "get_day",
        "source",
        "get_status",
        "get_verification",
        "get_records",
        "get_rejected",
        "get_sums",
        "get_synced_at",
        "get_error",
    )
    list_filter = (
        SourceListFilter,
        build_column_filter("state", "state", DayState),
        build_column_filter("verification", "verification", Verification),
        ("day", RangeListFilter),
    )
    allowed_lookups = ("source", "state", "verification", "day__range__gte", "day__range__lte")
    keyset = ("day", "source_id")
    actions = ("read_again", "accept")
    readonly_fields = (
        "state",
        "due_at",
        "failures",
        "leased_by",
        "lease_expires_at",
        "shrink_accepted",
        "get_suspicion",
        "get_differences",
        "unverified_reads",
        "finalized_at",
        "digest",
        "stored_digest",
    )
    fieldsets = (("Technical details", {"fields": readonly_fields, "classes": ("collapse",)}),)
    get_day = build_list_column("day", lambda day: f"{day.day:%Y-%m-%d}")
    get_verification = build_list_column("vendor's totals", lambda day: build_verification_badge(day) or NOTHING)
    get_records = build_list_column("records", lambda day: render_number(day.records))
    get_rejected = build_list_column("rejected", lambda day: render_number(day.rejected))
    get_sums = build_list_column("sums", lambda day: format_sums(day.sums))
    get_synced_at = build_list_column("synced at (UTC)", lambda day: format_timestamp(day.loaded_at))
    get_error = build_list_column("error", lambda day: render_prose(day.error))
    get_suspicion = build_list_column("what a suspect sync would change", lambda day: render_json(day.suspicion))
    get_differences = build_list_column("differences", lambda day: render_json(day.differences))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add the source, without its credential, and the status."""
        days = super().get_queryset(request).select_related("source").defer("source__credential")
        assert isinstance(days, SourceDayQuerySet)  # noqa: S101
        return days.with_status()

    def build_page_context(self, request: HttpRequest, obj: SourceDay) -> dict[str, Any]:
        """Return the panel of the day, as the calendar shows it."""
        return {"panel": DayPanel.build(request, obj.source, obj.day)}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.accept_view)
        return [path("<int:pk>/accept/", view, name="usage_sourceday_accept"), *super().get_urls()]

    def accept_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Request a reason, and accept a day's findings; 404 for a day outside the person's scope."""
        return show_acceptance(self, request, get_object_or_404(self.get_queryset(request), pk=pk))

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Tell Django whether the list's actions are offered."""
        return has_sync_permission(request)

    @admin.action(description="Sync again", permissions=["sync"])
    def read_again(self, request: HttpRequest, days: QuerySet[SourceDay]) -> None:
        sync_days(request, days)

    @admin.action(description="Accept what the vendor reports (suspect days)", permissions=["sync"])
    def accept(self, request: HttpRequest, days: QuerySet[SourceDay]) -> None:
        """Accept what the vendor reports for the suspect days among those selected."""
        suspect = days.filter(state=DayState.SUSPECT)
        if not suspect:
            messages.error(request, "None of the chosen days is suspect; there is nothing to accept.")
        for day in suspect:
            accept_day(request, day)

    def get_page_actions(self, request: HttpRequest, obj: SourceDay) -> Sequence[PageAction]:
        if not has_sync_permission(request) or obj.pruned_at is not None:
            return ()
        sync_again = PageAction("read-again", "Sync again", sync_day)
        if obj.state != DayState.SUSPECT:
            return (sync_again,)
        return sync_again, PageAction("accept", "Accept what the vendor reports", accept_day)

    @admin.display(description="status")
    def get_status(self, day: SourceDay) -> SafeString:
        restated = render_badge("Restated", "warn") if day.restated_at else ""
        return format_html("{} {}", build_status_badge(day), restated)


def format_sums(sums: dict[str, str]) -> SafeString | str:
    """Return the first sums of a day and how many more there are: `24 h · 17 GB · 3 jobs failed +5`."""
    if not sums:
        return ""
    texts = [format_sum(name, Decimal(number)) for name, number in sums.items()]
    shown = format_html_join(" · ", '<span class="unbroken">{}</span>', ((text,) for text in texts[:MAX_SUMS]))
    hidden = texts[MAX_SUMS:]
    more = format_html(' <span class="quiet" title="{}">+{}</span>', " · ".join(hidden), len(hidden)) if hidden else ""
    return format_html('<span class="prose">{}{}</span>', shown, more)
