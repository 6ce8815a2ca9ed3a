"""A list that can be exported, and the addresses of its export.

A page that wants to follow a download makes up an id and asks for `export/?…&export=<id>`; then what is refused is
answered by 204, which leaves the browser where it is, and told at `export/<id>/`. Without an id a refusal is a message
above the list.
"""

import re
import time
from datetime import datetime
from decimal import Decimal
from logging import getLogger
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from psycopg import Error as DriverError
from rest_framework.exceptions import APIException, ValidationError

from usage.access import in_staff_scope, staff_scope
from usage.admin.display import NOTHING, at, exact
from usage.admin.exporting.menu import Menu, file_name, filters_of, formats, menu_of
from usage.admin.exporting.words import flat, in_words, trust_in_words
from usage.admin.paging import total_of
from usage.bounded import TookTooLong, bounded
from usage.columns import Column, columns_of
from usage.exports import Refused, digested, export, one_state
from usage.exports.answers import TooSlow
from usage.exports.progress import ENDED, REFUSED, STARTING, WAITING, Note, Progress, StoppedByOwner
from usage.filters import EnvironmentUsageFilter, RecipeUsageFilter, ResourceUsageFilter
from usage.filters.trusted import trust_of_filtered
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source
from usage.serializers import RECORD_SERIALIZERS
from usage.trust import Trust, written

log = getLogger(__name__)

ABOUT_SECONDS = 20.0
ID = re.compile(r"[0-9a-f]{32}")
POLLING_ENDS = 286  # htmx asks no more
FAILED = "The portal failed to read the rows; the failure was logged."
FILTERS: Final = {
    EnvironmentUsage: EnvironmentUsageFilter,
    ResourceUsage: ResourceUsageFilter,
    RecipeUsage: RecipeUsageFilter,
}


class ExportingAdmin(admin.ModelAdmin[Any]):
    """A list that can be exported by whoever may see it, if `exported` names the columns."""

    exported: ClassVar[tuple[Column, ...]] = ()

    def export_columns(self) -> tuple[Column, ...]:
        """Return the columns of an export: for usage those of the API."""
        serializer: Any = RECORD_SERIALIZERS.get(self.model)
        return self.exported or (columns_of(serializer) if serializer else ())

    def may_export(self, request: HttpRequest) -> bool:
        """Tell whether this person may have the list as a file."""
        return bool(self.export_columns()) and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """Add the export, what is known of it, and the two addresses that follow and stop one."""
        site = self.admin_site.admin_view
        return [
            path("export/", site(require_GET(self.export_list)), name=self.export_name()),
            path("export/about/", site(require_GET(self.about_export)), name=self.export_name("about")),
            path("export/<str:ident>/", never_cache(self.follow_export), name=self.export_name("follow")),
            path("export/<str:ident>/stop/", site(require_POST(self.stop_export)), name=self.export_name("stop")),
            *super().get_urls(),
        ]

    def export_name(self, *further: str) -> str:
        """Return the name of one of the addresses."""
        return "_".join([self.opts.app_label, str(self.opts.model_name), "export", *further])

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list with the menu of formats."""
        menu = self.export_menu(request) if self.may_export(request) else None
        return super().changelist_view(request, {"export_menu": menu, **(extra_context or {})})

    def export_menu(self, request: HttpRequest) -> Menu:
        """Return the formats in which the rows that the page is filtered to can be had."""
        return menu_of(str(self.opts.verbose_name_plural), self.export_name(), request.GET)

    def export_list(self, request: HttpRequest) -> HttpResponseBase:
        """Send all of the filtered rows in the chosen format."""
        if not self.may_export(request):
            raise PermissionDenied
        form, progress = request.GET.get("format", "csv"), progress_of(request, request.GET.get("export", ""))
        request.GET = filters_of(request.GET)  # type: ignore[assignment]
        try:
            return self.sent(request, form, progress)
        except IncorrectLookupParameters:
            return self.not_sent(request, progress, "")
        except APIException as refused:
            wait = refused.wait if isinstance(refused, Refused) and not isinstance(refused, TooSlow) else None
            return self.not_sent(request, progress, " ".join(flat(refused.detail)), wait)
        except (StoppedByOwner, DatabaseError, DriverError) as failure:
            if progress is None:
                raise
            if not isinstance(failure, StoppedByOwner):
                log.exception("An export failed before its first rows.")
            words = "Cancelled." if isinstance(failure, StoppedByOwner) else FAILED
            return self.not_sent(request, progress, words)

    def sent(self, request: HttpRequest, form: str, progress: Progress | None) -> HttpResponseBase:
        """Return the download; raises what keeps it from beginning."""
        if form not in formats():
            raise ValidationError({"format": [f"“{form}” is not one of: {', '.join(formats())}."]})
        rows = self.filtered_rows(request)
        if progress is not None:
            total = total_of(rows)
            progress.begins(total.number, estimated=not total.exact)
        trust = (lambda: self.trust_of_export(request)) if self.model in FILTERS else None
        return export(
            rows,
            file_name(str(self.opts.verbose_name_plural), request.GET, form),
            form,
            self.export_columns(),
            trust,
            progress,
        )

    def filtered_rows(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all rows of the list; raises IncorrectLookupParameters where the filters are not understood."""
        listed: QuerySet[Any] = self.get_changelist_instance(request).queryset
        return self.rows_to_export(listed.select_related(None).prefetch_related(None).defer(None))

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with what columns of `exported` need besides the model's own."""
        return rows

    def not_sent(
        self, request: HttpRequest, progress: Progress | None, words: str, wait: float | None = None
    ) -> HttpResponse:
        """Tell why nothing is sent: to the page that follows the export, or above the list."""
        if progress is None:
            if words:
                self.message_user(request, words, messages.ERROR)
            return redirect(f"{self.list_address()}?{request.GET.urlencode()}" if words else self.list_address())
        if wait is not None:
            progress.waits(words, wait)
        else:
            # A filter that does not understand what it was given has left a message for the next page.
            progress.refused(words or " ".join(str(message) for message in messages.get_messages(request)))
        return HttpResponse(status=204)

    def list_address(self) -> str:
        """Return the address of the list."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def follow_export(self, request: HttpRequest, ident: str) -> HttpResponse:
        """Return how far an export has come, as a piece of the page that follows it; nobody else's is ever told."""
        if not (self.admin_site.has_permission(request) and self.may_export(request)):
            return self.told(request, Note(REFUSED, words="You are signed out. Sign in again to export."))
        progress = progress_of(request, ident)
        note = progress.found() if progress else None
        if progress is None or note is None:
            return self.told(request, Note(STARTING))
        again = note.state == WAITING and time.time() >= note.retry_at
        if again:
            progress.retried()
        return self.told(request, note, again=again)

    def told(self, request: HttpRequest, note: Note, *, again: bool = False) -> HttpResponse:
        """Return what is said of an export; the page is told too when there is no more to come, or to ask again."""
        about = max(note.about or 0, note.rows)
        context = {"note": note, "words": in_words(note), "about": about, "ended": note.state in ENDED}
        answer = TemplateResponse(request, "admin/portal/export_progress.html", context)
        if note.state in ENDED:
            answer.status_code = POLLING_ENDS
            answer["HX-Trigger"] = "export-ended"
        elif again:
            answer["HX-Trigger"] = "export-again"
        return answer

    def stop_export(self, request: HttpRequest, ident: str) -> HttpResponse:
        """End an export of this person's own."""
        progress = progress_of(request, ident)
        if progress is not None:
            progress.stop()
        return HttpResponse(status=204)

    def about_export(self, request: HttpRequest) -> HttpResponse:
        """Show what an export with these filters holds, and how far it can be trusted; `format=json` for a file."""
        if not self.may_export(request):
            raise PermissionDenied
        as_file = request.GET.get("format") == "json"
        request.GET = filters_of(request.GET)  # type: ignore[assignment]
        try:
            rows = self.filtered_rows(request)
        except IncorrectLookupParameters:
            return redirect(self.list_address())
        try:
            manifest = self.manifest(request, rows)
        except TookTooLong:
            manifest = None
        if as_file and manifest is not None:
            answer = JsonResponse(manifest, json_dumps_params={"ensure_ascii": False, "indent": 2})
            answer["Content-Disposition"] = (
                f'attachment; filename="{file_name(str(self.opts.verbose_name_plural), request.GET, "json")}"'
            )
            return answer
        return TemplateResponse(request, "admin/portal/export_about.html", self.about(request, manifest))

    def manifest(self, request: HttpRequest, rows: QuerySet[Any]) -> dict[str, Any]:
        """Return an export in numbers; raises TookTooLong."""
        said: dict[str, Any] = {
            "list": str(self.opts.verbose_name_plural),
            "filters": {name: ", ".join(values) for name, values in request.GET.lists()},
            "columns": [column.name for column in self.export_columns()],
        }
        with one_state(rows.db), bounded(ABOUT_SECONDS, rows.db):
            if self.model not in FILTERS:
                return said | {"rows": rows.order_by().count(), "as_of": written(timezone.now())}
            trust = self.trust_of_export(request)
            return said | digested(rows).said() | {"as_of": written(trust.as_of), "meta": trust.meta()}

    def about(self, request: HttpRequest, manifest: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the page about an export shows; `manifest` None where the rows took too long to add up."""
        query = request.GET.urlencode()
        return {
            **self.admin_site.each_context(request),
            "title": "About this export",
            "opts": self.opts,
            "manifest": manifest,
            "rows": exact(manifest["rows"]) if manifest else "",
            "as_of": to_the_second(manifest["as_of"]) if manifest else "",
            "last_change": to_the_second(manifest.get("last_changed_at")) if manifest else "",
            "sums": [sum_shown(line) for line in manifest.get("sums", ())] if manifest else (),
            "trust": list(trust_in_words(manifest["meta"])) if manifest and "meta" in manifest else [],
            "listed": f"{self.list_address()}{'?' if query else ''}{query}",
            "export_menu": self.export_menu(request),
            "as_file": f"?{query}{'&' if query else ''}format=json",
        }

    def trust_of_export(self, request: HttpRequest) -> Trust:
        """Return how far the filtered records of usage can be trusted."""
        filters: Any = FILTERS[self.model]
        known = in_staff_scope(Source.objects.all(), request, "id")
        filterset = filters(request.GET, self.model.objects.none(), sources=known)
        filterset.is_valid()
        return trust_of_filtered(filterset, staff_scope(request))


def to_the_second(instant: str | None) -> str:
    """Return an instant of a manifest as pages show it; `–` for None."""
    return f"{at(datetime.fromisoformat(instant))} UTC" if instant else NOTHING


def sum_shown(line: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return a sum of a manifest as the cells of a page: what is added up, its unit, the sum, and of how many rows."""
    number = None if line["sum"] is None else Decimal(line["sum"])
    words = line["measure"].replace("_", " ")
    return capfirst(words), line["unit"], exact(number), exact(line["rows"]), exact(line["without"])


def progress_of(request: HttpRequest, ident: str) -> Progress | None:
    """Return the notes on this person's export of that id; None for what is no id."""
    return Progress(str(request.user.pk), ident) if ID.fullmatch(ident) else None
