"""Pruning: drop the records and revisions of old months; their days, digests and roll-ups stay.

A month is dropped for all sources at once, in one transaction: the records and revisions of all of them share its
partitions. The tables are locked before the days, and no lock of a day is waited for, so there is never a deadlock with
a merge, which locks its days first. A read of several things from one state of the database locks the tables
(usage/snapshot.py), so no answer sees half a month.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import sleep
from typing import Any, Final

import structlog
from django.db import OperationalError, connection, models, transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected, LockNotAvailable

from usage.data_quality.days import SETTLED
from usage.days import first_of_next_month, iterate_days
from usage.models import KINDS, RecordRevision, Source, SourceDay
from usage.partitions import Month, list_partitions

logger = structlog.get_logger(__name__)

PARTITIONED: Final[tuple[type[models.Model], ...]] = (*KINDS.values(), RecordRevision)
# The wait for each table, in which readers wait too. The sum is less than deadlock_timeout, so that PostgreSQL ends no
# reader for a deadlock.
LOCK_TIMEOUT: Final = "200ms"
TRIES: Final = 10
SECONDS_BETWEEN_TRIES: Final = 0.5
BEHIND_UTC: Final = timedelta(hours=12)  # no zone is further behind

# A claim changes the attempt of a day, and a merge that takes records of another day changes the other columns.
STATE: Final = ("attempt", "loaded_at", "restated_at", "records", "withdrawn", "stored_digest")
States = dict[int, tuple[Any, ...]]  # by the key of a day

# Why a day is an obstacle; '' where it is none. It must be settled, at rest, and in the roll-ups.
OBSTACLES: Final = f"""
SELECT stored.source_id, stored.day, CASE
    WHEN stored.pruned_at IS NOT NULL THEN ''
    WHEN stored.loaded_at IS NULL THEN 'never read'
    WHEN stored.state NOT IN ('loaded', 'partial') THEN 'to be read again'
    WHEN NOT coalesce({SETTLED}, false) THEN 'not final'
    WHEN NOT stored.rolled_up AND stored.records > 0 THEN 'not rolled up'
    ELSE ''
END
FROM usage_sourceday AS stored
JOIN (SELECT id, look_back_days AS look_back FROM usage_source) AS touched ON touched.id = stored.source_id
WHERE stored.day >= %s AND stored.day < %s
"""  # noqa: S608 (our own names)
SIZES: Final = """
SELECT relname, CASE WHEN reltuples >= 0 THEN reltuples::bigint END, pg_total_relation_size(oid)
FROM pg_class WHERE oid = ANY(%s::regclass[])
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A table of one month: its bytes with indexes, and about how many rows, None before its first ANALYZE."""

    month: Month
    table: str
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True, order=True)
class Obstacle:
    """A day that keeps its month from being dropped, and why."""

    day: date
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source} {self.day} ({self.reason})"


class PruningRefused(Exception):
    """Months have days that may still change; nothing of them is dropped."""

    def __init__(self, obstacles: list[Obstacle]) -> None:
        super().__init__(f"{len(obstacles):,} days stand in the way.")
        self.obstacles = obstacles


class DaysChanged(Exception):
    """Days of a month were read again since they were proved to be in the lake; nothing of it is dropped."""


class TablesBusy(Exception):
    """The tables or days of a month are in use; nothing of it is dropped, and it can be tried again."""


def get_latest_month(now: datetime) -> Month:
    """Return the month before which every month is over in every zone."""
    return (now.astimezone(UTC) - BEHIND_UTC).date().replace(day=1)


def list_old_partitions(before: Month) -> list[Partition]:
    """Return the partitions of the months before `before`, the oldest first."""
    months = {name: month for model in PARTITIONED for month, name in list_partitions(model).items() if month < before}
    with connection.cursor() as cursor:
        cursor.execute(SIZES, [list(months)])
        return sorted(
            (Partition(months[name], name, rows, size) for name, rows, size in cursor.fetchall()),
            key=lambda partition: (partition.month, partition.table),
        )


def list_months(before: Month) -> list[Month]:
    """Return the months before `before` that have partitions, the oldest first."""
    return sorted({partition.month for partition in list_old_partitions(before)})


def count_days(months: list[Month]) -> dict[str, int]:
    """Return by source how many days of the months are to be marked as pruned."""
    if not months:
        return {}
    days = SourceDay.objects.readable().filter(day__gte=months[0], day__lt=first_of_next_month(months[-1]))
    counts = days.order_by("source__slug").values_list("source__slug").annotate(Count("pk"))
    return dict(counts)


def list_obstacles(months: list[Month]) -> list[Obstacle]:
    """Return the days of the months that keep them from being dropped, the earliest first."""
    return sorted(obstacle for month in months for obstacle in iterate_obstacles(month))


def iterate_obstacles(month: Month) -> Iterator[Obstacle]:
    """Yield the days of a month that are not settled, and those that are to be stored and were never planned."""
    end = first_of_next_month(month)
    known_days: dict[int, set[date]] = {}
    sources = {source.pk: source for source in Source.objects.defer("credential")}
    with connection.cursor() as cursor:
        cursor.execute(OBSTACLES, [month, end])
        for source_id, day, reason in cursor.fetchall():
            known_days.setdefault(source_id, set()).add(day)
            if reason:
                yield Obstacle(day, sources[source_id].slug, reason)
    for source in sources.values():
        expected_end = end if source.retired_after is None else min(end, source.retired_after + timedelta(days=1))
        for span in iterate_days(max(month, source.backfill_from), expected_end, source.zone):
            if span.date not in known_days.get(source.pk, ()):
                yield Obstacle(span.date, source.slug, "never read")


def drop_month(month: Month, archived: States | None = None) -> None:
    """Drop the partitions of a month and mark its days as pruned, in one transaction.

    `archived`: all its days as they were when the lake was proved to have them, with STATE and `archive_digest`; they
    are marked as archived too.
    Raises PruningRefused where a day is an obstacle, DaysChanged where a day has changed since the proof, and
    TablesBusy where a reader or a merge has the tables or a day locked through all TRIES.
    """
    for number in range(TRIES):
        try:
            with transaction.atomic(durable=True):
                lock_tables()
                mark_days(month, archived)
                drop_partitions(month)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            if number == TRIES - 1:
                raise TablesBusy(
                    f"The usage tables or days of {month:%Y-%m} are in use, by an export or a sync perhaps. Nothing of "
                    "this month was dropped; try again later."
                ) from error
            sleep(SECONDS_BETWEEN_TRIES)
        else:
            return


def lock_tables() -> None:
    """Lock the partitioned tables until the transaction ends: no merge and no reader uses them then."""
    tables = ", ".join(f"ONLY {model._meta.db_table}" for model in PARTITIONED)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")


def mark_days(month: Month, archived: States | None) -> None:
    """Mark the days of a month as pruned; raises PruningRefused where a day is an obstacle."""
    days = SourceDay.objects.readable().filter(day__gte=month, day__lt=first_of_next_month(month))
    locked = get_states(days.select_for_update(of=("self",), no_key=True, nowait=True), "archive_digest")
    if obstacles := list_obstacles([month]):
        raise PruningRefused(obstacles)
    if archived is not None and locked != archived:
        raise DaysChanged(
            f"Days of {month:%Y-%m} have changed since they were found in the lake. Nothing of this month was dropped; "
            "try again."
        )
    marks = {"pruned_at": Now()} if archived is None else {"pruned_at": Now(), "archived_at": Now()}
    SourceDay.objects.filter(pk__in=locked).update(**marks)


def get_states(days: QuerySet[SourceDay], *more: str) -> States:
    """Return of each day what every merge changes, and `more`: while it is the same, so are the records."""
    return {pk: tuple(state) for pk, *state in days.order_by().values_list("pk", *STATE, *more)}


def drop_partitions(month: Month) -> None:
    """Drop the partitions of a month, which gives their disk space back when the transaction commits."""
    names = [name for model in PARTITIONED for on, name in list_partitions(model).items() if on == month]
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")
    logger.info("month pruned", month=f"{month:%Y-%m}", tables=names)
