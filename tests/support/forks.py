"""Management commands in forks of a process that has Django ready: for tests that kill many of them, or need several.

`python -m tests.support.forks MODULE…` imports the modules. For each line that it reads, the arguments of `run_command`
as JSON, it prints the process id of the fork that runs it, and once that has ended its process id and exit status.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import django

from portal.environment import BASE_DIR
from tests.support.processes import WAIT_SECONDS, build_environment


@dataclass
class Fork:
    """A process that runs a command, in a session of its own."""

    pid: int
    forks: "CommandForks"

    @property
    def returncode(self) -> int | None:
        """The exit status, as of the last `poll` or `wait`."""
        return self.forks.statuses.get(self.pid)

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        while self.returncode is None and self.forks.read_line(0) is not None:
            pass
        return self.returncode

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """Wait for the end of the process and return its exit status."""
        end = time.monotonic() + seconds
        while self.returncode is None:
            assert self.forks.read_line(end - time.monotonic()) is not None, "the process does not end"
        return self.returncode

    def kill_all(self) -> None:
        """Kill the process and its children with SIGKILL, and wait for it; may be called again."""
        if self.poll() is None:
            for kill in (os.killpg, os.kill):
                with suppress(ProcessLookupError):
                    kill(self.pid, signal.SIGKILL)
            self.wait()


class CommandForks:
    """Runs commands on the test's database; their output goes to one file."""

    def __init__(self, *modules: str, **settings: str) -> None:
        self.statuses: dict[int, int] = {}
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks", *modules],
            cwd=BASE_DIR,
            env=build_environment(DJANGO_SETTINGS_MODULE="portal.settings", **settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            # Or a line may wait in a buffer, where `select` does not see it.
            bufsize=0,
        )

    @contextmanager
    def run(self, *arguments: str, kill_after: str = "") -> Iterator[Fork]:
        """Run a management command for the time of the block; killed at the end.

        `kill_after`: a function, as `module:name`, after whose first call the process kills itself with SIGKILL.
        """
        assert self.process.stdin
        self.process.stdin.write(json.dumps([arguments, kill_after]).encode() + b"\n")
        while not (pid := self.read_line(WAIT_SECONDS)):
            assert pid is not None, self.output()
        fork = Fork(pid, self)
        try:
            yield fork
        except AssertionError as error:
            error.add_note(f"Output of the processes:\n{self.output()}")
            raise
        finally:
            fork.kill_all()

    def read_line(self, seconds: float) -> int | None:
        """Read the next line: returns the process id of a started fork, 0 for an ended one, None after `seconds`."""
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], max(seconds, 0))[0]:
            return None
        pid, *status = map(int, self.process.stdout.readline().split())
        if status:
            [self.statuses[pid]] = status
        return 0 if status else pid

    def output(self) -> str:
        """Return the output of all of them so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def close(self) -> None:
        """End the process that is forked from."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


@contextmanager
def command_forks(*modules: str, **settings: str) -> Iterator[CommandForks]:
    """Yield forks with these settings for the time of the block."""
    forks = CommandForks(*modules, **settings)
    try:
        yield forks
    finally:
        forks.close()


def run_command(arguments: list[str], kill_after: str) -> None:
    """Run a command in this fork, which ends with it."""
    from django.core.management import call_command

    os.setsid()
    os.dup2(2, 1)
    status = 1
    try:
        if kill_after:
            set_trap(kill_after)
        call_command(*arguments)
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def set_trap(name: str) -> None:
    """Let this process kill itself after the first call of a function."""
    module_name, _, function = name.partition(":")
    module = import_module(module_name)
    original: Callable[..., object] = getattr(module, function)

    def die(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, function, die)


def main(modules: list[str]) -> None:
    """Fork for each line, and print the exit status of each fork that ends."""
    django.setup()
    for module in modules:
        import_module(module)
    # Unbuffered, or a line may wait in a buffer, where `select` does not see it.
    commands = open(0, "rb", buffering=0)  # noqa: SIM115
    input_descriptor = commands.fileno()
    running: dict[int, int] = {}  # process ids by their descriptors
    while True:
        ready, _, _ = select.select([input_descriptor, *running], [], [])
        for descriptor in ready:
            if descriptor != input_descriptor:
                os.close(descriptor)
                pid = running.pop(descriptor)
                print(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            elif line := commands.readline():
                pid = os.fork()
                if pid == 0:
                    run_command(*json.loads(line))
                running[os.pidfd_open(pid)] = pid
                print(pid, flush=True)
            else:
                return


if __name__ == "__main__":
    main(sys.argv[1:])
