"""The Ona stand-in: environment usage records over Connect, in JSON and in protobuf, as contracts.md has it.

**Assumed**, the vendor being silent: a token belongs to the filter it was given for, and an empty list is sent
as such. What else is assumed is in connect.py.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

from sync.sandbox.world import Answer, ContentFaults, Request, World
from sync.vendors.ona import connect, protobuf
from sync.vendors.ona.connect import CODE, JSON, PROTO, STATUS, Asked, Refused, nanoseconds
from sync.vendors.ona.sandbox.pages import Encoder, Listing, Position, Shelf, Window
from sync.vendors.ona.sandbox.runs import BAD_KINDS, Run

LIST: Final = f"/api{connect.LIST}"


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
            ask = connect.asked(content_type, request.body, request.query)
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

    def _page(self, ask: Asked, content_type: str, faults: ContentFaults) -> Answer:
        encode: Encoder = Run.as_json if content_type == JSON else Run.as_proto
        window = Window(ask.start, ask.end, ask.project_id)
        listing = Listing(self.shelf, window, encode)
        start = listing.beginning
        if ask.token:
            start = _disturbed(listing, self._position(ask.token, window), faults)
        texts, following = listing.page(start, ask.size)
        if texts:
            texts[0] = _spoilt(listing, start, texts[0], faults)
        token = self._token(following, window) if following else ""
        if ask.token and following and faults.hit("repeated_token"):
            token = ask.token
        write = _json_page if content_type == JSON else _proto_page
        return Answer(200, write(texts, token), content_type)

    def _token(self, position: Position, window: Window) -> str:
        place = f"{position.ordinal}.{position.offset}"
        return urlsafe_b64encode(f"{place}.{self._seal(place, window)}".encode()).decode().rstrip("=")

    def _position(self, token: str, window: Window) -> Position:
        """Return where a token leads; raises Refused for one that was not given for this filter."""
        try:
            said = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            place, _, seal = said.rpartition(".")
            if hmac.compare_digest(seal.encode(), self._seal(place, window).encode()):
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


def _proto_page(texts: Sequence[bytes], token: str) -> bytes:
    return protobuf.list_response(b"".join(texts), token)


def _error(code: str, message: str, status: int | None = None) -> Answer:
    return Answer(status or STATUS[code], connect.error(code, message))
