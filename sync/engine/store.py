"""Store: bring a source day to what was read, with its totals, roll-ups and restatements, or prove that it is there."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import date

from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from sync.engine.acceptance import is_accepted, is_kept
from sync.engine.attempts import RunningAttempt
from sync.engine.claim import Claim
from sync.engine.guard import FOR_A_PERSON, Doubt, Loss
from sync.engine.merge import DayMerge, MergeResult, OtherDaysInvolved
from sync.engine.nameless import Nameless
from sync.engine.outcomes import keep, succeed, suspect, withhold
from sync.engine.spool import Spool
from sync.errors import ErrorCode, InvalidResponse, LeaseLost, ReadDeferred
from sync.models import LoadAttempt
from sync.vendors.base import Comparison
from usage.models import DayState, Restatement, SourceDay, Verification
from usage.rollups import write_rollups
from usage.schema_state import SchemaDiffers, hold_schema
from usage.stored import StoredDay, read_stored_day
from usage.watermark import hold_watermark

# The columns that a merge writes on another day whose records moved to the one that was read.
LOSING_DAY_COLUMNS = [
    "records",
    "withdrawn",
    "sums",
    "digest",
    "stored_digest",
    "restated_at",
    "rolled_up",
    "mismatch",
    "final",
]


@dataclass(frozen=True)
class StoredTotals:
    """What a day had before a merge, and whether it had been read to its end."""

    records: int
    sums: dict[str, str]
    digest: str
    covered: bool

    @classmethod
    def from_day(cls, day: SourceDay) -> "StoredTotals":
        """Return the totals of `day` as they are now."""
        covered = day.covered_until is not None and day.covered_until >= day.ends_at
        return cls(day.records, day.sums, day.digest, covered)


@dataclass(frozen=True)
class SpooledRead:
    """One finished read: its spooled rows, their digest, and the comparison with the vendor's checksum."""

    attempt: RunningAttempt
    spool: Spool
    comparison: Comparison
    digest: str

    @property
    def complete(self) -> bool:
        """Whether no record was rejected, so that what was not read has vanished."""
        return not self.spool.rejected_count


def store_day(attempt: RunningAttempt, spool: Spool, comparison: Comparison) -> str:
    """Bring the day to what was read, or prove that it is there; returns the outcome.

    Raises LeaseLost where another worker has the day: only the holder of the attempt number writes.
    """
    read = SpooledRead(attempt, spool, comparison, spool.hexdigest())
    if read.digest == attempt.claim.source_day.digest:
        outcome = confirm(read)
        if outcome is not None:
            return outcome
    other_days: frozenset[date] = frozenset()
    while True:
        try:
            with transaction.atomic():
                hold_schema()
                return merge_rows(read, other_days)
        except OtherDaysInvolved as involved:
            # Every merge locks its days in one order, so it starts over to lock all of them.
            other_days = involved.days
        except SchemaDiffers as difference:
            reason = f"The portal was upgraded while the day was read. {difference}"
            raise ReadDeferred(reason, code=ErrorCode.SCHEMA_DIFFERS) from difference


def confirm(read: SpooledRead) -> str | None:
    """Record a read with the digest of the last one; None where the stored rows are not those of that read."""
    with transaction.atomic():
        day, _ = lock_days(read.attempt.claim)
        is_sound = day.digest == read.attempt.claim.source_day.digest and day.mismatch is None
        if not is_sound or read_stored_day(read.spool.kind, day) != StoredDay.from_day(day):
            return None
        unchanged = MergeResult(unchanged=day.records)
        return succeed(read.attempt, day, read.spool, read.comparison, unchanged, LoadAttempt.Outcome.UNCHANGED)


def merge_rows(read: SpooledRead, other_days: Set[date]) -> str:
    """Merge the spool into the day, inside a transaction; returns the outcome.

    Raises OtherDaysInvolved where records of days that are not among `other_days` moved to this one.
    """
    steps = DayMerge(read.spool.kind, read.attempt.claim.source_day)
    # Before the mark and the locks: a large day does not delay those who follow changes.
    steps.copy(read.spool)
    hold_watermark()
    steps.hold_records()
    day, steps.locked_days = lock_days(read.attempt.claim, other_days)
    before = StoredTotals.from_day(day)
    if day.records or not fill_empty(steps):
        return merge_into_stored(read, day, steps, before)
    write_totals(read, day, steps, before)
    return finish(read, day, steps, before, read.comparison)


def merge_into_stored(read: SpooledRead, day: SourceDay, steps: DayMerge, before: StoredTotals) -> str:
    """Merge the read into a day that has records, as far as the guard lets it; returns the outcome."""
    steps.drop_repeated()
    nameless = steps.adopt_ids()
    steps.require_other_days()
    loss = steps.read_loss().exclude_new_ids(nameless.new_ids).include_damage(day.records)
    comparison, fill_measures = read.comparison, False
    if (missing := loss.find_missing_measures()) and not day.shrink_accepted:
        comparison = Comparison(
            Verification.UNVERIFIED, [*comparison.differences, *missing.values()], comparison.witness
        )
        if not is_accepted(day, comparison):
            return withhold(read.attempt, day, comparison, missing)
        steps.keep_measures()
        fill_measures = True
    doubt = find_open_doubt(read, day, steps, loss, nameless)
    may_add = doubt is Doubt.FORGOTTEN and loss.may_add(steps.kind) and not nameless.unmatched
    if doubt is not None and (is_kept(day, doubt, read.digest) or not may_add):
        return hold_back(read, day, loss, doubt)
    savepoint = transaction.savepoint()
    steps.apply(withdraw=read.complete and doubt is None, keep_old=before.covered)
    if steps.merged.takes_from_final and not day.shrink_accepted:
        transaction.savepoint_rollback(savepoint)
        return hold_back(read, day, loss, Doubt.MOVED)
    write_totals(read, day, steps, before)
    if doubt is not None:
        # Not all that is stored was read: the next read is compared row by row.
        day.digest = ""
        return suspect(read.attempt, day, loss, doubt, read.digest, steps.merged)
    return finish(read, day, steps, before, comparison, fill_measures=fill_measures)


def hold_back(read: SpooledRead, day: SourceDay, loss: Loss, doubt: Doubt) -> str:
    """Record a read of which nothing is merged; returns the outcome."""
    if is_kept(day, doubt, read.digest):
        return keep(read.attempt, day)
    return suspect(read.attempt, day, loss, doubt, read.digest)


def find_open_doubt(read: SpooledRead, day: SourceDay, steps: DayMerge, loss: Loss, nameless: Nameless) -> Doubt | None:
    """Return why a read is held back, unless a person or a second read has settled that."""
    doubt = loss.find_doubt(day, steps.kind, withdraw=read.complete)
    if doubt is None and read.complete and nameless.unmatched and nameless.vanished:
        doubt = Doubt.NAMELESS
    return None if doubt is None or is_settled(day, loss, doubt, read.digest) else doubt


def is_settled(day: SourceDay, loss: Loss, doubt: Doubt, digest: str) -> bool:
    """Return whether a person accepted the doubt, or a second read gives the same; vendors repeat what they forgot."""
    repeated = (day.suspicion or {}).get("digest") == digest
    accepted = day.shrink_accepted and loss.is_within(day.suspicion)
    return accepted or (repeated and doubt not in FOR_A_PERSON)


def finish(
    read: SpooledRead,
    day: SourceDay,
    steps: DayMerge,
    before: StoredTotals,
    comparison: Comparison,
    *,
    fill_measures: bool = False,
) -> str:
    """Check the merged day and record it; returns the outcome. `fill_measures`: stored values fill gaps of the read."""
    check_equality(day, steps, complete=read.complete)
    outcome = LoadAttempt.Outcome.REPAIRED if before.digest == read.digest else LoadAttempt.Outcome.LOADED
    # Where stored values fill gaps, an equal digest would hide the gaps from the next read.
    day.digest = "" if fill_measures else read.digest
    return succeed(read.attempt, day, read.spool, comparison, steps.merged, outcome)


def write_totals(read: SpooledRead, day: SourceDay, steps: DayMerge, before: StoredTotals) -> None:
    """Set the day's new totals, write its roll-ups, and record what came back different."""
    repair = before.digest == read.digest
    # A check may have found nothing but the roll-ups different.
    if steps.merged.has_changes or repair or day.mismatch is not None or not day.rolled_up:
        write_rollups(steps.kind, day).write_to(day)
        day.rolled_up = True
    else:
        read_stored_day(steps.kind, day).write_to(day)
    update_losing_days(read.attempt, steps)
    if before.covered and steps.merged.has_changes and not repair:
        record_restatement(read.attempt, day, before, steps.merged)


def check_equality(day: SourceDay, steps: DayMerge, *, complete: bool) -> None:
    """Raise InvalidResponse unless the stored records are exactly those that were read, also after a partial read."""
    merged = steps.merged
    stored_count = merged.inserted + merged.changed + merged.unchanged + merged.returned
    if stored_count != steps.distinct or (complete and day.records != steps.distinct):
        raise InvalidResponse(
            f"{steps.distinct} records were read, but the day would hold {day.records}: some are not of it."
        )
    if complete and day.stored_digest != steps.digest:
        raise InvalidResponse("The records stored would differ from the records read; nothing was changed.")


def lock_days(claim: Claim, other_days: Set[date] = frozenset()) -> tuple[SourceDay, dict[date, SourceDay]]:
    """Return the claimed day and the source's `other_days` by date, all locked in the order of their dates.

    Raises LeaseLost where a later attempt has the claimed day.
    """
    days = SourceDay.objects.filter(source=claim.source.pk, day__in=[claim.source_day.day, *other_days])
    # Only the days: the default order joins the source, whose lock claims take before a day's.
    locked = {day.day: day for day in days.select_for_update(of=("self",), no_key=True).order_by("day")}
    claimed_day = locked.pop(claim.source_day.day, None)
    if claimed_day is None or (claimed_day.attempt, claimed_day.state) != (claim.attempt, DayState.LOADING):
        raise LeaseLost(f"{claim.source_day} was taken over by another worker.")
    for day in (claimed_day, *locked.values()):
        day.source = claim.source
    return claimed_day, locked


def fill_empty(steps: DayMerge) -> bool:
    """Insert the rows of a day that never had any, the usual first load; False where that needs a merge."""
    if not steps.is_empty() or steps.find_other_days():
        return False
    try:
        with transaction.atomic():
            steps.insert_all()
    except IntegrityError as error:
        if isinstance(error.__cause__, UniqueViolation):  # A row came twice.
            return False
        raise
    return True


def record_restatement(attempt: RunningAttempt, day: SourceDay, before: StoredTotals, merged: MergeResult) -> None:
    """Record that a day that had been read to its end came back different."""
    day.restated_at = attempt.reached
    Restatement.objects.create(
        source_day=day,
        attempt=attempt.claim.attempt,
        records_before=before.records,
        records_after=day.records,
        inserted=merged.inserted,
        changed=merged.changed,
        withdrawn=merged.withdrawn,
        returned=merged.returned,
        sums_before=before.sums,
        sums_after=day.sums,
    )


def update_losing_days(attempt: RunningAttempt, steps: DayMerge) -> None:
    """Correct the days whose records the vendor now reports on this one, so that none is counted twice."""
    for on, moved in steps.merged.moved.items():
        losing_day = steps.locked_days[on]
        before = StoredTotals.from_day(losing_day)
        write_rollups(steps.kind, losing_day).write_to(losing_day)
        losing_day.rolled_up = True
        # The digest no longer describes the stored records, so the next read is compared row by row.
        losing_day.digest = ""
        losing_day.restated_at = attempt.reached
        if mismatches := steps.merged.damaged.get(on):
            losing_day.mismatch, losing_day.final = [mismatch.as_json() for mismatch in mismatches], False
        losing_day.save(update_fields=LOSING_DAY_COLUMNS)
        Restatement.objects.create(
            source_day=losing_day,
            attempt=losing_day.attempt,
            records_before=before.records,
            records_after=losing_day.records,
            moved=moved,
            sums_before=before.sums,
            sums_after=losing_day.sums,
        )
