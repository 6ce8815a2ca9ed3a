"""The filter backend of the API: it rejects every parameter that neither the filters nor the view know."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.views import APIView

from usage.api.access import get_name_access, get_row_scope
from usage.api.filters.sets import SourceRelatedFilterSet

# Lists of names, which take several values as filters do.
NAME_LISTS: Final = frozenset({"fields", "group_by", "measures", "order_by"})


class StrictFilterBackend(DjangoFilterBackend):
    """Filters a list by the view's filter set; every other parameter must be one of the view's `parameters`."""

    def get_filterset_class(self, view: Any, queryset: Any = None) -> Any:
        """Return the filter set of a list; a single record is not filtered."""
        return super().get_filterset_class(view, queryset) if getattr(view, "detail", None) is False else None

    def get_filterset_kwargs(self, request: Any, queryset: QuerySet[Any], view: APIView) -> dict[str, Any]:
        """Return the arguments of the filter set, with the request's row scope."""
        kwargs: dict[str, Any] = super().get_filterset_kwargs(request, queryset, view)
        if issubclass(self.get_filterset_class(view, queryset), SourceRelatedFilterSet):
            row_scope, names = get_row_scope(request), get_name_access(request)
            kwargs |= {"row_scope": row_scope, "names": names, "only_used": True}
        return kwargs

    def filter_queryset(self, request: Any, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """Return the filtered rows; raises ValidationError that names every invalid or unknown parameter."""
        filterset = self.get_filterset(request, queryset, view)
        if errors := find_param_errors(request.query_params, filterset, getattr(view, "parameters", ())):
            raise exceptions.ValidationError(errors)
        filtered: QuerySet[Any] = queryset if filterset is None else filterset.qs
        return filtered


def find_param_errors(params: QueryDict, filterset: Any, known_params: Iterable[str]) -> dict[str, list[Any]]:
    """Return the errors of the parameters by name; `known_params` are those besides the filters."""
    filters = type(filterset).base_filters if filterset else {}
    repeatable = {name for name, param_filter in filters.items() if getattr(param_filter, "repeatable", False)}
    errors = find_misused_params(params, {*filters, *known_params}, repeatable | NAME_LISTS)
    if filterset is not None and not filterset.is_valid():
        for name, messages in filterset.errors.items():
            errors.setdefault(name, []).extend(messages)
    return errors


def find_misused_params(params: QueryDict, allowed: set[str], repeatable: Collection[str]) -> dict[str, list[Any]]:
    """Return an error for each parameter that is unknown, empty, or repeated without need."""
    errors: dict[str, list[Any]] = {}
    for name, values in params.lists():
        if name not in allowed:
            errors[name] = [f"Unknown parameter; allowed are: {', '.join(sorted(allowed)) or 'none'}."]
        elif len(values) > 1 and name not in repeatable:
            errors[name] = ["Given more than once; it takes one value."]
        elif not all(value.strip() for value in values):
            errors[name] = ["Empty; give a value or leave the parameter out."]
    return errors
