"""The Ona stand-in: environment usage records over Connect, in JSON and in protobuf, as contracts.md has it.

**Assumed**, the vendor being silent: a token belongs to the filter it was given for; a range that ends before
it starts is refused; unknown JSON fields are passed over; an empty list is sent as such.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from sync.sandbox.world import Answer, ContentFaults, Request, World
from sync.vendors.ona import protobuf
from sync.vendors.ona.sandbox_history import BAD_KINDS, Run, nanoseconds
from sync.vendors.ona.sandbox_pages import Encoder, Listing, Position, Shelf, Window

LIST: Final = "/api/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
JSON, PROTO = "application/json", "application/proto"
DEFAULT_SIZE, LARGEST_SIZE = 25, 100
BOUNDS: Final = "value must be greater than or equal to 0 and less than or equal to 100"
STATUS: Final = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
}
RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
CODE: Final = {status: code for code, status in STATUS.items()}


class Refused(Exception):  # noqa: N818 - it is not always somebody's error
    """A request that is answered with a Connect error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ask(NamedTuple):
    """A listing as it was asked for; an empty token asks for the first page."""

    window: Window
    size: int
    token: str


class Sandbox:
    """Ona, for one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shelf = Shelf(world)

    def answer(self, request: Request, faults: ContentFaults) -> Answer:
        """Answer a listing request, anything else with a Connect error."""
        if request.path != LIST:
            return _error("not_found", "404 page not found")
        if request.method != "POST":
            return Answer(405, b"", headers={"Allow": "POST"})
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, PROTO):
            return Answer(415, b"", headers={"Accept-Post": f"{JSON}, {PROTO}"})
        try:
            self._authenticate(request)
            ask = _asked(request, content_type)
            return self._page(ask, content_type, faults)
        except Refused as refused:
            return _error(refused.code, str(refused))

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with a Connect error."""
        return _error(CODE.get(status, "unknown"), message, status)

    def runs(self, start: datetime, end: datetime, project_id: str = "") -> list[Run]:
        """Return what a listing of `[start, end)` holds now, for tests to compare with."""
        listing = Listing(self.shelf, Window(nanoseconds(start), nanoseconds(end), project_id), Run.as_json)
        runs: list[Run] = []
        place = listing.seek(listing.beginning)
        while place is not None:
            run = listing.run(place)
            if run is not None:
                runs.append(run)
            place = listing.seek(place._replace(offset=place.offset + 1))
        return runs

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token or scheme.lower() != "bearer":
            raise Refused("unauthenticated", "no bearer token was given")
        if not hmac.compare_digest(token.strip().encode(), self.world.credential.encode()):
            raise Refused("unauthenticated", "the token is not valid")

    def _page(self, ask: Ask, content_type: str, faults: ContentFaults) -> Answer:
        encode: Encoder = Run.as_json if content_type == JSON else Run.as_proto
        listing = Listing(self.shelf, ask.window, encode)
        start = self._position(ask) if ask.token else listing.beginning
        if ask.token:
            start = _disturbed(listing, start, faults)
        texts, following = listing.page(start, ask.size)
        if texts:
            texts[0] = _spoilt(listing, start, texts[0], faults)
        token = self._token(following, ask.window) if following else ""
        if ask.token and following and faults.hit("repeated_token"):
            token = ask.token
        body = (
            _json_page(texts, token)
            if content_type == JSON
            else protobuf.list_response(b"".join(texts), token)
        )
        return Answer(200, body, content_type)

    def _token(self, position: Position, window: Window) -> str:
        place = f"{position.ordinal}.{position.offset}"
        return urlsafe_b64encode(f"{place}.{self._seal(place, window)}".encode()).decode().rstrip("=")

    def _position(self, ask: Ask) -> Position:
        """Return where a token leads; raises Refused for one that was not given for this filter."""
        try:
            said = urlsafe_b64decode(ask.token + "=" * (-len(ask.token) % 4)).decode()
            place, _, seal = said.rpartition(".")
            if hmac.compare_digest(seal.encode(), self._seal(place, ask.window).encode()):
                ordinal, _, offset = place.partition(".")
                return Position(int(ordinal), int(offset))
        except ValueError:
            pass
        raise Refused("invalid_argument", "invalid pagination token")

    def _seal(self, place: str, window: Window) -> str:
        return blake2b(f"{self.world.seed}/{place}/{window}".encode(), digest_size=8).hexdigest()


def _disturbed(listing: Listing, start: Position, faults: ContentFaults) -> Position:
    """Return where a later page begins once the faults between pages have had their way."""
    if faults.hit("growth"):
        listing.grow(start)
    if faults.hit("duplicate"):
        return listing.before(start) or start
    return start


def _spoilt(listing: Listing, start: Position, text: bytes, faults: ContentFaults) -> bytes:
    """Return the page's first record, spoilt if a fault says so."""
    bad, no_id = faults.hit("bad_record"), faults.hit("no_id")
    place = listing.seek(start) if bad or no_id else None
    run = listing.run(place) if place is not None else None
    if place is None or run is None:
        return text
    return listing.encode(run._replace(bad=place.offset % BAD_KINDS) if bad else run._replace(omitted="id"))


def _json_page(texts: Sequence[bytes], token: str) -> bytes:
    """Return a page; the last one's token is empty or, for every other number of records, absent."""
    pagination = f'{{"nextToken":"{token}"}}' if token or len(texts) % 2 else "{}"
    return b'{"pagination":%b,"records":[%b]}' % (pagination.encode(), b",".join(texts))


def _error(code: str, message: str, status: int | None = None) -> Answer:
    """Return a Connect error; it is JSON whatever was asked in."""
    return Answer(status or STATUS[code], msgspec.json.encode({"code": code, "message": message}))


def _asked(request: Request, content_type: str) -> Ask:
    """Return what a request asks for; the query's token and page size win over the body's."""
    wire = _json_request(request.body) if content_type == JSON else _proto_request(request.body)
    size = wire.page_size
    if "pageSize" in request.query:
        size = _whole_number(request.query["pageSize"][-1])
    token = request.query["token"][-1] if "token" in request.query else wire.token
    if not wire.has_date_range:
        raise _invalid("filter.date_range: value is required [required]")
    if wire.start_time is None or wire.end_time is None:
        missing = "start_time" if wire.start_time is None else "end_time"
        raise _invalid(f"filter.date_range.{missing}: value is required [required]")
    if wire.end_time < wire.start_time:
        raise _invalid("filter.date_range: the end lies before the start")
    if not 0 <= size <= LARGEST_SIZE:
        raise _invalid(f"pagination.page_size: {BOUNDS} [int32.gte_lte]")
    return Ask(Window(wire.start_time, wire.end_time, wire.project_id), size or DEFAULT_SIZE, token)


def _invalid(what: str) -> Refused:
    return Refused("invalid_argument", f"validation error:\n - {what}")


def _proto_request(body: bytes) -> protobuf.ListRequest:
    try:
        return protobuf.list_request(body)
    except ValueError as error:
        raise Refused("invalid_argument", f"unmarshal message: {error}") from None


def _json_request(body: bytes) -> protobuf.ListRequest:
    """Return a JSON body in the form of the protobuf one; an empty body is an empty message."""
    try:
        asked = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("invalid_argument", "unmarshal message: the body is not JSON") from None
    pagination = _object(asked, "pagination")
    wanted = _object(asked, "filter")
    dates = _object(wanted, "dateRange", "date_range")
    return protobuf.ListRequest(
        page_size=_whole_number(_field(pagination, "pageSize", "page_size") or 0),
        token=_string(_field(pagination, "token")),
        project_id=_string(_field(wanted, "projectId", "project_id")),
        has_date_range=_field(wanted, "dateRange", "date_range") is not None,
        start_time=_instant(_string(_field(dates, "startTime", "start_time"))),
        end_time=_instant(_string(_field(dates, "endTime", "end_time"))),
    )


def _field(of: Any, *names: str) -> Any:
    if not isinstance(of, dict):
        raise Refused("invalid_argument", "unmarshal message: an object was expected")
    return next((of[name] for name in names if of.get(name) is not None), None)


def _object(of: Any, *names: str) -> Any:
    found = _field(of, *names)
    return {} if found is None else found


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("invalid_argument", "unmarshal message: a string was expected")
    return value


def _whole_number(value: Any) -> int:
    """Return an int32 as protobuf's JSON allows it: a number, or one written as a string."""
    try:
        number = int(value)
        exact = not isinstance(value, bool) and number == float(value)
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact:
        raise Refused("invalid_argument", "unmarshal message: a whole number was expected")
    return number


@lru_cache(maxsize=4096)
def _instant(text: str) -> int | None:
    """Return an RFC 3339 instant in nanoseconds since 1970, None for an empty string; raises Refused."""
    if not text:
        return None
    parts = RFC_3339.fullmatch(text)
    try:
        instant = datetime.fromisoformat(parts[1] + parts[3]) if parts else None
    except ValueError:
        instant = None
    if parts is None or instant is None:
        raise Refused("invalid_argument", f"unmarshal message: {text[:40]!r} is not an RFC 3339 instant")
    return nanoseconds(instant) + int((parts[2] or "").ljust(9, "0"))
