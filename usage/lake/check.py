"""Check an archived day: compare its content in the lake with the stored sums and digests."""

from collections.abc import Iterator

from django.db import transaction

from usage.data_quality import VENDOR_KINDS
from usage.integrity import Mismatch, compare_stored
from usage.lake.archive_tables import Archive
from usage.lake.staging import DamagedDay, stage_day
from usage.models import SourceDay, UsageRecord


def check_archived_day(archive: Archive, pk: int, *, skip_locked: bool = False) -> list[Mismatch] | None:
    """Return the differences of an archived day, which is locked meanwhile.

    None where it is not archived, its vendor is unknown, or, with `skip_locked`, another transaction has locked it.
    Raises LakeUnavailable where the lake cannot be read: then the day is not checked.
    """
    with transaction.atomic():
        days = SourceDay.objects.select_related("source").select_for_update(
            of=("self",), no_key=True, skip_locked=skip_locked
        )
        day = days.filter(pk=pk, archived_at__isnull=False).first()
        kind = VENDOR_KINDS.get(day.source.vendor) if day else None
        return None if day is None or kind is None else list(find_archive_mismatches(archive, kind, day))


def find_archive_mismatches(archive: Archive, kind: type[UsageRecord], day: SourceDay) -> Iterator[Mismatch]:
    """Yield the differences between what the lake has of a locked day, and its notes."""
    try:
        with transaction.atomic():
            staged = stage_day(archive, kind, day)
    except DamagedDay as error:
        yield Mismatch("lake", None, str(error))
        return
    yield from compare_stored(day, staged.stored)
    if (digest := staged.contents.compute_digest()) != day.archive_digest:
        yield Mismatch("archive", day.archive_digest, digest)
