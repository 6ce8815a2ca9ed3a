"""Cells of the staff pages: HTML around the texts of usage/formatting.py."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage import formatting
from usage.formatting import (
    format_hours,
    format_number,
    format_quantity_details,
    format_rounded,
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table within a page; `empty` stands there instead of no rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."


def render_number(value: Decimal | int | str | None, unit: str = "") -> SafeString:
    """Return a number with all its digits, or a text of one, as a right-aligned cell, its unit set apart."""
    text = value if isinstance(value, str) else format_number(value)
    if value is None or not unit:
        return format_html('<span class="number">{}</span>', text)
    return format_html('<span class="number">{} <span class="unit">{}</span></span>', text, unit)


def render_runtime(seconds: Decimal | None, sign: str = "", share: str = "") -> SafeString:
    """Return a runtime in hours as a right-aligned cell; pointing at it shows its exact seconds.

    A change has a `sign` before its number and its `share` of the whole after it.
    """
    if seconds is None:
        return render_number(None)
    exact = f"{sign}{format_number(seconds)} s"
    return format_html('<span class="number" title="{}">{}{}{}</span>', exact, sign, format_hours(seconds), share)


def render_exact_runtime(seconds: Decimal | None) -> SafeString:
    """Return a runtime in hours beside its exact seconds, for the page of one record."""
    if seconds is None:
        return render_number(None)
    return format_html(
        '<span class="number">{} <span class="exact">{} s</span></span>', format_hours(seconds), format_number(seconds)
    )


def render_quantity(value: Decimal | int | None, unit: str, sign: str = "", share: str = "") -> SafeString:
    """Return a rounded quantity as a right-aligned cell; below it all digits and its size in a larger unit.

    A change has a `sign` before its numbers and its `share` of the whole after them.
    """
    if value is None:
        return render_number(None)
    details = ((sign, text) for text in format_quantity_details(value, unit))
    below = format_html_join(" ", "<span>{}{}</span>", details)
    return format_html(
        '<span class="number">{}{}{}{}{}</span>',
        sign,
        format_rounded(value),
        format_html(' <span class="unit">{}</span>', unit) if unit else "",
        share,
        format_html('<span class="in-words">{}</span>', below) if below else "",
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
    """Return JSON with one field a line; `–` where there is nothing."""
    return render_verbatim(json.dumps(value, indent=2, ensure_ascii=False) if value else "")


def render_verbatim(text: str) -> SafeString | str:
    """Return a text with its spaces and line breaks; `–` where there is none."""
    return format_html('<pre class="json">{}</pre>', text) if text else formatting.NOTHING


def render_badge(text: str, tone: str) -> SafeString:
    """Return a short text on a quiet colour; `tone` is good, busy, warn, bad or plain."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)
