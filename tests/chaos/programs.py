"""The programs of a chaos run: killed, stopped, and started again as a supervisor would."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from portal.embedded import ServiceError, Services
from portal.embedded.server import Postgres, Server, Valkey, free_port
from portal.management.commands.up import build_programs
from tests.benchmarks.cost import children
from tests.support.processes import PortalProcess

SERVERS: dict[str, type[Server]] = {"postgres": Postgres, "valkey": Valkey}
# Short, so that a run of a minute sees what takes hours: leases end, requests are given up, days are tried again.
SETTINGS = {
    "PORTAL_TICK_SECONDS": "2",
    "PORTAL_LEASE_SECONDS": "3",
    "PORTAL_HTTP_TIMEOUT_SECONDS": "2",
    "PORTAL_HTTP_ATTEMPTS": "2",
    "PORTAL_HTTP_MAX_BYTES": str(8 * 1024 * 1024),
    "PORTAL_API_RATE": "100000/s",
    "PORTAL_EXPORTS_AT_ONCE": "2",
    "PYTHONWARNINGS": "ignore",
}


@dataclass
class Programs:
    """Web, worker and beat of a run, and the servers under them."""

    services: Services
    port: int = field(default_factory=free_port)
    running: dict[str, PortalProcess] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    stopped: dict[str, list[int]] = field(default_factory=dict)

    @property
    def commands(self) -> dict[str, list[str]]:
        """The arguments of Python for each program, as `manage.py up` has them."""
        return build_programs(self.port, None)

    def start(self, name: str) -> None:
        """Start one program anew."""
        self.running[name] = PortalProcess(self.commands[name], **SETTINGS)

    def keep_running(self) -> None:
        """Start again what has ended or was killed."""
        for name, kind in SERVERS.items():
            server = kind(self.services.home)
            if name not in self.stopped and server.pid() is None:
                # Where a slow machine lets it not start in time, the next look tries again.
                with suppress(ServiceError):
                    server.ensure_running()
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                process.kill_all()
                process.log.close()
                self.start(name)

    def pids(self, name: str) -> list[int]:
        """Return the processes of a program, its children included."""
        if name in SERVERS:
            pid = SERVERS[name](self.services.home).pid()
            return [pid, *children(pid)] if pid is not None else []
        return [self.running[name].pid, *children(self.running[name].pid)]

    def kill(self, target: str) -> None:
        """Kill a program, or with ` child` behind its name one of its children."""
        name, _, child = target.partition(" ")
        self.resume(name)
        pids = self.pids(name)
        targets = pids[-1:] if child else pids if name not in SERVERS else pids[:1]
        send(targets, signal.SIGKILL)
        self.kills[f"SIGKILL {target}"] += 1

    def stop(self, name: str) -> None:
        """Stop a program where it stands, its children too."""
        self.stopped[name] = self.pids(name)
        send(self.stopped[name], signal.SIGSTOP)
        self.kills[f"SIGSTOP {name}"] += 1

    def resume(self, name: str) -> None:
        """Let a program that was stopped go on."""
        send(self.stopped.pop(name, []), signal.SIGCONT)

    def resume_all(self) -> None:
        """Let everything go on."""
        for name in list(self.stopped):
            self.resume(name)


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, which may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def run_programs(services: Services) -> Iterator[Programs]:
    """Run web, worker and beat for the time of the block; none of them outlives it."""
    run = Programs(services)
    try:
        for name in run.commands:
            run.start(name)
        yield run
    finally:
        run.resume_all()
        for process in run.running.values():
            process.kill_all()
            process.log.close()
