"""The parameters of a usage list: the API's own filters, all valid or none applied."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from rest_framework.exceptions import ValidationError

from usage.admin.filter_chips import Chip, FilterChips
from usage.admin.filter_form import FilterForm, build_filter_form, build_filterset, build_select, clean_params
from usage.admin.lists.pagination import POSITION
from usage.api.access import get_staff_scope
from usage.api.filters import UsageFilterSet, find_param_errors
from usage.api.pagination import Ordering
from usage.data_quality import select_reporting_sources
from usage.datetimes import UTC_ZONE
from usage.labels import get_label
from usage.models import UsageRecord
from usage.ranges import RangeMenu, build_range_menu

ORDERING = "ordering"
NOT_FILTERS = (*POSITION, ORDERING)
TIMES = frozenset({"stopped_at", "starts_at", "changed_at", "day"})
# A list without any parameter is of this month; with this it is of any time.
ANY_TIME = "from="
SHORTCUTS = ("this-month", "last-month", "last-7-days", "last-30-days", "this-year")


@dataclass(frozen=True)
class ListQuery:
    """The parameters of one request. `filterset` is validated; `errors`: by parameter.

    `params`: those that are not empty; `filters`: the filters among them. `sources`: (slug, vendor) of those
    that report this usage and that the person may see. `viewset`: the API's, whose filters and orderings the list has;
    `common`: the filters that are shown at once.
    """

    params: QueryDict
    filters: QueryDict
    filterset: UsageFilterSet
    errors: dict[str, list[str]]
    sources: Sequence[tuple[str, str]]
    viewset: Any
    common: Sequence[str]

    @classmethod
    def parse(
        cls,
        request: HttpRequest,
        rows: QuerySet[Any],
        viewset: Any,
        common: Sequence[str],
        only: Collection[str] | None = None,
    ) -> Self:
        """Return the query of a request over `rows`, which are within the row scope; `only`: of these parameters."""
        params = clean_params(request.GET)
        for name in [name for name in params if only is not None and name not in only]:
            del params[name]
        filters = params.copy()
        for name in NOT_FILTERS:
            filters.pop(name, None)
        filterset = build_filterset(viewset.filterset_class, filters, rows, request)
        errors = {
            name: [str(text) for text in texts] for name, texts in find_param_errors(filters, filterset, ()).items()
        }
        try:
            Ordering.parse(params.get(ORDERING, viewset.ordering), viewset.orderings)
        except ValidationError as error:
            detail: Any = error.detail
            errors[ORDERING] = [str(text) for text in detail[ORDERING]]
        reporting = select_reporting_sources(rows.model, None, get_staff_scope(request))
        sources = tuple(reporting.values_list("slug", "vendor"))
        return cls(params, filters, filterset, errors, sources, viewset, common)

    @property
    def model(self) -> type[UsageRecord]:
        model: type[UsageRecord] = self.viewset.queryset.model
        return model

    @property
    def rows(self) -> QuerySet[Any]:
        """The filtered rows; only where there are no errors."""
        rows: QuerySet[Any] = self.filterset.qs
        return rows

    @property
    def ordering_name(self) -> str:
        """The name of the ordering, - before it for its reverse."""
        return str(self.params.get(ORDERING, self.viewset.ordering))

    @property
    def ordering(self) -> Ordering:
        return Ordering.parse(self.ordering_name, self.viewset.orderings)

    @property
    def page_params(self) -> dict[str, list[str]]:
        """The parameters that the other pages of this list have, too."""
        return {name: list(values) for name, values in self.params.lists() if name not in POSITION}

    @cached_property
    def form(self) -> FilterForm:
        slugs, vendors = [slug for slug, _ in self.sources], sorted({vendor for _, vendor in self.sources})
        selects = {"source": build_select("All sources", slugs), "vendor": build_select("All vendors", vendors)}
        return build_filter_form(
            self.filterset,
            self.errors,
            common=self.common,
            widgets=selects,
            model=self.model,
        )

    @property
    def unknown(self) -> dict[str, Sequence[str]]:
        """The errors of parameters that the form has no input for."""
        inputs = {field.name for field in self.form}
        return {name: texts for name, texts in self.errors.items() if name not in inputs and name != ORDERING}

    @property
    def ordering_choices(self) -> list[tuple[str, str, bool]]:
        """The name of each ordering, '' for the usual one, its label, and whether it is the current ordering."""
        names = [sign + name for name in self.viewset.orderings for sign in ("-", "")]
        return [
            ("" if name == self.viewset.ordering else name, get_ordering_label(name), name == self.ordering_name)
            for name in names
        ]

    @property
    def chips(self) -> list[Chip]:
        """The applied filters besides the range."""

        def build_url(name: str, value: str) -> str:
            return self.build_url(remove=(name,), value=value)

        return list(FilterChips(self.filterset, self.model, self.errors, build_url).build())

    @property
    def range(self) -> RangeMenu:
        zone: ZoneInfo = self.filterset.form.cleaned_data.get("tz") or UTC_ZONE
        bounds = self.params.get("from", ""), self.params.get("to", "")
        return build_range_menu(
            SHORTCUTS,
            bounds,
            zone,
            lambda first, end: self.build_url(**{"from": first, "to": end}),
            self.any_time_url,
        )

    @property
    def any_time_url(self) -> str:
        return self.build_url(remove=("from", "to"))

    @property
    def url(self) -> str:
        return self.build_url()

    def build_url(self, remove: Sequence[str] = (), value: str = "", **changes: str) -> str:
        """Return the address of the list with some parameters added or removed (of several values only `value`)."""
        params = {name: values for name, values in self.page_params.items() if name not in remove}
        for name in remove if value else ():
            params[name] = [current for current in self.page_params.get(name, ()) if current != value]
        return f"?{urlencode({**params, **changes}, doseq=True) or ANY_TIME}"

    def build_sort_url(self, name: str) -> str:
        """Return the address of the list ordered by a column, times the newest first; once more reverses it."""
        first, second = (f"-{name}", name) if name in TIMES else (name, f"-{name}")
        return self.build_url(**{ORDERING: second if self.ordering_name == first else first})

    def get_sorting(self, name: str) -> str:
        """Return how the list is ordered by a column, as in aria-sort; '' if it is not."""
        return {name: "ascending", f"-{name}": "descending"}.get(self.ordering_name, "")


def get_ordering_label(name: str) -> str:
    """Return the label of an ordering, e.g. `Stopped at, newest`."""
    column, descending = name.removeprefix("-"), name.startswith("-")
    if column in TIMES:
        return f"{get_label(column)}, {'newest' if descending else 'oldest'}"
    return f"{get_label(column)}, {'highest' if descending else 'lowest'}"
