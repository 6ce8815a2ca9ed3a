"""Sources: their settings, the status of their days, and the buttons that test, sync and resume them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from sync.admin.actions import get_username, has_sync_permission, start_runs
from sync.admin.badges import build_health_badge
from sync.admin.forms import RetireForm, SourceForm, SyncRangeForm, check_connection, list_errors
from sync.admin.live import (
    LiveProgress,
    build_progress,
    list_open_runs,
    parse_shown_runs,
    show_progress,
)
from sync.admin.runs import build_runs_table
from sync.admin.source_status import (
    Fieldsets,
    build_directory_status,
    build_notice,
    build_option_fieldsets,
    build_vendor_defaults,
    count_days,
)
from sync.engine import plan
from sync.engine.names import has_directory, request_names
from sync.errors import SyncError
from sync.health import Condition
from sync.models import Trigger
from sync.source_changes import bring_back, delete_source, has_loaded_days, resume_if_connected, retire, save_source
from sync.vendors import get_title
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import Table, build_list_column, render_json, render_number
from usage.api.access import get_staff_scope
from usage.columns import build_columns
from usage.data_quality.coverage import get_coverage
from usage.days import get_today
from usage.formatting import format_age, format_count
from usage.models import Source, SourceDay

ACCOUNT: Fieldsets = [("Account", {"fields": ("slug", "vendor", "base_url", "time_zone")})]
SYNC_SETTINGS: Fieldsets = [
    ("What is synced", {"fields": ("enabled", "backfill_from", "look_back_days")}),
    ("Schedule and limits", {"fields": ("interval_minutes", "max_concurrency", "requests_per_minute")}),
    ("Mirror", {"fields": ("mirror_refuses_gaps",)}),
]
CREDENTIAL_DESCRIPTION = (
    "The vendor's key or token, or the name of an environment variable that holds it. The vendor's page in the "
    "documentation (menu Help) says which key with which rights it has to be, and where it is made."
)


class SourceList(ChangeList):
    """A page of sources, each with its coverage."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page's sources, and the coverage of all of them at once."""
        super().get_results(request)
        sources = list(self.result_list)
        coverages = get_coverage(sources)
        for source in sources:
            source.coverage = coverages[source.pk]
        self.result_list = sources


@admin.register(Source)
class SourceAdmin(PortalAdmin):
    """Accounts at vendors."""

    source_path = "id"
    exported = build_columns(
        Source, "slug", "vendor", "base_url", "time_zone", "enabled", "backfill_from", "retired_after",
        "interval_minutes", "look_back_days", "max_concurrency", "requests_per_minute", "mirror_refuses_gaps",
        "next_sync_at", "paused_until", "halted_at", "halt_reason", "created_at", "updated_at",
    )  # fmt: skip
    form = SourceForm
    change_form_template = "admin/sources/source_form.html"
    list_display = ("get_name", "get_vendor", "get_health", "get_coverage", "get_records", "get_last_sync")
    list_display_links = ("get_name",)
    actions = None
    get_options = build_list_column("options", lambda source: render_json(source.options))
    get_name = build_list_column("name", lambda source: source.slug)
    get_vendor = build_list_column("vendor", lambda source: get_title(source.vendor))
    get_coverage = build_list_column("coverage", lambda source: source.coverage.description)
    get_records = build_list_column("records", lambda source: render_number(source.coverage.records_held))
    get_last_sync = build_list_column("last sync", lambda source: format_age(source.coverage.latest_read))
    get_health = build_list_column(
        "health", lambda source: build_health_badge(Condition(source, source.coverage, timezone.now()))
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the credential in the database."""
        return super().get_queryset(request).defer("credential")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SourceList

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form with its declared fields; the vendors' options become fields in its instances."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": SourceForm.Meta.fields})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Hide the credential's inputs from a person who may not change the source."""
        if obj is not None and not self.has_change_permission(request, obj):
            credential_section = ("Credential and options", {"fields": ("credential_env", "get_options")})
            return [*ACCOUNT, credential_section, *SYNC_SETTINGS]
        credential = (
            "Credential",
            {"fields": self.get_credential_fields(request, obj), "description": CREDENTIAL_DESCRIPTION},
        )
        return [*ACCOUNT, credential, *build_option_fieldsets(obj or Source()), *SYNC_SETTINGS]

    def get_credential_fields(self, request: HttpRequest, source: Source | None) -> tuple[str, ...]:
        """Return the inputs of the credential; a person limited to sources may only change a stored credential."""
        if source is None:
            return ("new_credential", "credential_env")
        if get_staff_scope(request) is None:
            return ("new_credential", "clear_credential", "credential_env")
        return ("credential_env",) if source.credential_env else ("new_credential",)

    def save_model(self, request: Any, obj: Source, form: SourceForm, change: bool) -> None:
        """Write only what the form sets, because the engine may have halted the source since its row was fetched."""
        if not change:
            obj.save()
            return
        save_source(obj, form.changed_columns)
        if form.changes_connection:
            request.changed_source = obj

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A person limited to sources adds none: they could not see it afterwards."""
        return super().has_add_permission(request) and get_staff_scope(request) is None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A person limited to sources changes no name and no variable.

        A name that exists already would reveal another source, and a variable may have another source's credential.
        """
        return () if get_staff_scope(request) is None else ("slug", "credential_env")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A retired source cannot be changed; it can be brought back."""
        return super().has_change_permission(request, obj) and (obj is None or obj.retired_after is None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a source of which no day is stored may be deleted; others are retired."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and obj is not None and not has_loaded_days(obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what is deleted with a source: days that were planned, and their attempts."""
        planned_days = SourceDay.objects.filter(source__in=objs).count()
        lines = [f"The source {source.slug}" for source in objs]
        if planned_days:
            lines.append(f"{format_count(planned_days, 'day')} that were planned and never stored, with their runs")
        return lines, {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Source) -> None:
        delete_source(obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete the source, or show why it cannot be deleted now."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except SyncError as error:
            messages.error(request, error.reason)
            return redirect("admin:usage_source_change", object_id)

    def get_urls(self) -> list[URLPattern]:
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
        """Show the form with each vendor's defaults of fields that are left empty; test what was saved if it halted.

        The test waits for the vendor, so it runs behind the transaction that saves.
        """
        context = {"vendor_defaults": build_vendor_defaults(), **(extra_context or {})}
        response = super().changeform_view(request, object_id, form_url, context)
        source: Source | None = getattr(request, "changed_source", None)
        if source is not None and source.halted_at is not None:
            self.resume_changed(request, source)
        return response

    def resume_changed(self, request: HttpRequest, source: Source) -> None:
        """Resume a halted source whose connection was changed, if the vendor accepts it now; else say what is wrong."""
        result = resume_if_connected(source)
        if result.ok:
            self.log_change(request, source, "Resumed: the changed connection works.")
            messages.success(request, f"{result.message} {source} resumes with the next tick.")
        else:
            messages.warning(request, f"{source} stays halted. {result.message} {result.advice}")

    def build_page_context(self, request: HttpRequest, obj: Source | None) -> dict[str, Any]:
        """Return the coverage of the source, its runs and the buttons that this person may press."""
        if obj is None:
            return {"test_url": reverse("admin:usage_source_test_new")}
        coverage = get_coverage([obj])[obj.pk]
        actions = {action.name.replace("-", "_"): action for action in self.get_page_actions(request, obj)}
        return {
            "test_url": reverse("admin:usage_source_test", args=[obj.pk]),
            "notice": build_notice(obj),
            "source_badge": build_health_badge(Condition(obj, coverage, timezone.now())),
            "coverage_summary": coverage.description,
            "provisional_days": coverage.provisional,
            "day_counts": count_days(request, coverage, obj),
            "buttons": {name: self.action_url(obj, action) for name, action in actions.items()},
            "range_form": SyncRangeForm(obj, initial=get_look_back(obj), auto_id="range_%s"),
            "retire_form": RetireForm(obj, auto_id="retire_%s"),
            "live": self.build_progress(request, obj),
            "directory": build_directory_status(obj),
        }

    def build_progress(self, request: HttpRequest, source: Source) -> LiveProgress:
        """Return the progress of a source's open runs, and of those that the page showed before."""
        can_view = request.user.has_perm("sync.view_syncrun")
        runs = list_open_runs(source, parse_shown_runs(request)) if can_view else []
        page = reverse("admin:usage_source_change", args=[source.pk])
        return build_progress(request, runs, reverse("admin:usage_source_progress", args=[source.pk]), page)

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the progress of the source's runs: the part of its page that reloads itself."""
        return show_progress(self, request, pk)

    @method_decorator(sensitive_post_parameters("new_credential"))
    def test_view(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Test the connection with the values of the form, for a person who may save it; nothing is saved."""
        source = None if pk is None else get_object_or_404(self.get_queryset(request), pk=pk)
        may_save = self.has_add_permission(request) if source is None else self.has_change_permission(request, source)
        if not may_save:
            raise PermissionDenied
        form = self.get_form(request, source, change=source is not None)(request.POST, instance=source)
        result = check_connection(form)
        if source is not None:
            self.log_change(request, source, f"Tested the connection: it {'works' if result.ok else 'does not work'}.")
            if result.ok and source.halted_at is not None and not form.changes_connection:
                plan.resume(source)
                self.log_change(request, source, "Resumed: the connection works.")
                result = replace(result, message=f"{result.message} {source} resumes with the next tick.")
        htmx_request: Any = request
        template = "admin/sources/tested.html" if htmx_request.htmx else "admin/sources/tested_page.html"
        context = {**self.admin_site.each_context(request), "title": "Connection test", "result": result}
        return TemplateResponse(request, template, context)

    def get_page_actions(self, request: HttpRequest, obj: Source) -> Sequence[PageAction]:
        """Return Resume for a person who may change the source, and the sync buttons for a person who may sync."""
        actions = []
        if self.has_change_permission(request, obj) and (obj.halted_at or obj.paused_until):
            actions.append(PageAction("resume", "Resume", self.resume))
        if super().has_change_permission(request, obj):
            if obj.retired_after is not None:
                actions.append(PageAction("bring-back", "Bring back", self.bring_back))
            elif has_loaded_days(obj):
                actions.append(PageAction("retire", "Retire", self.retire))
        if has_sync_permission(request) and obj.enabled and not obj.halted_at:
            actions.append(PageAction("sync-now", "Sync now", self.sync_now))
            actions.append(PageAction("sync-range", "Sync this range", self.sync_range))
            if has_directory(obj):
                actions.append(PageAction("read-names", "Read names", self.read_names))
        return actions

    def get_page_tables(self, request: HttpRequest, obj: Source) -> Sequence[Table]:
        """Return the latest runs, for a person who may see them."""
        return (build_runs_table(request, obj),) if request.user.has_perm("sync.view_syncrun") else ()

    def sync_now(self, request: HttpRequest, source: Source) -> None:
        """Sync today and the look-back."""
        days = get_look_back(source)
        self.request_days(request, source, days["first"], days["last"])

    def sync_range(self, request: HttpRequest, source: Source) -> None:
        form = SyncRangeForm(source, request.POST)
        if form.is_valid():
            self.request_days(request, source, form.cleaned_data["first"], form.cleaned_data["last"])
        else:
            messages.error(request, " ".join(list_errors(form)))

    def read_names(self, request: HttpRequest, source: Source) -> None:
        start_runs(request, lambda: request_names(source, Trigger.ADMIN, get_username(request)))

    def request_days(self, request: HttpRequest, source: Source, first: date, last: date) -> None:
        """Start a run over the days from `first` to `last`, both included."""
        end, username = last + timedelta(days=1), get_username(request)
        start_runs(request, lambda: plan.request_sync(source, first, end, Trigger.ADMIN, username))

    def retire(self, request: HttpRequest, source: Source) -> None:
        """Retire the source after the day of the form."""
        form = RetireForm(source, request.POST, auto_id="retire_%s")
        if not form.is_valid():
            messages.error(request, " ".join(list_errors(form)))
            return
        last_day = form.cleaned_data["last_day"]
        try:
            retire(source, last_day)
        except SyncError as error:
            messages.error(request, error.reason)
            return
        self.log_change(request, source, f"Retired after {last_day}.")
        messages.success(request, f"{source} is retired. Its credential is deleted; revoke it at the vendor, too.")

    def bring_back(self, request: HttpRequest, source: Source) -> None:
        bring_back(source)
        self.log_change(request, source, "Brought back.")
        messages.success(request, f"{source} is back, and switched off: give it a credential and switch it on.")

    def resume(self, request: HttpRequest, source: Source) -> None:
        plan.resume(source)
        self.log_change(request, source, "Resumed.")
        messages.success(request, f"Sync of {source} resumes with the next tick.")


def get_look_back(source: Source) -> dict[str, date]:
    """Return the first and the last day that `Sync now` syncs."""
    today = get_today(source.zone)
    return {"first": today - timedelta(days=source.look_back_days), "last": today}
