"""Rows as JSON texts that PostgreSQL renders: one row, or a batch of them for a page."""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from usage.api.pagination import Batch
from usage.columns import Column, Statement, build_json_select


def read_json_row(queryset: QuerySet[Any], columns: Sequence[Column]) -> str | None:
    """Return the JSON object of the only row, None if there is no row."""
    statement = build_json_select(queryset.order_by(), columns)
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None


def read_json_batch(
    queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str], size: int, *, reverse: bool
) -> Batch:
    """Return the first `size` rows of a queryset as one text, JSON objects with commas between them."""
    statement = build_batch_select(queryset, columns, keys, size, reverse=reverse)
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        text, count, *edges = cursor.fetchone()
    if not count:
        return Batch("", (), (), has_more=False)
    return Batch(text, tuple(edges[0::2]), tuple(edges[1::2]), has_more=count > size)


def build_batch_select(
    queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str], size: int, *, reverse: bool
) -> Statement:
    """Return a SELECT of one row about the first `size` rows of a queryset and the row after them.

    Its columns: the JSON objects of the first `size` rows as one text, in the reverse order if `reverse`; the number of
    rows; for each key its value in the first and in the last of these objects.
    """
    # One text in place of 1,000 rows saves a tenth of the CPU of a page (19.0 instead of 20.7 ms), mostly Python's.
    inner = build_json_select(queryset[: size + 1], columns, keys)
    order = " ORDER BY place DESC" if reverse else ""  # for all aggregates: one that sorts changes the others' order
    key_names = [f"k{index}" for index in range(len(keys))]
    edges = [
        f"(array_agg({name}{order}) FILTER (WHERE place <= {size}))[least({end}, {size})]"
        for name in key_names
        for end in ("1", "count(*)")
    ]
    text = f"string_agg(j, ','{order}) FILTER (WHERE place <= {size})"
    return Statement(
        f"SELECT {', '.join([text, 'count(*)', *edges])} FROM ("  # noqa: S608 (the names are ours)
        f"SELECT *, row_number() OVER () AS place FROM ({inner.sql}) AS rendered ({', '.join(['j', *key_names])})"
        ") AS batch",
        inner.params,
    )
