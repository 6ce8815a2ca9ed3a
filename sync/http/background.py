"""Threads for what may block longer than its caller may wait."""

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundThreads:
    """Up to `size` daemon threads, started as they are needed.

    Unlike those of a ThreadPoolExecutor they do not hold up the end of the process, however long what they run
    still waits.
    """

    def __init__(self, size: int) -> None:
        self._unstarted = size
        self._is_closed = False
        self._idle = Semaphore(0)
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `function` in one of the threads; called by one thread only, and not after `close`."""
        if self._is_closed:
            raise RuntimeError("The threads are closed.")
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the caller that waits for the outcome gets it
                outcome.set_exception(error)

        # Lines of the log have the same ids in the thread.
        self._tasks.put(partial(copy_context().run, run))
        if not self._idle.acquire(blocking=False) and self._unstarted:
            self._unstarted -= 1
            Thread(target=self._work, name="vendor-http", daemon=True).start()
        return outcome

    def close(self) -> None:
        """Let every thread end after its task; tasks that were submitted before are still run."""
        self._is_closed = True
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            self._idle.release()
            del task  # It refers to what it returned.
        self._tasks.put(None)  # For the next thread.
