"""What the three usage lists share: the API's filters, pages by position, totals, suggestions, a record's page."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.views.decorators.http import require_GET

from usage.access import staff_scope
from usage.admin.base import ReadOnlyAdmin
from usage.admin.paging import KeysetList
from usage.admin.records.asking import Asked, Offered, without_blanks
from usage.admin.records.details import API_NAMES, Show, page_of
from usage.admin.records.inputs import label
from usage.admin.records.suggestions import MOST, TOO_MANY, suggested_by, suggestions
from usage.admin.records.totals import TOO_MANY as TOO_MANY_TO_ADD
from usage.admin.records.totals import totals_of
from usage.bounded import TookTooLong
from usage.filters.trusted import as_instant
from usage.models import UsageRecord
from usage.moments import THROUGH
from usage.trust import reporting

OF_SUGGESTIONS = ("source", "vendor", "from", "to", "tz")
WAYS_IN_TIME = ("Newest", "Newer", "Older", "Oldest")
WAYS = ("First", "Previous", "Next", "Last")


class UsageList(KeysetList):
    """A page of usage records, filtered and ordered as the API does it."""

    asked: Asked

    def order(self) -> Any:
        """Return the order that is asked for."""
        return self.asked.order

    def words_of_steps(self) -> tuple[str, str, str, str]:
        """Name the ways by time where the list is in its order."""
        if self.asked.order.columns[0] not in {self.model_admin.kind.instant, "changed_at"}:
            return WAYS
        return WAYS_IN_TIME if self.asked.order.descending else WAYS_IN_TIME[::-1]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the filtered records in their order; raises IncorrectLookupParameters that names what is wrong."""
        self.asked = self.model_admin.asked(request)
        self.filter_params = self.asked.kept
        self.filter_specs: list[Any] = []
        self.has_filters, self.has_active_filters = False, bool(self.asked.filters)
        if self.asked.errors:
            said = [f"{label(name)}: {' '.join(faults)}" for name, faults in self.asked.errors.items()]
            messages.error(request, " ".join(said))
            raise IncorrectLookupParameters
        return self.asked.order.apply(self.asked.rows)

    def question(self, request: HttpRequest) -> str:
        """Return what a position belongs to: the list, its filters and its order, however they were written."""
        return repr((self.opts.label_lower, self.asked.ordering, sorted(self.asked.filters.items())))


class UsageAdmin(ReadOnlyAdmin):
    """List, totals, suggestions and pages of one kind of usage.

    `viewset`: the API's, whose filters and orders these are. `common`: the filters that are shown at once.
    `shows`: how columns are shown on a record's page that are not shown as they are.
    """

    change_list_template = "admin/usage/record_list.html"
    change_form_template = "admin/usage/record.html"
    row_is, rows_are = "record", "records"
    source_path = "source_id"
    viewset: ClassVar[Any]
    common: ClassVar[tuple[str, ...]]
    shows: ClassVar[Mapping[str, Show]] = {}
    actions = None

    @property
    def kind(self) -> type[UsageRecord]:
        """The records."""
        return self.model

    def asked(self, request: HttpRequest, only: Collection[str] | None = None) -> Asked:
        """Return what a request asks of the records within its row scope; `only`: of these parameters alone."""
        said = without_blanks(request.GET, only)
        inputs = Offered(self.viewset.orderings, self.viewset.ordering, self.common, suggested_by(self.kind))
        return Asked.of(said, request, self.get_queryset(request), self.viewset.filterset_class, inputs)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list of usage."""
        return UsageList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; where something is wrong with what is asked, the form that names it, and no records."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = self.asked(request)
        if THROUGH in request.GET:
            return redirect(f"{request.path}?{asked.said.urlencode()}")
        if not asked.errors:
            return super().changelist_view(request, extra_context)
        title = capfirst(str(self.opts.verbose_name_plural))
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "asked": asked}
        return TemplateResponse(request, "admin/usage/refused.html", context, status=400)

    def get_urls(self) -> list[URLPattern]:
        """Add the totals and the suggestions beside the list."""
        name = f"usage_{self.opts.model_name}"
        return [
            path("totals/", self.admin_site.admin_view(require_GET(self.totals)), name=f"{name}_totals"),
            path(
                "suggest/<str:parameter>/",
                self.admin_site.admin_view(require_GET(self.suggest)),
                name=f"{name}_suggest",
            ),
            *super().get_urls(),
        ]

    def totals(self, request: HttpRequest) -> HttpResponse:
        """Return what the filtered records add up to: a part of the list's page, or a page where asked for alone."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = self.asked(request)
        kind = urlencode({"kind": API_NAMES[self.kind]})
        explore = f"{reverse('admin:explore')}?{'&'.join(filter(None, (kind, asked.given.urlencode())))}"
        context: dict[str, Any] = {"opts": self.opts, "asked": asked, "explore": explore}
        if not asked.errors:
            try:
                context["totals"] = totals_of(self.kind, asked.filterset, staff_scope(request))
            except TookTooLong:
                context["too_many"] = TOO_MANY_TO_ADD
        if request.headers.get("HX-Request"):
            return TemplateResponse(request, "admin/usage/totals.html", context)
        title = f"Totals of {self.opts.verbose_name_plural}"
        context |= {**self.admin_site.each_context(request), "title": title}
        return TemplateResponse(request, "admin/usage/totals_page.html", context)

    def suggest(self, request: HttpRequest, parameter: str) -> JsonResponse:
        """Return values of a parameter that hold `part`, from the sources and the range that the form names."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if parameter not in suggested_by(self.kind):
            raise Http404
        sources, start, end = self.suggested_from(request)
        part = request.GET.get("part", "").strip().replace("\x00", "")[:200]
        try:
            found = suggestions(self.kind, parameter, part, sources, start, end)
        except TookTooLong:
            return JsonResponse({"options": [], "more": False, "words": TOO_MANY})
        options = [{"value": value, "label": name} for value, name in found[:MOST]]
        return JsonResponse({"options": options, "more": len(found) > MOST, "words": ""})

    def suggested_from(self, request: HttpRequest) -> tuple[list[int], Any, Any]:
        """Return the ids of the sources and the range to suggest from; what is not understood narrows nothing."""
        asked = self.asked(request, OF_SUGGESTIONS)
        fine = asked.filterset.form.cleaned_data
        ids = None if {"source", "vendor"} & set(asked.errors) else asked.filterset.source_ids()
        start, end = (as_instant(fine.get(name)) for name in ("from", "to"))
        return [source.pk for source in reporting(self.kind, ids, staff_scope(request))], start, end

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """None of Django's: a record's page is laid out by `sections`."""
        return []

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add everything that is known of the record."""
        if obj is not None:
            context["page"] = page_of(request, obj, self.shows, self.ways(obj))
        return super().render_change_form(request, context, add, change, form_url, obj)

    def ways(self, record: Any) -> Sequence[tuple[str, dict[str, str]]]:
        """Return the ways to records that have something in common with this one: words, and the filters."""
        return ()
