"""Check an archived day: compare its content in the lake with the stored sums and digests."""

from functools import partial

from django.db import transaction

from usage.integrity import Mismatch, check_locked, compare_stored
from usage.lake.archive_tables import Archive
from usage.lake.staging import DamagedDay, stage_day
from usage.models import SourceDay, UsageRecord


def check_archived_day(archive: Archive, pk: int, *, skip_locked: bool = False) -> list[Mismatch] | None:
    """Return the differences of an archived day, which is locked meanwhile.

    None where it is not archived, its vendor is unknown, or, with `skip_locked`, another transaction has locked it.
    Raises LakeUnavailable where the lake cannot be read: then the day is not checked.
    """
    days = SourceDay.objects.filter(pk=pk, archived_at__isnull=False)
    return check_locked(days, partial(find_archive_mismatches, archive), skip_locked=skip_locked)


def find_archive_mismatches(archive: Archive, kind: type[UsageRecord], day: SourceDay) -> list[Mismatch]:
    """Return the differences between what the lake has of a locked day, and its notes."""
    try:
        with transaction.atomic():
            staged = stage_day(archive, kind, day)
    except DamagedDay as error:
        return [Mismatch("lake", None, str(error))]
    mismatches = compare_stored(day, staged.stored)
    if (digest := staged.contents.compute_digest()) != day.archive_digest:
        mismatches.append(Mismatch("archive", day.archive_digest, digest))
    return mismatches
