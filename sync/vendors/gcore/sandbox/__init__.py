"""The Gcore stand-in: usage reports from a made-up history, and names, as docs/vendors/gcore.md has them."""

from datetime import UTC, date, timedelta
from typing import Any

import msgspec

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.cache import WeightedCache
from sync.sandbox.world import ContentFaults, World
from sync.vendors.gcore.request import (
    InvalidReportRequest,
    ReportRequest,
    encode_error,
    get_day_start,
    parse_report_request,
)
from sync.vendors.gcore.sandbox.history import SETTLED_MINUTES, DayListing, count_slots
from sync.vendors.gcore.sandbox.kinds import RESOURCE_KINDS
from sync.vendors.gcore.sandbox.names import LISTINGS, build_names
from sync.vendors.gcore.sandbox.report import MatchingRecords, build_report
from sync.vendors.gcore.sandbox.stock import Stock
from sync.vendors.gcore.schema import USAGE_REPORT

STEP = 5  # minutes between which the figures of today stand still
MAX_CACHED_RECORDS = 2_000_000  # records in memory, over all days and requests
FILTERS = {kind.type: kind.filters for kind in RESOURCE_KINDS}
encode = msgspec.json.Encoder(decimal_format="number").encode
Row = dict[str, Any]


class Sandbox:
    """One account at Gcore. Rows past the limit are cut off silently, as the vendor does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._cache = WeightedCache(MAX_CACHED_RECORDS)
        self._stocks: tuple[tuple[Any, ...], list[Stock]] | None = None
        self._grown: dict[date, int] = {}

    def respond(self, request: APIRequest, faults: ContentFaults) -> APIResponse:
        """Answer one request; errors have the vendor's shape (exception_class, message, request_id)."""
        if request.path in LISTINGS:
            return self._answer_names(request)
        error_response = self._find_error(request)
        if error_response is not None:
            return error_response
        try:
            query = parse_report_request(request.body, FILTERS)
        except InvalidReportRequest as error:
            return self.build_error(400, f"Validation Error: {error.fields}", invalid_fields=error.fields)
        return APIResponse(200, encode(self._answer_report(query, faults)))

    def build_error(self, status: int, message: str, **more: Any) -> APIResponse:
        return APIResponse(status, encode_error(status, message, f"{self.world.roll(status, message):032x}", **more))

    def _answer_names(self, request: APIRequest) -> APIResponse:
        """Return a page of the projects or the regions."""
        error_response = self._find_credential_error(request)
        if error_response is not None:
            return error_response
        if request.method != "GET":
            return self.build_error(405, "The method is not allowed here.")
        try:
            return APIResponse(200, encode(build_names(request.path, request.query)))
        except ValueError:
            return self.build_error(400, "Validation Error: limit and offset are whole numbers, limit 1 to 1000.")

    def _find_error(self, request: APIRequest) -> APIResponse | None:
        """Return the error of a request that is refused; the scheme `APIKey` may come in any case."""
        if request.path != USAGE_REPORT:
            return self.build_error(404, "The requested resource is not found.")
        if request.method != "POST":
            return self.build_error(405, "The method is not allowed here.")
        return self._find_credential_error(request)

    def _find_credential_error(self, request: APIRequest) -> APIResponse | None:
        """Return the error of a request whose key is refused."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "apikey" or key.strip() != self.world.credential:
            return self.build_error(401, "The API key is missing or not valid.")
        return None

    def _answer_report(self, query: ReportRequest, faults: ContentFaults) -> dict[str, Any]:
        """Return the answer's JSON, with the content faults of this request carried out."""
        days = query.list_days(self.world.first_day, self.world.now().astimezone(UTC).date())
        if query.offset and days and faults.hit("growth"):
            self._grown[days[-1]] = self._grown.get(days[-1], 0) + 1
        matching = self._get_report(days, query)
        start = query.offset
        if start and faults.hit("duplicate"):
            start -= 1
        end = min(start + query.limit, matching.count)
        rows = matching.page(start, end)
        bad = [place for place in range(len(rows)) if matching.is_bad(start + place)]
        if rows and faults.hit("bad_record"):
            bad.append(len(rows) // 2)
        for place in bad:
            rows[place] = break_record(rows[place])
        return {"count": matching.count, "resources": rows, "totals": matching.totals}

    def _get_report(self, days: list[date], query: ReportRequest) -> MatchingRecords:
        """Return what matches, from memory after an equal request in the same state."""
        listings = [self._get_listing(day) for day in days]
        unpaged = msgspec.structs.replace(query, limit=1, offset=0)
        key = (encode(unpaged), *(self._get_state(listing.on) for listing in listings))
        return self._cache.get(key, lambda: build_report(listings, unpaged), lambda matching: matching.record_count)

    def _get_state(self, day: date) -> tuple[Any, ...]:
        """Return all that the records of a day depend on."""
        world = self.world
        return (
            day,
            self._count_known_minutes(day),
            world.get_edit("gcore", day),
            self._grown.get(day, 0),
            world.seed,
            world.scale,
            world.records_per_day,
        )

    def _count_known_minutes(self, day: date) -> int:
        """Return how many minutes of a day its figures are known for; the last hour of them is incomplete."""
        passed = (self.world.now() - get_day_start(day)) // timedelta(minutes=STEP) * STEP
        return min(SETTLED_MINUTES, passed)

    def _get_listing(self, day: date) -> DayListing:
        state = self._get_state(day)
        _, minutes, edit, grown, *_ = state
        return self._cache.get(
            state,
            lambda: DayListing(self.world, self._get_stocks(), day, minutes=minutes, edit=edit, grown=grown),
            lambda listing: listing.record_count,
        )

    def _get_stocks(self) -> list[Stock]:
        """Return the resources of every type, made anew when the world's size has changed."""
        world = self.world
        size = world.seed, world.scale, world.records_per_day
        if self._stocks is None or self._stocks[0] != size:
            usual = count_slots(world)
            self._stocks = size, [Stock(world, number, usual[number]) for number in range(len(RESOURCE_KINDS))]
        return self._stocks[1]


def break_record(row: Row) -> Row:
    """Return a record that breaks the contract, in one of several forms."""
    broken_rows: tuple[Row, ...] = (
        {**row, "billing_value": None},
        {**row, "billing_value": "n/a"},
        {**row, "first_seen": "yesterday"},
        {name: value for name, value in row.items() if name != "type"},
    )
    return broken_rows[int(row["billing_value"]) % len(broken_rows)]
