"""Tags and filters of the staff pages' templates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import display_for_field, display_for_value, label_for_field, lookup_field
from django.contrib.admin.views.main import ChangeList
from django.db.models import ForeignKey, Model
from django.urls import reverse
from django.utils.text import capfirst

from usage.admin.filter_chips import Chip
from usage.models import KINDS

register = template.Library()
CHECKBOX = "action_checkbox"


@dataclass(frozen=True, slots=True)
class ListCell:
    """A cell of an admin's list. `label`: its heading, for where it does not stand under it; '' if the cell is empty.

    `url`: the page of the row, '' for a cell without a link; a link makes the cell the heading of its row.
    """

    text: Any
    label: str
    css_class: str
    url: str

    def __str__(self) -> str:
        return str(self.text)


@dataclass(frozen=True, slots=True)
class ListHead:
    """A heading of an admin's list, '' for the boxes to tick. `url` orders by the column, '' where no index has it.

    `sorted`: as in aria-sort, '' where the list is not in this order.
    """

    label: str
    url: str = ""
    sorted: str = ""


@register.simple_tag
def build_list(cl: ChangeList) -> tuple[list[ListHead], list[list[ListCell]]]:
    """Return the headings of an admin's list and its rows, a cell for each column."""
    heads = [build_head(cl, str(name)) for name in cl.list_display]
    labels = [head.label for head in heads]
    return heads, [list(build_cells(cl, row, labels)) for row in cl.result_list]


def build_head(cl: ChangeList, name: str) -> ListHead:
    """Return the heading of a column."""
    if name == CHECKBOX:
        return ListHead("")
    label = capfirst(str(label_for_field(name, cl.model, cl.model_admin)))
    query: Any = getattr(cl, "list_query", None)
    ordering = getattr(getattr(cl.model_admin, name, None), "admin_order_field", name)
    if query is None or ordering not in query.viewset.orderings:
        return ListHead(label)
    return ListHead(label, query.build_sort_url(ordering), query.get_sorting(ordering))


def build_cells(cl: ChangeList, row: Model, labels: Sequence[str]) -> Iterator[ListCell]:
    """Yield the cells of a row."""
    for name, label in zip(cl.list_display, labels, strict=True):
        if name == CHECKBOX:
            yield ListCell(cl.model_admin.action_checkbox(row), "Select", CHECKBOX.replace("_", "-"), "")
            continue
        text, url = display_value(cl, row, str(name)), ""
        if name in (cl.list_display_links or ()):
            preserved: Any = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
            url = add_preserved_filters(preserved, cl.url_for_result(row))
        yield ListCell(text, "" if text == "" else label, f"field-{name}", url)


def display_value(cl: ChangeList, row: Model, name: str) -> Any:
    """Return a column's value as the admin shows it: by the model's field or the admin's own method."""
    empty: str = cl.model_admin.get_empty_value_display()
    field, method, value = lookup_field(name, row, cl.model_admin)
    if field is None:
        return display_for_value(value, empty, getattr(method, "boolean", False))
    if isinstance(field, ForeignKey):
        return display_for_value(getattr(row, field.name), empty)
    return display_for_field(value, field, empty)


@register.simple_tag
def list_filter_chips(cl: ChangeList) -> list[Chip]:
    """Return the filters that are applied to a list of Django's own, each with the address of the list without it."""
    return [
        Chip(describe_filter(spec, name, value), cl.get_query_string({name: None}))
        for spec in cl.filter_specs
        for name in map(str, spec.expected_parameters())
        if (value := "".join(cl.filter_params.get(name, ())).strip())
    ]


def describe_filter(spec: Any, name: str, value: str) -> str:
    """Return an applied filter as a chip shows it: `Source: gcore-main`, `Day from: 2026-11-01`."""
    form, choices = getattr(spec, "form", None), dict(getattr(spec, "lookup_choices", ()))
    label = f"{spec.title} {form.fields[name].label}" if form else str(spec.title)
    return f"{capfirst(label)}: {choices.get(value, value)}"


@register.inclusion_tag("admin/usage/kind_tabs.html")
def show_kind_tabs(user: Any, current: str) -> dict[str, Any]:
    """Show the lists of usage that a person may open, in the order of kinds that every page has."""
    models = [kind._meta for kind in KINDS.values() if user.has_perm(f"usage.view_{kind._meta.model_name}")]
    return {
        "tabs": [
            (
                capfirst(str(meta.verbose_name_plural).removesuffix(" usage")) + "s",
                reverse(f"admin:usage_{meta.model_name}_changelist"),
                meta.model_name == current,
            )
            for meta in models
        ]
    }


@register.filter
def holds_numbers(rows: Sequence[Sequence[Any]], column: int) -> bool:
    """Return whether a column's cells are right-aligned numbers, so that its heading stands over them."""
    return any('class="number"' in str(row[column]) for row in rows[:5])


@register.filter
def heading(heads: Sequence[Any], column: int) -> str:
    """Return the label of a column."""
    return str(heads[column].label)
