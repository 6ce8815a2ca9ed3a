"""What the portal's admin pages share: bounded lists, filters in one form, buttons and tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

from usage.admin.display import Table
from usage.admin.exporting import ExportingAdmin
from usage.admin.lists.pagination import KeysetList
from usage.api.access import filter_by_staff_scope
from usage.text_search import list_spellings

# The browser's own pickers: a labelled input that keyboards and telephones support.
NATIVE_DATES: Any = {
    models.DateField: {"widget": forms.DateInput({"type": "date"}, format="%Y-%m-%d")},
    models.DateTimeField: {
        "form_class": forms.DateTimeField,
        "widget": forms.DateTimeInput({"type": "datetime-local", "step": 60}, format="%Y-%m-%dT%H:%M"),
    },
}


@dataclass(frozen=True, slots=True)
class PageAction:
    """A button of a record's page; `act` does it and leaves a message, `form` are inputs it needs.

    The page is shown again afterwards, or the response that `act` returns.
    """

    name: str
    label: str
    act: Callable[[HttpRequest, Any], HttpResponse | None]
    explains: str = ""
    form: forms.Form | None = None


class PortalAdmin(ExportingAdmin):
    """A list whose pages are bounded and whose filters are one form, beside pages with buttons and tables.

    `source_path`: from a row to its source's id, '' for rows that are of no source. `keyset`: the columns of the
    list's order, the largest first, the last of them unique, with an index in this order: then its
    pages are newer and older pages. Without it, for tables that stay small, pages are numbered.
    """

    source_path: ClassVar[str] = ""
    keyset: ClassVar[tuple[str, ...]] = ()

    change_list_template = "admin/portal/change_list.html"
    change_form_template = "admin/portal/change_form.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    formfield_overrides = NATIVE_DATES
    list_per_page = 50
    row_name = row_name_plural = ""  # where the model's own name does not fit after a number
    list_max_show_all = 0
    sortable_by: ClassVar[Any] = ()
    allowed_lookups: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of the sources that this person may know of: for lists, details, actions and choices."""
        rows = super().get_queryset(request)
        return filter_by_staff_scope(rows, request, self.source_path) if self.source_path else rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Raise Http404 for an id that no row has: Django would guess that it was deleted, and show the overview."""
        obj = super().get_object(request, object_id, from_field)
        if obj is None:
            raise Http404
        return obj

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list by position where there is a `keyset`."""
        return KeysetList if self.keyset else super().get_changelist(request, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the lookups of the filters only: no address makes the database read a table in full."""
        return lookup in self.allowed_lookups

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that match the term in a spelling, and whether a row may come twice."""
        search = super().get_search_results
        searches = [search(request, queryset, spelling) for spelling in list_spellings(search_term)]
        return reduce(or_, (rows for rows, _ in searches)), any(may_repeat for _, may_repeat in searches)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Title the list by the plural of its model."""
        title = capfirst(str(self.opts.verbose_name_plural))
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *where: Any) -> HttpResponse | None:
        """Run a list action; raises BadRequest for keys of rows that no page has."""
        if not all(key.isdecimal() for key in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest
        return super().response_action(request, queryset, *where)

    def get_page_actions(self, request: HttpRequest, obj: Any) -> Sequence[PageAction]:
        """Return the buttons of a record's page: those that this person may press now."""
        return ()

    def get_page_tables(self, request: HttpRequest, obj: Any) -> Sequence[Table]:
        return ()

    def get_page_summary(self, request: HttpRequest, obj: Any) -> str:
        return ""

    def build_page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return further context of a record's page; `obj` is None on the page that adds a record."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add the summary, buttons and tables of an existing record, and what `build_page_context` returns."""
        if obj is not None:
            context |= {
                "page_summary": self.get_page_summary(request, obj),
                "page_actions": [
                    (action, self.action_url(obj, action)) for action in self.get_page_actions(request, obj)
                ],
                "page_tables": self.get_page_tables(request, obj),
            }
        context |= self.build_page_context(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the buttons post to."""
        view = self.admin_site.admin_view(require_POST(self.run_page_action))
        return [path("<int:pk>/do/<slug:name>/", view, name=self._action_name), *super().get_urls()]

    def run_page_action(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Run the action of a button if the page offers it to this person, and show the page again."""
        obj = get_object_or_404(self.get_queryset(request), pk=pk)
        offered = {action.name: action for action in self.get_page_actions(request, obj)}
        if name not in offered or not self.has_view_permission(request, obj):
            raise PermissionDenied
        response = offered[name].act(request, obj)
        return response or redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", pk)

    def action_url(self, obj: Any, action: PageAction) -> str:
        return reverse(f"admin:{self._action_name}", args=[obj.pk, action.name])

    @property
    def _action_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_do"


class ReadOnlyAdmin(PortalAdmin):
    """Pages of what the engine writes: no person adds, changes or deletes it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
