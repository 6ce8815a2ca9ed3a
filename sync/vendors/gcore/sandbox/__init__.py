"""The Gcore stand-in: `POST /cloud/v1/usage_report` as contracts.md has it, from a made-up history."""

from datetime import UTC, date, timedelta
from typing import Any

import msgspec

from sync.sandbox.memory import Memory
from sync.sandbox.world import Answer, ContentFaults, Request, World
from sync.vendors.gcore.question import InvalidQuestionError, Question, asked, error, start_of
from sync.vendors.gcore.sandbox.history import SETTLED, DayListing, slots_of
from sync.vendors.gcore.sandbox.kinds import KINDS
from sync.vendors.gcore.sandbox.report import Report, report
from sync.vendors.gcore.sandbox.stock import Stock

PATH = "/cloud/v1/usage_report"
STEP = 5  # minutes between which the figures of today stand still
REMEMBERED = 2_000_000  # records kept in memory, over all days and questions
FILTERS = {kind.type: kind.filters for kind in KINDS}
encode = msgspec.json.Encoder(decimal_format="number").encode
Row = dict[str, Any]


class Sandbox:
    """One account at Gcore. Rows past the limit are cut off silently, as the vendor does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._memory = Memory(REMEMBERED)
        self._stocks: tuple[tuple[Any, ...], list[Stock]] | None = None
        self._grown: dict[date, int] = {}

    def answer(self, request: Request, faults: ContentFaults) -> Answer:
        """Answer one request; errors have the vendor's shape (exception_class, message, request_id)."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            question = asked(request.body, FILTERS)
        except InvalidQuestionError as wrong:
            return self.refuse(400, f"Validation Error: {wrong.fields}", invalid_fields=wrong.fields)
        return Answer(200, encode(self._report(question, faults)))

    def refuse(self, status: int, message: str, **more: Any) -> Answer:
        """Return an error in the vendor's shape."""
        return Answer(status, error(status, message, f"{self.world.roll(status, message):032x}", **more))

    def _refusal(self, request: Request) -> Answer | None:
        """Return why a request is not looked at; the scheme `APIKey` may come in any case."""
        if request.path != PATH:
            return self.refuse(404, "The requested resource is not found.")
        if request.method != "POST":
            return self.refuse(405, "The method is not allowed here.")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "apikey" or key.strip() != self.world.credential:
            return self.refuse(401, "The API key is missing or not valid.")
        return None

    def _report(self, question: Question, faults: ContentFaults) -> dict[str, Any]:
        """Return the answer's JSON, with the content faults of this request carried out."""
        days = question.days(self.world.first_day, self.world.now().astimezone(UTC).date())
        if question.offset and days and faults.hit("growth"):
            self._grown[days[-1]] = self._grown.get(days[-1], 0) + 1
        found = self._found(days, question)
        start = question.offset
        if start and faults.hit("duplicate"):
            start -= 1
        end = min(start + question.limit, found.count)
        rows = found.page(start, end)
        bad = [place for place in range(len(rows)) if found.is_bad(start + place)]
        if rows and faults.hit("bad_record"):
            bad.append(len(rows) // 2)
        for place in bad:
            rows[place] = spoilt(rows[place])
        return {"count": found.count, "resources": rows, "totals": found.totals}

    def _found(self, days: list[date], question: Question) -> Report:
        """Return what matches, from memory where the same was asked of the same state before."""
        listings = [self._listing(day) for day in days]
        narrowed = msgspec.structs.replace(question, limit=1, offset=0)
        key = (encode(narrowed), *(self._state(listing.on) for listing in listings))
        return self._memory.get(key, lambda: report(listings, narrowed), lambda found: found.held)

    def _state(self, day: date) -> tuple[Any, ...]:
        """Return all that the records of a day depend on."""
        world = self.world
        return (
            day,
            self._minutes(day),
            world.edit("gcore", day),
            self._grown.get(day, 0),
            world.seed,
            world.scale,
            world.records_per_day,
        )

    def _minutes(self, day: date) -> int:
        """Return how many minutes of a day its figures are known for; the last hour of them is incomplete."""
        passed = (self.world.now() - start_of(day)) // timedelta(minutes=STEP) * STEP
        return min(SETTLED, passed)

    def _listing(self, day: date) -> DayListing:
        state = self._state(day)
        _, minutes, edit, grown, *_ = state
        return self._memory.get(
            state,
            lambda: DayListing(self.world, self._population(), day, minutes=minutes, edit=edit, grown=grown),
            lambda listing: listing.held,
        )

    def _population(self) -> list[Stock]:
        """Return the resources of every type, made anew when the world has been given another size."""
        world = self.world
        size = world.seed, world.scale, world.records_per_day
        if self._stocks is None or self._stocks[0] != size:
            usual = slots_of(world)
            self._stocks = size, [Stock(world, number, usual[number]) for number in range(len(KINDS))]
        return self._stocks[1]


def spoilt(row: Row) -> Row:
    """Return a record that does not keep the contract, in one of several ways."""
    ways: tuple[Row, ...] = (
        {**row, "billing_value": None},
        {**row, "billing_value": "n/a"},
        {**row, "first_seen": "yesterday"},
        {name: value for name, value in row.items() if name != "type"},
    )
    return ways[int(row["billing_value"]) % len(ways)]
