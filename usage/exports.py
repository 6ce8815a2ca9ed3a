"""Exports: a whole filtered set as CSV or NDJSON, rendered and streamed by PostgreSQL (COPY … TO STDOUT).

CSV is UTF-8 as RFC 4180 has it: CRLF after every record, a header of the API's field names, a null is an empty
cell and an empty text is `""`. Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers
are as they are, with all their digits. NDJSON is the objects of the API's lists, one a line.

A download that fails midway ends in BROKEN: a quote that is never closed, or a line that is no JSON, so that
whoever reads it fails too. Raising alone would not do: granian then ends the answer as if it were whole.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from usage.columns import Column, Statement, as_cells, as_json, columns_of
from usage.serializers import RECORD_SERIALIZERS

BLOCK_BYTES = 64 * 1024
BROKEN = b'"The export broke off here and is not complete.'
# One column of JSON as CSV with a quote and a delimiter that JSON never holds raw: so nothing is ever escaped.
ONE_OBJECT_A_LINE = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ENCODING 'UTF8')"
RFC_4180 = "(FORMAT csv, HEADER, ENCODING 'UTF8')"


def stream_csv(queryset: QuerySet[Any], columns: Sequence[Column] | None = None) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of CSV of about 64 KB; nothing else is held in memory.

    `columns` default to the API's for the kind of usage. Raises what the database raises, also after the first
    blocks: whoever passes the blocks on must then break off visibly. Closing the generator ends the query.
    """
    return copied(queryset.db, as_cells(queryset, columns or columns_of_kind(queryset)), RFC_4180, b"\r\n")


def stream_ndjson(queryset: QuerySet[Any], columns: Sequence[Column] | None = None) -> Iterator[bytes]:
    """Yield the rows of `queryset`, in its order, as blocks of one JSON object a line; otherwise as `stream_csv`."""
    return copied(queryset.db, as_json(queryset, columns or columns_of_kind(queryset)), ONE_OBJECT_A_LINE, b"\n")


def csv_response(
    queryset: QuerySet[Any], filename: str, columns: Sequence[Column] | None = None
) -> StreamingHttpResponse:
    """Return a download of the whole `queryset` as CSV; raises what the database raises before the first block."""
    return download(stream_csv(queryset, columns), filename, "text/csv; charset=utf-8; header=present")


def ndjson_response(
    queryset: QuerySet[Any], filename: str, columns: Sequence[Column] | None = None
) -> StreamingHttpResponse:
    """Return a download of the whole `queryset` as NDJSON; raises what the database raises before the first block."""
    return download(stream_ndjson(queryset, columns), filename, "application/x-ndjson")


def columns_of_kind(queryset: QuerySet[Any]) -> tuple[Column, ...]:
    """Return the API's columns of the kind of usage that `queryset` is of."""
    return columns_of(RECORD_SERIALIZERS[queryset.model])


class Stream:
    """Blocks of a download. The first is there before the answer begins: a query that fails at once is an error 500."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._first: bytes | None = next(blocks, b"")
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except Exception as failure:  # noqa: BLE001 (whatever it is: the reader must see it, and it is raised next)
            self._failure = failure
            return BROKEN

    def close(self) -> None:
        """End the query; called by the server also when the client goes away."""
        close: Callable[[], None] | None = getattr(self._blocks, "close", None)
        if close is not None:
            close()


def download(blocks: Iterator[bytes], filename: str, content_type: str) -> StreamingHttpResponse:
    """Return `blocks` as a file to be saved."""
    return StreamingHttpResponse(
        Stream(blocks),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )


def copied(using: str, statement: Statement, options: str, line_end: bytes) -> Iterator[bytes]:
    """Yield what `COPY (statement) TO STDOUT` gives, a record a chunk, gathered into blocks.

    One snapshot from beginning to end, whatever is loaded meanwhile.
    """
    copy_sql = f"COPY ({statement.sql}) TO STDOUT WITH {options}"
    with (
        snapshot(using) as connection,
        connection.cursor() as cursor,
        cursor.copy(copy_sql, statement.params) as copy,
    ):
        yield from blocks_of(copy, line_end)


def blocks_of(records: Iterator[bytes | memoryview], line_end: bytes) -> Iterator[bytes]:
    """Gather records, each ending in LF, into blocks of about 64 KB with another line end."""
    block = bytearray()
    for record in records:
        block += record
        if line_end != b"\n":
            block[-1:] = line_end
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


@contextmanager
def snapshot(using: str) -> Iterator[BaseDatabaseWrapper]:
    """Give a connection of its own in a read-only REPEATABLE READ transaction; it is closed at the end.

    Its own, because an answer is streamed after the request has returned the one it had.
    """
    connection = connections[using].copy()
    try:
        connection.ensure_connection()
        connection.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection
    finally:
        connection.close()
