"""Portal processes of their own, on the test's database and Redis: for what only another process can show."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from django.db import connection

from portal.environment import BASE_DIR

WAIT_SECONDS = 60
T = TypeVar("T")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a portal process that uses this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{name}")),
        "PORTAL_ALLOWED_VENDOR_HOSTS": "127.0.0.1",
        "PYTHONWARNINGS": "default",
        **settings,
    }


@contextmanager
def portal_process(arguments: Sequence[str], **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python <arguments>` in the project's root for the time of the block; killed with its children at the end."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all its children with SIGKILL, and wait for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def wait_for(question: Callable[[], T], what: str = "", *, every: float = 0.02) -> T:
    """Return the first true answer to `question`, asked `every` so many seconds; fails the test after a minute."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"waited in vain: {what or question}")
