"""The requests of staff to the engine from a page, and the messages about their results."""

from collections.abc import Callable, Iterable

from django.contrib import messages
from django.http import HttpRequest
from kombu.exceptions import OperationalError

from sync.engine import plan
from sync.errors import SyncError
from sync.models import Subject, SyncRun, Trigger
from sync.tasks import load, read_names
from usage.formatting import format_count
from usage.models import SourceDay


def get_username(request: HttpRequest) -> str:
    """Return the name that runs, acceptances and logs record."""
    return str(request.user.get_username())


def start_runs(request: HttpRequest, plan_runs: Callable[[], SyncRun | Iterable[SyncRun] | None]) -> list[SyncRun]:
    """Plan runs, wake workers for them, and report what will happen, or why nothing will."""
    try:
        planned = plan_runs()
    except SyncError as error:
        messages.error(request, error.reason)
        return []
    runs: list[SyncRun] = [planned] if isinstance(planned, SyncRun) else list(planned or [])
    for run in runs:
        awake = wake_workers(run)
        start = "now" if awake else "with the next tick, because the message queue does not answer"
        is_of_names = run.subject == Subject.NAMES
        subject = "The names" if is_of_names else format_count(run.days_total, "day")
        verb = "read" if is_of_names else "synced"
        messages.success(request, f"{subject} of {run.source} will be {verb}, starting {start}.")
    if not runs:
        messages.info(request, "There is nothing to sync.")
    return runs


def sync_days(request: HttpRequest, days: Iterable[SourceDay]) -> None:
    """Sync days again."""
    start_runs(request, lambda: plan.reread(days, Trigger.ADMIN, get_username(request)))


def sync_day(request: HttpRequest, day: SourceDay) -> None:
    """Sync a day again."""
    sync_days(request, [day])


def accept_day(request: HttpRequest, day: SourceDay) -> None:
    """Accept what the vendor reports for a suspect day."""
    start_runs(request, lambda: plan.accept_shrink(day, get_username(request)))


def wake_workers(run: SyncRun) -> bool:
    """Wake as many workers as the run can use; False where the queue is down, which costs a tick."""
    is_of_names = run.subject == Subject.NAMES
    try:
        for _ in range(1 if is_of_names else run.source.max_concurrency):
            (read_names if is_of_names else load).apply_async((run.source_id,), retry=False)
    except OperationalError:
        return False
    return True


def has_sync_permission(request: HttpRequest) -> bool:
    """Return whether this person may have days synced: those who may change source days."""
    return bool(request.user.has_perm("usage.change_sourceday"))
