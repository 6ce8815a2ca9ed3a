"""Lists that can be exported, and the views of their exports.

A page that follows a download makes up an id and requests `export/?…&export=<id>`. A refusal is then a 204, which
leaves the browser where it is, and `export/<id>/` gives the reason. Without an id a refusal is a message above the
list.
"""

import re
import time
from datetime import datetime
from decimal import Decimal
from logging import getLogger
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from psycopg import Error as DriverError
from rest_framework.exceptions import APIException, ValidationError

from usage.admin.exporting.menu import (
    NAMES,
    ExportMenu,
    build_filename,
    build_menu,
    extract_filters,
    find_available_formats,
)
from usage.admin.exporting.messages import describe_progress, join_messages
from usage.admin.filter_form import build_filterset, clean_params
from usage.admin.lists.pagination import count_rows
from usage.api.access import get_staff_name_access
from usage.api.errors import flatten_detail
from usage.api.filters import UsageFilterSet
from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import Column, get_columns
from usage.data_quality.messages import describe_quality
from usage.datetimes import UTC_ZONE, format_iso
from usage.directory.lookup import build_name_columns
from usage.exports import ExportRequest, compute_manifest, export
from usage.exports.formats.csv import parse_bom
from usage.exports.formats.xlsx import TOO_MANY_ROWS
from usage.exports.progress import ExportProgress, ExportState, ExportTracker, StoppedByOwner
from usage.formatting import NOTHING, format_number, format_timestamp
from usage.models import KIND_NAMES
from usage.slots import SlotsTaken
from usage.snapshot import consistent_snapshot
from usage.standby import get_data_time
from usage.summaries.combined import FILTERS
from usage.timeouts import QueryTimeout

log = getLogger(__name__)

ABOUT_SECONDS = 20.0
ID = re.compile(r"[0-9a-f]{32}")
STOP_POLLING = 286  # htmx polls no more
FAILED = "The portal failed to read the rows; the failure was logged."


class ExportingAdmin(admin.ModelAdmin[Any]):
    """A list that every user who may see it can export; `exported` names the columns."""

    exported: ClassVar[tuple[Column, ...]] = ()

    def get_export_columns(self) -> tuple[Column, ...]:
        """Return the columns of an export; those of usage are the API's."""
        serializer: Any = RECORD_SERIALIZERS.get(self.model)
        return self.exported or (get_columns(serializer) if serializer else ())

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.get_export_columns()) and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """Add the views of an export: the file, the page about it, its progress, and its cancellation."""
        site, name = self.admin_site.admin_view, self.get_export_url_name
        return [
            path("export/", site(require_GET(self.export_view)), name=name()),
            path("export/about/", site(require_GET(self.export_about_view)), name=self.get_export_url_name("about")),
            path(
                "export/<str:export_id>/",
                never_cache(self.export_progress_view),
                name=self.get_export_url_name("follow"),
            ),
            path(
                "export/<str:export_id>/stop/",
                site(require_POST(self.export_stop_view)),
                name=self.get_export_url_name("stop"),
            ),
            *super().get_urls(),
        ]

    def get_export_url_name(self, *suffixes: str) -> str:
        return "_".join([self.opts.app_label, str(self.opts.model_name), "export", *suffixes])

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        menu = self.build_export_menu(request) if self.has_export_permission(request) else None
        return super().changelist_view(request, {"export_menu": menu, **(extra_context or {})})

    def build_export_menu(self, request: HttpRequest) -> ExportMenu:
        """Return the formats that the rows of the page's filters can be exported in."""
        params = {NAMES: "1"} if self.model in KIND_NAMES else {}
        return build_menu(str(self.opts.verbose_name_plural), self.get_export_url_name(), request.GET, **params)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send all filtered rows in the chosen format."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        params = request.GET
        tracker = find_tracker(request, params.get("export", ""))
        request.GET = extract_filters(params)  # type: ignore[assignment]
        try:
            return self.build_export_response(request, params, tracker)
        except IncorrectLookupParameters:
            return self.refuse_export(request, tracker, "")
        except SlotsTaken as busy:
            return self.refuse_export(request, tracker, str(busy.detail), wait=busy.wait)
        except APIException as error:
            too_many_rows = any(code == TOO_MANY_ROWS for _, code in flatten_detail(error.get_codes()))
            return self.refuse_export(request, tracker, join_messages(error), "csv" if too_many_rows else "")
        except StoppedByOwner:
            return self.refuse_export(request, tracker, "Cancelled.")
        except (DatabaseError, DriverError):
            if tracker is None:
                raise
            log.exception("An export failed before its first rows.")
            return self.refuse_export(request, tracker, FAILED)

    def build_export_response(
        self, request: HttpRequest, params: QueryDict, tracker: ExportTracker | None
    ) -> HttpResponseBase:
        """Return the download of the filtered rows; `params`: all that was sent. Raises what keeps it from starting."""
        format_name, available = params.get("format", "csv"), find_available_formats()
        if format_name not in available:
            raise ValidationError({"format": [f"“{format_name}” is not one of: {', '.join(available)}."]})
        bom = parse_bom(params, default=True)
        rows = self.get_export_rows(request)
        if tracker is not None:
            total = count_rows(rows)
            tracker.record_start(total.number, estimated=not total.is_exact)
        filterset = self.build_filterset(request) if self.model in KIND_NAMES else None
        filename = build_filename(str(self.opts.verbose_name_plural), request.GET, format_name)
        filters = [(name, text) for name, texts in request.GET.lists() for text in texts]
        export_request = ExportRequest(
            title=str(self.opts.verbose_name_plural),
            url=request.build_absolute_uri(f"{self.get_list_url()}?{urlencode(filters)}"),
            params=filters,
            zone=filterset.form.cleaned_data["tz"] if filterset else UTC_ZONE,
            bom=bom,
        )
        columns = self.get_export_columns()
        if params.get(NAMES) == "1" and filterset:
            columns += build_name_columns(self.model, get_staff_name_access(request))
        return export(
            rows,
            filename,
            format_name,
            columns,
            filterset=filterset,
            tracker=tracker,
            request=export_request,
        )

    def get_export_rows(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all rows of the list; raises IncorrectLookupParameters where the filters are not understood."""
        rows: QuerySet[Any] = self.get_changelist_instance(request).queryset
        return self.annotate_export_rows(rows.select_related(None).prefetch_related(None).defer(None))

    def annotate_export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with what columns of `exported` need besides the model's own."""
        return rows

    def refuse_export(
        self,
        request: HttpRequest,
        tracker: ExportTracker | None,
        reason: str,
        alternative: str = "",
        wait: float | None = None,
    ) -> HttpResponse:
        """Show why an export is refused: on its progress page, or above the list."""
        if tracker is None:
            if reason:
                self.message_user(request, reason, messages.ERROR)
            return redirect(f"{self.get_list_url()}?{request.GET.urlencode()}" if reason else self.get_list_url())
        if wait is not None:
            tracker.record_wait(reason, wait)
        else:
            # A filter that does not understand its value has left a message for the next page.
            reason = reason or " ".join(str(message) for message in messages.get_messages(request))
            tracker.record_refusal(reason, alternative)
        return HttpResponse(status=204)

    def get_list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def export_progress_view(self, request: HttpRequest, export_id: str) -> HttpResponse:
        """Return the progress of one of the user's own exports, as a piece of the page that follows it."""
        if not (self.admin_site.has_permission(request) and self.has_export_permission(request)):
            reason = "You are signed out. Sign in again to export."
            return render_progress(request, ExportProgress(ExportState.REFUSED, reason=reason))
        tracker = find_tracker(request, export_id)
        progress = tracker.load() if tracker else None
        if tracker is None or progress is None:
            return render_progress(request, ExportProgress(ExportState.STARTING))
        retry = progress.state == ExportState.WAITING and time.time() >= progress.retry_at
        if retry:
            tracker.record_retry()
        return render_progress(request, progress, retry=retry)

    def export_stop_view(self, request: HttpRequest, export_id: str) -> HttpResponse:
        """Cancel one of the user's own exports."""
        tracker = find_tracker(request, export_id)
        if tracker is not None:
            tracker.request_stop()
        return HttpResponse(status=204)

    def export_about_view(self, request: HttpRequest) -> HttpResponse:
        """Show what an export with these filters holds, and how far it can be trusted; `format=json` for a file."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        as_file = request.GET.get("format") == "json"
        request.GET = extract_filters(request.GET)  # type: ignore[assignment]
        try:
            rows = self.get_export_rows(request)
        except IncorrectLookupParameters:
            return redirect(self.get_list_url())
        try:
            manifest = self.build_manifest(request, rows)
        except QueryTimeout:
            manifest = None
        except APIException as error:
            return self.refuse_export(request, None, join_messages(error))
        if as_file and manifest is not None:
            response = JsonResponse(manifest, json_dumps_params={"ensure_ascii": False, "indent": 2})
            response["Content-Disposition"] = (
                f'attachment; filename="{build_filename(str(self.opts.verbose_name_plural), request.GET, "json")}"'
            )
            return response
        return TemplateResponse(request, "admin/portal/export_about.html", self.build_about_context(request, manifest))

    def build_manifest(self, request: HttpRequest, rows: QuerySet[Any]) -> dict[str, Any]:
        """Return what an export holds, in numbers; raises QueryTimeout."""
        manifest: dict[str, Any] = {
            "list": str(self.opts.verbose_name_plural),
            "filters": {name: ", ".join(values) for name, values in request.GET.lists()},
            "columns": [column.name for column in self.get_export_columns()],
        }
        with consistent_snapshot(seconds=ABOUT_SECONDS):
            if self.model not in KIND_NAMES:
                return manifest | {"rows": rows.order_by().count(), "as_of": format_iso(get_data_time())}
            manifest |= compute_manifest(rows, self.build_filterset(request))
            return manifest | {"as_of": manifest["meta"]["as_of"]}

    def build_about_context(self, request: HttpRequest, manifest: dict[str, Any] | None) -> dict[str, Any]:
        """Return the context of the page; `manifest` is None where the rows took too long to add up."""
        query = request.GET.urlencode()
        return {
            **self.admin_site.each_context(request),
            "title": "About this export",
            "opts": self.opts,
            "manifest": manifest,
            "rows": format_number(manifest["rows"]) if manifest else "",
            "as_of": format_to_the_second(manifest["as_of"]) if manifest else "",
            "last_change": format_to_the_second(manifest.get("last_changed_at")) if manifest else "",
            "sums": [build_sum_row(line) for line in manifest.get("sums", ())] if manifest else (),
            "quality": [*describe_quality(manifest["meta"]), *filter(None, [self.model.totals_note])]
            if manifest and "meta" in manifest
            else [],
            "listed": f"{self.get_list_url()}{'?' if query else ''}{query}",
            "export_menu": self.build_export_menu(request),
            "as_file": f"?{query}{'&' if query else ''}format=json",
        }

    def build_filterset(self, request: HttpRequest) -> UsageFilterSet:
        """Return the valid filter set of the filtered records of usage."""
        params, rows = clean_params(request.GET), self.model.objects.none()
        filterset = build_filterset(FILTERS[KIND_NAMES[self.model]], params, rows, request)
        filterset.is_valid()
        return filterset


def format_to_the_second(instant: str | None) -> str:
    """Return an instant of a manifest as pages show it; `–` for None."""
    return f"{format_timestamp(datetime.fromisoformat(instant))} UTC" if instant else NOTHING


def build_sum_row(line: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return a sum of a manifest as the cells of a page: measure, unit, sum, rows, rows without a value."""
    number = None if line["sum"] is None else Decimal(line["sum"])
    label = capfirst(line["measure"].replace("_", " "))
    return label, line["unit"], format_number(number), format_number(line["rows"]), format_number(line["without"])


def find_tracker(request: HttpRequest, export_id: str) -> ExportTracker | None:
    """Return the tracker of the user's export with that id; None for what is no id."""
    return ExportTracker(str(request.user.pk), export_id) if ID.fullmatch(export_id) else None


def render_progress(request: HttpRequest, progress: ExportProgress, *, retry: bool = False) -> HttpResponse:
    """Return the progress of an export; headers have the page stop polling at its end, or request it again."""
    context = {
        "progress": progress,
        "text": describe_progress(progress),
        "total": max(progress.total or 0, progress.rows),
        "ended": progress.state.is_final,
    }
    response = TemplateResponse(request, "admin/portal/export_progress.html", context)
    if progress.state.is_final:
        response.status_code = STOP_POLLING
        response["HX-Trigger"] = "export-ended"
    elif retry:
        response["HX-Trigger"] = "export-again"
    return response
