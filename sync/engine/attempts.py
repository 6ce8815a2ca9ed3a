"""The rows of an attempt and of the runs that wait for its day."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from sync.engine.claim import Claim
from sync.engine.logs import log_finished
from sync.engine.merge import MergeResult
from sync.engine.totals import add_to_total
from sync.errors import ErrorCode, SyncError
from sync.http import HTTPStats
from sync.models import COUNTED, LoadAttempt, SyncRun, SyncRunDay


@dataclass
class RunningAttempt:
    """An attempt while it runs; `reached` is when its last pass over the vendor's listing began."""

    claim: Claim
    http: HTTPStats = field(default_factory=HTTPStats)
    fetched: int = 0
    reached: datetime | None = None

    @property
    def seconds(self) -> float:
        """How long the attempt has taken so far."""
        return monotonic() - self.claim.started_at


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, as its row and the runs store it."""

    outcome: LoadAttempt.Outcome
    error: str = ""
    error_code: ErrorCode | str = ""
    payload: str = ""
    failed: bool = False

    @classmethod
    def from_error(cls, outcome: LoadAttempt.Outcome, error: SyncError) -> "Ending":
        """Return the ending of an attempt that `error` ended."""
        failed = outcome == LoadAttempt.Outcome.FAILED
        return cls(outcome, error.reason, error.code, make_storable(error.payload), failed)


def close_attempt(
    attempt: RunningAttempt, ending: Ending, merged: MergeResult | None = None, *, rejected: int = 0
) -> None:
    """Complete the attempt's row and the runs that waited for the day.

    A lost attempt leaves the runs to the worker that took the day over.
    """
    counts = count_attempt(attempt, merged or MergeResult(), rejected)
    write_attempt(attempt.claim, ending, counts)
    if ending.outcome != LoadAttempt.Outcome.LOST:
        write_runs(attempt.claim, ending, counts)


def count_attempt(attempt: RunningAttempt, merged: MergeResult, rejected: int) -> dict[str, Any]:
    """Return the columns of `Counts` for one attempt."""
    counts = {
        "requests": attempt.http.requests,
        "retries": attempt.http.retries,
        "bytes": attempt.http.bytes,
        "fetched": attempt.fetched,
        "inserted": merged.inserted,
        "changed": merged.changed,
        "unchanged": merged.unchanged,
        "withdrawn": merged.withdrawn,
        "returned": merged.returned,
        "rejected": rejected,
        "seconds": Decimal(f"{attempt.seconds:.3f}"),
    }
    assert counts.keys() == set(COUNTED)  # noqa: S101
    return counts


def write_attempt(claim: Claim, ending: Ending, counts: Mapping[str, Any]) -> None:
    """Complete the attempt's row, and add it to the totals; the worker that took over has added a lost attempt."""
    row = LoadAttempt.objects.filter(source_day=claim.source_day, number=claim.attempt)
    values = {
        "outcome": ending.outcome,
        "error": ending.error,
        "error_code": ending.error_code,
        "payload": ending.payload,
        "finished_at": Now(),
        **counts,
    }
    newly_ended = row.filter(finished_at=None).update(**values)
    if not newly_ended:
        row.update(**values)
    add_to_total(claim.source, ending.outcome, newly_ended, counts)


def write_runs(claim: Claim, ending: Ending, counts: Mapping[str, Any]) -> None:
    """Add the attempt to the runs that wait for the day; a deferred day goes on waiting."""
    waiting_run_days = SyncRunDay.objects.filter(source_day=claim.source_day, outcome=SyncRunDay.Outcome.WAITING)
    increments = {name: F(name) + value for name, value in counts.items() if value}
    if ending.outcome != LoadAttempt.Outcome.DEFERRED:
        end_run_days(waiting_run_days, ending, increments)
    elif increments:
        SyncRun.objects.filter(pk__in=waiting_run_days.values("run_id")).update(**increments)


def end_run_days(
    waiting_run_days: QuerySet[SyncRunDay], ending: Ending, increments: Mapping[str, Any] | None = None
) -> None:
    """End the waiting days of runs, and finish each run that waits for no other day.

    `increments`: other columns of the runs to write.
    """
    days_by_run = Counter(waiting_run_days.values_list("run_id", flat=True))
    if not days_by_run:
        return
    waiting_run_days.update(outcome=SyncRunDay.Outcome.FAILED if ending.failed else SyncRunDay.Outcome.DONE)
    column = "days_failed" if ending.failed else "days_done"
    columns = dict(increments or {})
    if ending.failed:
        columns |= {"error": ending.error, "error_code": ending.error_code}
    for run_id, days in sorted(days_by_run.items()):
        SyncRun.objects.filter(pk=run_id).update(**{column: F(column) + days}, **columns)
    still_waiting = SyncRunDay.objects.filter(outcome=SyncRunDay.Outcome.WAITING).values("run_id")
    finished_runs = SyncRun.objects.filter(pk__in=days_by_run, finished_at=None).exclude(pk__in=still_waiting)
    if run_ids := list(finished_runs.values_list("pk", flat=True)):
        SyncRun.objects.filter(pk__in=run_ids).update(finished_at=Now())
        log_finished(run_ids)


def make_storable(text: str) -> str:
    """Return text that PostgreSQL can store, whatever a vendor sent."""
    return text.replace("\x00", "\\u0000").encode(errors="replace").decode()
