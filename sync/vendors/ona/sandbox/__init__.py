"""The Ona stand-in: environment usage records, their total and names over Connect, in JSON and in protobuf.

**Assumed**, the vendor being silent: a token belongs to the filter of its listing, and an empty list is sent
as such; the total counts runs by their stop, and an unknown team has none. What else is assumed is in connect.py.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

from google.protobuf import json_format

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.world import ContentFaults, World
from sync.vendors.ona import connect
from sync.vendors.ona.connect import CODES, JSON, PROTO, STATUSES, ConnectError, ListRequest, RuntimeRequest
from sync.vendors.ona.instants import SECOND, to_nanoseconds
from sync.vendors.ona.sandbox.directory import NameSandbox
from sync.vendors.ona.sandbox.pages import BlockCache, HistoryView, Position, Window
from sync.vendors.ona.sandbox.runs import FAULT_COUNT, Run
from sync.vendors.ona.usage_pb2 import (
    GetEnvironmentRuntimeResponse,
    ListEnvironmentUsageRecordsResponse,
    PaginationResponse,
)

LIST: Final = f"/api{connect.LIST}"
RUNTIME: Final = f"/api{connect.RUNTIME}"


class Sandbox:
    """Ona, for one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blocks = BlockCache(world)
        self.names = NameSandbox(world)

    def respond(self, request: APIRequest, faults: ContentFaults) -> APIResponse:
        """Answer a request for a listing, a total or names, anything else with a Connect error."""
        if request.path not in (LIST, RUNTIME, *self.names.paths):
            return _build_error("not_found", "404 page not found")
        if request.method != "POST":
            return APIResponse(405, b"", headers={"Allow": "POST"})
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, PROTO):
            return APIResponse(415, b"", headers={"Accept-Post": f"{JSON}, {PROTO}"})
        try:
            self._authenticate(request)
            return self._build_answer(request, content_type, faults)
        except ConnectError as error:
            return _build_error(error.code, str(error))

    def _build_answer(self, request: APIRequest, content_type: str, faults: ContentFaults) -> APIResponse:
        """Return the answer of one of the paths; raises ConnectError."""
        if request.path in self.names.paths:
            return self.names.respond(request.path, content_type, request.body, request.query)
        if request.path == RUNTIME:
            query = connect.parse_runtime_request(content_type, request.body)
            return self._build_total(query, content_type, faults)
        page = connect.parse_list_request(content_type, request.body, request.query)
        return self._build_page(page, content_type, faults)

    def build_error(self, status: int, message: str) -> APIResponse:
        return _build_error(CODES.get(status, "unknown"), message, status)

    def list_runs(self, start: datetime, end: datetime, project_id: str = "") -> list[Run]:
        """Return the runs that a listing of `[start, end)` has now, for tests to compare with."""
        window = Window(to_nanoseconds(start), to_nanoseconds(end), project_id)
        view = HistoryView(self.blocks, window, Run.encode_json)
        runs: list[Run] = []
        position = view.seek(view.first_position)
        while position is not None:
            run = view.get_run(position)
            if run is not None:
                runs.append(run)
            position = view.seek(position._replace(offset=position.offset + 1))
        return runs

    def _authenticate(self, request: APIRequest) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token or scheme.lower() != "bearer":
            raise ConnectError("unauthenticated", "no bearer token was given")
        if not hmac.compare_digest(token.strip().encode(), self.world.credential.encode()):
            raise ConnectError("unauthenticated", "the token is not valid")

    def _build_page(self, query: ListRequest, content_type: str, faults: ContentFaults) -> APIResponse:
        window = Window(query.start, query.end, query.project_id)
        view = HistoryView(self.blocks, window, Run.encode_json if content_type == JSON else Run.encode_proto)
        start = view.first_position
        if query.token:
            start = _shift_start(view, self._parse_token(query.token, window), faults)
        texts, following = view.read_page(start, query.page_size)
        if texts:
            texts[0] = _spoil_record(view, start, texts[0], faults)
        token = self._build_token(following, window) if following else ""
        if query.token and following and faults.hit("repeated_token"):
            token = query.token
        encode = _encode_json_page if content_type == JSON else _encode_proto_page
        return APIResponse(200, encode(texts, token), content_type)

    def _build_total(self, query: RuntimeRequest, content_type: str, faults: ContentFaults) -> APIResponse:
        """Return the runtime of the runs that stopped in a range, and its increase as a share of the range before."""
        if faults.hit("no_total"):
            raise ConnectError("unimplemented", f"{connect.RUNTIME} is not implemented")
        clip = faults.hit("other_total")
        start, end = query.start, query.end
        seconds, before = (
            0 if query.team_id else self._sum_seconds(Window(first, last, query.project_id), clip)
            for first, last in ((start, end), (2 * start - end, start))
        )
        trend = (seconds - before) / before if before else 0.0
        total = GetEnvironmentRuntimeResponse(total_runtime_seconds=seconds, trend=trend)
        if content_type == PROTO:
            return APIResponse(200, total.SerializeToString(), PROTO)
        return APIResponse(200, json_format.MessageToJson(total, indent=None).encode())

    def _sum_seconds(self, window: Window, clip: bool) -> int:
        return HistoryView(self.blocks, window, Run.encode_json).sum_runtime(clip=clip) // SECOND

    def _build_token(self, position: Position, window: Window) -> str:
        place = f"{position.ordinal}.{position.offset}"
        return urlsafe_b64encode(f"{place}.{self._sign(place, window)}".encode()).decode().rstrip("=")

    def _parse_token(self, token: str, window: Window) -> Position:
        """Return the position in a token; raises ConnectError for a token of another filter."""
        try:
            text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            place, _, signature = text.rpartition(".")
            if hmac.compare_digest(signature.encode(), self._sign(place, window).encode()):
                ordinal, _, offset = place.partition(".")
                return Position(int(ordinal), int(offset))
        except ValueError:
            pass
        raise ConnectError("invalid_argument", "invalid pagination token")

    def _sign(self, place: str, window: Window) -> str:
        return blake2b(f"{self.world.seed}/{place}/{window}".encode(), digest_size=8).hexdigest()


def _shift_start(view: HistoryView, start: Position, faults: ContentFaults) -> Position:
    """Return where a later page begins after the faults between pages."""
    if faults.hit("growth"):
        view.insert_before(start)
    if faults.hit("duplicate"):
        return view.seek_back(start) or start
    return start


def _spoil_record(view: HistoryView, start: Position, text: bytes, faults: ContentFaults) -> bytes:
    """Return the page's first record, spoilt if a fault strikes."""
    bad, no_id = faults.hit("bad_record"), faults.hit("no_id")
    position = view.seek(start) if bad or no_id else None
    run = view.get_run(position) if position is not None else None
    if position is None or run is None:
        return text
    return view.encode(run._replace(fault=position.offset % FAULT_COUNT) if bad else run._replace(omitted="id"))


def _encode_json_page(texts: Sequence[bytes], token: str) -> bytes:
    """Return a page; the last token is empty or, for every other number of records, absent."""
    pagination = f'{{"nextToken":"{token}"}}' if token or len(texts) % 2 else "{}"
    return b'{"pagination":%b,"records":[%b]}' % (pagination.encode(), b",".join(texts))


def _encode_proto_page(texts: Sequence[bytes], token: str) -> bytes:
    pagination = PaginationResponse(next_token=token)
    return ListEnvironmentUsageRecordsResponse(pagination=pagination).SerializeToString() + b"".join(texts)


def _build_error(code: str, message: str, status: int | None = None) -> APIResponse:
    return APIResponse(status or STATUSES[code], connect.encode_error(code, message))
