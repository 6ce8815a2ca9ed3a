"""Runs: what was asked for, by whom, how far it got and what it cost."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin import states
from sync.models import COUNTED, SyncRun, Trigger
from sync.serializers import SyncRunSerializer
from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import NOTHING, Table, quantity
from usage.admin.filters import ChoiceFilter, RangeFilter, SourceFilter, one_of
from usage.columns import columns_of


class ProgressFilter(ChoiceFilter):
    """Runs that still wait for days, and those that ended."""

    title = "progress"
    parameter_name = "progress"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return what may be asked for."""
        return [("running", "Running"), ("failures", "Ended with failures"), ("done", "Done")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the runs that stand so."""
        match self.value():
            case "running":
                return queryset.filter(finished_at=None)
            case "failures":
                return queryset.filter(finished_at__isnull=False, days_failed__gt=0)
            case "done":
                return queryset.filter(finished_at__isnull=False, days_failed=0)
        return queryset


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """Runs, the latest first."""

    source_path = "source_id"
    exported = columns_of(SyncRunSerializer)
    list_display = (
        "asked_at",
        "source",
        "state",
        "progress",
        "span",
        "trigger",
        "requested_by",
        "records",
        "took",
    )
    list_filter = (
        SourceFilter,
        ProgressFilter,
        one_of("trigger", "asked for by", Trigger),
        ("created_at", RangeFilter),
    )
    offered_lookups = ("source", "progress", "trigger", "created_at__range__gte", "created_at__range__lte")
    keyset = ("created_at", "id")
    fields = (
        "source",
        "state",
        "progress",
        "span",
        "trigger",
        "requested_by",
        "asked_at",
        "finished_at",
        "error",
        "waiting_for",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    @admin.display(description="asked at (UTC)")
    def asked_at(self, run: SyncRun) -> str:
        """When it was asked for."""
        return f"{run.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="state")
    def state(self, run: SyncRun) -> SafeString:
        """Whether it has ended, and how."""
        return states.run_state(run)

    @admin.display(description="progress")
    def progress(self, run: SyncRun) -> SafeString:
        """How many of its days are read."""
        return states.run_progress(run)

    @admin.display(description="range, end excluded")
    def span(self, run: SyncRun) -> str:
        """The days it spans."""
        return f"{run.from_day} – {run.to_day}"

    @admin.display(description="records read")
    def records(self, run: SyncRun) -> SafeString:
        """How many records came."""
        return quantity(run.fetched)

    @admin.display(description="reading took")
    def took(self, run: SyncRun) -> SafeString:
        """Seconds of reading, of all workers together."""
        return quantity(run.seconds, "s")

    def page_tables(self, request: HttpRequest, obj: SyncRun) -> list[Table]:
        """What reading cost and changed."""
        return [Table("Counts", COUNTED, [[quantity(getattr(obj, name)) for name in COUNTED]])]

    @admin.display(description="not read yet, or failed")
    def waiting_for(self, run: SyncRun) -> SafeString | str:
        """The first of the days that are still to come or failed."""
        open_days = run.run_days.exclude(outcome="done").select_related("source_day").order_by("source_day__day")
        said = [f"{day.source_day.day} {day.get_outcome_display().lower()}" for day in open_days[:31]]
        if len(said) > 30:
            said[30] = "…"
        return format_html("{}", ", ".join(said)) if said else NOTHING
