"""The columns of an answer, and how PostgreSQL renders them: as JSON objects, or as cells of CSV.

The rows of lists and exports never become Python objects: the query is built by the ORM, wrapped in a SELECT
that renders each row, and the text is passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import QuerySet
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

# A cell that begins with one of = + - @ tab CR is a formula to a spreadsheet; a leading ' makes it text again.
FORMULA_STARTS: Final = ", ".join(str(ord(start)) for start in "=+-@\t\r")

AS_JSON: Final = {
    INSTANT: "replace((t.{0} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'",
    NUMBER: "t.{0}::text",  # a JSON number would lose digits in most readers
}
# The cells of files that know a text from a formula and a number.
AS_TYPED: Final = {
    INSTANT: AS_JSON[INSTANT],
    FLAG: "t.{0}::text",
    WORDS: "array_to_string(t.{0}, ' ')",
}
NEUTRAL: Final = f"CASE WHEN ascii({{text}}) IN ({FORMULA_STARTS}) THEN '''' || {{text}} ELSE {{text}} END"
AS_CELL: Final = {
    **AS_TYPED,
    TEXT: NEUTRAL.format(text="t.{0}"),
    JSON: NEUTRAL.format(text="t.{0}::text"),
    WORDS: NEUTRAL.format(text=AS_TYPED[WORDS]),
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
    names = [column.identifier for column in columns]
    marks = [f'"~{place}"' for place, _ in enumerate(keys)]
    cells = [
        f"{AS_JSON.get(column.kind, 't.{0}').format(column.identifier)} AS {column.identifier}" for column in columns
    ]
    chosen = ", ".join(["row_to_json(r)::text", *(f"t.{mark}" for mark in marks)])
    source = f"({inner.sql}) AS t ({', '.join(names + marks)}), LATERAL (SELECT {', '.join(cells)}) AS r"
    return Statement(f"SELECT {chosen} FROM {source}", inner.params)  # noqa: S608 (names are the serializer's)


def as_cells(queryset: QuerySet[Any], columns: Sequence[Column], rendering: Mapping[str, str] = AS_CELL) -> Statement:
    """Return a SELECT of the cells of a CSV row, named as the API names them.

    By default text that a spreadsheet would run is neutralised by a leading apostrophe, which AS_TYPED leaves
    out; numbers are as they are.
    """
    inner = rows(queryset, [column.path for column in columns])
    names = [column.identifier for column in columns]
    cells = [
        f"{rendering.get(column.kind, 't.{0}').format(column.identifier)} AS {column.identifier}" for column in columns
    ]
    return Statement(f"SELECT {', '.join(cells)} FROM ({inner.sql}) AS t ({', '.join(names)})", inner.params)  # noqa: S608 (as above)


def rows(queryset: QuerySet[Any], paths: Sequence[str]) -> Statement:
    """Return the SELECT of a queryset's rows with the columns at these ORM paths, one after the other."""
    query = queryset.values_list(*paths).query
    # Not elided: a filter that nothing can pass must still give a statement, of no rows.
    sql, params = query.get_compiler(queryset.db, elide_empty=False).as_sql()
    return Statement(sql, tuple(params))
