"""Where filter sets meet requests: what nobody understands is refused by name."""

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.views import APIView

from usage.access import visible_sources
from usage.filters.sets import OfSourcesFilter


class StrictFilterBackend(DjangoFilterBackend):
    """Filters a list by the view's filter set and refuses every parameter that nothing there understands."""

    def get_filterset_class(self, view: Any, queryset: Any = None) -> Any:
        """Return the view's filter set where it lists; a single record is not filtered."""
        return super().get_filterset_class(view, queryset) if getattr(view, "detail", None) is False else None

    def get_filterset_kwargs(self, request: Any, queryset: QuerySet[Any], view: APIView) -> dict[str, Any]:
        """Tell the filter set which sources the request may know of."""
        asked: dict[str, Any] = super().get_filterset_kwargs(request, queryset, view)
        of_sources = issubclass(self.get_filterset_class(view, queryset), OfSourcesFilter)
        return {**asked, "sources": visible_sources(request)} if of_sources else asked

    def filter_queryset(self, request: Any, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """Return the filtered rows; raises ValidationError that names every parameter that was not understood."""
        said, further = request.query_params, getattr(view, "parameters", ())
        filtered = queryset
        chosen = self.get_filterset_class(view, queryset)
        if chosen is not None and issubclass(chosen, OfSourcesFilter) and not said.keys() & chosen.base_filters.keys():
            # A walk over everything asks by no filter, page after page: there is no form to fill in for that.
            problems, filtered = misused(said, {*chosen.base_filters, *further}), chosen.unasked(queryset)
        else:
            filterset = self.get_filterset(request, queryset, view)
            problems = problems_of(said, filterset, further)
            if filterset is not None and not problems:
                filtered = filterset.qs
        if problems:
            raise exceptions.ValidationError(problems)
        return filtered


def problems_of(said: QueryDict, filterset: Any, further: Iterable[str]) -> dict[str, list[Any]]:
    """Return what is wrong with parameters; `further` names those that are understood besides the filters."""
    filters = type(filterset).base_filters if filterset else {}
    repeatable = {name for name, one in filters.items() if getattr(one, "repeatable", False)}
    problems = misused(said, {*filters, *further}, repeatable)
    if filterset is not None and not filterset.is_valid():
        for name, errors in filterset.errors.items():
            problems.setdefault(name, []).extend(errors)
    return problems


def misused(said: QueryDict, understood: Iterable[str], repeatable: Collection[str] = ()) -> dict[str, list[Any]]:
    """Return what is wrong with parameters whatever their meaning: unknown, empty, or given twice without need."""
    allowed = set(understood)
    problems: dict[str, list[Any]] = {}
    for name, values in said.lists():
        if name not in allowed:
            problems[name] = [f"Unknown parameter; allowed are: {', '.join(sorted(allowed)) or 'none'}."]
        elif len(values) > 1 and name not in repeatable:
            problems[name] = ["Given more than once; several values go into one, separated by commas."]
        elif not all(value.strip() for value in values):
            problems[name] = ["Empty; give a value or leave the parameter out."]
    return problems
