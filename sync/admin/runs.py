"""Runs: who requested which days, their progress, their counts, and every day of them."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin.actions import get_username, has_sync_permission
from sync.admin.badges import build_progress_bar, build_run_badge, build_run_day_badge
from sync.admin.live import LiveProgress, build_progress, show_progress
from sync.engine.cancel import cancel
from sync.errors import SyncError
from sync.messages import get_advice
from sync.models import COUNTED, LoadAttempt, SyncRun, SyncRunDay, Trigger
from sync.serializers import SyncRunSerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import Table, build_list_column, render_link, render_number, render_prose
from usage.admin.filters import RangeListFilter, SourceListFilter, build_choice_filter, build_column_filter
from usage.columns import get_columns
from usage.formatting import NOTHING, format_count, format_duration, format_number, format_size, format_timestamp
from usage.models import Source

MAX_LATEST_RUNS = 10
DAYS_PER_PAGE = 100
FAILED_FIRST = Case(
    When(outcome=SyncRunDay.Outcome.FAILED, then=Value(0)),
    When(outcome=SyncRunDay.Outcome.WAITING, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)
COUNTS = {
    "fetched": "records",
    "inserted": "new",
    "changed": "changed",
    "unchanged": "unchanged",
    "withdrawn": "withdrawn",
    "returned": "returned",
    "rejected": "rejected",
    "requests": "requests",
    "retries": "retries",
}


ProgressFilter = build_choice_filter(
    "progress",
    "state",
    {
        "running": ("Running", Q(finished_at=None)),
        "failures": ("Ended with failures", Q(finished_at__isnull=False, days_failed__gt=0)),
        "cancelled": ("Cancelled", Q(cancelled_at__isnull=False)),
        "done": ("Done", Q(finished_at__isnull=False, days_failed=0, cancelled_at=None)),
    },
)


def format_requester(run: SyncRun) -> str:
    """Return who or what requested a run: `Admin, alex`."""
    return ", ".join(filter(None, (run.get_trigger_display(), run.requested_by)))


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """Runs, the latest first."""

    source_path = "source_id"
    exported = get_columns(SyncRunSerializer)
    keyset = ("created_at", "id")
    change_form_template = "admin/sources/run.html"
    list_display = (
        "get_requested_at",
        "source",
        "get_state",
        "get_progress",
        "get_days",
        "get_requester",
        "get_records",
        "get_duration",
        "get_error",
    )
    list_filter = (
        SourceListFilter,
        ProgressFilter,
        build_column_filter("trigger", "requested by", Trigger),
        ("created_at", RangeListFilter),
    )
    allowed_lookups = ("source", "progress", "trigger", "created_at__range__gte", "created_at__range__lte")
    ordering = ("-created_at", "-id")
    actions = None
    fields = ()
    get_requested_at = build_list_column("requested at (UTC)", lambda run: format_timestamp(run.created_at))
    get_requester = build_list_column("requested by", format_requester)
    get_state = build_list_column("state", build_run_badge)
    get_progress = build_list_column("progress", build_progress_bar)
    get_days = build_list_column("requested", lambda run: run.days_label)
    get_records = build_list_column("records", lambda run: render_number(run.fetched))
    get_duration = build_list_column("duration", lambda run: render_number(format_duration(run.seconds)))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add the source, without its credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def get_urls(self) -> list[URLPattern]:
        return [path("<int:pk>/progress/", self.progress_view, name="sync_syncrun_progress"), *super().get_urls()]

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the progress of a run: the part of its page that reloads itself."""
        return show_progress(self, request, pk)

    def build_progress(self, request: HttpRequest, run: SyncRun) -> LiveProgress:
        page = reverse("admin:sync_syncrun_change", args=[run.pk])
        return build_progress(request, [run], reverse("admin:sync_syncrun_progress", args=[run.pk]), page)

    def build_page_context(self, request: HttpRequest, obj: SyncRun) -> dict[str, Any]:
        days = Paginator(list_run_days(obj), DAYS_PER_PAGE).get_page(request.GET.get("p"))
        return {
            "live": self.build_progress(request, obj),
            "facts": build_facts(request, obj),
            "counts": [(label, format_number(getattr(obj, name))) for name, label in COUNTS.items()],
            "advice": get_advice(obj.error_code),
            "days": days,
            "days_table": build_days_table(request, obj, list(days)),
            "title": str(obj),
        }

    def get_page_actions(self, request: HttpRequest, obj: SyncRun) -> Sequence[PageAction]:
        """Return Cancel, while days wait."""
        if not has_sync_permission(request) or obj.finished_at is not None or obj.cancelled_at is not None:
            return ()
        return (PageAction("cancel", "Cancel", self.cancel_run),)

    def cancel_run(self, request: HttpRequest, run: SyncRun) -> None:
        """Cancel the days of a run that have not started."""
        try:
            cancelled = cancel(run, get_username(request))
        except SyncError as error:
            messages.error(request, error.reason)
            return
        messages.success(request, f"The run is cancelled: {format_count(cancelled, 'day')} will not be synced.")

    @admin.display(description="error")
    def get_error(self, run: SyncRun) -> SafeString | str:
        return format_html('<span class="error-text" title="{0}">{0}</span>', run.error) if run.error else ""


def build_facts(request: HttpRequest, run: SyncRun) -> list[tuple[str, Any]]:
    """Return the facts about a run besides its counts."""
    return [
        ("source", render_link(request, run.source, run.source.slug)),
        ("requested", run.days_label),
        ("requested by", format_requester(run)),
        ("requested at (UTC)", format_timestamp(run.created_at)),
        ("ended at (UTC)", format_timestamp(run.finished_at)),
        ("received", format_received(run.bytes)),
        ("duration", format_duration(run.seconds)),
    ]


def format_received(size: int) -> str:
    """Return a number of bytes: `1.3 MB`, `840 bytes`."""
    return format_size(size) or f"{size} bytes"


def list_run_days(run: SyncRun) -> QuerySet[SyncRunDay]:
    """Return the days of a run: those that failed, then those that wait, then other days; each the newest first."""
    return run.run_days.select_related("source_day").order_by(FAILED_FIRST, "-source_day__day")


def build_days_table(request: HttpRequest, run: SyncRun, shown: Sequence[SyncRunDay]) -> Table:
    """Return days of a run with their latest attempt since the run was requested."""
    attempts = fetch_attempts(run, shown)
    rows = []
    for run_day in shown:
        day_attempts = attempts.get(run_day.source_day_id, [])
        latest = day_attempts[-1] if day_attempts else None
        day = run_day.source_day
        rows.append(
            [
                render_link(request, day, day.day),
                build_run_day_badge(run_day),
                render_number(len(day_attempts)),
                *(
                    render_number(getattr(latest, name) if latest else None)
                    for name in ("fetched", "retries", "rejected")
                ),
                render_number(format_received(latest.bytes) if latest else NOTHING),
                render_number(format_duration(latest.seconds) if latest else NOTHING),
                render_prose(latest.error if latest else ""),
            ]
        )
    columns = ("day", "outcome", "attempts", "records", "retries", "rejected", "received", "duration", "error")
    return Table("Days of the run", columns, rows, "None: its days were deleted.")


def fetch_attempts(run: SyncRun, shown: Sequence[SyncRunDay]) -> dict[int, list[LoadAttempt]]:
    """Return the attempts at days of a run between its start and its end, by day and in their order."""
    attempts = LoadAttempt.objects.filter(source_day__in=[day.source_day_id for day in shown]).order_by("number")
    attempts_of_run = attempts.exclude(finished_at__lt=run.created_at)
    if run.finished_at is not None:
        attempts_of_run = attempts_of_run.filter(started_at__lte=run.finished_at)
    by_day: dict[int, list[LoadAttempt]] = {}
    for attempt in attempts_of_run:
        by_day.setdefault(attempt.source_day_id, []).append(attempt)
    return by_day


def build_runs_table(request: HttpRequest, source: Source) -> Table:
    """Return the latest runs of a source that have ended; open runs are shown with their progress."""
    rows = [
        [
            render_link(request, run, format_timestamp(run.created_at)),
            build_run_badge(run),
            build_progress_bar(run),
            run.days_label,
            format_requester(run),
            render_number(run.fetched),
            render_prose(" ".join(filter(None, (run.error, get_advice(run.error_code))))),
        ]
        for run in source.runs.filter(finished_at__isnull=False)[:MAX_LATEST_RUNS]
    ]
    columns = ("requested at (UTC)", "state", "progress", "requested", "requested by", "records", "error")
    return Table("Latest runs", columns, rows, "None has ended yet.")


assert set(COUNTS) | {"bytes", "seconds"} == set(COUNTED)  # noqa: S101 - a new count needs a label here
