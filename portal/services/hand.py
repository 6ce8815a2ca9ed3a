"""Having PostgreSQL and Redis at hand for as long as a process needs them, shared with other processes."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from portal.environment import BASE_DIR, read_environment
from portal.services.home import Home
from portal.services.server import Postgres, Server, Valkey

SERVERS: tuple[type[Server], ...] = (Postgres, Valkey)
SERVERLESS = frozenset({"help", "version", "new_key", "sandbox"})
GENERATED = ("SECRET_KEY", "PORTAL_ENCRYPTION_KEYS")


class Services:
    """The embedded servers of one data folder.

    Every user holds a shared lock on `services.lock`. Starting and stopping happens under an exclusive lock
    on `services.start.lock`, so two processes never start or stop at once; whoever leaves last stops the
    servers. The locks are the kernel's: a killed process leaves none behind, and the next one adopts the
    servers it left.
    """

    def __init__(self, data_dir: Path, *, servers: Sequence[type[Server]] = SERVERS) -> None:
        self.home = Home(data_dir.absolute())
        self._kinds = servers
        self._use: IO[str] | None = None

    def start(self) -> dict[str, str]:
        """Start what does not run yet; returns the URLs by environment variable. Raises ServiceError."""
        with self._exclusive():
            use = (self.home.root / "services.lock").open("w")
            fcntl.flock(use, fcntl.LOCK_SH)
            try:
                for server in self.servers:
                    server.ensure()
            except BaseException:
                self._leave(use)
                raise
            self._use = use
            return {server.variable: server.url for server in self.servers}

    def stop(self) -> None:
        """Give the servers up; they stop if nobody else uses them. A second call does nothing."""
        if self._use is not None:
            use, self._use = self._use, None
            with self._exclusive():
                self._leave(use)

    def remove(self) -> None:
        """Stop the servers, whoever uses them, and delete the data folder with everything in it."""
        self.stop()
        if self.home.root.is_dir():
            with self._exclusive():
                for server in self.servers:
                    server.stop()
                self.home.remove()

    @property
    def servers(self) -> list[Server]:
        """The servers, in the order they are started."""
        return [kind(self.home) for kind in self._kinds]

    @property
    def generated(self) -> dict[str, str]:
        """The keys made for this data folder, by environment variable."""
        with self._exclusive():
            return {name: self.home.secrets[name] for name in GENERATED}

    def _leave(self, use: IO[str]) -> None:
        """Let go of the shared lock, and stop all servers if it was the last; the exclusive lock is held."""
        with use:
            fcntl.flock(use, fcntl.LOCK_UN)
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for kind in SERVERS:
                kind(self.home).stop()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.home.create_root()
        with (self.home.root / "services.start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.home.create_servers()
            yield


def needs_servers(arguments: Sequence[str]) -> bool:
    """Tell whether the command line `arguments` (with the program's name) touches PostgreSQL or Redis."""
    command = arguments[1] if len(arguments) > 1 else "help"
    return command not in SERVERLESS and not {"-h", "--help", "--version"} & set(arguments[1:])


@contextmanager
def at_hand() -> Iterator[None]:
    """Make PostgreSQL and Redis reachable for this process and its children, through the environment.

    Whatever of DATABASE_URL and REDIS_URL is set is used as it is; an embedded server stands in for the
    other. With the embedded PostgreSQL come SECRET_KEY and PORTAL_ENCRYPTION_KEYS, made once, where they are
    unset. With both URLs set nothing is started and nothing is written. Raises ServiceError.
    """
    env = read_environment()
    missing = [kind for kind in SERVERS if not env.str(kind.variable, default="")]
    if not missing:
        yield
        return
    services = Services(Path(env.str("PORTAL_DATA_DIR", default=str(BASE_DIR / "var"))), servers=missing)
    os.environ.update(services.start())
    try:
        if Postgres in missing:
            unset = {name: key for name, key in services.generated.items() if not env.str(name, default="")}
            os.environ.update(unset)
        yield
    finally:
        services.stop()
