"""The columns of an answer, and how PostgreSQL renders them: as JSON objects, or as cells of CSV.

The rows of lists and exports never become Python objects: the query is built by the ORM, wrapped in a SELECT
that renders each row, and the text is passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import models
from django.db.models import QuerySet
from django.db.models.sql import Query
from rest_framework.exceptions import ValidationError

TEXT: Final = "text"
JSON: Final = "json"
INSTANT: Final = "instant"
NUMBER: Final = "number"
WHOLE: Final = "whole number"
DAY: Final = "day"
FLAG: Final = "flag"
WORDS: Final = "words"  # several texts without spaces, in one cell
PLAIN: Final = "plain"  # what PostgreSQL writes the same way everywhere, and no spreadsheet can run

KINDS: Final["tuple[tuple[type[models.Field[Any, Any]], str], ...]"] = (
    (models.DateTimeField, INSTANT),
    (models.DateField, DAY),
    (models.DecimalField, NUMBER),
    (models.IntegerField, WHOLE),
    (models.BooleanField, FLAG),
    (models.JSONField, JSON),
    (ArrayField, WORDS),
    (models.CharField, TEXT),
    (models.TextField, TEXT),
)

# Kept statements; as many as there are lists, orders and choices of columns in use, bounded against a flood of them.
FRAMES: Final = 512

AS_JSON: Final = {
    INSTANT: "replace((t.{0} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'",
    NUMBER: "t.{0}::text",  # a JSON number would lose digits in most readers
}
AS_CELL: Final = {
    INSTANT: AS_JSON[INSTANT],
    FLAG: "t.{0}::text",
    WORDS: "array_to_string(t.{0}, ' ')",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer: its name there, the ORM path to it, and how it is to be rendered."""

    name: str
    path: str
    kind: str

    @property
    def identifier(self) -> str:
        """The name, quoted for SQL."""
        return '"' + self.name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Statement:
    """A SELECT with its parameters, rows in the order of the queryset it was made of."""

    sql: str
    params: tuple[Any, ...]


@cache
def columns_of(serializer: Any) -> tuple[Column, ...]:
    """Return the columns that a model serializer class's fields stand for, in its order."""
    model = serializer.Meta.model
    paths = {name: str(field.source).replace(".", "__") for name, field in serializer().fields.items()}
    return tuple(Column(name, path, kind_of(model, path)) for name, path in paths.items())


def columns_at(model: type[models.Model], *paths: str, **named: str) -> tuple[Column, ...]:
    """Return the columns at these ORM paths of a model, called so, and those of `named`, by name."""
    at = {path: path for path in paths} | named
    return tuple(Column(name, path, kind_of(model, path)) for name, path in at.items())


def chosen(columns: Sequence[Column], names: str | None) -> tuple[Column, ...]:
    """Return the columns with these comma-separated names, in the order of the names; all of them for None.

    Raises ValidationError that names what is no column, or is there twice.
    """
    if names is None:
        return tuple(columns)
    offered = {column.name: column for column in columns}
    wanted = [name.strip() for name in names.split(",")]
    for number, name in enumerate(wanted):
        if name not in offered:
            raise ValidationError({"fields": [f"There is no “{name}”; there are: {', '.join(offered)}."]})
        if name in wanted[:number]:
            raise ValidationError({"fields": [f"“{name}” is named twice."]})
    return tuple(offered[name] for name in wanted)


def field_of(model: type[models.Model], path: str) -> Any:
    """Return the field at an ORM path; for a generated column, the field of what it computes."""
    field: Any = None
    for part in path.split("__"):
        field = model._meta.get_field(part)
        model = field.related_model or model
    return getattr(field, "output_field", None) or field


def kind_of(model: type[models.Model], path: str) -> str:
    """Return how the field at an ORM path is to be rendered."""
    field = field_of(model, path)
    return next((kind for base, kind in KINDS if isinstance(field, base)), PLAIN)


def as_json(queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str] = ()) -> Statement:
    """Return a SELECT of one JSON object (text) per row, followed by the columns at the ORM paths `keys`.

    NUMERIC becomes a string with all its digits, instants are UTC and end in Z.
    """
    inner = rows(queryset, [column.path for column in columns] + list(keys))
    before, after = around_json(tuple(columns), len(keys))
    return Statement(before + inner.sql + after, inner.params)


def as_page(
    queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str], most: int, *, backwards: bool
) -> Statement:
    """Return a SELECT of one row about the rows of `queryset`, of which there may be one more than `most`.

    Its columns: the JSON objects of the first `most` rows with commas between them, `backwards` in the reverse
    order; the number of rows; and for every key its value in the first and in the last of those rows.
    """
    inner = as_json(queryset, columns, keys)
    return Statement(around_page(len(keys), most, backwards).format(inner.sql), inner.params)


@lru_cache(maxsize=FRAMES)
def around_json(columns: tuple[Column, ...], keys: int) -> tuple[str, str]:
    """Return what stands before and after the SELECT of the rows that are rendered as JSON."""
    names = [column.identifier for column in columns]
    marks = [f'"~{place}"' for place in range(keys)]
    cells = [
        f"{AS_JSON.get(column.kind, 't.{0}').format(column.identifier)} AS {column.identifier}" for column in columns
    ]
    chosen = ", ".join(["row_to_json(r)::text", *(f"t.{mark}" for mark in marks)])
    lateral = f"LATERAL (SELECT {', '.join(cells)}) AS r"
    return f"SELECT {chosen} FROM (", f") AS t ({', '.join(names + marks)}), {lateral}"  # noqa: S608 (names are the serializer's)


@lru_cache(maxsize=FRAMES)
def around_page(keys: int, most: int, backwards: bool) -> str:
    """Return the statement of a page, with {} for that of its rows."""
    marks = [f"k{place}" for place in range(keys)]
    # Every aggregate is told the order, or none is: one that sorts changes the order for those that are not told.
    order = " ORDER BY place DESC" if backwards else ""
    ends = ("count(*)", "1") if backwards else ("1", "count(*)")
    edges = [
        f"(array_agg({mark}{order}) FILTER (WHERE place <= {most}))[least({end}, {most})]"
        for mark in marks
        for end in ends
    ]
    text = f"string_agg(j, ','{order}) FILTER (WHERE place <= {most})"
    numbered = f"SELECT *, row_number() OVER () AS place FROM ({{}}) AS rendered ({', '.join(['j', *marks])})"  # noqa: S608 (as above)
    return f"SELECT {', '.join([text, 'count(*)', *edges])} FROM ({numbered}) AS page"  # noqa: S608 (as above)


def as_cells(queryset: QuerySet[Any], columns: Sequence[Column]) -> Statement:
    """Return a SELECT of the cells of a CSV row, named as the API names them; no text is neutralised."""
    inner = rows(queryset, [column.path for column in columns])
    names = [column.identifier for column in columns]
    cells = [
        f"{AS_CELL.get(column.kind, 't.{0}').format(column.identifier)} AS {column.identifier}" for column in columns
    ]
    return Statement(f"SELECT {', '.join(cells)} FROM ({inner.sql}) AS t ({', '.join(names)})", inner.params)  # noqa: S608 (as above)


def rows(queryset: QuerySet[Any], paths: Sequence[str]) -> Statement:
    """Return the SELECT of a queryset's rows with the columns at these ORM paths, one after the other."""
    query = queryset.query
    frame = frame_of(query.model, tuple(paths), query.order_by, queryset.db) if is_plain(query) else None
    if frame is not None and joins_of(query).items() <= frame.joins.items():
        try:
            condition, params = query.get_compiler(queryset.db).compile(query.where)
        except FullResultSet:
            return Statement(frame.statement("", query.high_mark), ())
        except EmptyResultSet:
            pass
        else:
            return Statement(frame.statement(condition, query.high_mark), tuple(params))
    # Not elided: a filter that nothing can pass must still give a statement, of no rows.
    sql, params = queryset.values_list(*paths).query.get_compiler(queryset.db, elide_empty=False).as_sql()
    return Statement(sql, tuple(params))


@dataclass(frozen=True, slots=True)
class Frame:
    """What Django makes of a plain SELECT but for its condition and its limit; to make it anew took most of the time.

    `joins`: how every table of it is joined, by alias.
    """

    head: str
    order: str
    joins: Mapping[str, str | None]

    def statement(self, condition: str, limit: int | None) -> str:
        """Return the whole statement."""
        where = f" WHERE {condition}" if condition else ""
        return f"{self.head}{where}{self.order}{'' if limit is None else f' LIMIT {limit}'}"


@lru_cache(maxsize=FRAMES)
def frame_of(model: type[models.Model], paths: tuple[str, ...], order: tuple[Any, ...], using: str) -> Frame | None:
    """Return the frame of a SELECT of the columns at these paths in this order, None where it takes parameters."""
    every = model._base_manager.using(using).values_list(*paths)  # noqa: SLF001 (Django's name for the plain one)
    unordered, ordered = every.order_by().query, every.order_by(*order).query
    head, parameters = unordered.get_compiler(using).as_sql()
    whole, more_parameters = ordered.get_compiler(using).as_sql()
    if parameters or more_parameters or not whole.startswith(head) or joins_of(ordered) != joins_of(unordered):
        return None
    return Frame(head, whole.removeprefix(head), joins_of(ordered))


def joins_of(query: Query) -> dict[str, str | None]:
    """Return how every table of a query is joined, by alias."""
    return {alias: join.join_type for alias, join in query.alias_map.items() if query.alias_refcount[alias]}


def is_plain(query: Query) -> bool:
    """Tell whether a query is no more than a condition, an order by names and a limit."""
    return not (
        query.annotations
        or query.extra
        or query.extra_order_by
        or query.distinct
        or query.combinator
        or query.low_mark
        or query.select_for_update
        or query.group_by is not None
        or not query.standard_ordering
        or not all(isinstance(one, str) and one != "?" for one in query.order_by)
        or (not query.order_by and query.default_ordering and query.get_meta().ordering)
    )
