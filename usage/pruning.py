"""Pruning: drop the records and revisions of old months; their days, digests and roll-ups stay.

A month goes for all sources at once, in one transaction: the records and revisions of all of them share its partitions.
The tables are locked before the days, and no lock of a day is waited for, so this never stands in a deadlock with a
merge, which locks its days first. What reads several things from one state of the database holds the tables
(usage/snapshot.py), so no answer sees a month half.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import sleep
from typing import Final

import structlog
from django.db import OperationalError, connection, models, transaction
from django.db.models import Count
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected, LockNotAvailable

from usage.data_quality.days import SETTLED
from usage.days import first_of_next_month, iterate_days
from usage.models import KINDS, RecordRevision, Source, SourceDay
from usage.partitions import Month, list_partitions

logger = structlog.get_logger(__name__)

PARTITIONED: Final[tuple[type[models.Model], ...]] = (*KINDS.values(), RecordRevision)
# So long is each table waited for; readers wait meanwhile. All together less than PostgreSQL waits before it looks for
# deadlocks, so that no reader is ended for one.
LOCK_TIMEOUT: Final = "200ms"
TRIES: Final = 10
SECONDS_BETWEEN_TRIES: Final = 0.5
BEHIND_UTC: Final = timedelta(hours=12)  # no zone is further behind

# Why a day stands in the way; '' where it does not. It must be settled, at rest, and in the roll-ups.
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
SELECT relname, greatest(reltuples, 0)::bigint, pg_total_relation_size(oid)
FROM pg_class WHERE oid = ANY(%s::regclass[])
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A table of one month: about how many rows it has, and how many bytes with its indexes."""

    month: Month
    table: str
    rows: int
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
    """Months hold days that may still change; nothing of them is dropped."""

    def __init__(self, obstacles: list[Obstacle]) -> None:
        super().__init__(f"{len(obstacles):,} days stand in the way.")
        self.obstacles = obstacles


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
    known: dict[int, set[date]] = {}
    sources = {source.pk: source for source in Source.objects.defer("credential")}
    with connection.cursor() as cursor:
        cursor.execute(OBSTACLES, [month, end])
        for source_id, day, reason in cursor.fetchall():
            known.setdefault(source_id, set()).add(day)
            if reason:
                yield Obstacle(day, sources[source_id].slug, reason)
    for source in sources.values():
        expected_end = end if source.retired_after is None else min(end, source.retired_after + timedelta(days=1))
        for span in iterate_days(max(month, source.backfill_from), expected_end, source.zone):
            if span.date not in known.get(source.pk, ()):
                yield Obstacle(span.date, source.slug, "never read")


def drop_month(month: Month) -> None:
    """Drop the partitions of a month and mark its days as pruned, in one transaction.

    Raises PruningRefused where a day of it stands in the way, and TablesBusy where a reader or a merge holds the tables
    or a day for longer than TRIES are made.
    """
    for number in range(TRIES):
        try:
            with transaction.atomic(durable=True):
                lock_tables()
                mark_days(month)
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
    """Lock the partitioned tables until the transaction ends: no merge and no reader is within one then."""
    tables = ", ".join(f"ONLY {model._meta.db_table}" for model in PARTITIONED)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")


def mark_days(month: Month) -> None:
    """Mark the days of a month as pruned; raises PruningRefused where one stands in the way."""
    days = SourceDay.objects.readable().filter(day__gte=month, day__lt=first_of_next_month(month))
    locked = list(days.select_for_update(of=("self",), no_key=True, nowait=True).values_list("pk", flat=True))
    if obstacles := list_obstacles([month]):
        raise PruningRefused(obstacles)
    SourceDay.objects.filter(pk__in=locked).update(pruned_at=Now())


def drop_partitions(month: Month) -> None:
    """Drop the partitions of a month, which gives their disk space back when the transaction commits."""
    names = [name for model in PARTITIONED for on, name in list_partitions(model).items() if on == month]
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")
    logger.info("month pruned", month=f"{month:%Y-%m}", tables=names)
