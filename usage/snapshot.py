"""Snapshots: one state of the database for all queries of an export."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from usage.models import KINDS
from usage.standby import get_standby_state
from usage.timeouts import call_after, detect_timeouts, limit_query_time

# No month is dropped while the transaction lasts: a dropped table is gone from every snapshot, also from those in which
# its days are not pruned yet. LOCK takes no snapshot itself.
TABLES: Final = ", ".join(f"ONLY {kind._meta.db_table}" for kind in KINDS.values())
HOLD_MONTHS: Final = f"LOCK TABLE {TABLES} IN ACCESS SHARE MODE"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A connection of its own, in a read-only transaction that sees one state of the database to its end.

    The response is streamed after the request has returned its own connection.
    """

    connection: BaseDatabaseWrapper
    as_of: datetime

    def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query in this state."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    @contextmanager
    def share(self) -> Iterator[None]:
        """Send the queries of the block to this connection instead of the thread's own.

        A second connection would have to be free while this one is in use: exports with all connections of a pooler
        would wait for each other. Where the thread's own is in a transaction already, the block sees its state.
        """
        # Not by the alias of the connection: that of a standby stands under the default one, too.
        thread_connection = connections[DEFAULT_DB_ALIAS]
        if thread_connection.in_atomic_block:
            yield
            return
        # The transaction was begun without Django, which is to nest its own in it.
        connections[DEFAULT_DB_ALIAS], self.connection.in_atomic_block = self.connection, True
        try:
            yield
        finally:
            connections[DEFAULT_DB_ALIAS], self.connection.in_atomic_block = thread_connection, False


@contextmanager
def open_snapshot() -> Iterator[Snapshot]:
    """Yield a snapshot of now; it ends with the block, or when it lasts longer than PORTAL_EXPORT_SECONDS."""
    snapshot_connection = connection.copy()
    # Where the reader stalls, another thread releases what the export holds.
    snapshot_connection.inc_thread_sharing()
    try:
        snapshot_connection.ensure_connection()
        snapshot_connection.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with snapshot_connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{settings.PORTAL_EXPORT_SECONDS}s'")
            cursor.execute(HOLD_MONTHS)
            cursor.execute("SELECT transaction_timestamp(), pg_backend_pid()")
            as_of, backend = cursor.fetchone()
        if (state := get_standby_state()) is not None:
            as_of = state.as_of
        # The database's own limit does not act while it waits for a reader that has stalled.
        with call_after(settings.PORTAL_EXPORT_SECONDS, terminate_backend, snapshot_connection.alias, backend):
            yield Snapshot(snapshot_connection, as_of)
    finally:
        release_connection(snapshot_connection)


@contextmanager
def consistent_snapshot(seconds: float | None = None) -> Iterator[None]:
    """Make all queries of the block see one state of the database: that of now.

    Within a transaction already, it is the state that the transaction sees. With `seconds`, each query is cancelled
    after that time, which raises QueryTimeout.
    """
    if connection.in_atomic_block:
        with nullcontext() if seconds is None else limit_query_time(seconds):
            yield
        return
    with detect_timeouts(), transaction.atomic(), connection.cursor() as cursor:
        # Both in one round trip.
        limit = "" if seconds is None else f"; SET LOCAL statement_timeout = {round(seconds * 1000)}"
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY{limit}")
        cursor.execute(HOLD_MONTHS)
        yield


def release_connection(connection: BaseDatabaseWrapper) -> None:
    """Close an export's connection; that of a pool rolls back its transaction first, or breaks off what it sends.

    A COPY that was not read to its end holds the connection's lock, also after its last row: a rollback would wait for
    it for ever where the garbage collector ends the snapshot before the rows.
    """
    driver = connection.connection
    if driver is not None and (driver.lock.locked() or driver.info.transaction_status == TransactionStatus.ACTIVE):
        driver.close()
    elif driver is not None and not driver.closed:
        with suppress(psycopg.OperationalError):
            driver.rollback()
    connection.close()


def terminate_backend(using: str, backend: int) -> None:
    """Terminate a backend of this role on the server `using`, over a connection of its own.

    `using`: the default database of the thread that calls this is the primary, also where the snapshot is of a standby.

    The database does not notice that a socket is shut down while its own buffer is full. `backend` is the number that
    it gives within the transaction: a pooler in between gives libpq an invented one.
    """
    cancel_connection = connections[using].copy()
    try:
        with cancel_connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    finally:
        cancel_connection.close()
