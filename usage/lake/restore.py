"""Restore an archived month: bring its records and revisions back from the lake, as they were, in one transaction.

The records have the ids, revisions and instants that they had, so readers of changes see nothing new. The lake
keeps what it has: to it, the month was never away.
"""

from collections.abc import Sequence

import structlog
from django.db import connection, models, transaction

from usage.data_quality import VENDOR_KINDS
from usage.days import first_of_next_month
from usage.integrity import find_mismatches
from usage.lake.archive_tables import Archive, open_archive
from usage.lake.contents import read_contents
from usage.lake.publish import require_lock
from usage.lake.staging import REVISIONS, DamagedDay, execute, name_table, stage_day
from usage.models import RecordRevision, SourceDay
from usage.partitions import Month, ensure_partitions
from usage.schema_state import hold_schema

logger = structlog.get_logger(__name__)


class RestoringRefused(Exception):
    """A month cannot be brought back; no part of it is."""


def restore_month(month: Month) -> int:
    """Bring all archived days of a month back; returns how many.

    Raises RestoringRefused where no day is archived, or a day differs in the lake, and LakeUnavailable where
    the lake cannot be read.
    """
    with require_lock():
        days = list(select_archived(month))
        if not days:
            raise RestoringRefused(f"No day of {month:%Y-%m} is archived.")
        if unknown := [day for day in days if day.source.vendor not in VENDOR_KINDS]:
            raise RestoringRefused(f"{unknown[0].source} is of a vendor that the portal does not know.")
        for kind in {VENDOR_KINDS[day.source.vendor] for day in days}:
            ensure_partitions(kind, month, first_of_next_month(month))
        with open_archive() as archive, transaction.atomic(durable=True):
            hold_schema()
            locked = list(select_archived(month).select_for_update(of=("self",), no_key=True))
            for day in locked:
                restore_day(archive, day)
            prove_days(month, locked)
            SourceDay.objects.filter(pk__in=[day.pk for day in locked]).update(
                pruned_at=None, archived_at=None, archive_digest="", mismatch=None
            )
    logger.info("month restored", month=f"{month:%Y-%m}", days=len(locked))
    return len(locked)


def select_archived(month: Month) -> models.QuerySet[SourceDay]:
    """Return the archived days of a month, in the order in which days are locked."""
    days = SourceDay.objects.filter(archived_at__isnull=False, day__gte=month, day__lt=first_of_next_month(month))
    return days.select_related("source").order_by("source_id", "day")


def restore_day(archive: Archive, day: SourceDay) -> None:
    """Insert what the lake has of a day."""
    kind = VENDOR_KINDS[day.source.vendor]
    try:
        stage_day(archive, kind, day)
    except DamagedDay as error:
        raise RestoringRefused(f"{day}: {error}") from error
    copy_rows(name_table(kind), kind)
    copy_rows(REVISIONS, RecordRevision)


def copy_rows(staged: str, model: type[models.Model]) -> None:
    """Copy all rows of a temporary table to that of a model."""
    names = ", ".join(str(field.column) for field in model._meta.local_concrete_fields if not field.generated)
    table = connection.ops.quote_name(model._meta.db_table)
    execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {staged} ORDER BY id")  # noqa: S608 (our own names)


def prove_days(month: Month, days: Sequence[SourceDay]) -> None:
    """Raise RestoringRefused unless these days are stored as they were when they were archived."""
    contents = read_contents(month, days)
    for day in days:
        if contents[day.pk].compute_digest() != day.archive_digest:
            raise RestoringRefused(f"{day}: the lake has other records or revisions than those that were archived.")
        if mismatches := find_mismatches(VENDOR_KINDS[day.source.vendor], day):
            raise RestoringRefused(f"{day}: {'; '.join(map(str, mismatches))}")
