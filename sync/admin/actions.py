"""What staff may ask of the engine from a page, and how the answer is told to them."""

from collections.abc import Callable, Iterable

from django.contrib import messages
from django.http import HttpRequest
from kombu.exceptions import OperationalError

from sync.errors import SyncError
from sync.models import SyncRun
from sync.tasks import load
from usage.coverage import days_in_words
from usage.models import Source


def who(request: HttpRequest) -> str:
    """Return the name that is written into the ledger."""
    return str(request.user.get_username())


def ask(request: HttpRequest, engine: Callable[[], SyncRun | Iterable[SyncRun] | None]) -> list[SyncRun]:
    """Ask the engine for runs, call workers to them, and say what will happen or why it will not."""
    try:
        answer = engine()
    except SyncError as error:
        messages.error(request, error.reason)
        return []
    runs: list[SyncRun] = [answer] if isinstance(answer, SyncRun) else list(answer or [])
    for run in runs:
        called = call_workers(run.source)
        begins = "now" if called else "with the next tick, as the message queue does not answer"
        messages.success(request, f"{days_in_words(run.days_total)} of {run.source} will be read, beginning {begins}.")
    if not runs:
        messages.info(request, "There is nothing to read.")
    return runs


def call_workers(source: Source) -> bool:
    """Call as many workers as the source allows; False where the queue is down, which costs a tick."""
    try:
        for _ in range(source.max_concurrency):
            load.apply_async((source.pk,), retry=False)
    except OperationalError:
        return False
    return True


def may_sync(request: HttpRequest) -> bool:
    """Tell whether someone may have days read again: those who may change source days."""
    return bool(request.user.has_perm("usage.change_sourceday"))
