"""Load: read one claimed day from its vendor, check it, and store it; a day is loaded completely or not at all."""

from collections.abc import Callable
from functools import partial

import structlog

from sync.engine.attempts import RunningAttempt
from sync.engine.claim import Claim, claim_day, get_database_time, get_worker_name
from sync.engine.connect import open_reader
from sync.engine.failures import defer, fail, halt, lose, reset_failures
from sync.engine.logs import bind_claim
from sync.engine.recording import log_safely, try_step
from sync.engine.spool import Spool
from sync.engine.store import store_day
from sync.errors import (
    CredentialError,
    ErrorCode,
    HostNotAllowed,
    LeaseLost,
    ListingChanged,
    ReadDeferred,
    SourceMisconfigured,
    SyncError,
)
from sync.models import LoadAttempt, SyncRun
from sync.tracing import annotate_span, open_span
from sync.vendors.base import Comparison, VendorReader
from usage.models import Verification

logger = structlog.get_logger(__name__)

READS_OF_A_CHANGING_LISTING = 4
Progress = Callable[[int], None]


def load_next(source_id: int, *, run: SyncRun | None = None, progress: Progress | None = None) -> LoadAttempt | None:
    """Claim and load the next due day of a source, or of one `run` of it; returns None where no day is due.

    Never raises for what a vendor or a record does: the returned attempt tells how it ended. `progress` is called with
    the number of records of each page.
    """
    claim = claim_day(source_id, get_worker_name(), run)
    if claim is None:
        return None
    load(claim, progress)
    return LoadAttempt.objects.get(source_day=claim.source_day, number=claim.attempt)


def load(claim: Claim, progress: Progress | None = None) -> None:
    """Read and store a claimed day, and record how that ended, whatever happens."""
    with bind_claim(claim):
        load_claimed(RunningAttempt(claim), progress)


def load_claimed(attempt: RunningAttempt, progress: Progress | None) -> None:
    """Read and store the day of an attempt, and record how that ended."""
    try:
        outcome = read_and_store(attempt, progress)
    except LeaseLost as error:
        lose(attempt, error)
        log_safely(logger.warning, "lease lost")
    except ReadDeferred as error:
        defer(attempt, error)
        write = logger.warning if error.code is ErrorCode.LIMITER_UNAVAILABLE else logger.info
        log_safely(write, "day deferred", reason=error.reason)
    except (CredentialError, HostNotAllowed, SourceMisconfigured) as error:
        halt(attempt, error)
        log_safely(logger.warning, "source halted", reason=error.reason)
    except SyncError as error:
        fail(attempt, error)
        log_safely(logger.warning, "day failed", reason=error.reason)
    except Exception as error:  # noqa: BLE001
        # Whatever it was, the worker must release the day. The log has the traceback, people get the error's name.
        log_safely(logger.exception, "day failed unexpectedly")
        reason = f"Unexpected {type(error).__name__} while reading; the log has the details."
        fail(attempt, SyncError(reason, code=ErrorCode.UNEXPECTED))
    else:
        # Not inside the try: a log that cannot be written would make a failure of a stored day.
        facts = {"outcome": str(outcome), "records": attempt.fetched, "seconds": round(attempt.seconds, 3)}
        log_safely(logger.info, "day read", **facts)


def read_and_store(attempt: RunningAttempt, progress: Progress | None) -> str:
    """Read the day, once more where its checksum does not agree, and store it; returns the outcome."""
    claim = attempt.claim
    with open_span("read day"), open_reader(claim.source, before_request=claim.renew) as reader:
        attempt.http = reader.http.stats
        with Spool(reader.kind) as spool:
            attempt.reached = reader.account.opened_at
            comparison = read_day(reader, attempt, spool, progress)
            if comparison.verification == Verification.UNVERIFIED:
                spool.clear()
                attempt.reached = get_database_time()
                comparison = read_day(reader, attempt, spool, progress)
            with open_span("store day"):
                outcome = store_day(attempt, spool, comparison)
        annotate_span({"outcome": str(outcome), "records": attempt.fetched})
    if claim.source.failures or claim.source.paused_until is not None:
        try_step("source", partial(reset_failures, claim.source))
    return outcome


def read_day(reader: VendorReader, attempt: RunningAttempt, spool: Spool, progress: Progress | None) -> Comparison:
    """Fill the spool from one pass over a listing that does not change; raises ListingChanged if it keeps changing."""
    passes_left = READS_OF_A_CHANGING_LISTING
    while True:
        try:
            comparison = read_pages(reader, attempt.claim, spool, progress)
        except ListingChanged:
            passes_left -= 1
            if not passes_left:
                raise
            spool.clear()
        else:
            attempt.fetched = spool.fetched
            return comparison


def read_pages(reader: VendorReader, claim: Claim, spool: Spool, progress: Progress | None) -> Comparison:
    """Stream the vendor's pages into the spool; returns the comparison with the vendor's checksum."""
    pages = reader.pages(claim.day)
    while True:
        try:
            page = next(pages)
        except StopIteration as end:
            comparison: Comparison = end.value
            return comparison
        spool.add(page.rows, page.rejected)
        claim.renew()
        claim.report_progress(spool.fetched)
        if progress is not None:
            progress(len(page.rows) + len(page.rejected))
