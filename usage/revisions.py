"""Revisions: what a record was before it was restated, stored in the transaction that restated it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from usage.models import RecordRevision, UsageRecord

# What every UPDATE of a record `t` also sets.
REVISE = (
    "revision = t.revision + 1, first_seen_at = COALESCE(t.first_seen_at, t.changed_at), "
    "changed_at = statement_timestamp()"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differed: its column, and its value before and after, as JSON has them (numbers exact)."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Revision:
    """An earlier version of a record: its number, when it was replaced, and what the next version changed."""

    number: int
    replaced_at: datetime
    changes: tuple[Change, ...]


def build_image(kind: type[UsageRecord], table: str) -> str:
    """Return the SQL of a row of the table alias `table` as a JSON object of its columns."""
    columns: list[str] = [*kind.row._fields, "day", "withdrawn_at"]  # type: ignore[attr-defined]
    return f"jsonb_build_object({', '.join(f'{name!r}, {table}.{name}' for name in columns)})"


def build_insert(kind: type[UsageRecord], table: str, revision: str) -> str:
    """Return an INSERT of the rows of the alias `table` as they were, to be followed by the FROM they come from.

    `revision` is SQL for the number they had.
    """
    into = connection.ops.quote_name(RecordRevision._meta.db_table)
    row = f"{table}.id, {table}.source_id, {table}.day, {revision}, {build_image(kind, table)}"
    return (
        f"INSERT INTO {into} (kind, replaced_at, record, source_id, day, revision, was) "
        f"SELECT '{kind._meta.model_name}', statement_timestamp(), {row}"
    )


def list_revisions(record: UsageRecord) -> list[Revision]:
    """Return the stored earlier versions of a record, newest first, in two queries."""
    stored = RecordRevision.objects.filter(kind=record._meta.model_name, record=record.pk).order_by("-revision")
    revisions, newer_image = [], fetch_image(record)
    for revision in stored:
        revisions.append(Revision(revision.revision, revision.replaced_at, list_changes(revision.was, newer_image)))
        newer_image = revision.was
    return revisions


def fetch_image(record: UsageRecord) -> Mapping[str, Any]:
    """Return the image of a record as it is stored now."""
    kind = type(record)
    table = connection.ops.quote_name(kind._meta.db_table)
    statement = f"SELECT {build_image(kind, 't')} FROM {table} t WHERE id = %s"  # noqa: S608 (as above)
    with connection.cursor() as cursor:
        cursor.execute(statement, [record.pk])
        row = cursor.fetchone()
    decode: Any = RecordRevision._meta.get_field("was")
    return decode.from_db_value(row[0], None, connection) if row else {}


def list_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the fields whose value differs."""
    return tuple(Change(name, value, new.get(name)) for name, value in old.items() if value != new.get(name))
