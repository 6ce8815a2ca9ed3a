"""Exports as answers: bounded in number and time, of one state of the database, visibly broken where they fail.

The first block is there before the answer begins, so a query that fails at once is an error and no download. One
that fails later ends in BROKEN, a quote that is never closed, and raises: portal/abort.py then breaks the connection.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from psycopg.errors import QueryCanceled
from rest_framework.exceptions import APIException

from usage.columns import Column
from usage.exports.copying import Snapshot, columns_of_kind, csv_blocks, ndjson_blocks
from usage.exports.parquet import parquet_blocks
from usage.exports.progress import BROKEN_OFF, DONE, LEFT, STOPPED, StoppedByOwner, Watch
from usage.exports.workbook import workbook_blocks
from usage.trust import Trust, written

BROKEN = b'"The export broke off here and is not complete.'
RETRY_SECONDS = 10

Make = Callable[[Snapshot, QuerySet[Any], Sequence[Column]], Iterator[bytes]]


class Refused(APIException):
    """An export that is not begun; `wait` seconds later it may be asked for again."""

    status_code = 503
    default_detail = "As many exports as the portal sends at once are under way; try again later."
    wait = RETRY_SECONDS


class TooSlow(Refused):
    """An export whose first block was not there in time."""

    default_detail = "The export took longer than the portal allows; narrow the filters."


@dataclass(frozen=True, slots=True)
class Format:
    """One format of exports: what it is called on the wire, and how it is made."""

    content_type: str
    make: Make


FORMATS: Final[dict[str, Format]] = {
    "csv": Format("text/csv; charset=utf-8; header=present", csv_blocks),
    "ndjson": Format("application/x-ndjson", ndjson_blocks),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", workbook_blocks),
    "parquet": Format("application/vnd.apache.parquet", parquet_blocks),
}


@cache
def places() -> threading.BoundedSemaphore:
    """Return the places for exports in this process: each holds a thread of the server and a connection."""
    return threading.BoundedSemaphore(settings.PORTAL_EXPORTS_AT_ONCE)


class Stream:
    """Blocks of a download, the first of them made already.

    `stack` is all that it holds, given up at its end; `watch` hears how it ended, unless it never began.
    """

    def __init__(self, blocks: Iterator[bytes], stack: ExitStack | None = None, watch: Watch | None = None) -> None:
        self._blocks = blocks
        self._stack = stack or ExitStack()
        self._failure: Exception | None = None
        self._watch: Watch | None = None
        try:
            self._first: bytes | None = next(blocks, b"")
        except BaseException:
            self.close()
            raise
        self._watch = watch

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
            self._tell(DONE)
            self.close()
            raise
        except Exception as failure:  # noqa: BLE001 (whatever it is: the reader must see it, and it is raised next)
            self._failure = failure
            self._tell(STOPPED if isinstance(failure, StoppedByOwner) else BROKEN_OFF)
            self.close()
            return BROKEN

    def _tell(self, state: str) -> None:
        if self._watch is not None:
            self._watch.ended(state)
            self._watch = None

    def close(self) -> None:
        """End the query; called by the server also when the client goes away."""
        self._tell(LEFT)
        close: Callable[[], None] | None = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._stack.close()

    def __del__(self) -> None:
        self.close()


def export(
    queryset: QuerySet[Any],
    filename: str,
    form: str = "csv",
    columns: Sequence[Column] | None = None,
    trust: Callable[[], Trust] | None = None,
    watch: Watch | None = None,
) -> StreamingHttpResponse:
    """Return a download of the whole `queryset`, in its order, in one of FORMATS.

    `trust` tells how far it can be trusted, asked of the same state of the database; then headers say so. `watch`
    hears how it goes, once it has begun. Raises Refused where too many are under way, ValidationError where the
    format cannot hold the set, what `watch` raises and what the database raises before the first block.
    """
    with ExitStack() as stack:
        if not places().acquire(blocking=False):
            raise Refused
        stack.callback(places().release)
        snapshot = stack.enter_context(Snapshot.taken(queryset.db, watch.rows if watch else None))
        headers = {"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"}
        headers["Portal-As-Of"] = str(written(snapshot.as_of))
        if trust is not None:
            with snapshot.shared():
                headers |= said(trust())
        try:
            blocks = FORMATS[form].make(snapshot, queryset, columns or columns_of_kind(queryset))
            stream = Stream(blocks, stack.pop_all(), watch)
        except (DatabaseError, QueryCanceled) as failure:
            if isinstance(failure, QueryCanceled) or isinstance(failure.__cause__, QueryCanceled):
                raise TooSlow from failure
            raise
    return StreamingHttpResponse(stream, content_type=FORMATS[form].content_type, headers=headers)


def said(trust: Trust) -> dict[str, str]:
    """Return the headers that say how far an export can be trusted; the manifest says it in full."""
    headers = {
        "Portal-Complete": "true" if trust.complete else "false",
        "Portal-Complete-Through": written(trust.complete_through),
        "Portal-Provisional-From": written(trust.provisional_from),
        "Portal-Restated-Since": written(trust.restated_since),
    }
    return {name: value for name, value in headers.items() if value}
