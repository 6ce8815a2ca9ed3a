"""The portal's processes side by side in one terminal, with honcho: they start together and stop together."""

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

# A worker finishes the day it is reading; what still runs then is killed, which loses nothing either.
honcho.manager.KILL_WAIT = 30
ASK_AGAIN_SECONDS = 5


class Program(Process):  # type: ignore[misc]  # honcho has no annotations
    """One program and the process that reads its output; it is stopped too where the terminal was killed."""

    def run(self, *arguments: Any) -> None:
        """Start the program and pass its output on until it ends."""
        Thread(target=self._stop_without, args=(os.getppid(),), daemon=True).start()
        super().run(*arguments)

    def _stop_without(self, parent: int) -> None:
        while os.getppid() == parent or self._child is None:
            time.sleep(0.5)
        # Nobody reads any more what was printed: not to be waited for at the end.
        self._events.cancel_join_thread()
        until = time.monotonic() + honcho.manager.KILL_WAIT
        # Asked again: a program that is only just starting may not hear it the first time.
        while time.monotonic() < until:
            os.kill(self._child.pid, signal.SIGTERM)
            time.sleep(min(ASK_AGAIN_SECONDS, honcho.manager.KILL_WAIT))
        os.killpg(self._child.pid, signal.SIGKILL)


class Terminal(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no annotations
    """Runs Python programs until one ends or a signal comes, then stops them all.

    `beside` is called in a thread once they have been started; `last` names the programs that the others need
    for stopping well, and that are therefore stopped after them.
    """

    def __init__(
        self, programs: Mapping[str, Sequence[str]], beside: Callable[[], None], last: Collection[str] = ()
    ) -> None:
        super().__init__(Printer(sys.stdout))
        self._terminating = False
        self._process_ctor = Program
        self.beside = beside
        self.last = last
        self.ended_first: list[str] = []
        for name, arguments in programs.items():
            # `exec`, so that the program itself gets the signals and not a shell before it.
            command = f"exec {shlex.join([sys.executable, *arguments])}"
            self.add_process(name, command, cwd=str(BASE_DIR), env=os.environ | {"PYTHONUNBUFFERED": "1"})

    def run(self) -> list[str]:
        """Block until everything has stopped; returns the programs that ended without being asked to."""
        # A terminal that was closed asks to stop, like Ctrl-C in an open one.
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self.loop()
        return self.ended_first

    def terminate(self) -> None:
        """Ask the programs to stop: only they are asked, since each knows best how to stop its children."""
        if not self._all_started():
            Timer(0.1, self.terminate).start()
        elif not self._terminating:
            self._terminating = True
            ended = set(self._processes) - self._running()
            self.ended_first = [f"{name} (status {self._processes[name]['returncode']})" for name in ended]
            self._ask_to_stop(self._running().difference(self.last))
            Thread(target=self._stop_last, daemon=True).start()

    def _stop_last(self) -> None:
        while self._running().difference(self.last):
            time.sleep(0.05)
        self._ask_to_stop(self._running())

    def _ask_to_stop(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(ProcessLookupError):
                os.kill(self._processes[name]["pid"], signal.SIGTERM)

    def _running(self) -> set[str]:
        return {name for name, process in self._processes.items() if "returncode" not in process}

    def _start(self) -> None:
        super()._start()
        Thread(target=self.beside, daemon=True).start()
