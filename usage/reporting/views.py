"""What a view of the schema `reporting` is, and the SQL that it is made with; the views are in `definitions.py`.

A view runs with the rights of its owner, and shows the role that reads it the sources of its ReportingRole alone.
It is a security barrier: PostgreSQL calls no function or cast of a reader on rows that the view leaves out. Only
conditions whose operators are leakproof, such as comparisons of a day, a source or an instant, go by an index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, models
from psycopg import ClientCursor

from usage.directory.lookup import build_name_name
from usage.models import PERSONS, NameKind, PersonNames

SCHEMA: Final = "reporting"
# The sources of the reading role, and its names of people.
SCOPE: Final = """(
    SELECT source.id, source.slug, source.vendor, source.time_zone, source.backfill_from, source.retired_after,
           source.look_back_days, role.person_names
    FROM usage_reportingrole AS role
    JOIN usage_source AS source ON NOT role.limited OR EXISTS (
        SELECT FROM usage_reportingrole_sources AS chosen
        WHERE chosen.reportingrole_id = role.id AND chosen.source_id = source.id
    )
    WHERE role.name = current_user::text
) AS scope"""
PERSON: Final = " ".join(
    f"WHEN '{column}' THEN {{0}}.{column}" for column in PersonNames.values if column != PersonNames.NONE
)


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column: its name, its SQL over the view's rows, and its meaning, the comment in the database."""

    name: str
    sql: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """A view; `rows` is what follows FROM."""

    name: str
    meaning: str
    columns: tuple[ViewColumn, ...]
    rows: str

    @property
    def identifier(self) -> str:
        return f"{SCHEMA}.{self.name}"

    def build_create(self) -> str:
        """Return the statement that creates the view, or replaces it where only columns are added at the end."""
        columns = ",\n    ".join(f"{column.sql} AS {column.name}" for column in self.columns)
        return (
            f"CREATE OR REPLACE VIEW {self.identifier} WITH (security_barrier) AS\nSELECT {columns}\nFROM {self.rows}"
        )

    def build_comments(self) -> list[str]:
        comments = {f"VIEW {self.identifier}": self.meaning} | {
            f"COLUMN {self.identifier}.{column.name}": column.meaning for column in self.columns
        }
        return [f"COMMENT ON {target} IS {bind('%s', [text])}" for target, text in comments.items()]


def bind(statement: str, params: Sequence[Any]) -> str:
    """Return a statement with its parameters in place: a view has none."""
    with connection.cursor() as cursor:
        return ClientCursor(cursor.connection).mogrify(statement, params)


def column(name: str, meaning: str, sql: str = "") -> ViewColumn:
    """Return a column, of the rows `t` where it has no SQL of its own."""
    return ViewColumn(name, sql or f"t.{name}", meaning)


def name_column(column: str, kind: NameKind) -> ViewColumn:
    """Return the column of the names of a column of ids; see `join_names`."""
    name = build_name_name(column)
    if kind in PERSONS:
        meaning = "What stands for the user, by the rule of the role: name, e-mail address, pseudonym, or nothing."
        return ViewColumn(name, f"nullif(CASE scope.person_names {PERSON.format(f'{name}s')} END, '')", meaning)
    return ViewColumn(name, f"nullif({name}s.name, '')", f"The name that the vendor gives to `{column}` today.")


def build_rows(model: type[models.Model], names: Mapping[str, NameKind] | None = None) -> str:
    """Return the FROM of the columns: the rows `t` of a table that are in the scope, and names of ids beside them.

    PostgreSQL leaves out a join of names whose columns are not selected, for the key of the directory is unique.
    """
    joins = "".join(
        f"\nLEFT JOIN usage_directoryentry AS {alias} ON {alias}.source_id = t.source_id AND {alias}.kind = '{kind}'"
        f" AND {alias}.vendor_id = t.{column}::text"
        for column, kind in (names or {}).items()
        for alias in (f"{build_name_name(column)}s",)
    )
    return f"{SCOPE}\nJOIN {model._meta.db_table} AS t ON t.source_id = scope.id{joins}"
