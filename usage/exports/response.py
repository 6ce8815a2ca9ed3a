"""Exports as HTTP responses: bounded in number and time, of one state of the database, visibly broken where they fail.

The first block exists before the response begins, so a query that fails at once is an error and no download. A query
that fails later ends in BROKEN, a quote that is never closed, and raises: granian then breaks the connection.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from psycopg import Error as DriverError
from psycopg.errors import QueryCanceled
from rest_framework.exceptions import APIException

from usage.columns import Column
from usage.data_quality import assess_filtered
from usage.data_quality.messages import describe_quality
from usage.datetimes import format_iso
from usage.exports.about import ExportRequest, describe_request
from usage.exports.archive import ArchivedRange, find_archive
from usage.exports.copy import ExportQuery
from usage.exports.formats import FORMATS
from usage.exports.progress import ExportState, ExportTracker, StoppedByOwner
from usage.slots import RETRY_SECONDS, hold_slot
from usage.snapshot import open_snapshot
from usage.standby import get_replica_lag
from usage.timeouts import call_after

BROKEN: Final = b'"The export broke off here and is not complete.'
DAY_COUNTS: Final = ("suspect", "unverified", "mismatched", "pruned", "archived")
# The database ends a query that lasts too long; so much later its reader has stalled.
GRACE_SECONDS: Final = 2

logger = structlog.get_logger(__name__)


class ExportTooSlow(APIException):
    """An export whose first block was not ready in time."""

    status_code = 503
    default_detail = "The export took longer than the portal allows; narrow the filters."
    wait = RETRY_SECONDS


class ExportStream:
    """The blocks of a download; the first of them is made at once.

    `stack` has all that it uses and is closed at its end. `tracker` receives how it ended, unless it never began.
    """

    def __init__(
        self, blocks: Iterator[bytes], stack: ExitStack | None = None, tracker: ExportTracker | None = None
    ) -> None:
        self._blocks = blocks
        self._stack = stack or ExitStack()
        self._failure: Exception | None = None
        self._tracker: ExportTracker | None = None
        try:
            self._first: bytes | None = next(blocks, b"")
        except BaseException:
            self.close()
            raise
        self._tracker = tracker
        # A weak reference: an export without a reader ends at once.
        seconds = settings.PORTAL_EXPORT_SECONDS + GRACE_SECONDS
        self._stack.enter_context(call_after(seconds, expire_stream, weakref.ref(self)))

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
            if self._failure is not None:
                raise self._failure from None
            self._record_end(ExportState.DONE)
            self.close()
            raise
        except Exception as failure:  # noqa: BLE001 (whatever it is, the reader must see it; it is raised next)
            self._failure = failure
            stopped = isinstance(failure, StoppedByOwner)
            self._record_end(ExportState.STOPPED if stopped else ExportState.BROKEN_OFF)
            self.close()
            return BROKEN

    def expire(self) -> None:
        """Release the resources of an export whose reader has stalled: its thread only waits in the server."""
        self._failure = self._failure or TimeoutError("The export lasted too long.")
        self._record_end(ExportState.BROKEN_OFF)
        try:
            self._close_blocks()
        except ValueError:
            # It is being read at this moment. The database has ended it, which its reader is about to see.
            return
        except (DatabaseError, DriverError) as error:
            logger.warning("export broken off", reason=str(error))
        self._stack.close()

    def close(self) -> None:
        """End the query; the server calls it also when the client disconnects."""
        self._record_end(ExportState.ABANDONED)
        self._close_blocks()
        self._stack.close()

    def _record_end(self, state: ExportState) -> None:
        if self._tracker is not None:
            self._tracker.record_end(state)
            self._tracker = None

    def _close_blocks(self) -> None:
        close: Callable[[], None] | None = getattr(self._blocks, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        self.close()


def expire_stream(reference: "weakref.ref[ExportStream]") -> None:
    """Expire a download that still exists."""
    stream = reference()
    if stream is not None:
        stream.expire()


def export(
    queryset: QuerySet[Any],
    filename: str,
    format_name: str,
    columns: Sequence[Column],
    *,
    filterset: Any = None,
    tracker: ExportTracker | None = None,
    request: ExportRequest | None = None,
) -> StreamingHttpResponse:
    """Return a download of all rows of `queryset`, in its order, in one of FORMATS.

    `filterset`: of rows of usage, that by which they were filtered; then headers state the data quality, and records of
    archived days come from the lake. Raises SlotsTaken where too many are under way, ExportTooSlow, ValidationError
    where the format cannot represent the rows, what `find_archive` and `tracker` raise, and what the database or the
    lake raises before the first block.
    """
    export_format, request = FORMATS[format_name], request or ExportRequest()
    archive: ArchivedRange | None = None
    sentences: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(hold_slot())
        snapshot = stack.enter_context(open_snapshot())
        as_of = str(format_iso(snapshot.as_of))
        headers = build_headers(filename, as_of)
        if filterset is not None:
            with snapshot.share():
                archive = find_archive(filterset)
                if archive is not None:
                    archive.ensure_readable()
                meta = assess_filtered(filterset, reads_lake=True).meta()
            headers = build_headers(filename, as_of, meta)
            sentences += [*describe_quality(meta), *filter(None, [queryset.model.totals_note])]
        try:
            query = ExportQuery(
                snapshot,
                queryset,
                columns,
                on_rows=tracker.record_rows if tracker else None,
                about=list(describe_request(request, as_of, get_replica_lag(), sentences)),
                zone=request.zone,
                bom=request.bom,
                archive=archive,
            )
            stream = ExportStream(export_format.write(query), stack.pop_all(), tracker)
        except (DatabaseError, QueryCanceled) as failure:
            if isinstance(failure, QueryCanceled) or isinstance(failure.__cause__, QueryCanceled):
                raise ExportTooSlow from failure
            raise
    return StreamingHttpResponse(
        stream, content_type=export_format.media_type + export_format.parameters, headers=headers
    )


def build_headers(filename: str, as_of: str, meta: dict[str, Any] | None = None) -> dict[str, str]:
    """Return the headers of a download; `meta`: the data quality of what it has."""
    headers = {
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Cache-Control": "no-store",
        "Portal-As-Of": as_of,
    }
    return headers if meta is None else headers | build_quality_headers(meta)


def build_quality_headers(meta: dict[str, Any]) -> dict[str, str]:
    """Return the headers that state the data quality of an export; the manifest has it in full."""
    counts = {f"Portal-{name.capitalize()}-Days": meta[f"{name}_days"]["total"] for name in DAY_COUNTS}
    headers = {
        "Portal-Complete": "true" if meta["complete"] else "false",
        "Portal-Complete-Through": meta["complete_through"],
        "Portal-Provisional-From": meta["provisional_from"],
        "Portal-Restated-Since": meta["restated_since"],
        **{name: str(number) for name, number in counts.items() if number},
    }
    return {name: value for name, value in headers.items() if value}
