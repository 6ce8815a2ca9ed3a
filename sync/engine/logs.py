"""The log of runs and attempts, and the ids on every line meanwhile."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from functools import partial

import structlog
from django.db import transaction

from sync.engine.claim import Claim
from sync.engine.recording import log_safely
from sync.models import SyncRun

logger = structlog.get_logger("sync.run")


def bind_claim(claim: Claim) -> AbstractContextManager[None]:
    """Add to every line of the block which day is read, and for which runs and requests."""
    ids = {"run_id": [str(run_id) for run_id in claim.run_ids], "request_id": claim.request_ids}
    return structlog.contextvars.bound_contextvars(
        source=claim.source.slug,
        day=str(claim.source_day.day),
        attempt=claim.attempt,
        **{name: ",".join(values) for name, values in ids.items() if values},
    )


def get_request_id() -> str:
    """Return the id of the request that is answered, "" outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def log_planned(run: SyncRun) -> None:
    """Log a new run, once it is stored."""
    facts = {**name_run(run), "from_day": str(run.from_day), "to_day": str(run.to_day), "days": run.days_total}
    transaction.on_commit(partial(log_safely, logger.info, "run planned", **facts))


def log_finished(run_ids: Collection[int]) -> None:
    """Log runs that have just ended, once that is stored."""
    for run in SyncRun.objects.filter(pk__in=run_ids).select_related("source").order_by("pk"):
        assert run.finished_at is not None  # noqa: S101
        facts = {
            **name_run(run),
            "days_done": run.days_done,
            "days_failed": run.days_failed,
            "cancelled": run.cancelled_at is not None,
            "records": run.fetched,
            "requests": run.requests,
            "seconds": round((run.finished_at - run.created_at).total_seconds(), 3),
        }
        write = logger.warning if run.days_failed else logger.info
        transaction.on_commit(partial(log_safely, write, "run finished", **facts))


def name_run(run: SyncRun) -> dict[str, str]:
    """Return the fields of every line about a run."""
    facts = {"run_id": str(run.pk), "source": run.source.slug, "trigger": str(run.trigger)}
    return facts | ({"request_id": run.request_id} if run.request_id else {})
