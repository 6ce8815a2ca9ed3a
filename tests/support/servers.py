"""The servers of a test run, started before Django reads its settings; loaded by `-p tests.support.servers`.

Where DATABASE_URL or REDIS_URL is set, the tests run on that server. Otherwise all runs on this checkout
share one pair of embedded servers under `var/tests`. Each process has a test database and a Redis database of
its own in either case, so several runs do not disturb each other.
"""

import hashlib
import os
import secrets
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
from cryptography.fernet import Fernet

from portal.embedded import Services
from portal.embedded.manager import SERVERS
from portal.embedded.server import Postgres
from portal.environment import BASE_DIR

DATABASE_PREFIX = "test_portal_"
# The migrated database that those of the processes are copies of, on the embedded server; later runs find it there.
TEMPLATE_PREFIX = "template_portal_"
TEMPLATE_VARIABLE = "PORTAL_TEST_TEMPLATE"
# What the migrated database that all tests begin with is made of, besides the libraries' own migrations.
MIGRATED_BY = (
    "portal/**/migrations/*.py",
    "portal/accounts/audit/*.py",
    "portal/accounts/roles.py",
    "requirements-dev.txt",
    "sync/migrations/*.py",
    "tests/support/database.py",
    "usage/migration_operations.py",
    "usage/migrations/*.py",
    "usage/partitions.py",
)
CLAIM_SECONDS = 7200


def get_worker_name() -> str:
    """Return the name of this xdist worker, or "main" in the controlling process."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def get_database_name() -> str:
    """Return the name of this process's test database; it begins with the process id of the whole run."""
    return f"{DATABASE_PREFIX}{os.environ['PORTAL_TEST_RUN']}_{get_worker_name()}"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Start the servers before pytest-django imports the settings, which it does in this very hook."""
    session = ExitStack()
    session.enter_context(start_servers())
    early_config.add_cleanup(session.close)
    return (yield)


@contextmanager
def start_servers() -> Iterator[None]:
    """Start the missing servers, set the environment to them, and stop them at the end."""
    # Processes of the tests keep compiled modules too: without them a start takes 5 s of CPU in place of 1.5. This one
    # keeps the tests' as pytest compiles them, which takes 6 s.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ["PORTAL_IGNORE_DOTENV"] = "1"
    os.environ["PORTAL_HTTPS"] = "0"
    # All tests of a run ask from one address, and some ask as fast as they can.
    os.environ["PORTAL_API_RATE"] = os.environ["PORTAL_API_FAILURES_RATE"] = "999999999/min"
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(64))
    os.environ.setdefault("PORTAL_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    if get_worker_name() == "main":
        os.environ["PORTAL_TEST_RUN"] = str(os.getpid())
        os.environ["PORTAL_DATA_DIR"] = str(BASE_DIR / "var" / "tests")
    missing = [kind for kind in SERVERS if not os.environ.get(kind.variable)]
    services = Services(Path(os.environ["PORTAL_DATA_DIR"]), servers=missing)
    if missing:
        os.environ.update(services.start())
    if Postgres in missing:
        # Tests make databases, and empty them behind the back of the audit log's triggers.
        os.environ["DATABASE_URL"] = Postgres(services.home).superuser_url
        del os.environ["PORTAL_OWNER_DATABASE_URL"]
        write_without_waiting(os.environ["DATABASE_URL"])
        os.environ[TEMPLATE_VARIABLE] = name_template()
    if missing:
        drop_leftover_databases(os.environ["DATABASE_URL"])
    try:
        with claim_redis_database(os.environ["REDIS_URL"]) as url:
            os.environ["REDIS_URL"] = url
            yield
    finally:
        services.stop()


def write_without_waiting(url: str) -> None:
    """Let the embedded server not wait for the disk: no test takes its power away."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


def name_template() -> str:
    """Return the name of the migrated database; another one where anything has changed that it is made of."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MIGRATED_BY for path in BASE_DIR.glob(pattern)):
        digest.update(path.read_bytes())
    return f"{TEMPLATE_PREFIX}{digest.hexdigest()[:16]}"


def drop_leftover_databases(url: str) -> None:
    """Drop the test databases of runs on this machine that were killed, and templates of another schema."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in connection.execute(statement, [DATABASE_PREFIX]).fetchall():
            run = name.removeprefix(DATABASE_PREFIX).split("_")[0]
            if not Path("/proc", run).exists():
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        drop_old_templates(connection)


def drop_old_templates(connection: psycopg.Connection) -> None:
    """Drop the templates of another schema; that of this one may be in the making, and an older one be copied."""
    result = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [TEMPLATE_PREFIX])
    for (name,) in result.fetchall():
        if not name.startswith(name_template()):
            with suppress(psycopg.errors.ObjectInUse):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}"')


@contextmanager
def claim_redis_database(url: str) -> Iterator[str]:
    """Claim a Redis database that no other test process uses, and empty it before and after.

    Database 0 holds the claims and is left alone otherwise; a killed process's claim ends by itself.
    """
    address = url.rsplit("/", 1)[0] if url.count("/") > 2 else url
    with closing(redis.Redis.from_url(f"{address}/0")) as claims:
        numbers = range(1, int(claims.config_get("databases")["databases"] or 16))
        names = {f"portal-tests:{number}": number for number in numbers}
        claim = next(name for name in names if claims.set(name, "1", nx=True, ex=CLAIM_SECONDS))
        own_url = f"{address}/{names[claim]}"
        with closing(redis.Redis.from_url(own_url)) as database:
            database.flushdb()
            yield own_url
            database.flushdb()
        claims.delete(claim)
