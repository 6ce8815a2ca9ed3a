"""Portal processes on the test's database and Redis, for behaviour that needs another process."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from django.db import connection

from portal.environment import BASE_DIR

# Ten times what a start takes on a quiet machine.
WAIT_SECONDS = 120
T = TypeVar("T")


def build_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a portal process that uses this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{name}")),
        "PORTAL_ALLOWED_VENDOR_HOSTS": "127.0.0.1:*",
        "PYTHONWARNINGS": "default",
        **settings,
    }


class PortalProcess(subprocess.Popen[bytes]):
    """A portal process in a session of its own, its output in a file that cannot fill up and block it."""

    def __init__(self, arguments: Sequence[str], root: Path = BASE_DIR, /, **settings: str) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        super().__init__(
            [sys.executable, *arguments],
            cwd=root,
            env=build_environment(**settings),
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        """Return the output of the process so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def kill_all(self) -> None:
        """Kill the process and its children with SIGKILL, and wait for it; may be called again."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def portal_process(arguments: Sequence[str], root: Path = BASE_DIR, /, **settings: str) -> Iterator[PortalProcess]:
    """Run `python <arguments>` in the project's root for the time of the block; killed with its children at the end."""
    process = PortalProcess(arguments, root, **settings)
    try:
        yield process
    except AssertionError as error:
        error.add_note(f"Output of the process:\n{process.output()}")
        raise
    finally:
        process.kill_all()
        process.log.close()


def wait_for(condition: Callable[[], T | None], label: str = "", *, every: float = 0.02) -> T:
    """Return the first true result of `condition`, called `every` so many seconds; fails the test after WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(every)
    raise AssertionError(f"waited in vain: {label or condition}")
