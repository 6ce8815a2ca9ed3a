"""Runs the portal's processes side by side in one terminal, with honcho: they start and stop together."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Thread, Timer
from typing import Any

import honcho.manager
from honcho.printer import Printer
from honcho.process import Process

from portal.environment import BASE_DIR

# A worker finishes its day in this time; a process that still runs then is killed, which loses nothing.
honcho.manager.KILL_WAIT = 30
REPEAT_SECONDS = 5


class Program(Process):  # type: ignore[misc]  # honcho has no annotations
    """A program and the process that reads its output; the program is also stopped if the runner is killed."""

    def run(self, *arguments: Any) -> None:
        """Start the program and forward its output until it ends."""
        Thread(target=self._stop_without_parent, args=(os.getppid(),), daemon=True).start()
        super().run(*arguments)

    def _stop_without_parent(self, parent: int) -> None:
        while os.getppid() == parent or self._child is None:
            time.sleep(0.5)
        # The output has no reader any more; do not wait for that at exit.
        self._events.cancel_join_thread()
        until = time.monotonic() + honcho.manager.KILL_WAIT
        # Repeated: a program that has just started may not have a signal handler yet.
        while time.monotonic() < until:
            os.kill(self._child.pid, signal.SIGTERM)
            time.sleep(min(REPEAT_SECONDS, honcho.manager.KILL_WAIT))
        os.killpg(self._child.pid, signal.SIGKILL)


class ProgramRunner(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no annotations
    """Runs Python programs until one of them ends or a signal comes, then stops them all.

    `on_start` is called in a thread once they are started; the programs of `stop_last` are stopped after the others,
    which need them until then.
    """

    def __init__(
        self, programs: Mapping[str, Sequence[str]], on_start: Callable[[], None], stop_last: Collection[str] = ()
    ) -> None:
        super().__init__(Printer(sys.stdout))
        self._terminating = False
        self._process_ctor = Program
        self.on_start = on_start
        self.stop_last = stop_last
        self.unexpected_ends: list[str] = []
        for name, arguments in programs.items():
            # `exec`: signals must reach the program, not a shell.
            command = f"exec {shlex.join([sys.executable, *arguments])}"
            self.add_process(name, command, cwd=str(BASE_DIR), env=os.environ | {"PYTHONUNBUFFERED": "1"})

    def run(self) -> list[str]:
        """Block until everything has stopped; returns the programs that ended by themselves."""
        # Closing the terminal stops the portal, like Ctrl-C.
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self.loop()
        return self.unexpected_ends

    def terminate(self) -> None:
        """Send SIGTERM to the programs only: each stops its own children."""
        if not self._all_started():
            Timer(0.1, self.terminate).start()
        elif not self._terminating:
            self._terminating = True
            ended = set(self._processes) - self._running()
            self.unexpected_ends = [f"{name} (status {self._processes[name]['returncode']})" for name in ended]
            self._send_stop(self._running().difference(self.stop_last))
            Thread(target=self._stop_last, daemon=True).start()

    def _stop_last(self) -> None:
        while self._running().difference(self.stop_last):
            time.sleep(0.05)
        self._send_stop(self._running())

    def _send_stop(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(ProcessLookupError):
                os.kill(self._processes[name]["pid"], signal.SIGTERM)

    def _running(self) -> set[str]:
        return {name for name, process in self._processes.items() if "returncode" not in process}

    def _start(self) -> None:
        super()._start()
        Thread(target=self.on_start, daemon=True).start()
