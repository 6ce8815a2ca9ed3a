"""How many bytes the texts of usage records may have, derived from the indexes that hold them."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F

from usage.models import Rollup, UsageRecord

# PostgreSQL refuses an index row that is larger than a third of a page (pages of 8 KiB).
BTREE_ROW_BYTES = 2704
GIN_ROW_BYTES = 2712
HEADER_BYTES = 8
# Of a text of more than 126 bytes, which begins at a multiple of 4.
LENGTH_BYTES = 4
# Size and alignment of the other types that indexes hold.
FIXED = {
    "AutoField": (4, 4),
    "BigAutoField": (8, 8),
    "BigIntegerField": (8, 8),
    "DateField": (4, 4),
    "DateTimeField": (8, 8),
    "ForeignKey": (4, 4),  # of a source
    "UUIDField": (16, 1),
}
GIN_COLUMN_NUMBER = (2, 2)

Field = models.Field[Any, Any]
Index = models.Index | models.UniqueConstraint


@cache
def get_text_limits(kind: type[UsageRecord]) -> dict[str, int]:
    """Return the most bytes of each text column of `kind` that every index takes, whatever its other texts are.

    The indexes are those of the records and of the roll-ups of their kind. Where an index has several texts,
    each gets an equal part. PostgreSQL may compress a text, so a longer text might fit; that is not relied on.
    """
    limits: dict[str, int] = {}
    for model in (kind, *(rollup for rollup in Rollup.__subclasses__() if rollup.kind is kind)):
        for index in (*model._meta.indexes, *model._meta.constraints):
            if isinstance(index, Index):
                for name, limit in list_index_limits(model, index).items():
                    limits[name] = min(limit, limits.get(name, limit))
    return limits


def list_index_limits(model: type[models.Model], index: Index) -> dict[str, int]:
    """Return the most bytes of each text column that an index has by its value."""
    fields = [model._meta.get_field(name) for name in list_columns(index)]
    texts = [field.name for field in fields if is_text(field)]
    if not texts:
        return {}
    if isinstance(index, GinIndex):
        # Each text has a row of its own, with the number of its column.
        limit = GIN_ROW_BYTES - align(HEADER_BYTES + GIN_COLUMN_NUMBER[0], LENGTH_BYTES) - LENGTH_BYTES
    else:
        limit = next(size for size in range(BTREE_ROW_BYTES, 0, -1) if measure_row(fields, size) <= BTREE_ROW_BYTES)
    return dict.fromkeys(texts, limit)


def list_columns(index: Index) -> Iterator[str]:
    """Yield the columns that an index has by their value; a GIN index of trigrams or JSON has no full text."""
    yield from index.fields
    for expression in index.expressions:
        if isinstance(expression, F):
            yield expression.name  # type: ignore[attr-defined]


def measure_row(fields: list[Any], text_bytes: int) -> int:
    """Return the size of a B-tree row whose texts have `text_bytes` each."""
    size = HEADER_BYTES
    for field in fields:
        if is_text(field):
            size = align(size, LENGTH_BYTES) + LENGTH_BYTES + text_bytes
        else:
            width, alignment = FIXED[field.get_internal_type()]
            size = align(size, alignment) + width
    return align(size, 8)


def is_text(field: Any) -> bool:
    """Return whether a column has text of any length."""
    return isinstance(field, models.TextField)


def align(size: int, alignment: int) -> int:
    """Return `size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment
