"""Tags and filters of the staff pages' templates."""

from collections.abc import Sequence
from typing import Any

from django import template

register = template.Library()


@register.filter
def holds_numbers(rows: Sequence[Sequence[Any]], column: int) -> bool:
    """Return whether a column's cells are right-aligned numbers, so that its heading stands over them."""
    return any('class="number"' in str(row[column]) for row in rows[:5])
