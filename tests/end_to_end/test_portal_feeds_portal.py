"""A second portal, with a database of its own, whose sources are this portal's mirrors holds what this one holds."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connection

from sync.vendors import readers
from tests.support.mirrored_portal import FIRST, create_mirror_key, read_all
from tests.support.mirrored_portal import frozen_sandbox as frozen_sandbox
from tests.support.processes import WAIT_SECONDS, portal_process
from tests.support.servers import TEMPLATE_VARIABLE, get_database_name

pytestmark = pytest.mark.django_db(transaction=True)
END = FIRST + timedelta(days=3)
BASES = {"ona": "/api"}
# What a person types into a new portal, one command after the other.
PROGRAM = """
import sys
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
first, end, *sources = sys.argv[1:]
for vendor, base_url, zone in (source.split() for source in sources):
    given = {"base_url": base_url, "time_zone": zone, "credential_env": "PORTAL_VENDOR_MIRROR", "backfill_from": first}
    call_command("add_source", f"{vendor}-main", vendor, **given)
call_command("sync", "--from", first, "--to", end)
"""


@pytest.fixture
def second_database_url() -> Iterator[str]:
    """The address of a database without rows for the second portal."""
    name = f"{get_database_name()}_second"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        # A copy of the migrated one, where the run has it: `migrate` finds nothing left to do.
        template = os.environ.get(TEMPLATE_VARIABLE, "template1")
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        yield address(name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def address(database: str) -> str:
    """Return the URL of a database on the tests' server."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}"))


def read_records_and_days(url: str, vendor: str) -> tuple[list[Any], list[Any]]:
    """Return the records of a vendor in a database, and its days with their states and sums."""
    kind = readers()[vendor].kind
    columns = ", ".join(name for name in kind.row._fields if name != "id")  # type: ignore[attr-defined]
    records = (
        f"SELECT day, {columns} FROM {kind._meta.db_table} WHERE withdrawn_at IS NULL ORDER BY {', '.join(kind.key)}"
    )
    # A mirror has the vendor's records and sums, but not the second figure that may confirm a day.
    verification = "CASE WHEN d.witness IS NULL THEN d.verification END"
    days = f"SELECT d.day, d.state, d.complete, {verification}, d.records, d.sums, d.digest FROM usage_sourceday d"
    of_vendor = " JOIN usage_source s ON s.id = d.source_id WHERE s.vendor = %s ORDER BY d.day"
    with psycopg.connect(url) as line:
        return line.execute(records).fetchall(), line.execute(days + of_vendor, [vendor]).fetchall()


def test_a_portal_can_feed_a_portal(frozen_sandbox: Any, live_server: Any, second_database_url: str) -> None:
    sources = [read_all(frozen_sandbox, vendor, end=END) for vendor in readers()]
    settings = {
        "DATABASE_URL": second_database_url,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PORTAL_ALLOWED_VENDOR_HOSTS": urlsplit(live_server.url).netloc,
        "PORTAL_VENDOR_MIRROR": create_mirror_key(*sources),
    }
    arguments = [
        f"{source.vendor} {live_server.url}/mirror/{source.slug}{BASES.get(source.vendor, '')} {source.time_zone}"
        for source in sources
    ]
    with portal_process(["-c", PROGRAM, str(FIRST), str(END), *arguments], **settings) as portal:
        status = portal.wait(WAIT_SECONDS)
        assert status == 0
    for vendor in readers():
        records, days = read_records_and_days(address(connection.settings_dict["NAME"]), vendor)
        assert len(records) > 100
        assert len(days) == (END - FIRST).days
        assert read_records_and_days(second_database_url, vendor) == (records, days)
