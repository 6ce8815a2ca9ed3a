"""Scrub: check stored days, a few with every tick, the one that was checked longest ago first."""

from datetime import timedelta
from functools import partial
from math import ceil
from time import monotonic

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from sync.engine.recording import log_safely, try_step
from usage.data_quality import VENDOR_KINDS
from usage.integrity import Mismatch, check_day
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
    wrong = []
    for day in select_oldest_checked()[: count_share()]:
        if check_one(day):
            wrong.append(day)
        if monotonic() > until:
            break
    return wrong


def count_share() -> int:
    """Return how many days a tick checks, so that every day is checked within PORTAL_SCRUB_DAYS."""
    days = SourceDay.objects.readable().filter(loaded_at__isnull=False).count()
    ticks: float = timedelta(days=settings.PORTAL_SCRUB_DAYS).total_seconds() / settings.PORTAL_TICK_SECONDS
    return ceil(days / (ticks * ROUND_SHARE))


def select_oldest_checked() -> QuerySet[SourceDay]:
    """Return the stored days that are due for a check, never checked ones first."""
    rested = Q(checked_at=None) | Q(checked_at__lte=Now() - REST)
    known = {"source__vendor__in": list(VENDOR_KINDS), "loaded_at__isnull": False, "mismatch__isnull": True}
    days = SourceDay.objects.readable().filter(rested, **known)
    return days.select_related("source").order_by(F("checked_at").asc(nulls_first=True))


def check_one(day: SourceDay) -> list[Mismatch]:
    """Check a day and record the result: a day that differs is provisional until it is read again."""
    try:
        # In one transaction, so that no merge changes the day between the check and its record.
        with transaction.atomic():
            mismatches = check_day(day.pk, skip_locked=True)
            if mismatches is None:  # a merge holds the day and checks it itself
                return []
            record_check(day, mismatches)
    except Exception:  # noqa: BLE001  # one day never keeps the others from their check
        log_safely(logger.exception, "a stored day cannot be checked", source=day.source.slug, day=str(day.day))
        try_step("check", partial(postpone_check, day))
        return []
    if mismatches:
        found = [str(mismatch) for mismatch in mismatches]
        logger.error("stored day differs", source=day.source.slug, day=str(day.day), found=found)
    return mismatches


def postpone_check(day: SourceDay) -> None:
    """Move a day that could not be checked behind the others."""
    SourceDay.objects.filter(pk=day.pk).update(checked_at=Now())


def record_check(day: SourceDay, mismatches: list[Mismatch]) -> None:
    """Write on the day when it was checked and what differs; a day that differs is due."""
    row = SourceDay.objects.filter(pk=day.pk)
    if mismatches:
        row.update(
            checked_at=Now(), mismatch=[mismatch.as_json() for mismatch in mismatches], final=False, due_at=Now()
        )
    else:
        row.update(checked_at=Now(), mismatch=None)
