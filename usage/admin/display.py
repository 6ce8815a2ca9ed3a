"""Cells of the staff pages: HTML around the texts of usage/formatting.py."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage import formatting
from usage.formatting import format_number, scale_amount


@dataclass(frozen=True, slots=True)
class Table:
    """A table within a page; `empty` stands there instead of no rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."


def build_list_column(
    label: str, render: Callable[[Any], Any], ordering: str | None = None
) -> Callable[[Any, Any], SafeString | str]:
    """Return the method of an admin for a column of its list, or a read-only field; `render` makes a row's cell."""

    @admin.display(description=label, ordering=ordering)
    def show_cell(_admin: Any, row: Any) -> Any:
        return render(row)

    return show_cell


def render_number(value: Decimal | int | str | None, unit: str = "") -> SafeString:
    """Return a number with all its digits, or a text of a number, as a right-aligned cell, its unit set apart."""
    text = value if isinstance(value, str) else format_number(value)
    if value is None or not unit:
        return format_html('<span class="number">{}</span>', text)
    return format_html('<span class="number">{} <span class="unit">{}</span></span>', text, unit)


def render_quantity(value: Decimal | int | None, unit: str, sign: str = "", share: str = "") -> SafeString:
    """Return a quantity, scaled for people, as a right-aligned cell.

    All digits are shown by pointing at it, and below it while *Exact digits* is ticked (templates/admin/base.html). A
    change has a `sign` before its numbers and its `share` of the total after them.
    """
    if value is None:
        return render_number(None)
    amount = scale_amount(value, unit)
    exact = f"{sign}{amount.exact}" if amount.exact else ""
    return format_html(
        '<span class="number"{}>{}{}{}{}{}</span>',
        format_html(' title="{}"', exact) if exact else "",
        sign,
        amount.number,
        format_html(' <span class="unit">{}</span>', amount.unit) if amount.unit else "",
        share,
        format_html(' <span class="exact">{}</span>', exact) if exact else "",
    )


def render_full_quantity(value: Decimal | int | None, unit: str) -> SafeString:
    """Return a quantity, scaled for people, beside all its digits, for the page of a record."""
    if value is None:
        return render_number(None)
    amount = scale_amount(value, unit)
    return format_html(
        '<span class="number">{}{}</span>',
        amount,
        format_html(' <span class="in-full">{}</span>', amount.exact) if amount.exact else "",
    )


def render_link(request: HttpRequest, row: Model, text: Any) -> SafeString:
    """Return a text that links to the page of a row, or the text alone for a person who may not open it."""
    app, model = row._meta.app_label, row._meta.model_name
    if not request.user.has_perm(f"{app}.view_{model}"):
        return format_html("{}", text)
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{app}_{model}_change", args=[row.pk]), text)


def render_prose(text: str) -> SafeString | str:
    """Return a longer text as a cell of limited width; '' for no text."""
    return format_html('<span class="prose">{}</span>', text) if text else ""


def render_json(value: Any) -> SafeString | str:
    """Return JSON with one field a line; `–` for empty JSON."""
    return render_verbatim(json.dumps(value, indent=2, ensure_ascii=False) if value else "")


def render_verbatim(text: str) -> SafeString | str:
    """Return a text with its spaces and line breaks; `–` where there is none."""
    return format_html('<pre class="json">{}</pre>', text) if text else formatting.NOTHING


def render_badge(text: str, tone: str) -> SafeString:
    """Return a short text on a quiet colour; `tone` is good, busy, warn, bad or plain."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)


def render_trend(width: int, height: int, description: str, shapes: str) -> SafeString:
    """Return the picture of bars over time, stretched to its place; `shapes` is SVG."""
    return format_html(
        '<svg class="trend" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        width,
        height,
        description,
        SafeString(shapes),
    )
