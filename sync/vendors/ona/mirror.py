"""Ona's listing, served from the portal's records over Connect, in JSON and in protobuf.

The vendor's total of runtime is not served: stored records cannot confirm themselves.

What is assumed of the vendor is named in connect.py, which the stand-in uses too. Records are in the order of their
end, then of their primary key. A page token has the position of the last record of its page, signed for the filter
of the listing, so that it stays valid while days are synced again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from django.core import signing
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan

from sync.api_messages import APIRequest, APIResponse
from sync.vendors.base import VendorMirror
from sync.vendors.ona import connect
from sync.vendors.ona.connect import CODES, ID_FIELDS, JSON, PROTO, STATUSES, ConnectError, ListRequest
from sync.vendors.ona.instants import build_timestamp, ceil, floor, restore_nanoseconds
from sync.vendors.ona.usage_pb2 import (
    EnvironmentUsageRecord,
    ListEnvironmentUsageRecordsResponse,
    PaginationResponse,
)
from sync.vendors.record_limits import ALTERATIONS_KEY
from usage.models import EnvironmentUsage

NAMELESS: Final = EnvironmentUsage.nameless_prefix
COLUMNS: Final = ("id", "record_id", *ID_FIELDS, "created_at", "stopped_at", "extra")

Position = tuple[datetime, int]


class StoredRun(NamedTuple):
    """One record as the vendor has it: instants in nanoseconds since 1970, `extra` without the portal's alterations."""

    position: Position
    id: str
    ids: tuple[str, ...]
    created_at: int | None
    stopped_at: int
    extra: dict[str, Any]

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "StoredRun":
        """Return the record in a row of `COLUMNS`."""
        key, record_id, *ids, created_at, stopped_at, extra = row
        return cls(
            (stopped_at, key),
            "" if record_id.startswith(NAMELESS) else record_id,
            tuple(ids),
            restore_nanoseconds(extra.get("createdAt"), created_at) if created_at else None,
            restore_nanoseconds(extra.get("stoppedAt"), stopped_at),
            {name: value for name, value in extra.items() if name != ALTERATIONS_KEY},
        )

    def encode_json(self) -> bytes:
        """Return the record without empty fields; fields that the portal has no column for come last."""
        record: dict[str, Any] = {"id": self.id} if self.id else {}
        record |= {name: value for name, value in zip(ID_FIELDS.values(), self.ids, strict=True) if value}
        if self.created_at is not None:
            record["createdAt"] = build_timestamp(self.created_at).ToJsonString()
        record["stoppedAt"] = build_timestamp(self.stopped_at).ToJsonString()
        return msgspec.json.encode(record | self.extra)

    def build_message(self) -> EnvironmentUsageRecord:
        """Return the record as a message, which has no place for unknown fields."""
        ids: dict[str, Any] = dict(zip(ID_FIELDS, self.ids, strict=True))
        message = EnvironmentUsageRecord(id=self.id, **ids)
        if self.created_at is not None:
            message.created_at.CopyFrom(build_timestamp(self.created_at))
        message.stopped_at.CopyFrom(build_timestamp(self.stopped_at))
        return message


class Mirror(VendorMirror):
    """Ona, from the records of one source."""

    paths = (f"/api{connect.LIST}",)

    def respond(self, request: APIRequest) -> APIResponse:
        """Answer a listing, or refuse it with a Connect error."""
        if request.method != "POST":
            return APIResponse(405, b"", headers={"Allow": "POST"})
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, PROTO):
            return APIResponse(415, b"", headers={"Accept-Post": f"{JSON}, {PROTO}"})
        try:
            query = connect.parse_list_request(content_type, request.body, request.query)
            runs, token = StoredListing(self.source.pk, query).read_page()
        except ConnectError as error:
            return APIResponse(STATUSES[error.code], connect.encode_error(error.code, str(error)))
        encode = encode_json_page if content_type == JSON else encode_proto_page
        return APIResponse(200, encode(runs, token), content_type, span=(ceil(query.start), ceil(query.end)))

    @classmethod
    def build_error(cls, status: int, message: str) -> APIResponse:
        return APIResponse(status, connect.encode_error(CODES.get(status, "unknown"), message))


@dataclass(frozen=True, slots=True)
class StoredListing:
    """The records of one source that match a request."""

    source_id: int
    query: ListRequest

    @property
    def signer(self) -> signing.Signer:
        filters = repr((self.source_id, self.query.start, self.query.end, self.query.project_id))
        return signing.Signer(salt=f"sync.vendors.ona.mirror:{filters}", sep=".")

    def read_page(self) -> tuple[list[StoredRun], str]:
        """Return the page's records and the token of the next page, "" after the last.

        Raises ConnectError for a token of another filter.
        """
        after = self._parse_token() if self.query.token else None
        runs: list[StoredRun] = []
        for run in self.iterate(after):
            if len(runs) == self.query.page_size:
                return runs, self._build_token(runs[-1])
            runs.append(run)
        return runs, ""

    def iterate(self, after: Position | None) -> Iterator[StoredRun]:
        """Yield the records behind a position, fetched in batches of a page and one record."""
        size = self.query.page_size + 1
        while True:
            rows = list(self.build_queryset(after)[:size])
            for row in rows:
                run = StoredRun.from_row(row)
                after = run.position
                # The columns have microseconds; only the nanoseconds decide at the edges of the range.
                if self.query.start <= run.stopped_at < self.query.end:
                    yield run
            if len(rows) < size:
                return

    def build_queryset(self, after: Position | None) -> QuerySet[Any]:
        """Return the rows behind a position that stopped within the range, to the microsecond."""
        records = EnvironmentUsage.objects.current().filter(source=self.source_id)
        rows: QuerySet[Any] = records.in_range(floor(self.query.start), ceil(self.query.end))
        if self.query.project_id:
            rows = rows.filter(project_id=self.query.project_id)
        if after is not None:
            rows = rows.filter(TupleGreaterThan((F("stopped_at"), F("id")), after))
        return rows.order_by("stopped_at", "id").values_list(*COLUMNS)

    def _build_token(self, last: StoredRun) -> str:
        stopped_at, key = last.position
        return self.signer.sign_object([stopped_at.isoformat(), key])

    def _parse_token(self) -> Position:
        try:
            stopped_at, key = self.signer.unsign_object(self.query.token)
        except (signing.BadSignature, ValueError):
            raise ConnectError("invalid_argument", "invalid pagination token") from None
        return datetime.fromisoformat(stopped_at), key


def encode_json_page(runs: Sequence[StoredRun], token: str) -> bytes:
    """Return a page; the last page has no token, as the vendor leaves out empty fields."""
    pagination = b'{"nextToken":%b}' % msgspec.json.encode(token) if token else b"{}"
    return b'{"pagination":%b,"records":[%b]}' % (pagination, b",".join(run.encode_json() for run in runs))


def encode_proto_page(runs: Sequence[StoredRun], token: str) -> bytes:
    """Return a page as a protobuf message."""
    page = ListEnvironmentUsageRecordsResponse(
        pagination=PaginationResponse(next_token=token), records=[run.build_message() for run in runs]
    )
    return page.SerializeToString()
