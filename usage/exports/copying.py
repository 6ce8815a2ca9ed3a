"""CSV and NDJSON as PostgreSQL renders them (COPY … TO STDOUT), and the state of the database they are of.

CSV is UTF-8 as RFC 4180 has it: CRLF after every record, a header of the API's field names, a null is an empty
cell and an empty text is `""`. Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers
are as they are, with all their digits. NDJSON is the objects of the API's lists, one a line.
"""

import select
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Self

import psycopg
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from psycopg.pq import ExecStatus

from usage.columns import TEXT, WORDS, Column, Statement, as_cells, as_json, columns_of
from usage.exports.formulas import may_hold_formula, without_formulas
from usage.serializers import RECORD_SERIALIZERS

BLOCK_BYTES = 64 * 1024
Record = bytes | memoryview
# One column of JSON as CSV with a quote and a delimiter that JSON never holds raw: so nothing is ever escaped.
ONE_OBJECT_A_LINE = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ENCODING 'UTF8')"
RFC_4180 = "(FORMAT csv, HEADER, ENCODING 'UTF8')"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A connection of its own, in a read-only transaction that sees one state of the database to its end.

    Its own, because an answer is streamed after the request has returned the one it had. `told` hears now and then
    how many rows were read, and may raise to end it.
    """

    connection: BaseDatabaseWrapper
    as_of: datetime
    name: str
    told: Callable[[int], None] | None = None

    @classmethod
    @contextmanager
    def taken(cls, using: str, told: Callable[[int], None] | None = None) -> Iterator[Self]:
        """Give a snapshot of now; it ends with the block, or where it lasts longer than PORTAL_EXPORT_SECONDS."""
        connection = connections[using].copy()
        try:
            connection.ensure_connection()
            connection.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT transaction_timestamp(), pg_export_snapshot(), set_config('statement_timeout', %s, true)",
                    [f"{settings.PORTAL_EXPORT_SECONDS}s"],
                )
                as_of, name, _ = cursor.fetchone()
            with limited(connection):
                yield cls(connection, as_of, name, told)
        finally:
            connection.close()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let the queries of the block, on the thread's own connection, see the same state.

        Where that connection is in a transaction already, the block sees what that one sees.
        """
        with one_state(self.connection.alias, self.name):
            yield

    def copied(self, statement: Statement, options: str, first: int = 1) -> Iterator[list[Record]]:
        """Yield what `COPY (statement) TO STDOUT` gives, many records at a time; raises what the database raises.

        `first` is the number of the first record, 0 where that is a header.
        """
        copy_sql = f"COPY ({statement.sql}) TO STDOUT WITH {options}"
        with self.connection.cursor() as cursor, cursor.copy(copy_sql, statement.params):
            records = received(self.connection.connection)
            yield from records if self.told is None else counted(records, self.told, first)

    def records(self, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[Record]:
        """Yield the header and the rows of `queryset`, in its order, each a record of CSV that ends in LF."""
        return chain.from_iterable(self.copied(as_cells(queryset, columns), RFC_4180, first=0))


def received(connection: "psycopg.Connection[Any]") -> Iterator[list[Record]]:
    """Yield the records of the COPY that a connection is in, as many at a time as make a block of about 64 KB.

    What psycopg itself gives is one record at a time, through its loop that waits: four times the work for each.
    Raises what the database raises.
    """
    wire = connection.pgconn
    waiting = select.poll()
    waiting.register(wire.socket, select.POLLIN)
    records: list[Record] = []
    size = 0
    while True:
        length, record = wire.get_copy_data(1)
        if length > 0:
            records.append(record)
            size += length
            if size >= BLOCK_BYTES:
                yield records
                records, size = [], 0
        elif length == 0:
            waiting.poll()
            wire.consume_input()
        else:
            break
    if records:
        yield records
    results = list(iter(wire.get_result, None))
    for result in results:
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def counted(records: Iterable[list[Record]], told: Callable[[int], None], first: int) -> Iterator[list[Record]]:
    """Yield the records, and tell how many rows there were so far, with every block of them."""
    number = first - 1
    for batch in records:
        number += len(batch)
        told(number)
        yield batch
    told(max(number, 0))


@contextmanager
def one_state(using: str, snapshot: str = "") -> Iterator[None]:
    """Let all queries of the block see one state of the database: that of now, or of an exported snapshot.

    Within a transaction already, it is the state that the transaction sees.
    """
    own = connections[using]
    if own.in_atomic_block:
        yield
        return
    with transaction.atomic(using=using), own.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if snapshot:
            cursor.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
        yield


@contextmanager
def limited(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """End the connection's backend after PORTAL_EXPORT_SECONDS.

    The database's own limit does not act while it waits for a reader that has stalled, nor does it hear of a socket
    that is shut down while its own is full: only being told to end wakes it.
    """
    backend = connection.connection.info.backend_pid
    limit = threading.Timer(settings.PORTAL_EXPORT_SECONDS, end, [connection.alias, backend])
    limit.daemon = True
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


def end(using: str, backend: int) -> None:
    """Have the database end one of this role's backends, over a connection of its own."""
    own = connections[using].copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    finally:
        own.close()


def csv_blocks(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of CSV of about 64 KB."""
    texts = {place for place, column in enumerate(columns) if column.kind in {TEXT, WORDS}}
    records: Sequence[Record]
    for records in snapshot.copied(as_cells(queryset, columns), RFC_4180, first=0):
        block = b"".join(records)
        if may_hold_formula(block):
            records = without_formulas(map(bytes, records), texts)
            block = b"".join(records)
        # Each ends in LF, which RFC 4180 has as CRLF; an LF within a cell stays what it is.
        if block.count(b"\n") == len(records):
            yield block.replace(b"\n", b"\r\n")
        else:
            yield b"\r\n".join([*(record[:-1] for record in records), b""])


def ndjson_blocks(snapshot: Snapshot, queryset: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of one JSON object a line."""
    yield from map(b"".join, snapshot.copied(as_json(queryset, columns), ONE_OBJECT_A_LINE))


def stream_csv(queryset: QuerySet[Any], columns: Sequence[Column] | None = None) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of CSV of about 64 KB; nothing else is held in memory.

    `columns` default to the API's for the kind of usage. Raises what the database raises, also after the first
    blocks: whoever passes the blocks on must then break off visibly. Closing the generator ends the query.
    """
    with Snapshot.taken(queryset.db) as snapshot:
        yield from csv_blocks(snapshot, queryset, columns or columns_of_kind(queryset))


def stream_ndjson(queryset: QuerySet[Any], columns: Sequence[Column] | None = None) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of one JSON object a line; otherwise as `stream_csv`."""
    with Snapshot.taken(queryset.db) as snapshot:
        yield from ndjson_blocks(snapshot, queryset, columns or columns_of_kind(queryset))


def columns_of_kind(queryset: QuerySet[Any]) -> tuple[Column, ...]:
    """Return the API's columns of the kind of usage that `queryset` is of."""
    return columns_of(RECORD_SERIALIZERS[queryset.model])
