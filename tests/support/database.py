"""The rows of tests that commit: deleted after each, or stored once and restored for the next."""

from collections.abc import Callable, Hashable
from datetime import date

from django.db import connection, transaction
from django.db.models import Model
from django.test import TransactionTestCase

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
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        is_superuser = cursor.fetchone() == (True,)
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


def store_or_restore(key: Hashable, create: Callable[[], object]) -> None:
    """Call `create` in an empty database and store the rows of all tables; restore them for the same key later.

    Needs a database whose user is a superuser; otherwise it creates them anew each time.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if key in _stored:
            # Triggers have run when the rows were created.
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table, rows in _stored[key].items():
                with cursor.copy(f'COPY "{table}" ({_list_columns(table)}) FROM STDIN') as copy:
                    copy.write(rows)
            return
    create()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        if cursor.fetchone() == (True,):
            _stored[key] = {table: _read_table(table) for table in measure_filled_tables()}


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
    """Let every test that commits end with `delete_all_rows` in place of Django's flush."""
    TransactionTestCase._fixture_teardown = lambda case: delete_all_rows()  # type: ignore[attr-defined]
