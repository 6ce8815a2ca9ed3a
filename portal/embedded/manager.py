"""Starts and stops the embedded servers, which the processes of a data folder share."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from portal.embedded.paths import DataFolder, build_folder_error
from portal.embedded.server import Postgres, Server, Valkey
from portal.environment import BASE_DIR, read_environment

SERVERS: tuple[type[Server], ...] = (Postgres, Valkey)
COMMANDS_WITHOUT_SERVERS = frozenset({"help", "version", "new_key", "sandbox"})
GENERATED_KEYS = ("SECRET_KEY", "PORTAL_ENCRYPTION_KEYS")


class Services:
    """The embedded servers of a data folder.

    Every process that uses them has a shared lock on `services.lock`; the last process stops the servers. Starting and
    stopping needs an exclusive lock on `services.start.lock`. The kernel releases the locks of a killed process, and
    the next process takes over the servers it left running.
    """

    def __init__(self, data_dir: Path, *, servers: Sequence[type[Server]] = SERVERS) -> None:
        self.home = DataFolder(data_dir.absolute())
        self._kinds = servers
        self._use: IO[str] | None = None

    def start(self) -> dict[str, str]:
        """Start the servers that do not run; returns their URLs by environment variable. Raises ServiceError."""
        with self._lock():
            use = (self.home.root / "services.lock").open("w")
            fcntl.flock(use, fcntl.LOCK_SH)
            try:
                for server in self.servers:
                    server.ensure_running()
            except BaseException:
                self._release(use)
                raise
            self._use = use
            return {name: url for server in self.servers for name, url in server.urls.items()}

    def stop(self) -> None:
        """Release the servers, which stop if no other process uses them. A second call does nothing."""
        if self._use is not None:
            use, self._use = self._use, None
            with self._lock():
                self._release(use)

    def remove(self) -> None:
        """Stop the servers, also for other processes, and delete the data folder."""
        self.stop()
        if self.home.root.is_dir():
            with self._lock():
                for server in self.servers:
                    server.stop()
                self.home.remove()

    @property
    def servers(self) -> list[Server]:
        """The servers, in the order of their start."""
        return [kind(self.home) for kind in self._kinds]

    @property
    def generated_keys(self) -> dict[str, str]:
        """The keys generated for this data folder, by environment variable."""
        with self._lock():
            return {name: self.home.secrets[name] for name in GENERATED_KEYS}

    def _release(self, use: IO[str]) -> None:
        """Release the shared lock, and stop all servers if it was the last lock; needs the exclusive lock."""
        with use:
            fcntl.flock(use, fcntl.LOCK_UN)
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for kind in SERVERS:
                kind(self.home).stop()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self.home.create_root()
            lock = (self.home.root / "services.start.lock").open("w")
        except OSError as error:
            raise build_folder_error(self.home.root, error) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.home.create_servers()
            yield


def needs_servers(arguments: Sequence[str]) -> bool:
    """Return whether the command line `arguments` (with the program's name) needs PostgreSQL or Redis."""
    command = arguments[1] if len(arguments) > 1 else "help"
    return command not in COMMANDS_WITHOUT_SERVERS and not {"-h", "--help", "--version"} & set(arguments[1:])


@contextmanager
def provide_servers() -> Iterator[None]:
    """Run embedded servers where DATABASE_URL or REDIS_URL is unset, and set these in the environment.

    With the embedded PostgreSQL, SECRET_KEY and PORTAL_ENCRYPTION_KEYS are set too, generated once. With both URLs set
    nothing is started or written. Raises ServiceError.
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
            unset = {name: key for name, key in services.generated_keys.items() if not env.str(name, default="")}
            os.environ.update(unset)
        yield
    finally:
        services.stop()
