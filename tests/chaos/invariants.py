"""Invariants of a chaos run at any instant; each check returns a sentence for each violation."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Q, Sum
from django.db.models.functions import Now

from sync.models import LoadAttempt
from tests.chaos.oracle import Oracle
from tests.support.vendor_truth import get_kind
from usage.models import DayState, RecipeUsage, Source, SourceDay, UsageRecord, Verification
from usage.rollups import compare_rollups
from usage.snapshot import consistent_snapshot

LONGEST_WAIT = timedelta(days=1, minutes=5)


def check_all(oracle: Oracle) -> list[str]:
    """Return all violations in one state of the database."""
    with consistent_snapshot():
        days = list(SourceDay.objects.select_related("source").order_by("source", "day"))
        return [
            *(line for day in days for line in check_sums(day)),
            *(line for day in days for line in check_reason(day)),
            *(line for day in days for line in check_against_vendor(day, oracle)),
            *check_waits(),
            *check_attempts(),
        ]


def check_sums(day: SourceDay) -> Iterator[str]:
    """Check that count, sums and roll-ups of a day are those of its records."""
    kind = get_kind(day.source)
    records = kind.objects.current().filter(source=day.source_id, day=day.day)
    if (record_count := records.count()) != day.records:
        yield f"{day} says {day.records} records and holds {record_count}"
    stored_sums = {name: Decimal(total) for name, total in day.sums.items()}
    if (sums := add_up(kind, records)) != {name: total for name, total in stored_sums.items() if total}:
        yield f"{day} says {stored_sums} and its records add up to {sums}"
    if day.rolled_up and (wrong := compare_rollups(kind, day)[1]):
        yield f"{day}: roll-ups differ from the records: {wrong}"


def add_up(kind: type[UsageRecord], records: Any) -> dict[str, Decimal]:
    """Return the sums of records that are not 0, by measure or by unit."""
    if kind.unit:
        rows = records.order_by().values_list(kind.unit).annotate(total=Sum(kind.measures[0]))
        sums = dict(rows)
    else:
        sums = records.aggregate(**{f"sum_{name}": Sum(name) for name in kind.measures})
        sums = {name.removeprefix("sum_"): total for name, total in sums.items()}
    return {name: Decimal(total) for name, total in sums.items() if total}


def check_reason(day: SourceDay) -> Iterator[str]:
    """Check that a failed, suspect, partial or unverified day has a reason."""
    troubled = day.state in {DayState.FAILED, DayState.SUSPECT, DayState.PARTIAL}
    if troubled and not day.error:
        yield f"{day} is {day.state} without a reason"
    if day.verification == Verification.UNVERIFIED and not day.differences:
        yield f"{day} is unverified without a difference"
    if day.final and (troubled or day.verification == Verification.UNVERIFIED):
        yield f"{day} is final and {day.state}, {day.verification}"


def check_against_vendor(day: SourceDay, oracle: Oracle) -> Iterator[str]:
    """Check that a verified day is a version that the vendor has had."""
    right = day.complete and day.state == DayState.LOADED and day.verification == Verification.VERIFIED
    if not right:
        return
    if day.source.vendor == "gcore" and (wrong := oracle.describe(day)):
        yield wrong
    if day.source.vendor == "workato":
        lost = RecipeUsage.objects.current().filter(source=day.source_id, day=day.day)
        if missing := lost.filter(Q(task_count=None) | Q(job_succeeded_count=None) | Q(job_failed_count=None)).count():
            yield f"{day} is called verified and {missing} of its records lack a metric"


def check_waits() -> Iterator[str]:
    """Check that no vendor made a day or a source wait for years."""
    for day in SourceDay.objects.filter(due_at__gt=Now() + LONGEST_WAIT):
        yield f"{day} waits until {day.due_at}"
    for source in Source.objects.filter(paused_until__gt=Now() + LONGEST_WAIT):
        yield f"{source} is paused until {source.paused_until}"
    for source in Source.objects.exclude(halted_at=None).filter(halt_reason=""):
        yield f"{source} is halted without a reason"


def check_attempts() -> Iterator[str]:
    """Check that every attempt that did not load its day says why."""
    good = [LoadAttempt.Outcome.LOADED, LoadAttempt.Outcome.UNCHANGED]
    ended = LoadAttempt.objects.exclude(finished_at=None).exclude(outcome__in=good)
    for attempt in ended.filter(error="").select_related("source_day__source"):
        yield f"attempt {attempt.number} at {attempt.source_day} ended as {attempt.outcome} without a reason"


def find_stuck() -> list[str]:
    """Return the days whose lease ended long ago and that nobody took over."""
    lost = SourceDay.objects.filter(state=DayState.LOADING, lease_expires_at__lt=Now() - timedelta(minutes=1))
    return [f"{day} is stuck: its lease ended at {day.lease_expires_at}" for day in lost.order_by(F("due_at"))]
