"""Partitions: usage records and their revisions are stored in a table for each month of `day`.

A month is created before its first day is planned and can be dropped in an instant (usage/pruning.py). There is no
default partition: its rows would keep their month from being created.
"""

from collections.abc import Collection, Iterator
from datetime import date, datetime

from django.db import connection, models, transaction

from usage.days import first_of_next_month
from usage.models import RecordRevision, UsageRecord

LOCK_TIMEOUT = "5s"
Month = date  # the first day of a month


def ensure_partitions(kind: type[UsageRecord], first: date, end: date, skip: Collection[Month] = ()) -> None:
    """Create the missing partitions for records of the days `[first, end)`, but not of `skip`, and for their revisions.

    Each is created in a transaction of its own, which merges and readers do not wait for. Raises OperationalError
    where another session holds the table for longer than LOCK_TIMEOUT.
    """
    for model in (kind, RecordRevision):
        existing = list_partitions(model)
        for month in iterate_months(first, end):
            if month not in existing and month not in skip:
                create_partition(model, month)


def create_partition(model: type[models.Model], month: Month) -> None:
    """Create the partition of a month, unless another session has."""
    parent, name = model._meta.db_table, build_partition_name(model, month)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        # The lock that ATTACH takes: two sessions create one after the other.
        cursor.execute(f"LOCK TABLE ONLY {parent} IN SHARE UPDATE EXCLUSIVE MODE")
        cursor.execute("SELECT to_regclass(%s)", [name])
        if cursor.fetchone() == (None,):
            cursor.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY)")
            bounds = f"FROM ('{month}') TO ('{first_of_next_month(month)}')"
            cursor.execute(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES {bounds}")
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")


def list_partitions(model: type[models.Model]) -> dict[Month, str]:
    """Return the names of the partitions of a table, by month."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = %s::regclass ORDER BY relname",
            [model._meta.db_table],
        )
        return {parse_month(model, name): name for (name,) in cursor.fetchall()}


def build_partition_name(model: type[models.Model], month: Month) -> str:
    """Return e.g. `usage_resourceusage_2026_01`."""
    return f"{model._meta.db_table}_{month:%Y_%m}"


def parse_month(model: type[models.Model], name: str) -> Month:
    """Return the month of a partition's name."""
    return datetime.strptime(name.removeprefix(f"{model._meta.db_table}_"), "%Y_%m").date()  # noqa: DTZ007 (a date)


def iterate_months(first: date, end: date) -> Iterator[Month]:
    """Yield the months that hold a day of `[first, end)`."""
    month = first.replace(day=1)
    while month < end:
        yield month
        month = first_of_next_month(month)
