"""Sources: their settings, what is held of them, and the buttons that test, sync and resume them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from sync.admin import states
from sync.admin.actions import ask, may_sync, who
from sync.admin.forms import RangeForm, SourceForm
from sync.engine import plan
from sync.models import Trigger
from sync.sources import options_in_words, probe
from sync.vendors import readers
from usage.access import staff_scope
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import NOTHING, Table, ago, at, exact, prose, quantity
from usage.columns import columns_at
from usage.coverage import Coverage, coverage_of
from usage.models import Source

LATEST = 10
SETTINGS: list[tuple[str | None, dict[str, Any]]] = [
    (None, {"fields": ("slug", "vendor", "base_url", "time_zone", "options")}),
    (
        "What is read, and when",
        {
            "fields": (
                "enabled",
                "backfill_from",
                "interval_minutes",
                "look_back_days",
                "max_concurrency",
                "requests_per_minute",
            )
        },
    ),
    ("Mirror", {"fields": ("mirror_refuses_gaps",)}),
]
CREDENTIAL: tuple[str, dict[str, Any]] = (
    "Credential",
    {
        "fields": ("new_credential", "clear_credential", "credential_env"),
        "description": "Either the credential itself, or the name of an environment variable that holds it.",
    },
)


class CoveredList(ChangeList):
    """A page of sources, each with its coverage, fetched for all of them at once."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page's sources and their coverage."""
        super().get_results(request)
        sources = list(self.result_list)
        covered = coverage_of(sources)
        for source in sources:
            source.coverage = covered[source.pk]
        self.result_list = sources


@admin.register(Source)
class SourceAdmin(PortalAdmin):
    """Accounts at vendors."""

    source_path = "id"
    form = SourceForm
    change_form_template = "admin/portal/source_form.html"
    exported = columns_at(
        Source,
        "slug",
        "vendor",
        "base_url",
        "time_zone",
        "enabled",
        "backfill_from",
        "interval_minutes",
        "look_back_days",
        "max_concurrency",
        "requests_per_minute",
        "mirror_refuses_gaps",
        "next_sync_at",
        "paused_until",
        "halted_at",
        "halt_reason",
        "created_at",
        "updated_at",
    )
    list_display = ("slug", "vendor_title", "state", "trust", "records_held", "last_read")
    list_display_links = ("slug",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the credential where it is."""
        return super().get_queryset(request).defer("credential")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Show each source's coverage."""
        return CoveredList

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the credential's inputs away from someone who may not change the source."""
        if obj is not None and not self.has_change_permission(request, obj):
            return [*SETTINGS, ("Credential", {"fields": ("credential_env",)})]
        return [SETTINGS[0], CREDENTIAL, *SETTINGS[1:]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever sees only some sources adds none: they could not see what they added."""
        return super().has_add_permission(request) and staff_scope(request) is None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whoever sees only some sources keeps their names: a name that is taken would tell of another source."""
        return () if staff_scope(request) is None else ("slug",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a source of which nothing is held yet may be deleted; others are switched off."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and obj is not None and not obj.days.exists()

    @method_decorator(sensitive_post_parameters("new_credential"))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form, with what each vendor prescribes and allows beside it."""
        return super().changeform_view(
            request, object_id, form_url, {"vendors": vendors_table(), **(extra_context or {})}
        )

    def page_actions(self, request: HttpRequest, obj: Source) -> Sequence[PageAction]:
        """Testing and resuming for who may change the source, syncing for who may have days read."""
        actions = []
        if self.has_change_permission(request, obj):
            actions.append(PageAction("test", "Test connection", self.test_connection))
            if obj.halted_at or obj.paused_until:
                actions.append(PageAction("resume", "Resume", self.resume))
        if may_sync(request) and obj.enabled and not obj.halted_at:
            explains = f"Reads today and the {obj.look_back_days} days before it again."
            actions.append(PageAction("sync-now", "Sync now", self.sync_now, explains))
            form = RangeForm(initial=look_back(obj), auto_id="range_%s")
            actions.append(PageAction("sync-range", "Sync this range", self.sync_range, form=form))
        return actions

    def page_words(self, request: HttpRequest, obj: Source) -> str:
        """Why it is not read, where it is not; how far it is read."""
        return " ".join(filter(None, (standstill(obj), coverage_of([obj])[obj.pk].words)))

    def page_tables(self, request: HttpRequest, obj: Source) -> Sequence[Table]:
        """The counts of its days and its latest runs."""
        return days_table(coverage_of([obj])[obj.pk], obj), runs_table(obj)

    def test_connection(self, request: HttpRequest, source: Source) -> None:
        """Ask the vendor for the cheapest answer and tell how it went."""
        result = probe(source)
        told = messages.success if result.ok else messages.error
        told(request, result.words)
        self.log_change(request, source, f"Tested the connection: {'it works' if result.ok else 'it does not work'}.")

    def sync_now(self, request: HttpRequest, source: Source) -> None:
        """Read today and the look-back."""
        days = look_back(source)
        ask(request, lambda: request_days(request, source, days["first"], days["last"] + timedelta(days=1)))

    def sync_range(self, request: HttpRequest, source: Source) -> None:
        """Read the days that were given."""
        form = RangeForm(request.POST)
        if not form.is_valid():
            messages.error(request, " ".join(str(message) for errors in form.errors.values() for message in errors))
            return
        given = form.cleaned_data
        ask(request, lambda: request_days(request, source, given["first"], given["end"]))

    def resume(self, request: HttpRequest, source: Source) -> None:
        """Let a halted or paused source be read again."""
        plan.resume(source)
        self.log_change(request, source, "Resumed.")
        messages.success(request, f"Reading of {source} resumes with the next tick.")

    @admin.display(description="vendor")
    def vendor_title(self, source: Source) -> str:
        """The vendor's own name."""
        reader = readers().get(source.vendor)
        return reader.title if reader else source.vendor

    @admin.display(description="state")
    def state(self, source: Source) -> SafeString:
        """Whether it is read."""
        return states.source_state(source)

    @admin.display(description="how far it can be trusted")
    def trust(self, source: Any) -> str:
        """Its coverage in words."""
        coverage: Coverage = source.coverage
        return coverage.words

    @admin.display(description="records")
    def records_held(self, source: Any) -> SafeString:
        """Current records of all its days."""
        return quantity(source.coverage.records_held)

    @admin.display(description="last read")
    def last_read(self, source: Any) -> str:
        """How long ago a day of it was read."""
        return ago(source.coverage.latest_read)


def look_back(source: Source) -> dict[str, Any]:
    """Return the first and the last day that `Sync now` reads."""
    today = plan.today(source)
    return {"first": today - timedelta(days=source.look_back_days), "last": today}


def request_days(request: HttpRequest, source: Source, first: Any, end: Any) -> Any:
    """Ask the engine for the days `[first, end)` in the person's name."""
    return plan.request_sync(source, first, end, Trigger.ADMIN, who(request))


def standstill(source: Source) -> str:
    """Return why a source is not read; nothing where it is."""
    if source.halted_at:
        return f"Halted since {at(source.halted_at)} UTC: {source.halt_reason}"
    return "" if source.enabled else "Switched off."


def days_table(coverage: Coverage, source: Source) -> Table:
    """Return the counts of a source's days, each linked to the list of them."""
    listed = f"{reverse('admin:usage_sourceday_changelist')}?source={source.slug}"
    counts = {
        "days": (coverage.days, ""),
        "read": (coverage.held, ""),
        "provisional": (coverage.provisional, ""),
        "waiting": (coverage.waiting, "&state=due"),
        "being read": (coverage.loading, "&state=loading"),
        "failed": (coverage.failed, "&state=failed"),
        "suspect": (coverage.suspect, "&state=suspect"),
        "partial": (coverage.partial, "&state=partial"),
        "unverified": (coverage.unverified, "&verification=unverified"),
    }
    linked = [
        format_html('<a class="number" href="{}{}">{}</a>', listed, asked, exact(number))
        for number, asked in counts.values()
    ]
    return Table("Days", ("complete through", *counts), [[coverage.complete_through or NOTHING, *linked]])


def runs_table(source: Source) -> Table:
    """Return the latest runs of a source."""
    rows = [
        [
            format_html('<a href="{}">{}</a>', reverse("admin:sync_syncrun_change", args=[run.pk]), at(run.created_at)),
            states.run_state(run),
            states.run_progress(run),
            f"{run.from_day} – {run.to_day}",
            run.get_trigger_display(),
            run.requested_by,
            quantity(run.fetched),
            prose(run.error),
        ]
        for run in source.runs.all()[:LATEST]
    ]
    columns = (
        "asked at (UTC)",
        "state",
        "progress",
        "range, end excluded",
        "asked for by",
        "who",
        "records",
        "error",
    )
    return Table("Latest runs", columns, rows, "Nothing was asked for yet.")


def vendors_table() -> Table:
    """Return what each vendor prescribes and allows."""
    rows = [
        [
            reader.title,
            reader.base_url,
            prose(", ".join(reader.hosts)),
            reader.time_zone or "any",
            options_in_words(reader),
            reader.requests_per_minute or "not documented",
        ]
        for reader in readers().values()
    ]
    columns = ("vendor", "address when left empty", "hosts", "time zone", "options", "requests a minute")
    return Table("What the vendors prescribe", columns, rows)
