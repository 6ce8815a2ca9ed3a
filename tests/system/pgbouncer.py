"""PgBouncer in transaction mode in front of the test's database: every transaction gets another server connection."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import psycopg

from portal.embedded.paths import NOBODY
from portal.embedded.server import free_port
from tests.support.processes import build_environment
from tests.system.programs import find_program

POOL_SIZE = 4
LONGEST_LIFE = "1800"  # seconds after which it ends even where this process was killed
START_SECONDS = 30
# Round robin: a statement that relies on the connection of the transaction before fails each time, not now and then.
CONFIGURATION = """\
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = {user}
pool_mode = transaction
default_pool_size = {pool_size}
min_pool_size = {pool_size}
max_client_conn = 200
server_round_robin = 1
logfile = {log}
"""


@contextmanager
def run_pgbouncer(pool_size: int = POOL_SIZE) -> Iterator[dict[str, str]]:
    """Run the pooler for the time of the block; gives the environment of a portal process that uses it."""
    server = urlsplit(build_environment()["DATABASE_URL"])
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder, port = Path(name), free_port()
        configuration = write_configuration(folder, server, port, pool_size)
        command = ["timeout", "--kill-after=5", LONGEST_LIFE, find_program("pgbouncer"), str(configuration)]
        # It refuses to run as root.
        owner = NOBODY if os.geteuid() == 0 else None
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=null, stderr=null, user=owner, group=owner)
        url = urlunsplit(server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}"))
        try:
            wait_for_answer(process, url, folder / "log")
            yield {"DATABASE_URL": url, "PORTAL_DB_PREPARED": "off"}
        finally:
            process.terminate()
            process.wait()


def write_configuration(folder: Path, server: SplitResult, port: int, pool_size: int) -> Path:
    """Write what PgBouncer reads into `folder`, which becomes its user's; returns the configuration's path."""
    users, configuration = folder / "users", folder / "pgbouncer.ini"
    users.write_text(f'"{server.username}" "{server.password}"\n')
    names = {"host": server.hostname, "port": server.port, "user": server.username, "log": folder / "log"}
    configuration.write_text(CONFIGURATION.format(listen_port=port, users=users, pool_size=pool_size, **names))
    for path in (folder, users, configuration):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    return configuration


def wait_for_answer(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait until a query passes through; raises RuntimeError with the log where none does."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                connection.execute("SELECT 1")
                return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log_text = log.read_text() if log.exists() else ""
                raise RuntimeError(f"PgBouncer does not answer: {error}\n{log_text[-2000:]}") from error
        time.sleep(0.05)
