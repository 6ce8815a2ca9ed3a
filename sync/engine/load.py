"""Load: read one claimed day from its vendor, check it, and merge it; a day is loaded whole or not at all."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import structlog
from django.db import transaction

from sync.engine.claim import Claim, claim_day, database_now, worker_name
from sync.engine.ledger import Reading, close_attempt, fail, halt, put_off, succeed, suspect
from sync.engine.merge import DayMerge, Merged, days_of
from sync.engine.reading import open_reader
from sync.engine.spool import Spool
from sync.errors import AuthenticationRefused, HostNotAllowed, LeaseLost, ListingShifted, PutOff, SyncError, WrongShape
from sync.models import LoadAttempt, SyncRun
from sync.vendors.base import Checked, VendorReader
from usage.models import Restatement, SourceDay, Verification
from usage.rollups import write
from usage.settled import hold_settled_mark

logger = structlog.get_logger(__name__)

READS_OF_A_SHIFTING_LISTING = 4
Progress = Callable[[int], None]


def load_next(
    source_id: int, *, worker: str = "", run: SyncRun | None = None, progress: Progress | None = None
) -> LoadAttempt | None:
    """Claim and load the next due day of a source (of one `run` only, if given); None where none is to be had.

    Never raises for what a vendor or a record does: the attempt that is returned says how it ended.
    `progress` is called with the number of records of each page.
    """
    spare_start_up()
    claim = claim_day(source_id, worker or worker_name(), run)
    if claim is None:
        return None
    load(claim, progress)
    return LoadAttempt.objects.get(source_day=claim.source_day, number=claim.attempt)


@cache
def spare_start_up() -> None:
    """Leave what the start of this process made out of garbage collection, whose walks over it cost 7 % of a load."""
    gc.collect()
    gc.freeze()


def load(claim: Claim, progress: Progress | None = None) -> None:
    """Read and merge a claimed day; every way it can end is written to the ledger."""
    reading = Reading(claim)
    log = logger.bind(source=claim.source.slug, day=str(claim.source_day.day), attempt=claim.attempt)
    try:
        outcome = read_and_merge(reading, progress)
        log.info("day read", outcome=str(outcome), records=reading.fetched, seconds=round(reading.seconds, 3))
    except LeaseLost as error:
        close_attempt(reading, LoadAttempt.Outcome.LOST, error.reason)
        log.warning("lease lost")
    except PutOff as error:
        put_off(reading, error)
        log.info("day put off", reason=error.reason)
    except (AuthenticationRefused, HostNotAllowed) as error:
        halt(reading, error)
        log.warning("source halted", reason=error.reason)
    except SyncError as error:
        fail(reading, error)
        log.warning("day failed", reason=error.reason)
    except Exception as error:
        # Whatever it was, the day must leave the worker's hands; the log has the traceback, people get its name.
        log.exception("day failed unexpectedly")
        fail(reading, SyncError(f"Unexpected {type(error).__name__} while reading; the log has the details."))


def read_and_merge(reading: Reading, progress: Progress | None) -> str:
    """Read the day, a second time where its checksum did not agree, and merge it; returns the outcome."""
    claim = reading.claim
    with open_reader(claim.source, before_request=claim.renew) as reader:
        reading.http = reader.http.stats
        second_chance = True
        while True:
            with Spool(reader.kind, expect_unchanged=bool(claim.source_day.digest)) as spool:
                reading.reached = database_now()
                checked = read_undisturbed(reader, claim, spool, progress)
                reading.fetched = spool.fetched
                if checked.verification == Verification.UNVERIFIED and second_chance:
                    second_chance = False
                    continue
                return merge(reading, reader, spool, checked)


def read_undisturbed(reader: VendorReader, claim: Claim, spool: Spool, progress: Progress | None) -> Checked:
    """Fill the spool from one pass over a listing that holds still; raises ListingShifted if it never does."""
    for _ in range(READS_OF_A_SHIFTING_LISTING - 1):
        try:
            return read(reader, claim, spool, progress)
        except ListingShifted:
            spool.clear()
    return read(reader, claim, spool, progress)


def read(reader: VendorReader, claim: Claim, spool: Spool, progress: Progress | None) -> Checked:
    """Stream the vendor's pages into the spool; returns the comparison with the vendor's checksum."""
    pages = reader.pages(claim.day)
    while True:
        try:
            page = next(pages)
        except StopIteration as end:
            checked: Checked = end.value
            return checked
        spool.add(page.rows, page.rejected)
        claim.renew()
        claim.note(spool.fetched)
        if progress is not None:
            progress(len(page.rows) + len(page.rejected))


@dataclass(frozen=True)
class Before:
    """What the day held before a merge, and whether it had been read to its end."""

    records: int
    sums: dict[str, str]
    covered: bool

    @classmethod
    def of(cls, day: SourceDay) -> "Before":
        """Return what `day` says of itself now."""
        return cls(day.records, day.sums, day.covered_until is not None and day.covered_until >= day.ends_at)


def merge(reading: Reading, reader: VendorReader, spool: Spool, checked: Checked) -> str:
    """Merge the spool into the day, in one transaction that only the holder of the attempt number can make."""
    digest = spool.hexdigest()
    if digest != reading.claim.source_day.digest:
        spool.flush()
    with transaction.atomic():
        hold_settled_mark()
        day = fenced(reading.claim)
        if digest == day.digest:
            unchanged = Merged(unchanged=day.records)
            return succeed(reading, day, spool, checked, unchanged, LoadAttempt.Outcome.UNCHANGED)
        # Another day's merge may have emptied the digest since the claim: then the rows are still in memory.
        spool.flush()
        steps = DayMerge(reader.kind, day)
        before = Before.of(day)
        if not fill_empty(steps, spool):
            steps.drop_repeated()
            shrink = steps.shrink()
            agreed = day.shrink_accepted or (day.suspicion or {}).get("digest") == digest
            if shrink.suspicious and not spool.rejected_count and not agreed:
                return suspect(reading, day, shrink, digest)
            steps.apply(withdraw=not spool.rejected_count, keep_old=before.covered)
        day.records, day.withdrawn, day.sums = steps.totals()
        if not spool.rejected_count and day.records != steps.distinct:
            raise WrongShape(
                f"{steps.distinct} records were read, but the day would hold {day.records}: some are not of it."
            )
        day.digest = digest
        if steps.merged.anything or not day.rolled_up:
            write(reader.kind, day)
            day.rolled_up = True
        take_from_other_days(reading, steps)
        if before.covered and steps.merged.anything:
            restate(reading, day, before, steps.merged)
        return succeed(reading, day, spool, checked, steps.merged, LoadAttempt.Outcome.LOADED)


def fenced(claim: Claim) -> SourceDay:
    """Return the day, locked; raises LeaseLost where a later attempt holds it."""
    # Only the day: the default order looks at the source, whose lock claims take before a day's.
    day = claim.mine.select_for_update(of=("self",), no_key=True).first()
    if day is None:
        raise LeaseLost(f"{claim.source_day} was taken over by another worker.")
    day.source = claim.source
    return day


def fill_empty(steps: DayMerge, spool: Spool) -> bool:
    """Insert the rows of a day that never held any: the usual first load. False where it takes a real merge."""
    if not steps.holds_nothing():
        return False
    before = transaction.savepoint()
    if steps.insert_all(spool.digest.count):
        transaction.savepoint_commit(before)
        return True
    # A row came twice, or another day holds its key.
    transaction.savepoint_rollback(before)
    return False


def restate(reading: Reading, day: SourceDay, before: Before, merged: Merged) -> None:
    """Note that a day that had been read to its end came back different."""
    day.restated_at = reading.reached
    Restatement.objects.create(
        source_day=day,
        attempt=reading.claim.attempt,
        records_before=before.records,
        records_after=day.records,
        inserted=merged.inserted,
        changed=merged.changed,
        withdrawn=merged.withdrawn,
        returned=merged.returned,
        sums_before=before.sums,
        sums_after=day.sums,
    )


def take_from_other_days(reading: Reading, steps: DayMerge) -> None:
    """Correct the days whose records the vendor now reports on this one, so that none is counted twice."""
    for other in days_of(reading.claim.source.pk, steps.merged.moved):
        before = Before.of(other)
        other.records, other.withdrawn, other.sums = DayMerge(steps.kind, other).totals()
        # What the digest stood for is no longer what is held, so the next read is compared row by row.
        other.digest = ""
        other.restated_at = reading.reached
        write(steps.kind, other)
        other.rolled_up = True
        other.save(update_fields=["records", "withdrawn", "sums", "digest", "restated_at", "rolled_up"])
        Restatement.objects.create(
            source_day=other,
            attempt=other.attempt,
            records_before=before.records,
            records_after=other.records,
            moved=steps.merged.moved[other.day],
            sums_before=before.sums,
            sums_after=other.sums,
        )
