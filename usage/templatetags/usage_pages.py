"""Tags and filters of the staff pages' templates."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

register = template.Library()
ROLES = {"<td": "cell", "<th": "rowheader"}


@register.filter
def holds_numbers(rows: Sequence[Sequence[Any]], column: int) -> bool:
    """Return whether a column's cells are right-aligned numbers, so that its heading stands over them."""
    return any('class="number"' in str(row[column]) for row in rows[:5])


@register.simple_tag
def labelled(cell: str, headers: Sequence[dict[str, Any]], column: int) -> SafeString:
    """Return a cell of Django's list with the words of its heading, for where it does not stand under it.

    A cell without anything in it has no words.
    """
    tag, rest = cell[:3], cell[3:]
    if tag not in ROLES:
        return SafeString(cell)
    words = "" if ">&nbsp;<" in cell else capfirst(str(headers[column]["text"]))
    return format_html('{} role="{}" data-label="{}"{}', SafeString(tag), ROLES[tag], words, SafeString(rest))


@register.filter
def heading(heads: Sequence[Any], column: int) -> str:
    """Return the words over a column."""
    return str(heads[column].label)
