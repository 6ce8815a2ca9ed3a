"""What staff may ask of the engine from a page, and the messages that report what follows."""

from collections.abc import Callable, Iterable

from django.contrib import messages
from django.http import HttpRequest
from kombu.exceptions import OperationalError

from sync.errors import SyncError
from sync.models import SyncRun
from sync.tasks import load
from usage.formatting import format_count
from usage.models import Source


def get_username(request: HttpRequest) -> str:
    """Return the name that runs, acceptances and logs record."""
    return str(request.user.get_username())


def start_runs(request: HttpRequest, plan: Callable[[], SyncRun | Iterable[SyncRun] | None]) -> list[SyncRun]:
    """Plan runs, wake workers for them, and report what will happen, or why nothing will."""
    try:
        planned = plan()
    except SyncError as error:
        messages.error(request, error.reason)
        return []
    runs: list[SyncRun] = [planned] if isinstance(planned, SyncRun) else list(planned or [])
    for run in runs:
        awake = wake_workers(run.source)
        start = "now" if awake else "with the next tick, because the message queue does not answer"
        days = format_count(run.days_total, "day")
        messages.success(request, f"{days} of {run.source} will be synced, starting {start}.")
    if not runs:
        messages.info(request, "There is nothing to sync.")
    return runs


def wake_workers(source: Source) -> bool:
    """Wake as many workers as the source allows; False where the queue is down, which costs a tick."""
    try:
        for _ in range(source.max_concurrency):
            load.apply_async((source.pk,), retry=False)
    except OperationalError:
        return False
    return True


def has_sync_permission(request: HttpRequest) -> bool:
    """Return whether this person may have days synced: those who may change source days."""
    return bool(request.user.has_perm("usage.change_sourceday"))
