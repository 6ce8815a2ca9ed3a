"""The drill of docs/operations.md: its commands are run as they stand, and what they bring back is what was stored."""

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from tests.support.other_database import call_on
from tests.support.own_postgres import OwnServer, own_folder, own_server, run_script
from tests.support.processes import build_environment, wait_for
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day

pytestmark = pytest.mark.django_db(transaction=True)
CHAPTER = (BASE_DIR / "docs/operations.md").read_text().split("\n## Backup\n")[1].split("\n## ")[0]
COUNT = "SELECT count(*), coalesce(sum(hashtext(t::text)), 0) FROM {} AS t"
TABLES = ("usage_environmentusage", "usage_sourceday", "usage_environmentday", "usage_source", "django_migrations")


def commands(title: str) -> str:
    """Return the commands below a title of the chapter."""
    return re.split(r"```bash\n", CHAPTER.split(f"**{title}")[1])[1].split("```")[0]


def read_contents(url: str) -> list[tuple[int, int]]:
    """Return count and digest of the tables of a database."""
    with psycopg.connect(url) as own:
        return [tuple(own.execute(COUNT.format(table)).fetchone() or ()) for table in TABLES]


def verify(url: str) -> str:
    """Return what `manage.py verify` says of a database."""
    printed = StringIO()
    call_on(url, lambda: call_command("verify", stdout=printed))
    return printed.getvalue()


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_folder() as folder:
        yield folder


@pytest.fixture
def server(folder: Path) -> Iterator[OwnServer]:
    with own_server(folder) as server:
        yield server


def test_the_commands_of_the_documentation_bring_everything_back(
    folder: Path, server: OwnServer, listing: Listing
) -> None:
    # Of a real vendor: only the days of those are verified.
    source = make_source(vendor="ona")
    for number in range(3):
        on = DAY + timedelta(days=number)
        listing.records[on] = [build_run(entry, on=on) for entry in range(20)]
        read_day(source, on)
    stored = build_environment()["DATABASE_URL"]

    run_script(commands("Dump."), folder, {"SOURCE": stored})
    run_script(commands("Restore**"), folder, {"TARGET": server.url})
    contents = read_contents(server.url)
    assert contents == read_contents(stored)
    assert verify(server.url) == verify(stored)
    assert "3 days checked: every one is stored as it was read." in verify(server.url)

    try:
        run_script(commands("Base backup and log.**"), folder, {"SOURCE": server.url})
        with psycopg.connect(server.url, autocommit=True) as own:
            own.execute("UPDATE usage_source SET max_concurrency = 7")
            contents = read_contents(server.url)
            (instant,) = own.execute("SELECT clock_timestamp()::text").fetchone() or ()
            own.execute("DELETE FROM usage_environmentusage")  # the mistake
            (end,) = own.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or ()
            received = "SELECT flush_lsn >= %s FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"
            wait_for(lambda: own.execute(received, [end]).fetchone() == (True,), "the log to be received")
    finally:
        os.kill(int((folder / "pg_receivewal.pid").read_text()), signal.SIGINT)
    server.stop("immediate")

    recovered = OwnServer(folder / "recovered", server.password, free_port())
    try:
        variables = {"INSTANT": instant, "PORT": str(recovered.port)}
        run_script(commands("Recover to an instant**"), folder, variables)
        with psycopg.connect(recovered.url) as own:
            wait_for(lambda: own.execute("SELECT pg_is_in_recovery()").fetchone() == (False,), "the recovery")
        assert read_contents(recovered.url) == contents
        assert "3 days checked" in verify(recovered.url)
    finally:
        recovered.stop("immediate")


def test_this_file_s_tables_exist() -> None:
    assert set(TABLES) <= set(connection.introspection.table_names())
