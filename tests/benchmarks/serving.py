"""Applications behind granian, run as docs/operations.md runs the portal, and what their processes take."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from portal.web import THREADS
from tests.benchmarks.contenders.lane import read_peak
from tests.benchmarks.cost import children, cpu_of

HOST = "127.0.0.1"
PORTAL = "portal.wsgi:application"
START_SECONDS = 60.0
WORKERS = 2


@dataclass(frozen=True)
class Served:
    """An application that answers: its port, and granian's process id."""

    port: int
    pid: int

    @property
    def cpu(self) -> float:
        """CPU seconds that granian and its workers have taken."""
        return cpu_of(self.pid)

    @property
    def workers(self) -> list[int]:
        """The workers' process ids."""
        return children(self.pid)

    @property
    def peak_mib(self) -> float:
        """The largest resident memory of any worker since `forget_peak`, in MiB."""
        return max(map(read_peak, self.workers)) / 1024

    def forget_peak(self) -> None:
        """Let every worker's peak begin anew at what it holds now (proc(5), clear_refs)."""
        for pid in self.workers:
            Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def served(application: str, environment: Mapping[str, str], log: Path, threads: int = THREADS) -> Iterator[Served]:
    """Serve PORTAL or another WSGI application on a free port; what it logs goes to `log`."""
    port = free_port()
    place = ["--host", HOST, "--port", str(port), "--workers", str(WORKERS)]
    command = (
        ["-m", "portal.web", *place, "--threads", str(threads)]
        if application == PORTAL
        else ["-m", "granian", "--interface", "wsgi", *place, "--blocking-threads", "2", application]
    )
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=BASE_DIR,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_workers(process, log)
        yield Served(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_for_workers(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until every worker listens; raises RuntimeError with the log's end where granian ends before."""
    deadline = time.monotonic() + START_SECONDS
    log_size = log.stat().st_size if log.exists() else 0
    while log.read_bytes()[log_size:].count(b"Started worker-") < WORKERS:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"granian does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
