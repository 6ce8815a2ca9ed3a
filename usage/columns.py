"""The columns of a list or an export, and the SQL in which PostgreSQL renders them as JSON objects or CSV cells.

The rows of lists and exports never become Python objects: the ORM builds the query, a SELECT around it renders
each row, and the text is passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from usage.param_values import list_values

TEXT: Final = "text"
JSON: Final = "json"
INSTANT: Final = "instant"
NUMBER: Final = "number"
INTEGER: Final = "integer"
DAY: Final = "day"
BOOLEAN: Final = "boolean"
TEXT_LIST: Final = "text list"  # several texts without spaces, in one cell
DECIMAL: Final = "decimal"  # a number that a decimal of a fixed size holds, else null
BEYOND_DECIMAL: Final = "beyond decimal"  # a number that no such decimal holds, else null
PLAIN: Final = "plain"  # what PostgreSQL writes the same everywhere, and no spreadsheet can run

FIELD_KINDS: Final["tuple[tuple[type[models.Field[Any, Any]], str], ...]"] = (
    (models.DateTimeField, INSTANT),
    (models.DateField, DAY),
    (models.DecimalField, NUMBER),
    (models.IntegerField, INTEGER),
    (models.BooleanField, BOOLEAN),
    (models.JSONField, JSON),
    (ArrayField, TEXT_LIST),
    (models.CharField, TEXT),
    (models.TextField, TEXT),
)

# What decimal128(38, 18) holds; `{0}` is a column of numbers. NaN and infinite numbers are beyond it.
DECIMAL_DIGITS: Final = 38
DECIMAL_PLACES: Final = 18
FITS_DECIMAL: Final = (
    f"(coalesce(min_scale({{0}}) <= {DECIMAL_PLACES}, false) AND abs({{0}}) < 1e{DECIMAL_DIGITS - DECIMAL_PLACES})"
)

JSON_SQL: Final[Mapping[str, str]] = {
    INSTANT: "replace((t.{0} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'",
    NUMBER: "t.{0}::text",  # a JSON number would lose digits in most readers
}
CELL_SQL: Final[Mapping[str, str]] = {
    INSTANT: JSON_SQL[INSTANT],
    BOOLEAN: "t.{0}::text",
    TEXT_LIST: "array_to_string(t.{0}, ' ')",
    DECIMAL: f"CASE WHEN {FITS_DECIMAL.format('t.{0}')} THEN trim_scale(t.{{0}})::text END",
    BEYOND_DECIMAL: f"CASE WHEN NOT {FITS_DECIMAL.format('t.{0}')} THEN t.{{0}}::text END",
}


@dataclass(frozen=True, slots=True)
class NameLookup:
    """The source of the names of a column of ids: the directory's entries of a kind, and their column."""

    kind: str
    column: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the answer, the ORM path to it, and its kind, which decides how it is rendered.

    `lookup`: of a column of names, whose path leads to the ids, the source of the names.
    """

    name: str
    path: str
    kind: str
    lookup: "NameLookup | None" = None

    @property
    def identifier(self) -> str:
        """The name, quoted for SQL."""
        return '"' + self.name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Statement:
    """A SELECT with its parameters; its rows are in the order of the queryset that it is made of."""

    sql: str
    params: tuple[Any, ...]


@cache
def get_columns(serializer: Any) -> tuple[Column, ...]:
    """Return the columns of a model serializer class's fields, in its order."""
    paths = {name: str(field.source).replace(".", "__") for name, field in serializer().fields.items()}
    return build_columns(serializer.Meta.model, **paths)


def build_columns(model: type[models.Model], *paths: str, **named_paths: str) -> tuple[Column, ...]:
    """Return the columns at these ORM paths of a model; those of `paths` have the path as their name."""
    by_name = {path: path for path in paths} | named_paths
    return tuple(Column(name, path, get_kind(model, path)) for name, path in by_name.items())


def select_columns(
    columns: Sequence[Column], params: Mapping[str, Any], on_request: Sequence[Column] = ()
) -> tuple[Column, ...]:
    """Return the columns that the parameter `fields` names, in the order of the names; all columns without it.

    `on_request`: further columns, only returned where they are named. Raises ValidationError for a name that is
    unknown or given twice.
    """
    requested = list_values(params, "fields")
    if not requested:
        return tuple(columns)
    by_name = {column.name: column for column in (*columns, *on_request)}
    for index, name in enumerate(requested):
        if name not in by_name:
            raise ValidationError({"fields": [f"There is no “{name}”; there are: {', '.join(by_name)}."]})
        if name in requested[:index]:
            raise ValidationError({"fields": [f"“{name}” is named twice."]})
    return tuple(by_name[name] for name in requested)


def get_kind(model: type[models.Model], path: str) -> str:
    """Return the kind of the field at an ORM path."""
    field = get_field(model, path)
    return next((kind for base, kind in FIELD_KINDS if isinstance(field, base)), PLAIN)


def get_field(model: type[models.Model], path: str) -> Any:
    """Return the field at an ORM path; for a generated column, its output field."""
    field: Any = None
    for part in path.split("__"):
        field = model._meta.get_field(part)
        model = field.related_model or model
    return getattr(field, "output_field", None) or field


def build_select(queryset: QuerySet[Any], paths: Sequence[str]) -> Statement:
    """Return the SELECT of a queryset's rows with the columns at these ORM paths."""
    # `elide_empty=False`: a filter that excludes every row must still give a statement.
    sql, params = queryset.values_list(*paths).query.get_compiler(queryset.db, elide_empty=False).as_sql()
    return Statement(sql, tuple(params))


def build_json_select(queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str] = ()) -> Statement:
    """Return a SELECT of one JSON object (text) per row, followed by the columns at the ORM paths `keys`.

    NUMERIC becomes a string with all its digits; instants are UTC and end in Z.
    """
    rows = build_rows(queryset, columns, keys)
    key_names = [f't."~{index}"' for index in range(len(keys))]
    select_list = ", ".join(["row_to_json(r)::text", *key_names])
    return Statement(
        f"SELECT {select_list} FROM {rows.sql} CROSS JOIN LATERAL (SELECT {render_cells(columns, JSON_SQL)}) AS r",  # noqa: S608 (names are the serializer's)
        rows.params,
    )


def build_cell_select(queryset: QuerySet[Any], columns: Sequence[Column], sql_by_kind: Mapping[str, str]) -> Statement:
    """Return a SELECT of the cells of a CSV row, named as the API names them; texts are not neutralised."""
    rows = build_rows(queryset, columns)
    return Statement(f"SELECT {render_cells(columns, sql_by_kind)} FROM {rows.sql}", rows.params)  # noqa: S608 (as above)


def build_rows(queryset: QuerySet[Any], columns: Sequence[Column], keys: Sequence[str] = ()) -> Statement:
    """Return the FROM: the rows `t` with the columns and `keys` (`~0`, `~1`, …), and names beside them."""
    lookups = [column for column in columns if column.lookup]
    paths = [*(column.path for column in columns), *keys, *(["source_id"] if lookups else [])]
    inner = build_select(queryset, paths)
    names = [column.identifier for column in columns] + [f'"~{index}"' for index in range(len(keys))]
    if lookups:
        names.append('"~source"')
    joins = "".join(map(build_name_join, lookups))
    return Statement(f"({inner.sql}) AS t ({', '.join(names)}){joins}", inner.params)


def build_name_join(column: Column) -> str:
    """Return the join that finds the name of each row; with its LIMIT it keeps the rows in their order.

    PostgreSQL remembers the names that it looked up (Memoize).
    """
    lookup = column.lookup
    assert lookup is not None  # noqa: S101
    return (
        f" LEFT JOIN LATERAL (SELECT nullif(d.{lookup.column}, '') AS name FROM usage_directoryentry AS d"  # noqa: S608 (our own names)
        f" WHERE d.source_id = t.\"~source\" AND d.kind = '{lookup.kind}'"
        f" AND d.vendor_id = t.{column.identifier}::text LIMIT 1) AS {build_join_alias(column)} ON true"
    )


def build_join_alias(column: Column) -> str:
    """Return the alias of the join of a column of names."""
    return f'"~{column.name}"'


def render_cells(columns: Sequence[Column], sql_by_kind: Mapping[str, str]) -> str:
    """Return the select list of the columns of `t`, each rendered by the SQL of its kind."""
    return ", ".join(f"{render_cell(column, sql_by_kind)} AS {column.identifier}" for column in columns)


def render_cell(column: Column, sql_by_kind: Mapping[str, str]) -> str:
    """Return the SQL of one cell."""
    sql = sql_by_kind.get(column.kind, "t.{0}")
    if column.lookup:
        return sql.replace("t.{0}", f"{build_join_alias(column)}.name")
    return sql.format(column.identifier)
