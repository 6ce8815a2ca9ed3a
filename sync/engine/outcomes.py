"""Record a read that the vendor answered: merged, withheld, held back by the guard, or kept out by a person."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models.functions import Now

from sync.engine.acceptance import build_doubt_findings, build_findings, clear_acceptance
from sync.engine.attempts import Ending, RunningAttempt, close_attempt, make_storable
from sync.engine.claim import get_database_time
from sync.engine.guard import FOR_A_PERSON, Doubt, Loss
from sync.engine.merge import MergeResult
from sync.engine.rereads import compute_unverified_wait, needs_second_look
from sync.engine.spool import Spool
from sync.errors import ErrorCode
from sync.models import LoadAttempt
from sync.vendors.base import Comparison
from usage.models import DayState, RejectedRecord, Source, SourceDay, Verification

SECOND_LOOK = timedelta(minutes=15)
WAIT_FOR_A_PERSON = timedelta(days=1)
Outcome = LoadAttempt.Outcome


def succeed(
    attempt: RunningAttempt,
    day: SourceDay,
    spool: Spool,
    comparison: Comparison,
    merged: MergeResult,
    outcome: Outcome,
) -> str:
    """Record a read that was merged; inside the merge's transaction, with `day` locked. Returns the outcome."""
    reached = attempt.reached or get_database_time()
    source, rejected = attempt.claim.source, spool.rejected_count
    record_rejected(day, attempt.claim.attempt, spool)
    day.covered_until = min(reached, day.ends_at)
    day.loaded_at = reached
    day.complete = day.covered_until >= day.ends_at and not rejected
    day.rejected = rejected
    set_verification(day, comparison, spool.describe_rejected())
    day.suspicion, day.shrink_accepted, day.mismatch = None, False, None
    if outcome != Outcome.UNCHANGED:
        day.checked_at = reached
    day.state, day.due_at = choose_next_state(day, source, reached)
    is_sound = day.state == DayState.LOADED and day.verification != Verification.UNVERIFIED
    day.final = is_sound and day.complete and reached >= day.final_from
    if day.final and day.finalized_at is None:
        day.finalized_at = reached
    ending = Ending(outcome)
    if day.state == DayState.PARTIAL:
        error = f"{rejected} of {attempt.fetched} records were rejected."
        ending = Ending(Outcome.PARTIAL, error, ErrorCode.RECORDS_REJECTED)
    release(day, ending)
    close_attempt(attempt, ending, merged, rejected=rejected)
    return ending.outcome


def choose_next_state(day: SourceDay, source: Source, reached: datetime) -> tuple[DayState, datetime]:
    """Return the state after a merge and when the day is to be read again.

    A day that is not over stays due. A partial day is read again with its source, later only once a day; a day that
    disagrees with the vendor's checksum, after a growing wait; a day that is unexpectedly empty, once more after a
    quarter of an hour.
    """
    interval = timedelta(minutes=source.interval_minutes)
    if day.rejected:
        is_past_look_back = reached >= day.ends_at + timedelta(days=source.look_back_days)
        return DayState.PARTIAL, reached + (timedelta(days=1) if is_past_look_back else interval)
    if day.covered_until is not None and day.covered_until < day.ends_at:
        return DayState.DUE, reached + interval
    if needs_second_look(day, source, reached):
        return DayState.DUE, reached + SECOND_LOOK
    if day.verification == Verification.UNVERIFIED:
        return DayState.LOADED, reached + compute_unverified_wait(day.unverified_reads, interval)
    return DayState.LOADED, reached


def set_verification(day: SourceDay, comparison: Comparison, rejected: str = "") -> None:
    """Set how a read compares with the vendor's figures; an acceptance ends where the findings differ from it."""
    day.verification, day.differences, day.witness = comparison.verification, comparison.differences, comparison.witness
    day.unverified_reads = day.unverified_reads + 1 if day.verification == Verification.UNVERIFIED else 0
    set_findings(day, build_findings(comparison.differences, rejected))


def set_findings(day: SourceDay, findings: str) -> None:
    """Set the findings of a read; an acceptance ends with the findings that it covers."""
    if findings != day.findings:
        clear_acceptance(day)
    day.findings = findings


def withhold(
    attempt: RunningAttempt, day: SourceDay, comparison: Comparison, missing: Mapping[str, dict[str, Any]]
) -> str:
    """Record a read that lacks measures which the day has: its records stay, and the day is unverified.

    Once a person has accepted that, the next read is merged and the values that it lacks stay.
    """
    set_verification(day, comparison)
    day.final = False
    day.state = DayState.LOADED if day.complete else DayState.PARTIAL if day.rejected else DayState.DUE
    interval = timedelta(minutes=attempt.claim.source.interval_minutes)
    day.due_at = get_database_time() + compute_unverified_wait(day.unverified_reads, interval)
    error = (
        f"The vendor's answer lacks {', '.join(missing)}, which the day has: nothing was changed, and it is read again."
    )
    ending = Ending(Outcome.UNVERIFIED, error, ErrorCode.MEASURES_MISSING, failed=True)
    release(day, ending)
    close_attempt(attempt, ending)
    return Outcome.UNVERIFIED


def suspect(
    attempt: RunningAttempt, day: SourceDay, loss: Loss, doubt: Doubt, digest: str, merged: MergeResult | None = None
) -> str:
    """Record a read that the guard held back: the day's records stay. Returns the outcome.

    `merged`: the part that was merged, where only withdrawals were held back. Where only a person can decide,
    the doubt is a finding of the day, which a person may accept to keep the stored records.
    """
    now = get_database_time()
    wait = min(SECOND_LOOK, timedelta(minutes=attempt.claim.source.interval_minutes))
    if doubt in FOR_A_PERSON and day.suspicion is not None:
        wait = WAIT_FOR_A_PERSON
    # A person who accepted an earlier read saw a smaller loss than this.
    day.state, day.final, day.shrink_accepted = DayState.SUSPECT, False, False
    day.due_at = now + wait
    day.suspicion = {
        "doubt": doubt,
        "held": loss.stored,
        "reported": loss.reported,
        "would_withdraw": loss.vanishing,
        "blanked": {name: count for name, count in loss.blanked.items() if count},
        "digest": digest,
        "read_at": now.isoformat(),
    }
    if doubt in FOR_A_PERSON and day.covered_until is not None and day.covered_until >= day.ends_at:
        set_findings(day, build_doubt_findings(doubt, digest))
    ending = Ending(Outcome.SUSPECT, describe_doubt(loss, doubt), ErrorCode.SUSPECT, failed=True)
    release(day, ending)
    close_attempt(attempt, ending, merged)
    return Outcome.SUSPECT


def keep(attempt: RunningAttempt, day: SourceDay) -> str:
    """Record a read that takes away just what a person decided to keep: nothing changes. Returns the outcome."""
    day.loaded_at = attempt.reached or get_database_time()
    day.state = DayState.LOADED if day.complete else DayState.PARTIAL
    day.due_at = day.loaded_at
    release(day, Ending(Outcome.UNCHANGED))
    close_attempt(attempt, Ending(Outcome.UNCHANGED), MergeResult(unchanged=day.records))
    return Outcome.UNCHANGED


def describe_doubt(loss: Loss, doubt: Doubt) -> str:
    """Return why a read was held back, with both figures, and what happens next."""
    withdrawn = f"{loss.vanishing} of the {loss.stored} stored would be withdrawn"
    figures = f"The vendor now reports {loss.reported} records; {withdrawn}"
    match doubt:
        case Doubt.FORGOTTEN:
            return f"{figures}, and the day was final. They were kept; a person decides."
        case Doubt.BLANK:
            lost = ", ".join(f"{name} of {count}" for name, count in loss.blanked.items() if count)
            figures = f"The vendor now reports {loss.reported} records without values that are stored: {lost}"
        case Doubt.MOVED:
            return (
                f"The vendor now reports {loss.reported} records of this day, more than a few of which are stored on "
                "another day that was final. Nothing was changed; a person decides."
            )
        case Doubt.NAMELESS:
            figures += ", beside records without an id"
    return f"{figures}. Nothing was changed; a second read that agrees, or a person, decides."


def release(day: SourceDay, ending: Ending) -> None:
    """Write a day that the vendor answered, and end its lease.

    Call it before the runs are written: every writer locks the source, then its days, then the runs.
    """
    day.error, day.error_code = ending.error, ending.error_code
    day.failures, day.lease_expires_at, day.leased_by = 0, None, ""
    day.save()


def record_rejected(day: SourceDay, attempt: int, spool: Spool) -> None:
    """Store the records that this read rejected; rejected records that it no longer has are resolved."""
    rejected = [
        RejectedRecord(
            source_day=day,
            payload=make_storable(record.payload),
            payload_digest=digest,
            reason=make_storable(record.reason),
            attempt=attempt,
            last_seen_at=Now(),
        )
        for digest, record in spool.rejected.items()
    ]
    if rejected:
        RejectedRecord.objects.bulk_create(
            rejected,
            update_conflicts=True,
            unique_fields=["source_day", "payload_digest"],
            update_fields=["reason", "attempt", "last_seen_at", "resolved_at"],
        )
    if rejected or day.rejected:
        open_records = RejectedRecord.objects.filter(source_day=day, resolved_at=None)
        open_records.exclude(payload_digest__in=spool.rejected).update(resolved_at=Now())
