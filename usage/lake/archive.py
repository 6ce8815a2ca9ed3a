"""Archive a month: publish it, read it back, compare it with PostgreSQL, and only then drop it there.

Every step may be the last of a killed process: until the transaction that drops the month, PostgreSQL has all of it,
and from then on the lake does. The next run does all steps again.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import transaction

from usage.data_quality import VENDOR_KINDS
from usage.days import first_of_next_month
from usage.integrity import check_day
from usage.lake import LakeUnavailable, require_lake
from usage.lake.archive_tables import Archive, open_archive, publish_archive_tables
from usage.lake.contents import Contents, count_strays, read_contents
from usage.lake.days import Row, read_days
from usage.lake.publish import publish_again, publish_all, require_lock
from usage.lake.staging import DamagedDay, stage_day
from usage.models import SourceDay
from usage.partitions import Month
from usage.pruning import Obstacle, PruningRefused, drop_month, get_states, list_obstacles
from usage.stored import StoredDay

logger = structlog.get_logger(__name__)


class ArchivingRefused(Exception):
    """The lake does not have a month as PostgreSQL has it; nothing of the month is dropped."""

    def __init__(self, message: str, obstacles: list[Obstacle] | None = None) -> None:
        super().__init__(message)
        self.obstacles = obstacles or []


def archive_month(month: Month) -> int:
    """Archive the days of a month that are stored; returns how many.

    Raises PruningRefused where a day may still change, ArchivingRefused where the lake does not have what PostgreSQL
    has, LakeUnavailable where it cannot be written or read, and what `drop_month` raises.
    """
    require_lake()
    if obstacles := list_obstacles([month]):
        raise PruningRefused(obstacles)
    with name_failures():
        publish_all()
    with require_lock():
        days = SourceDay.objects.readable().filter(day__gte=month, day__lt=first_of_next_month(month))
        # Before anything is read: a merge in between leaves another state.
        states = get_states(days)
        stored_days = list(days.filter(pk__in=states).select_related("source").order_by("source__slug", "day"))
        digests = prove_month(month, stored_days)
        store_digests(digests)
        if settings.PORTAL_LAKE_URL.startswith("file:"):
            # What was read back may still be in memory alone.
            os.sync()
        drop_month(month, {pk: (*states[pk], digest) for pk, digest in digests.items()})
    logger.info("month archived", month=f"{month:%Y-%m}", days=len(stored_days))
    return len(stored_days)


@contextmanager
def name_failures() -> Iterator[None]:
    """Raise LakeUnavailable for whatever a file system or a catalog raises while the lake is written."""
    try:
        yield
    except LakeUnavailable:
        raise
    except Exception as error:
        raise LakeUnavailable(f"The lake cannot be written: {error}") from error


def store_digests(digests: dict[int, str]) -> None:
    """Store on the days the digest of their content in the lake. Of stored days it is not read."""
    for pk, digest in digests.items():
        SourceDay.objects.filter(pk=pk).update(archive_digest=digest)


def prove_month(month: Month, days: list[SourceDay]) -> dict[int, str]:
    """Publish the archive tables of these days and compare all with the lake; returns the digest of each by its key.

    The days of a source that differ, for a damaged file perhaps, are published once more if they are stored as they
    were read. Raises ArchivingRefused where a day still differs.
    """
    if unknown := [day for day in days if day.source.vendor not in VENDOR_KINDS]:
        raise ArchivingRefused(f"{unknown[0].source} is of a vendor that the portal does not know.")
    contents = read_contents(month, days)
    if stray_count := count_strays(month, contents.values()):
        raise ArchivingRefused(f"{stray_count:,} records or revisions of {month:%Y-%m} belong to none of its days.")
    with open_archive() as archive:
        with name_failures():
            publish_archive_tables(archive, month, {(day.source.slug, day.day) for day in days})
        obstacles = compare_days(archive, month, days, contents)
        if broken := {obstacle.source for obstacle in obstacles}:
            retried = [day for day in days if day.source.slug in broken]
            if not any(check_day(day.pk) for day in retried):
                with name_failures():
                    publish_again(archive.lake, month, broken)
                obstacles = compare_days(archive, month, retried, contents)
    if obstacles:
        raise ArchivingRefused(f"The lake does not have these days of {month:%Y-%m} as they are stored.", obstacles)
    return {pk: day_contents.compute_digest() for pk, day_contents in contents.items()}


def compare_days(
    archive: Archive, month: Month, days: Iterable[SourceDay], contents: dict[int, Contents]
) -> list[Obstacle]:
    """Return the differences of these days between the lake and PostgreSQL."""
    rows = read_days(archive.lake.days, month)
    return [
        Obstacle(day.day, day.source.slug, difference)
        for day in days
        for difference in find_differences(archive, day, contents[day.pk], rows.get((day.source.slug, day.day)))
    ]


def find_differences(archive: Archive, day: SourceDay, contents: Contents, row: Row | None) -> Iterator[str]:
    """Yield what differs between a day as PostgreSQL has it, and as the lake does; `row`: that of the table `days`."""
    if row is None:
        yield "not in the table days"
        return
    try:
        with transaction.atomic():
            staged = stage_day(archive, VENDOR_KINDS[day.source.vendor], day)
    except DamagedDay as error:
        yield str(error)
        return
    if (row["digest"], row["records"]) != (staged.manifest_digest, staged.stored.records):
        yield "its records are not those that the table days describes"
    elif row["stored_digest"] != day.stored_digest or staged.stored != StoredDay.from_day(day):
        yield "its records are not those that were read"
    elif staged.contents != contents:
        yield "columns of its records, withdrawn records or revisions differ"
