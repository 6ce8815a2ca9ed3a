"""What the three usage lists share: the API's filters, pages by position, totals, suggestions, a record's page."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.views.decorators.http import require_GET

from usage.admin.base import ReadOnlyAdmin
from usage.admin.filter_form import build_filterset
from usage.admin.lists.details import Related, Renderer, build_page
from usage.admin.lists.pagination import PAGE_SECONDS, KeysetList
from usage.admin.lists.query import ListQuery
from usage.admin.lists.suggestions import MOST, TOO_MANY, find_suggestions, get_suggested_params
from usage.admin.lists.totals import TOO_MANY as TOO_MANY_TO_ADD
from usage.admin.lists.totals import compute_totals
from usage.api.access import get_staff_name_access, get_staff_scope
from usage.data_quality import get_reporting_sources
from usage.datetimes import THROUGH, UTC_ZONE
from usage.directory.lookup import find_record_names
from usage.labels import get_label
from usage.models import KIND_NAMES
from usage.param_values import write_value
from usage.ranges import get_range
from usage.timeouts import QueryTimeout, limit_query_time

SUGGESTION_PARAMS = ("source", "vendor", "from", "to", "tz")
MAX_ID = 200  # characters
TIME_LABELS = ("Newest", "Newer", "Older", "Oldest")
LABELS = ("First", "Previous", "Next", "Last")


class UsageList(KeysetList):
    """A page of usage records, filtered and ordered as the API does it."""

    list_query: ListQuery

    def get_keyset_ordering(self) -> Any:
        return self.list_query.ordering

    def get_link_labels(self) -> tuple[str, str, str, str]:
        """Return labels by time where the list is in its order."""
        if self.list_query.ordering.columns[0] not in {self.model_admin.model.instant, "changed_at"}:
            return LABELS
        return TIME_LABELS if self.list_query.ordering.descending else TIME_LABELS[::-1]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the filtered records in their order; raises IncorrectLookupParameters with the errors."""
        self.list_query = query = self.model_admin.get_list_query(request)
        self.filter_params = query.page_params
        self.filter_specs: list[Any] = []
        self.has_filters, self.has_active_filters = False, bool(query.filters)
        if query.errors:
            texts = [f"{get_label(name)}: {' '.join(errors)}" for name, errors in query.errors.items()]
            messages.error(request, " ".join(texts))
            raise IncorrectLookupParameters
        rows: QuerySet[Any] = query.ordering.apply(query.rows)
        return rows

    def fetch_results(self, request: HttpRequest) -> None:
        """Fetch the page, and the names of its ids in one query."""
        super().fetch_results(request)
        names = find_record_names(self.result_list, get_staff_name_access(request))
        for record in self.result_list:
            record.directory_names = names

    def build_url(self, **position: str) -> str:
        return self.list_query.build_url(**position)

    def get_cursor_key(self, request: HttpRequest) -> str:
        """Return what a cursor is valid for: the list, its filters and its ordering."""
        query = self.list_query
        return repr((self.opts.label_lower, query.ordering_name, sorted(query.filters.lists())))


class UsageAdmin(ReadOnlyAdmin):
    """List, totals, suggestions and pages of one kind of usage.

    `viewset`: the API's, whose filters and orders these are. `common`: the filters that are shown at once.
    `id_columns`: the columns to search for an id, the most likely first.
    `renderers`: of the columns that a record's page does not show as plain values.
    """

    change_list_template = "admin/usage/record_list.html"
    change_form_template = "admin/usage/record.html"
    row_name, row_name_plural = "record", "records"
    source_path = "source_id"
    viewset: ClassVar[Any]
    common: ClassVar[tuple[str, ...]]
    id_columns: ClassVar[tuple[str, ...]]
    renderers: ClassVar[Mapping[str, Renderer]] = {}
    actions = None

    def get_list_query(self, request: HttpRequest, only: Collection[str] | None = None) -> ListQuery:
        """Return the query of a request over the records within its row scope; `only`: of these parameters."""
        return ListQuery.parse(request, self.get_queryset(request), self.viewset, self.common, only)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return UsageList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; for invalid parameters, the form with their errors, and no records.

        Without any parameter it is the list of this month.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not request.GET:
            first, end = get_range("this-month", UTC_ZONE)
            return redirect(f"{request.path}?{urlencode({'from': str(first), 'to': str(end)})}")
        query = self.get_list_query(request)
        if THROUGH in request.GET:
            return redirect(f"{request.path}?{query.params.urlencode()}")
        if not query.errors:
            return super().changelist_view(request, extra_context)
        title = capfirst(str(self.opts.verbose_name_plural))
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "list_query": query}
        return TemplateResponse(request, "admin/usage/refused.html", context, status=400)

    def get_urls(self) -> list[URLPattern]:
        name = f"usage_{self.opts.model_name}"
        return [
            path("find/", self.admin_site.admin_view(require_GET(self.find)), name=f"{name}_find"),
            path("totals/", self.admin_site.admin_view(require_GET(self.totals)), name=f"{name}_totals"),
            path(
                "suggest/<str:parameter>/",
                self.admin_site.admin_view(require_GET(self.suggest)),
                name=f"{name}_suggest",
            ),
            *super().get_urls(),
        ]

    def find(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the records that have an id: the vendor's of anything in them, whichever column it is of."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = request.GET.get("id", "").strip().replace("\x00", "")[:MAX_ID]
        list_url = reverse(f"admin:usage_{self.opts.model_name}_changelist")
        if not text:
            return redirect(list_url)
        try:
            with limit_query_time(PAGE_SECONDS):
                column = self.find_column(request, text)
        except QueryTimeout:
            messages.warning(request, f"The search for “{text}” took too long. Give a filter for the column it is of.")
            return redirect(list_url)
        if column:
            return redirect(f"{list_url}?{urlencode({column: write_value(text)})}")
        messages.warning(request, f"No record of this list has the id “{text}”.")
        return redirect(list_url)

    def find_column(self, request: HttpRequest, text: str) -> str:
        """Return the name of the first column of ids that has this value, '' for none."""
        for column in self.id_columns:
            rows = self.get_queryset(request).select_related(None)
            params = QueryDict(urlencode({column: write_value(text)}))
            filterset = build_filterset(self.viewset.filterset_class, params, rows, request)
            if filterset.is_valid() and filterset.qs.order_by().exists():
                return column
        return ""

    def totals(self, request: HttpRequest) -> HttpResponse:
        """Return the totals of the filtered records: a part of the list's page, or a page of its own."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = self.get_list_query(request)
        kind = urlencode({"kind": KIND_NAMES[self.model]})
        explore = f"{reverse('admin:explore')}?{'&'.join(filter(None, (kind, query.filters.urlencode())))}"
        context: dict[str, Any] = {
            "opts": self.opts,
            "list_query": query,
            "explore": explore,
            "totals_note": self.model.totals_note,
        }
        if not query.errors:
            try:
                context["totals"] = compute_totals(self.model, query.filterset)
            except QueryTimeout:
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
        if parameter not in get_suggested_params(self.model):
            raise Http404
        sources, start, end = self.get_suggestion_scope(request)
        part = request.GET.get("part", "").strip().replace("\x00", "")[:200]
        try:
            names = get_staff_name_access(request)
            suggestions = find_suggestions(self.model, parameter, part, sources, start, end, names)
        except QueryTimeout:
            return JsonResponse({"options": [], "more": False, "words": TOO_MANY})
        options = [{"value": value, "label": name} for value, name in suggestions[:MOST]]
        return JsonResponse({"options": options, "more": len(suggestions) > MOST, "words": ""})

    def get_suggestion_scope(self, request: HttpRequest) -> tuple[list[int], Any, Any]:
        """Return the ids of the sources and the range to suggest from; invalid parameters narrow nothing."""
        query = self.get_list_query(request, SUGGESTION_PARAMS)
        ids = None if {"source", "vendor"} & set(query.errors) else query.filterset.get_source_ids()
        sources = get_reporting_sources(self.model, ids, get_staff_scope(request))
        return [source.pk for source in sources], *query.filterset.get_range()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """None of Django's: a record's page is laid out by `sections`."""
        return []

    def build_page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        return {"page": build_page(request, obj, self.renderers, self.get_related(obj))} if obj is not None else {}

    def get_related(self, record: Any) -> Sequence[Related]:
        return ()
