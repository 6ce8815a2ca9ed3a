"""Runs: what was asked for, by whom, how far it got, what it cost, and every day of it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin import states
from sync.admin.actions import may_sync, who
from sync.admin.live import Live, fragment, live, signed_out
from sync.advice import advice
from sync.engine.cancel import cancel
from sync.errors import SyncError
from sync.models import COUNTED, LoadAttempt, SyncRun, SyncRunDay, Trigger
from sync.serializers import SyncRunSerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import Table, at, duration, exact, prose, quantity, way_to
from usage.admin.filters import ChoiceFilter, RangeFilter, SourceFilter, one_of
from usage.columns import columns_of
from usage.coverage import days_in_words
from usage.models import Source

LATEST = 10
DAYS_ON_A_PAGE = 100
# What needs a person first, then what is still to come, then what is done.
FIRST_THE_FAILED = Case(
    When(outcome=SyncRunDay.Outcome.FAILED, then=Value(0)),
    When(outcome=SyncRunDay.Outcome.WAITING, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)
COUNTS = {
    "fetched": "records read",
    "inserted": "new",
    "changed": "changed",
    "unchanged": "unchanged",
    "withdrawn": "withdrawn",
    "returned": "returned",
    "rejected": "rejected",
    "requests": "requests",
    "retries": "retries",
}


class ProgressFilter(ChoiceFilter):
    """Runs that still wait for days, and those that ended."""

    title = "state"
    parameter_name = "progress"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return what may be asked for."""
        return [
            ("running", "Running"),
            ("failures", "Ended with failures"),
            ("cancelled", "Cancelled"),
            ("done", "Done"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the runs that stand so; raises IncorrectLookupParameters for a state that there is none of."""
        match self.value():
            case None | "":
                return queryset
            case "running":
                return queryset.filter(finished_at=None)
            case "failures":
                return queryset.filter(finished_at__isnull=False, days_failed__gt=0)
            case "cancelled":
                return queryset.filter(cancelled_at__isnull=False)
            case "done":
                return queryset.filter(finished_at__isnull=False, days_failed=0, cancelled_at=None)
        raise self.refuse(request, f"“{self.value()}” is no state of a run.")


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """Runs, the latest first."""

    source_path = "source_id"
    exported = columns_of(SyncRunSerializer)
    keyset = ("created_at", "id")
    change_form_template = "admin/sources/run.html"
    list_display = (
        "asked_at",
        "source",
        "state",
        "progress",
        "days_shown",
        "asked_by",
        "records",
        "took",
        "error_shown",
    )
    list_filter = (
        SourceFilter,
        ProgressFilter,
        one_of("trigger", "asked for by", Trigger),
        ("created_at", RangeFilter),
    )
    offered_lookups = ("source", "progress", "trigger", "created_at__range__gte", "created_at__range__lte")
    ordering = ("-created_at", "-id")
    actions = None
    fields = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def get_urls(self) -> list[URLPattern]:
        """Add the address of a run that goes on."""
        return [path("<int:pk>/progress/", self.progress_view, name="sync_syncrun_progress"), *super().get_urls()]

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return how far a run is: the part of its page that asks for itself."""
        if (elsewhere := signed_out(self, request)) is not None:
            return elsewhere
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        return fragment(request, self.live(request, run))

    def live(self, request: HttpRequest, run: SyncRun) -> Live:
        """Return how far a run is."""
        page = reverse("admin:sync_syncrun_change", args=[run.pk])
        return live(request, [run], reverse("admin:sync_syncrun_progress", args=[run.pk]), page)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add how far the run is, what it cost, and its days."""
        days = Paginator(days_of(obj), DAYS_ON_A_PAGE).get_page(request.GET.get("p"))
        context |= {
            "live": self.live(request, obj),
            "facts": facts(request, obj),
            "counts": [(label, exact(getattr(obj, name))) for name, label in COUNTS.items()],
            "advice": advice(obj.error),
            "days": days,
            "days_table": days_table(request, obj, list(days)),
            "title": str(obj),
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def page_actions(self, request: HttpRequest, obj: SyncRun) -> Sequence[PageAction]:
        """Cancelling, while days wait."""
        if not may_sync(request) or obj.finished_at is not None or obj.cancelled_at is not None:
            return ()
        return (PageAction("cancel", "Cancel", self.cancel),)

    def cancel(self, request: HttpRequest, run: SyncRun) -> None:
        """Give back the days of a run that are not begun yet."""
        try:
            given_back = cancel(run, who(request))
        except SyncError as error:
            messages.error(request, error.reason)
            return
        messages.success(request, f"The run is cancelled: {days_in_words(given_back)} went back unread.")

    @admin.display(description="asked for at (UTC)")
    def asked_at(self, run: SyncRun) -> str:
        """When it was asked for."""
        return at(run.created_at)

    @admin.display(description="asked for by")
    def asked_by(self, run: SyncRun) -> str:
        """Who or what asked for it."""
        return asked_for_by(run)

    @admin.display(description="state")
    def state(self, run: SyncRun) -> SafeString:
        """Whether it has ended, and how."""
        return states.run_state(run)

    @admin.display(description="progress")
    def progress(self, run: SyncRun) -> SafeString:
        """How many of its days are read."""
        return states.run_progress(run)

    @admin.display(description="days")
    def days_shown(self, run: SyncRun) -> str:
        """The days it spans."""
        return run.days_in_words

    @admin.display(description="records read")
    def records(self, run: SyncRun) -> SafeString:
        """How many records came."""
        return quantity(run.fetched)

    @admin.display(description="reading took")
    def took(self, run: SyncRun) -> SafeString:
        """How long reading took, all workers together."""
        return format_html('<span class="number">{}</span>', duration(run.seconds))

    @admin.display(description="error")
    def error_shown(self, run: SyncRun) -> SafeString | str:
        """Why the latest day of it failed."""
        return format_html('<span class="error-text" title="{0}">{0}</span>', run.error) if run.error else ""


def facts(request: HttpRequest, run: SyncRun) -> list[tuple[str, Any]]:
    """Return what is known of a run beside its counts."""
    return [
        ("source", way_to(request, run.source, run.source.slug)),
        ("days", run.days_in_words),
        ("asked for by", asked_for_by(run)),
        ("asked for at (UTC)", at(run.created_at)),
        ("ended at (UTC)", at(run.finished_at)),
        ("received", size(run.bytes)),
        ("reading took", duration(run.seconds)),
    ]


def asked_for_by(run: SyncRun) -> str:
    """Return who or what asked for a run: `Admin, alex`."""
    return ", ".join(filter(None, (run.get_trigger_display(), run.requested_by)))


def size(number: int) -> str:
    """Return bytes in the largest unit that leaves a number above one: `1.3 MB`."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if number >= 10**power:
            return f"{number / 10**power:,.1f} {unit}"
    return f"{number} bytes"


def days_of(run: SyncRun) -> QuerySet[SyncRunDay]:
    """Return the days of a run, the failed ones first, then those to come; each the newest first."""
    return run.run_days.select_related("source_day").order_by(FIRST_THE_FAILED, "-source_day__day")


def days_table(request: HttpRequest, run: SyncRun, shown: Sequence[SyncRunDay]) -> Table:
    """Return days of a run with what reading each took: the latest attempt since the run was asked for."""
    attempts = attempts_of(run, shown)
    rows = []
    for run_day in shown:
        tries = attempts.get(run_day.source_day_id, [])
        latest = tries[-1] if tries else None
        day = run_day.source_day
        rows.append(
            [
                way_to(request, day, day.day),
                states.run_day_outcome(run_day),
                quantity(len(tries)),
                *(quantity(getattr(latest, name) if latest else None) for name in ("fetched", "retries", "rejected")),
                format_html('<span class="number">{}</span>', size(latest.bytes) if latest else "–"),
                format_html('<span class="number">{}</span>', duration(latest.seconds) if latest else "–"),
                prose(latest.error if latest else ""),
            ]
        )
    columns = ("day", "outcome", "attempts", "records", "retries", "rejected", "received", "took", "error")
    return Table("Days of the run", columns, rows, "Its days are no longer on record.")


def attempts_of(run: SyncRun, shown: Sequence[SyncRunDay]) -> dict[int, list[LoadAttempt]]:
    """Return the attempts at days of a run, by day and in their order, from its beginning to its end."""
    began = LoadAttempt.objects.filter(source_day__in=[day.source_day_id for day in shown]).order_by("number")
    during = began.exclude(finished_at__lt=run.created_at)
    if run.finished_at is not None:
        during = during.filter(started_at__lte=run.finished_at)
    found: dict[int, list[LoadAttempt]] = {}
    for attempt in during:
        found.setdefault(attempt.source_day_id, []).append(attempt)
    return found


def runs_table(source: Source) -> Table:
    """Return the latest runs of a source that have ended; those that go on are shown as they go."""
    rows = [
        [
            format_html('<a href="{}">{}</a>', reverse("admin:sync_syncrun_change", args=[run.pk]), at(run.created_at)),
            states.run_state(run),
            states.run_progress(run),
            run.days_in_words,
            asked_for_by(run),
            quantity(run.fetched),
            prose(" ".join(filter(None, (run.error, advice(run.error))))),
        ]
        for run in source.runs.filter(finished_at__isnull=False)[:LATEST]
    ]
    columns = ("asked for at (UTC)", "state", "progress", "days", "asked for by", "records", "error")
    return Table("Latest runs", columns, rows, "None has ended yet.")


assert set(COUNTS) | {"bytes", "seconds"} == set(COUNTED)  # noqa: S101 - a new count has a name here
