"""The form of a FilterSet as a page shows it: the common inputs at once, the others by group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.db.models import QuerySet
from django.forms import BoundField
from django.forms.utils import ErrorList
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django_filters import rest_framework as django_filters

from usage.admin.lists.suggestions import get_suggested_params
from usage.api.access import get_staff_name_access, get_staff_scope
from usage.api.filters import MomentFilter, NumbersFilter, SourceRelatedFilterSet, TextsFilter, UsageFilterSet
from usage.api.filters.fields import CommaSeparatedField, IntegerTextField, MomentField
from usage.api.filters.names import TeamFilter, is_name_filter
from usage.api.filters.values import BoundFilter, ContainsFilter, DetailFilter, ExactNumberField
from usage.api.filters.widgets import (
    IN_HOURS,
    AddressSelect,
    HoursInput,
    RepeatedInput,
    to_hours,
    to_seconds,
)
from usage.datetimes import THROUGH, add_day, is_date
from usage.labels import get_label
from usage.models import EnvironmentUsage, UsageRecord

GROUPS: Final = ("Ids and names", "Sizes", "Details of the resource", "Times", "Other")
INCLUDED: Final = "This day is included."
Errors = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class FilterForm:
    """The inputs of a form: `common` are shown at once, `groups` on request; `hidden` are values without an input."""

    common: Sequence[BoundField]
    groups: Mapping[str, Sequence[BoundField]]
    hidden: Sequence[tuple[str, str]]

    def __iter__(self) -> Iterator[BoundField]:
        yield from self.common
        for fields in self.groups.values():
            yield from fields

    @property
    def is_open(self) -> bool:
        """Whether one of the inputs in groups is in use."""
        return any(field.value() or field.errors for fields in self.groups.values() for field in fields)


def build_filter_form(
    filterset: SourceRelatedFilterSet,
    errors: Errors,
    *,
    common: Sequence[str],
    widgets: Mapping[str, forms.Widget],
    model: type[UsageRecord] | None,
) -> FilterForm:
    """Return the form of a filter set.

    `errors`: all errors, by parameter. `widgets`: those of inputs whose choices only the database knows.
    `model`: the records that suggestions come from, None for no suggestions.
    """
    form = filterset.form
    form.auto_id = "filter-%s"
    params: Any = filterset.data
    for name, widget in widgets.items():
        form.fields[name].widget = widget
    for name in form.fields:
        prepare_field(form[name], get_suggestions_url(model, name))
    show_errors(form, errors)
    groups: dict[str, list[BoundField]] = {group: [] for group in GROUPS}
    hidden: list[tuple[str, str]] = []
    for name, param_filter in filterset.filters.items():
        if is_covered(name, param_filter):
            hidden += [(name, value) for value in params.getlist(name) if name not in errors]
        elif name not in common:
            groups[get_group(param_filter)].append(form[name])
    fields = [form[name] for name in common]
    return FilterForm(fields, {name: fields for name, fields in groups.items() if fields}, hidden)


def show_errors(form: forms.Form, errors: Errors) -> None:
    """Replace the errors of a form by these, of the inputs that it has."""
    form.errors.clear()
    for name, messages in errors.items():
        if name in form.fields:
            form.errors[name] = ErrorList(messages, renderer=form.renderer, field_id=form[name].auto_id)


def prepare_field(bound: BoundField, suggestions_url: str) -> None:
    """Set an input's label and the attributes of its widget; drop the help of inputs that need none."""
    field, widget = bound.field, bound.field.widget
    bound.label = get_label(bound.name)
    widget.attrs["autocomplete"] = "off"
    if suggestions_url:
        widget.attrs["data-suggestions"] = suggestions_url
    if isinstance(field, (ExactNumberField, IntegerTextField)):
        widget.attrs["inputmode"] = "decimal"
    if isinstance(widget, RepeatedInput):
        widget.attrs["aria-label"] = bound.label
    if isinstance(field, forms.ChoiceField):
        # Of choices with the same label the first stays, which leaves the parameter out.
        values: dict[str, str] = {}
        choices: Any = field.choices
        for value, label in choices:
            values.setdefault(str(label), value)
        widget.choices = [(value, label) for label, value in values.items()]
    if isinstance(field, MomentField) and is_date(bound.value() or "2026-01-01"):
        bound.help_text = ""
        if bound.name == "to":
            bound.label, bound.help_text = "Through", INCLUDED
    if isinstance(field, (CommaSeparatedField, ExactNumberField, IntegerTextField, forms.ChoiceField)):
        bound.help_text = ""
    if isinstance(widget, HoursInput):
        bound.help_text = "In seconds." if to_hours(str(bound.value() or "")) is None else "In hours."


def build_select(empty_label: str, values: Iterable[str]) -> forms.Select:
    """Return a drop-down of values that are their own labels."""
    return AddressSelect(choices=[("", empty_label), *((value, value) for value in values)])


def get_suggestions_url(model: type[UsageRecord] | None, name: str) -> str:
    """Return the address that suggests values of an input, '' for none; a list of any kind suggests time zones."""
    model = model or (EnvironmentUsage if name == "tz" else None)
    if model is None or name not in get_suggested_params(model):
        return ""
    return reverse(f"admin:usage_{model._meta.model_name}_suggest", args=[name])


def is_covered(name: str, param_filter: django_filters.Filter) -> bool:
    """Return whether another input covers a filter; its parameter is still valid in an address."""
    if is_name_filter(param_filter):  # the input of the id takes a name, too
        return True
    return name == "details.flavor" or (isinstance(param_filter, BoundFilter) and name.endswith(("__gt", "__lt")))


def get_group(param_filter: django_filters.Filter) -> str:
    """Return the group of inputs that a filter belongs to."""
    if isinstance(param_filter, DetailFilter):
        return "Details of the resource"
    if isinstance(param_filter, MomentFilter):
        return "Times"
    if isinstance(param_filter, BoundFilter):
        return "Sizes"
    identifying = (TextsFilter, NumbersFilter, ContainsFilter, TeamFilter)
    return "Ids and names" if isinstance(param_filter, identifying) else "Other"


def build_filterset(
    filterset_class: type[UsageFilterSet], params: QueryDict, rows: QuerySet[Any], request: HttpRequest
) -> UsageFilterSet:
    """Return the filter set of parameters over `rows`, with the sources and names that this person may see."""
    scope, names = get_staff_scope(request), get_staff_name_access(request)
    return filterset_class(params, rows, row_scope=scope, names=names)


def clean_params(data: QueryDict) -> QueryDict:
    """Return the parameters that have a value: a form sends its empty inputs along.

    The last day of a range, an input of forms, becomes its end, as an address has it.
    """
    params = QueryDict(mutable=True)
    for name, values in data.lists():
        if filled := [value for value in values if value.strip()]:
            params.setlist(name, filled)
    for name in [name for name in params if name.endswith(IN_HOURS)]:
        params[name.removesuffix(IN_HOURS)] = to_seconds(params.pop(name)[0])
    if THROUGH in params:
        params["to"] = add_day(params.pop(THROUGH)[0].strip())
    return params
