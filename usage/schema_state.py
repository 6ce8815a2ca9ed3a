"""Whether the schema is that of the code, and the lock between `migrate` and writers of usage.

Requests need no more than the schema of their code, which a migration leaves in place (tests/support/migrations.py). A
worker of another release is different: a table that a migration fills would lack what the worker stores meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Final

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from usage.locks import open_lock_transaction

OLDER: Final = "The schema of the database is older than the code: run manage.py migrate."
NEWER: Final = "The schema of the database is newer than the code: install the version that it was migrated with."
APPLIED: Final = "SELECT app, name FROM django_migrations"
# An advisory lock: exclusive for `migrate`, shared for writers of usage.
KEY: Final = 7_244_118_305

Key = tuple[str, str]  # app and name of a migration


class SchemaDiffers(Exception):
    """The schema is not that of the code; the message has the remedy."""


@lru_cache(maxsize=1)
def compare_schema(applied: frozenset[Key]) -> str:
    """Return OLDER or NEWER, "" where the applied migrations are those of the code."""
    loader = load_migrations()
    if not set(loader.graph.leaf_nodes()) <= applied:
        return OLDER
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    known_keys = loader.disk_migrations.keys() | replaced
    return NEWER if any(key[0] in loader.migrated_apps and key not in known_keys for key in applied) else ""


@cache
def load_migrations() -> MigrationLoader:
    """Return the migrations of the code, which do not change while it runs."""
    return MigrationLoader(None, ignore_no_migrations=True)


def check_schema() -> None:
    """Raise SchemaDiffers unless the schema is that of the code."""
    with connection.cursor() as cursor:
        cursor.execute(APPLIED)
        if difference := compare_schema(frozenset(cursor.fetchall())):
            raise SchemaDiffers(difference)


def hold_schema() -> None:
    """Keep `migrate` waiting until the transaction ends; waits for a running one, then may raise SchemaDiffers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [KEY])
    check_schema()


@contextmanager
def change_schema(announce: Callable[[str], object]) -> Iterator[None]:
    """Lock writers of usage out for the time of the block; waits for running merges, which is announced."""
    with open_lock_transaction() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [KEY])
        if cursor.fetchone() != (True,):
            announce("Waiting for workers that store a day …")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])
        yield
