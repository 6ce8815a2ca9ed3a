"""What every benchmark runs on: embedded servers of its own, and databases as fresh as they can be."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from portal.embedded.server import Postgres
from tests.support.data_folders import copy_migrated

TEMPLATE = "portal"
CREDENTIAL = "sandbox-key"


@dataclass
class Stage:
    """The servers of one benchmark run."""

    url: str
    postmaster: int
    scratch: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def environment(self, database: str) -> dict[str, str]:
        """Return what a process needs to work on `database`."""
        address = f"{self.url.rpartition('/')[0]}/{database}"
        return {
            "DATABASE_URL": address,
            "PORTAL_VENDOR_BENCH": CREDENTIAL,
            "BENCH_SCRATCH": str(self.scratch / database),
        }

    def fresh(self) -> dict[str, str]:
        """Return the environment of a new database with the portal's empty tables, and everything on disk before."""
        name = f"bench_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        self.execute("CHECKPOINT")
        return self.environment(name)

    def drop(self, environment: dict[str, str]) -> None:
        """Drop a database again."""
        self.execute(f"DROP DATABASE {environment['DATABASE_URL'].rpartition('/')[2]} WITH (FORCE)")
        shutil.rmtree(environment["BENCH_SCRATCH"], ignore_errors=True)

    def execute(self, statement: str) -> None:
        """Run one statement of administration."""
        # Not in the template, which can be copied while nobody uses it.
        with psycopg.connect(f"{self.url.rpartition('/')[0]}/postgres", autocommit=True) as connection:
            connection.execute(statement)

    @property
    def version(self) -> str:
        """PostgreSQL's version."""
        with psycopg.connect(self.url) as connection:
            return connection.info.parameter_status("server_version") or "unknown"


@contextmanager
def stage() -> Iterator[Stage]:
    """Start servers that nobody else uses, with a migrated database, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="portal-bench-"))
    services = copy_migrated(root / "data")
    try:
        os.environ.update(services.start())
        # A benchmark makes databases of its own.
        os.environ["DATABASE_URL"] = Postgres(services.home).superuser_url
        del os.environ["PORTAL_OWNER_DATABASE_URL"]
        os.environ.update(
            DJANGO_SETTINGS_MODULE="portal.settings",
            PORTAL_IGNORE_DOTENV="1",
            PORTAL_LOG_LEVEL="ERROR",
            PORTAL_ALLOWED_VENDOR_HOSTS="127.0.0.1:*",
            PORTAL_ENCRYPTION_KEYS=Fernet.generate_key().decode(),
            SECRET_KEY=secrets.token_urlsafe(64),
        )
        postmaster = Postgres(services.home).pid()
        assert postmaster is not None
        # One role has it all: benchmarks make and drop indexes.
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(f"REASSIGN OWNED BY {Postgres.application}, {Postgres.owner} TO CURRENT_USER")
        yield Stage(os.environ["DATABASE_URL"], postmaster, root)
    finally:
        services.remove()
        shutil.rmtree(root, ignore_errors=True)
