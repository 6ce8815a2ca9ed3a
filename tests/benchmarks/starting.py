"""Modules as processes of their own: fresh ones, or forks of this one where nothing is measured."""

import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from portal.environment import BASE_DIR

MODULE = (sys.executable, "-m")
Command = Sequence[str]
Environment = Mapping[str, str]


class Process(Protocol):
    """What a Popen and a Fork have in common."""

    stdin: IO[str] | None
    stdout: IO[str] | None

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class Fork:
    """A fork that runs a module with pipes to its standard input and output."""

    def __init__(self, module: str, arguments: Sequence[str], env: Environment) -> None:
        (read_input, write_input), (read_output, write_output) = os.pipe(), os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(read_input, 0)
            os.dup2(write_output, 1)
            for descriptor in (read_input, write_input, read_output, write_output):
                os.close(descriptor)
            run_module(module, arguments, env)
        os.close(read_input)
        os.close(write_output)
        self.stdin: IO[str] | None = os.fdopen(write_input, "w")
        self.stdout: IO[str] | None = os.fdopen(read_output)

    def kill(self) -> None:
        os.kill(self.pid, 9)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_module(module: str, arguments: Sequence[str], env: Environment) -> None:
    """Run a module as `python -m` does, on the database of `env`; this process ends with it."""
    from django.db import connections

    status = 1
    try:
        os.environ.update(env)
        connections.settings["default"]["NAME"] = env["DATABASE_URL"].rpartition("/")[2]
        sys.argv[1:] = arguments
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.stdout.flush()
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(status)


class Starter:
    """Starts commands: `python -m MODULE` as a fork once `set_up` was called."""

    forks = False

    def set_up(self) -> None:
        """Have Django ready in this process, once its environment is that of the portal: a start takes 1.2 s of CPU."""
        import django

        django.setup()
        self.forks = True

    def start(self, command: Command, env: Environment) -> Process:
        """Start a command with pipes to its standard input and output."""
        if self.forks and tuple(command[:2]) == MODULE:
            return Fork(command[2], command[3:], env)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=BASE_DIR, env={**os.environ, **env}, **pipes)


STARTER = Starter()
start = STARTER.start


def run(module: str, *arguments: str, env: Environment) -> str:
    """Run a module to its end and return what it prints; raises CalledProcessError where it fails."""
    command = [*MODULE, module, *arguments]
    output, status = finish(start(command, env))
    if status:
        raise subprocess.CalledProcessError(status, command)
    return output


def finish(process: Process) -> tuple[str, int]:
    """Wait for the end of a process; returns what it has printed since, and its exit status."""
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        process.stdin.close()
        return process.stdout.read(), process.wait()
