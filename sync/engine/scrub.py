"""Scrub: check stored days, a few with every tick, the day that was checked longest ago first."""

from datetime import timedelta
from functools import partial
from math import ceil
from time import monotonic
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from sync.engine.recording import log_safely, try_step
from usage.data_quality import VENDOR_KINDS
from usage.integrity import Mismatch, check_day
from usage.lake import require_lake
from usage.models import SourceDay

logger = structlog.get_logger(__name__)

# Ticks can be lost and checks take time, so a round is planned to end early.
ROUND_SHARE = 0.8
# A day that was merged or checked so recently is not checked again.
REST = timedelta(days=1)


def scrub(seconds: float) -> list[SourceDay]:
    """Check this tick's share of the stored days; returns those that differ, which are due to be read again.

    Stops after so many seconds; at least one day is checked. Any number of these may run at once.
    """
    until = monotonic() + seconds
    mismatched_days = []
    for day in select_oldest_checked()[: count_share()]:
        if check_and_record(day):
            mismatched_days.append(day)
        if monotonic() > until:
            break
    return mismatched_days


def count_share() -> int:
    """Return how many days a tick checks, so that every day is checked within PORTAL_SCRUB_DAYS."""
    days = SourceDay.objects.checkable().count()
    ticks: float = timedelta(days=settings.PORTAL_SCRUB_DAYS).total_seconds() / settings.PORTAL_TICK_SECONDS
    return ceil(days / (ticks * ROUND_SHARE))


def select_oldest_checked() -> QuerySet[SourceDay]:
    """Return the stored days that are due for a check, never checked days first."""
    due = Q(checked_at=None) | Q(checked_at__lte=Now() - REST)
    # No read repairs an archived day: checking it again shows whether its file was brought back.
    lasting = Q(mismatch__isnull=True) | Q(archived_at__isnull=False)
    days = SourceDay.objects.checkable().filter(due, lasting, source__vendor__in=list(VENDOR_KINDS))
    return days.select_related("source").order_by(F("checked_at").asc(nulls_first=True))


def check_and_record(day: SourceDay) -> list[Mismatch]:
    """Check a day and record the result: a day that differs is provisional until it is read again."""
    try:
        # In one transaction, so that no merge changes the day between the check and its record.
        with transaction.atomic():
            mismatches = check_stored(day)
            if mismatches is None:  # a merge has locked the day and checks it itself
                return []
            record_check(day, mismatches)
    except Exception:  # noqa: BLE001  # one day never prevents the check of other days
        log_safely(logger.exception, "a stored day cannot be checked", source=day.source.slug, day=str(day.day))
        try_step("check", partial(postpone_check, day))
        return []
    if mismatches:
        differences = [str(mismatch) for mismatch in mismatches]
        logger.error("stored day differs", source=day.source.slug, day=str(day.day), found=differences)
    return mismatches


def check_stored(day: SourceDay) -> list[Mismatch] | None:
    """Return the differences of a day, of an archived day in the lake; None where a merge has locked it.

    Raises LakeUnavailable where the lake cannot be read.
    """
    if day.archived_at is None:
        return check_day(day.pk, skip_locked=True)
    require_lake()
    # The libraries that read the lake are an extra.
    from usage.lake.archive_tables import open_archive
    from usage.lake.check import check_archived_day

    with open_archive() as archive:
        return check_archived_day(archive, day.pk, skip_locked=True)


def postpone_check(day: SourceDay) -> None:
    """Move a day that could not be checked behind the other days."""
    SourceDay.objects.filter(pk=day.pk).update(checked_at=Now())


def record_check(day: SourceDay, mismatches: list[Mismatch]) -> None:
    """Write on the day when it was checked and what differs; a day that differs is due, unless it is archived."""
    columns: dict[str, Any] = {"mismatch": [mismatch.as_json() for mismatch in mismatches] or None}
    if mismatches and day.archived_at is None:
        columns |= {"final": False, "due_at": Now()}
    SourceDay.objects.filter(pk=day.pk).update(checked_at=Now(), **columns)
