"""Everything behind one sandbox server but HTTP: the vendors' stand-ins, faults, rate limit, counts."""

import pkgutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from importlib.util import find_spec

import msgspec

from sync import vendors
from sync.sandbox.faults import Faults, FaultsOf
from sync.sandbox.stats import RateLimit, Stats
from sync.sandbox.world import Answer, Request, VendorSandbox, World

WIRE_FAULTS = frozenset({"hang", "reset", "huge", "gzip_bomb", "truncated"})
"""Faults of the connection; the server carries them out on the answer it would have given."""

BAD_GATEWAY = Answer(
    502,
    b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>",
    "text/html",
)
NOT_WHAT_WAS_PROMISED = (
    b"<!doctype html><title>Down for maintenance</title>",
    b'{"records": [{"id": ',
    b"[]",
    b'{"data": 5, "records": "none", "resources": {}, "pagination": []}',
    b"",
)
ELSEWHERE = "http://elsewhere.invalid/"


def sandboxes() -> dict[str, type[VendorSandbox]]:
    """Return every vendor's stand-in by the vendor's name, which is its folder's name."""
    folders = sorted(found.name for found in pkgutil.iter_modules(vendors.__path__) if found.ispkg)
    modules = {name: f"{vendors.__name__}.{name}.sandbox" for name in folders}
    return {name: import_module(module).Sandbox for name, module in modules.items() if find_spec(module)}


class Settings(msgspec.Struct):
    """How the server behaves apart from faults; all can be changed while it runs.

    `latency_ms` is waited before every answer. `requests_per_minute` is a real limit per vendor and
    credential. `compress`: gzip answers for clients that accept it. `hang_seconds`: how long a hanging
    request hangs. `retry_after_seconds`: what the fault `rate_limited` asks for.
    """

    latency_ms: float = 0.0
    requests_per_minute: int | None = None
    compress: bool = False
    hang_seconds: float = 120.0
    retry_after_seconds: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the request fault it suffers (or an empty string), and which form of that fault."""

    answer: Answer
    fault: str = ""
    variant: int = 0


class Upstream:
    """The stand-in vendors of one world, asked one request at a time."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.faults = Faults(world)
        self.stats = Stats()
        self.vendors = {name: sandbox(world) for name, sandbox in sandboxes().items()}
        self._limit: RateLimit | None = None

    def reply(self, vendor: str, request: Request) -> Reply:
        """Answer one request of a vendor, with whatever goes wrong with it."""
        sandbox = self.vendors.get(vendor)
        if sandbox is None:
            return Reply(Answer(404, b'{"message": "There is no such vendor here."}'))
        wait = self._over_the_limit(vendor, request)
        if wait:
            return Reply(self._too_many(vendor, str(wait)), "over_the_limit")
        fault = self.faults.of_request(vendor) if self.faults.any else ""
        if fault and fault not in WIRE_FAULTS:
            return Reply(self._refused(vendor, fault), fault)
        answer = sandbox.answer(request, FaultsOf(self.faults, vendor))
        return Reply(answer, fault, self.faults.variant(vendor, fault, 2)) if fault else Reply(answer)

    def _over_the_limit(self, vendor: str, request: Request) -> int:
        allowed = self.settings.requests_per_minute
        if not allowed:
            self._limit = None
            return 0
        if self._limit is None or self._limit.requests_per_minute != allowed:
            self._limit = RateLimit(allowed)
        return self._limit.wait(vendor, request.headers.get("authorization", ""), time.monotonic())

    def _refused(self, vendor: str, fault: str) -> Answer:
        """Return the answer of a fault that needs no look at the request."""
        match fault:
            case "redirect":
                return Answer(307, b"", headers={"Location": ELSEWHERE})
            case "wrong_json":
                choice = self.faults.variant(vendor, fault, len(NOT_WHAT_WAS_PROMISED))
                return Answer(200, NOT_WHAT_WAS_PROMISED[choice])
            case "rate_limited":
                return self._too_many(vendor, self._retry_after(vendor))
            case "unauthorized":
                return self._error(vendor, 401, "The credential is not valid.")
            case "forbidden":
                return self._error(vendor, 403, "The credential may not do this.")
            case _:
                return self._unavailable(vendor)

    def _unavailable(self, vendor: str) -> Answer:
        match self.faults.variant(vendor, "unavailable", 3):
            case 0:
                return self._error(vendor, 500, "Something went wrong.")
            case 1:
                return BAD_GATEWAY
            case _:
                return self._error(vendor, 503, "The service is not available at the moment.")

    def _retry_after(self, vendor: str) -> str:
        """Return the wait as seconds or as a date; a date has whole seconds, so it may be one more."""
        seconds = self.settings.retry_after_seconds
        if self.faults.variant(vendor, "rate_limited", 2):
            return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds + 1), usegmt=True)
        return str(seconds)

    def _too_many(self, vendor: str, retry_after: str) -> Answer:
        error = self._error(vendor, 429, "Too many requests.")
        return Answer(error.status, error.body, error.content_type, {**error.headers, "Retry-After": retry_after})

    def _error(self, vendor: str, status: int, message: str) -> Answer:
        return self.vendors[vendor].refuse(status, message)
