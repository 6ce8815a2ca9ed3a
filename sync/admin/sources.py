"""Sources: their settings, what is held of them, and the buttons that test, sync and resume them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from sync.admin import states
from sync.admin.actions import ask, may_sync, who
from sync.admin.facts import (
    Fieldsets,
    coverage_address,
    day_counts,
    option_fieldsets,
    runs_address,
    standstill,
    vendor_facts,
)
from sync.admin.forms import RangeForm, SourceForm, faults
from sync.admin.live import Live, asked_for, fragment, live, open_runs, signed_out
from sync.admin.runs import runs_table
from sync.admin.testing import tested
from sync.engine import plan
from sync.health import Condition
from sync.models import Trigger
from sync.vendors import readers
from usage.access import staff_scope
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import Table, ago, laid_out, quantity
from usage.columns import columns_at
from usage.coverage import Coverage, coverage_of
from usage.models import Source

ACCOUNT: Fieldsets = [("The account", {"fields": ("slug", "vendor", "base_url", "time_zone")})]
READING: Fieldsets = [
    ("What is read", {"fields": ("enabled", "backfill_from", "look_back_days")}),
    ("How often, and how much at once", {"fields": ("interval_minutes", "max_concurrency", "requests_per_minute")}),
    ("Programs that read it from here", {"fields": ("mirror_refuses_gaps",)}),
]
CREDENTIAL_IS = (
    "What the vendor knows the portal by: the key itself, or the name of an environment variable that holds it."
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
    form = SourceForm
    change_form_template = "admin/sources/source_form.html"
    list_display = ("name", "vendor_title", "state", "trust", "records_held", "last_read")
    list_display_links = ("name",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the credential where it is."""
        return super().get_queryset(request).defer("credential")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Show each source's coverage."""
        return CoveredList

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Take the form with all its fields: those of the vendors' options exist only once it is made."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": SourceForm.Meta.fields})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the credential's inputs away from someone who may not change the source."""
        if obj is not None and not self.has_change_permission(request, obj):
            told = ("Credential and the vendor's own settings", {"fields": ("credential_env", "options_shown")})
            return [*ACCOUNT, told, *READING]
        credential = ("Credential", {"fields": self.credential_fields(request, obj), "description": CREDENTIAL_IS})
        return [*ACCOUNT, credential, *option_fieldsets(obj or Source()), *READING]

    def credential_fields(self, request: HttpRequest, source: Source | None) -> tuple[str, ...]:
        """Return the inputs of the credential; whoever may not name a variable changes a stored one only."""
        if source is None:
            return ("new_credential", "credential_env")
        if staff_scope(request) is None:
            return ("new_credential", "clear_credential", "credential_env")
        return ("credential_env",) if source.credential_env else ("new_credential",)

    def save_model(self, request: HttpRequest, obj: Source, form: SourceForm, change: bool) -> None:
        """Write only what the form sets: the engine may have halted the source since its row was read."""
        obj.save(update_fields=form.columns_set if change else None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever sees only some sources adds none: they could not see what they added."""
        return super().has_add_permission(request) and staff_scope(request) is None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whoever sees only some sources keeps their names and variables.

        A name that is taken would tell of another source, and a variable may be another source's credential.
        """
        return () if staff_scope(request) is None else ("slug", "credential_env")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a source of which nothing is held yet may be deleted; others are switched off."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and obj is not None and not obj.days.exists()

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of the test of a connection and of the runs that go on."""
        test = self.admin_site.admin_view(require_POST(self.test_view))
        return [
            path("test/", test, name="usage_source_test_new"),
            path("<int:pk>/test/", test, name="usage_source_test"),
            path("<int:pk>/progress/", self.progress_view, name="usage_source_progress"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters("new_credential"))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form, with what each vendor prescribes for fields that are left empty."""
        return super().changeform_view(
            request, object_id, form_url, {"vendor_facts": vendor_facts(), **(extra_context or {})}
        )

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add how far the source is read, its runs and the buttons that this person may press."""
        if obj is None:
            context["test_address"] = reverse("admin:usage_source_test_new")
        else:
            context |= self.facts(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def facts(self, request: HttpRequest, source: Source) -> dict[str, Any]:
        """Return what the page of a source shows beside its settings."""
        coverage = coverage_of([source])[source.pk]
        condition = Condition(source, coverage, timezone.now())
        offered = {action.name.replace("-", "_"): action for action in self.page_actions(request, source)}
        return {
            "test_address": reverse("admin:usage_source_test", args=[source.pk]),
            "standstill": standstill(source),
            "source_badge": states.source_health(condition),
            "coverage_words": coverage.words,
            "coverage_address": coverage_address(request, source),
            "day_counts": day_counts(request, coverage, source),
            "buttons": {name: self.action_url(source, action) for name, action in offered.items()},
            "range_form": RangeForm(source, initial=look_back(source), auto_id="range_%s"),
            "live": self.live(request, source),
            "runs_address": runs_address(request, source),
        }

    def live(self, request: HttpRequest, source: Source) -> Live:
        """Return the runs of a source that go on, and those that the page showed before."""
        runs = open_runs(source, asked_for(request)) if request.user.has_perm("sync.view_syncrun") else []
        page = reverse("admin:usage_source_change", args=[source.pk])
        return live(request, runs, reverse("admin:usage_source_progress", args=[source.pk]), page)

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return how far the source's runs are: the part of its page that asks for itself."""
        if (elsewhere := signed_out(self, request)) is not None:
            return elsewhere
        source = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, source):
            raise PermissionDenied
        return fragment(request, self.live(request, source))

    @method_decorator(sensitive_post_parameters("new_credential"))
    def test_view(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Test the connection with what the form says, for whoever might save it; nothing is saved."""
        source = None if pk is None else get_object_or_404(self.get_queryset(request), pk=pk)
        allowed = self.has_add_permission(request) if source is None else self.has_change_permission(request, source)
        if not allowed:
            raise PermissionDenied
        form = self.get_form(request, source, change=source is not None)(request.POST, instance=source)
        result = tested(form)
        if source is not None:
            self.log_change(request, source, f"Tested the connection: it {'works' if result.ok else 'does not work'}.")
        whole: Any = request
        template = "admin/sources/tested.html" if whole.htmx else "admin/sources/tested_page.html"
        context = {**self.admin_site.each_context(request), "title": "Test of the connection", "tested": result}
        return TemplateResponse(request, template, context)

    def page_actions(self, request: HttpRequest, obj: Source) -> Sequence[PageAction]:
        """Resuming for who may change the source, syncing for who may have days read."""
        actions = []
        if self.has_change_permission(request, obj) and (obj.halted_at or obj.paused_until):
            actions.append(PageAction("resume", "Resume", self.resume))
        if may_sync(request) and obj.enabled and not obj.halted_at:
            actions.append(PageAction("sync-now", "Sync now", self.sync_now))
            actions.append(PageAction("sync-range", "Sync this range", self.sync_range))
        return actions

    def page_tables(self, request: HttpRequest, obj: Source) -> Sequence[Table]:
        """The latest runs, for whoever may see them."""
        return (runs_table(obj),) if request.user.has_perm("sync.view_syncrun") else ()

    @admin.display(description="the vendor's own settings")
    def options_shown(self, source: Source) -> SafeString | str:
        """What is set of the vendor's options."""
        return laid_out(source.options)

    def sync_now(self, request: HttpRequest, source: Source) -> None:
        """Read today and the look-back."""
        days = look_back(source)
        ask(request, lambda: request_days(request, source, days["first"], days["last"] + timedelta(days=1)))

    def sync_range(self, request: HttpRequest, source: Source) -> None:
        """Read the days that were given."""
        form = RangeForm(source, request.POST)
        if not form.is_valid():
            messages.error(request, " ".join(faults(form)))
            return
        first, end = form.cleaned_data["first"], form.cleaned_data["last"] + timedelta(days=1)
        ask(request, lambda: request_days(request, source, first, end))

    def resume(self, request: HttpRequest, source: Source) -> None:
        """Let a halted or paused source be read again."""
        plan.resume(source)
        self.log_change(request, source, "Resumed.")
        messages.success(request, f"Reading of {source} resumes with the next tick.")

    @admin.display(description="name")
    def name(self, source: Source) -> str:
        """What it is called here."""
        return source.slug

    @admin.display(description="vendor")
    def vendor_title(self, source: Source) -> str:
        """The vendor's own name."""
        reader = readers().get(source.vendor)
        return reader.title if reader else source.vendor

    @admin.display(description="state")
    def state(self, source: Any) -> SafeString:
        """How it does."""
        return states.source_health(Condition(source, source.coverage, timezone.now()))

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
