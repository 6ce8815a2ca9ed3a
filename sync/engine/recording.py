"""Write how a read ended: in one transaction, or step by step where that fails."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from sync.engine.claim import Claim
from usage.models import DayState, Source

logger = structlog.get_logger(__name__)

UNRECORDED_WAIT = timedelta(minutes=5)
UNRECORDED = "The read failed, and its reason could not be stored; the log has it."
Steps = Mapping[str, Callable[[], object]]


def record(claim: Claim, columns: Mapping[str, Any], steps: Steps, lost: Steps) -> None:
    """Write `columns` on the claimed day and then `steps`; `lost` in place of `steps` if another worker has the day.

    Where the transaction fails, each step is written by itself, so that a failing step does not prevent other steps.
    Without a database the day stays leased, and the next claim writes the reason.
    """
    try:
        revive_connection()
        with transaction.atomic():
            # Before the day, as everyone who plans does: two that lock both never wait for each other.
            Source.objects.select_for_update(no_key=True).only("pk").get(pk=claim.source.pk)
            updated = release(claim, columns)
            for write in (steps if updated else lost).values():
                write()
    except Exception:  # noqa: BLE001  # whatever failed, the day needs its reason
        log_safely(logger.exception, "recording failed; each step is tried by itself", day=str(claim.source_day.day))
        record_each(claim, columns, steps, lost)


def record_each(claim: Claim, columns: Mapping[str, Any], steps: Steps, lost: Steps) -> None:
    """Write each step in its own transaction, the day first; UNRECORDED replaces a reason that cannot be stored."""
    delayed_columns = {**columns, "due_at": Now() + UNRECORDED_WAIT}
    minimal_columns = {
        "state": DayState.FAILED,
        "failures": F("failures") + 1,
        "error": UNRECORDED,
        "due_at": delayed_columns["due_at"],
    }
    updated = try_step("day", lambda: release(claim, delayed_columns))
    if updated is None:
        updated = try_step("day, plainly", lambda: release(claim, minimal_columns))
    for name, write in (lost if updated == 0 else steps).items():
        try_step(name, write)


def release(claim: Claim, columns: Mapping[str, Any]) -> int:
    """Write the day's row and end its lease; returns 0 where another worker has the day."""
    return claim.leased_day.update(**columns, lease_expires_at=None, leased_by="")


def try_step(name: str, write: Callable[[], Any]) -> Any:
    """Return what `write` returns, called in a transaction of its own; None where it fails, which is logged."""
    try:
        revive_connection()
        with transaction.atomic():
            return write()
    except Exception:  # noqa: BLE001  # the other steps are still to be tried
        log_safely(logger.exception, "a step failed; the others go on", step=name)
        return None


def revive_connection() -> None:
    """Close a connection that has died, so that the next statement opens a new connection."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def log_safely(write: Callable[..., Any], event: str, **facts: Any) -> None:
    """Write a line of the log; a log that cannot be written must not leave a day half recorded."""
    with suppress(Exception):
        write(event, **facts)
