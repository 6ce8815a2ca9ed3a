"""Pruning of everything that grows: months of usage, attempts, runs, rejected records and expired sessions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from sync.models import LoadAttempt, SyncRun
from usage.models import RejectedRecord
from usage.partitions import Month
from usage.pruning import (
    Obstacle,
    Partition,
    PruningRefused,
    count_days,
    drop_month,
    list_months,
    list_obstacles,
    list_old_partitions,
)

BATCH: Final = 1000

# What else goes by its age, by its name: apps that build on this app add the query of what is older than an instant.
MORE_OLD_ROWS: Final[dict[str, Callable[[datetime], QuerySet[Any]]]] = {}


@dataclass(frozen=True, slots=True)
class PruningPreview:
    """What `prune` would drop and delete; `days` by source, `rows` by their name; `obstacles` prevent it."""

    partitions: list[Partition]
    days: dict[str, int]
    rows: dict[str, int]
    obstacles: list[Obstacle]


def preview(before: Month) -> PruningPreview:
    """Return what `prune` would drop and delete."""
    months = list_months(before)
    rows = {name: old_rows.count() for name, old_rows in select_old_rows(before, pruned=Q(day__lt=before)).items()}
    return PruningPreview(list_old_partitions(before), count_days(months), rows, list_obstacles(months))


def prune(before: Month) -> dict[str, int]:
    """Drop the months before `before`, then delete what is older; returns how many rows of each name were deleted.

    Raises PruningRefused before anything is dropped where a day of any month prevents it, and TablesBusy, after
    which the months before are dropped. It can be repeated at any time.
    """
    months = list_months(before)
    if obstacles := list_obstacles(months):
        raise PruningRefused(obstacles)
    for month in months:
        drop_month(month)
    old_rows = select_old_rows(before, pruned=Q(source_day__pruned_at__isnull=False, day__lt=before))
    return {name: delete_in_batches(rows) for name, rows in old_rows.items()}


def select_old_rows(before: Month, pruned: Q) -> dict[str, QuerySet[Any]]:
    """Return what goes by its age; `pruned`: the rejected records of days without records."""
    start = datetime(before.year, before.month, 1, tzinfo=UTC)
    return {
        "attempts": LoadAttempt.objects.filter(started_at__lt=start, finished_at__isnull=False),
        "runs": SyncRun.objects.filter(created_at__lt=start, finished_at__isnull=False),
        "rejected records": RejectedRecord.objects.filter(Q(resolved_at__lt=start) | pruned),
        "expired sessions": Session.objects.filter(expire_date__lt=Now()),
        **{name: select(start) for name, select in MORE_OLD_ROWS.items()},
    }


def delete_in_batches(rows: QuerySet[Any]) -> int:
    """Delete the rows, a few in each transaction; returns how many."""
    deleted = 0
    while keys := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        rows.model.objects.filter(pk__in=keys).delete()
        deleted += len(keys)
    return deleted
