"""Revisions: what a record said before it was restated, kept in the transaction that restated it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from usage.models import RecordRevision, UsageRecord


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differed: its column, and its value before and after, as JSON has them (numbers exact)."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Revision:
    """An earlier version of a record: its number, when it was replaced, and what the next kept version changed."""

    number: int
    replaced_at: datetime
    changes: tuple[Change, ...]


def image(kind: type[UsageRecord], table: str) -> str:
    """Return the SQL of what is kept of a row of the table alias `table`: an object of its columns."""
    columns: list[str] = [*kind.row._fields, "day", "withdrawn_at"]  # type: ignore[attr-defined]
    return f"jsonb_build_object({', '.join(f'{name!r}, {table}.{name}' for name in columns)})"


def keep(kind: type[UsageRecord], table: str, revision: str) -> str:
    """Return an INSERT of the rows of the alias `table` as they were, to be followed by the FROM they come from.

    `revision` is SQL for the number they had.
    """
    into = connection.ops.quote_name(RecordRevision._meta.db_table)
    row = f"{table}.id, {table}.source_id, {revision}, {image(kind, table)}"
    return (
        f"INSERT INTO {into} (kind, replaced_at, record, source_id, revision, was) "
        f"SELECT '{kind._meta.model_name}', statement_timestamp(), {row}"
    )


def revisions_of(record: UsageRecord) -> list[Revision]:
    """Return the earlier versions of a record that are kept, newest first, in two queries."""
    kept = RecordRevision.objects.filter(kind=record._meta.model_name, record=record.pk).order_by("-revision")
    found, after = [], current(record)
    for one in kept:
        found.append(Revision(one.revision, one.replaced_at, differences(one.was, after)))
        after = one.was
    return found


def current(record: UsageRecord) -> Mapping[str, Any]:
    """Return the image of a record as it is stored now."""
    kind = type(record)
    table = connection.ops.quote_name(kind._meta.db_table)
    statement = f"SELECT {image(kind, 't')} FROM {table} t WHERE id = %s"  # noqa: S608 (as above)
    with connection.cursor() as cursor:
        cursor.execute(statement, [record.pk])
        row = cursor.fetchone()
    decode: Any = RecordRevision._meta.get_field("was")
    return decode.from_db_value(row[0], None, connection) if row else {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the fields whose value differs."""
    return tuple(Change(name, value, new.get(name)) for name, value in old.items() if value != new.get(name))
