"""A check that many probes share: one runs at a time, and its result is valid for a second."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

# A probe is answered within two seconds, whatever hangs.
CHECK_SECONDS = 1.5
SHARED_SECONDS = 1.0
# Each probe that waits uses a thread of the web server. Further probes wait for CROWDED_SECONDS.
MAX_WAITING = 16
CROWDED_SECONDS = 0.2


class SharedCheck:
    """Runs `check`, which returns the reasons why something is not healthy, in a separate thread.

    A check that hangs stays the only check: meanwhile `timeout_reason` is the result, at once.
    """

    def __init__(self, check: Callable[[], list[str]], timeout_reason: str) -> None:
        self.check = check
        self.timeout_reason = timeout_reason
        self.lock = threading.Lock()
        self.result: Future[list[str]] | None = None
        self.started = 0.0
        self.ended = 0.0
        self.waiting = 0

    def get_reasons(self) -> list[str]:
        """Return the reasons, of a check that ended within the last second or ends soon."""
        with self.lock:
            result = self.get_result()
            limit = CHECK_SECONDS if self.waiting < MAX_WAITING else CROWDED_SECONDS
            seconds = max(self.started + limit - time.monotonic(), 0)
            self.waiting += 1
        try:
            return result.result(seconds)
        except TimeoutError:
            return [self.timeout_reason]
        finally:
            with self.lock:
                self.waiting -= 1

    def get_result(self) -> "Future[list[str]]":
        """Return the result of the last check, or of a new check where that is too old."""
        if self.result is None or (self.result.done() and time.monotonic() - self.ended >= SHARED_SECONDS):
            self.result, self.started = Future(), time.monotonic()
            threading.Thread(target=self.run, args=(self.result,), daemon=True).start()
        return self.result

    def run(self, result: "Future[list[str]]") -> None:
        try:
            reasons = self.check()
        except BaseException as error:  # noqa: BLE001 (the probes that wait raise it)
            self.ended = time.monotonic()
            result.set_exception(error)
        else:
            self.ended = time.monotonic()
            result.set_result(reasons)
