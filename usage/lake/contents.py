"""Contents: all that PostgreSQL has of the days of a month, every column of their records, and their revisions.

The stored digest of a day (usage/stored.py) is of the vendor's columns of current records. This digest is of all
columns of all records, so that nothing is dropped which is not in the lake too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from hashlib import md5
from typing import Any

from django.db import connection, models

from usage.data_quality import VENDOR_KINDS
from usage.days import first_of_next_month
from usage.models import RecordRevision, SourceDay, UsageRecord
from usage.partitions import Month, list_partitions
from usage.pruning import PARTITIONED
from usage.stored import build_day_filter, build_parameters, build_record_bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """The stored content of a day: the number of records and revisions, and the sums of the hashes of their columns."""

    records: int = 0
    record_hashes: int = 0
    revisions: int = 0
    revision_hashes: int = 0

    def compute_digest(self) -> str:
        text = f"{self.records}:{self.record_hashes}:{self.revisions}:{self.revision_hashes}"
        return md5(text.encode(), usedforsecurity=False).hexdigest()


def read_contents(month: Month, days: Iterable[SourceDay]) -> dict[int, Contents]:
    """Return the stored content of these days of a month, by key; the vendor of each is known."""
    revisions = read_revisions(month)
    return {
        day.pk: Contents(
            *read_records(VENDOR_KINDS[day.source.vendor], day), *revisions.get((day.source_id, day.day), (0, 0))
        )
        for day in days
    }


def read_records(kind: type[UsageRecord], day: SourceDay) -> tuple[int, int]:
    """Return the number of a day's records, and the sum of the hashes of all their columns."""
    table = connection.ops.quote_name(kind._meta.db_table)
    sql = f"SELECT {build_record_hashes(kind)} FROM {table} t WHERE {build_day_filter(kind)}"  # noqa: S608 (our own names)
    number, hashes = fetch_row(sql, build_parameters(day))
    return number, int(hashes)


def read_revisions(month: Month) -> dict[tuple[int, date], tuple[int, int]]:
    """Return by source and day the number of revisions, and the sum of the hashes of all their columns.

    In one scan of the month: no index leads to those of a day.
    """
    table = connection.ops.quote_name(RecordRevision._meta.db_table)
    sql = (
        f"SELECT source_id, day, {build_revision_hashes()} FROM {table} t "  # noqa: S608 (our own names)
        "WHERE day >= %s AND day < %s GROUP BY source_id, day"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [month, first_of_next_month(month)])
        return {(source, day): (number, int(hashes)) for source, day, number, hashes in cursor.fetchall()}


def count_strays(month: Month, contents: Iterable[Contents]) -> int:
    """Return how many records and revisions of a month are not among these."""
    stored = sum(count_rows(model, month) for model in PARTITIONED)
    return stored - sum(day.records + day.revisions for day in contents)


def count_rows(model: type[models.Model], month: Month) -> int:
    """Return how many rows the partition of a month has."""
    name = list_partitions(model).get(month)
    return int(fetch_row(f"SELECT count(*) FROM {connection.ops.quote_name(name)}", {})[0]) if name else 0  # noqa: S608 (our own names)


def build_record_hashes(kind: type[UsageRecord]) -> str:
    """Return the SQL of the number of records `t`, and of the sum of the hashes of all their columns."""
    values = {str(field.column): f"t.{field.column}" for field in kind._meta.local_concrete_fields}
    # See FirstSeenField.
    values["first_seen_at"] = "coalesce(t.first_seen_at, t.changed_at)"
    return build_hashes(build_record_bytes(kind, values))


def build_revision_hashes() -> str:
    """Return the SQL of the number of revisions `t`, and of the sum of the hashes of all their columns."""
    columns = ", ".join(f"t.{field.column}" for field in RecordRevision._meta.local_concrete_fields)
    return build_hashes(f"record_send(ROW({columns}))")


def build_hashes(row: str) -> str:
    """Return the SQL of the number of rows, and of the sum of hashes of these bytes; numbers differ by their scale."""
    return f"count(*), coalesce(sum(('x' || left(md5({row}), 16))::bit(64)::bigint), 0)"


def fetch_row(sql: str, params: dict[str, Any]) -> tuple[Any, ...]:
    """Return the one row of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        row: tuple[Any, ...] = cursor.fetchone()
    return row
