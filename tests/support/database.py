"""The database of a process: a copy of one that is migrated once, whose rows tests that commit delete or restore."""

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import date
from unittest.mock import patch

import psycopg
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import Model
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from portal.accounts.roles import create_roles
from usage.models import KINDS, RecordRevision
from usage.partitions import ensure_partitions, list_partitions

# The migrations write these, and no test changes them.
KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission"}
MONTHS = (date(2025, 12, 1), date(2027, 2, 1))
FIRST_KEPT = date(2025, 1, 1)
LARGE_BYTES = 4 * 1024 * 1024


def delete_all_rows() -> None:
    """Delete the rows of every table but KEPT_TABLES.

    A test fills a few of about 40 tables. Django's flush truncates all of them, which makes a new file for every
    index, and writes the content types and permissions anew.
    """
    drop_other_months()
    with transaction.atomic(), connection.cursor() as cursor:
        sizes = measure_filled_tables()
        if not sizes:
            return
        is_superuser = _is_superuser()
        # The one exemption from the rule that nobody empties the audit log.
        if is_superuser:
            # Neither foreign keys nor triggers are looked at.
            cursor.execute("SET LOCAL session_replication_role = replica")
        else:
            cursor.execute("ALTER TABLE accounts_auditentry DISABLE TRIGGER accounts_audit_truncate")
        if is_superuser and max(sizes.values()) <= LARGE_BYTES:
            for table in sizes:
                cursor.execute(f'DELETE FROM "{table}"')
        else:
            # Deleted rows would stay in a large table until it is vacuumed.
            cursor.execute("TRUNCATE {} CASCADE".format(", ".join(f'"{table}"' for table in sizes)))
        if not is_superuser:
            cursor.execute("ALTER TABLE accounts_auditentry ENABLE TRIGGER accounts_audit_truncate")


def create_template(name: str) -> None:
    """Create the migrated database of this name, unless an earlier run has; of workers that start at once, one does."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        unfinished = f"{name}_unfinished"
        server.execute(f'DROP DATABASE IF EXISTS "{unfinished}"')
        server.execute(f'CREATE DATABASE "{unfinished}"')
        own = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = unfinished
        try:
            call_command("migrate", verbosity=0)
            create_months()
        finally:
            connection.close()
            connection.settings_dict["NAME"] = own
        server.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')


@contextmanager
def keep_rows(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Keep the rows that the block stores for all tests that run before it ends, then roll them back."""
    atomic = transaction.atomic()
    # As Django marks the transaction of a test: a durable transaction may run in it.
    atomic._from_testcase = True  # type: ignore[attr-defined]
    # A test closes its connection in the end, and with it the transaction that it runs in.
    with blocker.unblock(), atomic, patch.object(connections[DEFAULT_DB_ALIAS], "close"):
        yield
        transaction.set_rollback(True)


@contextmanager
def commit_rows(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Empty the database, and keep the rows that the block commits for all tests that run before it ends.

    For rows that other connections read. The tests must not be marked as `transaction=True`: their end deletes all rows.
    """
    with blocker.unblock():
        delete_all_rows()
        try:
            yield
        finally:
            empty_database()


def create_months() -> None:
    """Create the partitions of MONTHS: tests store usage there without planning its days."""
    for kind in KINDS.values():
        ensure_partitions(kind, *MONTHS)


def drop_other_months() -> None:
    """Drop the partitions that a test has created: plans of a hundred months are not those of a few."""
    with transaction.atomic(), connection.cursor() as cursor:
        models: list[type[Model]] = [*KINDS.values(), RecordRevision]
        for model in models:
            for month, partition in list_partitions(model).items():
                if not FIRST_KEPT <= month < MONTHS[1]:
                    cursor.execute(f'DROP TABLE "{partition}"')


def measure_filled_tables() -> dict[str, int]:
    """Return the tables with rows, KEPT_TABLES left out, and their size in bytes."""
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names(cursor)) - KEPT_TABLES)
        size = (
            "pg_relation_size('{0}') + (SELECT COALESCE(sum(pg_relation_size(relid)), 0) FROM pg_partition_tree('{0}'))"
        )
        find = f"SELECT '{{0}}', ({size})::bigint WHERE EXISTS (SELECT FROM \"{{0}}\")"
        cursor.execute(" UNION ALL ".join(find.format(table) for table in tables))
        return dict(cursor.fetchall())


_stored: dict[Hashable, dict[str, bytes]] = {}
_migrated: dict[str, bytes] = {}
_is_emptied = False


def remember_migrated_rows() -> None:
    """Remember the rows that the migrations stored outside of KEPT_TABLES: the roles."""
    _migrated.update(_read_tables())


def empty_database() -> None:
    """Delete the rows of every table; `restore_migrated_rows` is needed before a test that is rolled back."""
    global _is_emptied
    delete_all_rows()
    _is_emptied = True


def restore_migrated_rows() -> None:
    """Restore the rows of the migrations after a test that commits has deleted them."""
    global _is_emptied
    if not _is_emptied:
        return
    delete_all_rows()
    if _is_superuser():
        _write_tables(_migrated)
    else:
        create_roles()
    _is_emptied = False


def store_or_restore(key: Hashable, create: Callable[[], object]) -> None:
    """Call `create` in an empty database and store the rows of all tables; restore them for the same key later.

    Needs a database whose user is a superuser; otherwise it creates them anew each time.
    """
    if key in _stored:
        delete_all_rows()
        _write_tables(_stored[key])
        return
    create()
    if _is_superuser():
        _stored[key] = _read_tables()


def is_stored(key: Hashable) -> bool:
    """Return whether `store_or_restore` has rows for a key."""
    return key in _stored


def _is_superuser() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        return cursor.fetchone() == (True,)


def _write_tables(tables: dict[str, bytes]) -> None:
    """Store rows of tables. Their triggers have run when the rows were created."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, rows in tables.items():
            with cursor.copy(f'COPY "{table}" ({_list_columns(table)}) FROM STDIN') as copy:
                copy.write(rows)


def _read_tables() -> dict[str, bytes]:
    """Return the rows of every table but KEPT_TABLES, as COPY has them."""
    return {table: _read_table(table) for table in measure_filled_tables()}


def _read_table(table: str) -> bytes:
    columns = _list_columns(table)
    with connection.cursor() as cursor, cursor.copy(f'COPY (SELECT {columns} FROM "{table}") TO STDOUT') as copy:
        return b"".join(bytes(block) for block in copy)


def _list_columns(table: str) -> str:
    """Return the columns that are stored, the generated ones left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(format('%%I', attname), ', ' ORDER BY attnum) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            [f'"{table}"'],
        )
        return str(cursor.fetchone()[0])


def replace_flush() -> None:
    """Let every test that commits end with `empty_database` in place of Django's flush."""
    TransactionTestCase._fixture_teardown = lambda case: empty_database()  # type: ignore[attr-defined]
