"""All of a sandbox server but HTTP: the vendors' stand-ins, faults, rate limit, counts."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from importlib.util import find_spec

import msgspec

from sync import vendors
from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.faults import ANSWER_FAULTS, REQUEST_FAULTS, Faults, VendorFaults
from sync.sandbox.hostile import ENVELOPES, build_packed_error, corrupt_response, get_absurd_wait
from sync.sandbox.stats import RateLimit, Stats
from sync.sandbox.world import VendorSandbox, World

CONNECTION_FAULTS = frozenset({"hang", "reset", "huge", "gzip_bomb", "truncated", "header_trickle"})
"""Faults of the connection; the server carries them out on the answer that it would have sent."""
HOSTILE_FAULTS = frozenset({"absurd_wait", "packed_error", "error_envelope"})

BAD_GATEWAY = APIResponse(
    502,
    b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>",
    "text/html",
)
WRONG_BODIES = (
    b"<!doctype html><title>Down for maintenance</title>",
    b'{"records": [{"id": ',
    b"[]",
    b'{"data": 5, "records": "none", "resources": {}, "pagination": []}',
    b"",
)
ELSEWHERE = "http://elsewhere.invalid/"


def get_sandboxes() -> dict[str, type[VendorSandbox]]:
    """Return every vendor's stand-in by the vendor's name, which is its folder's name."""
    folders = vendors.list_vendors()
    modules = {name: f"{vendors.__name__}.{name}.sandbox" for name in folders}
    return {name: import_module(module).Sandbox for name, module in modules.items() if find_spec(module)}


class Settings(msgspec.Struct):
    """How the server behaves apart from faults; all can be changed while it runs.

    `latency_ms` is waited before every answer. `requests_per_minute` is a real limit per vendor and
    credential. `compress`: gzip answers for clients that accept it. `hang_seconds`: how long a hanging
    request hangs. `retry_after_seconds`: the wait of the fault `rate_limited`.
    """

    latency_ms: float = 0.0
    requests_per_minute: int | None = None
    compress: bool = False
    hang_seconds: float = 120.0
    retry_after_seconds: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the request fault it suffers (or an empty string), and which form of that fault."""

    answer: APIResponse
    fault: str = ""
    variant: int = 0


class Upstream:
    """The stand-in vendors of one world."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.stats = Stats()
        self.faults = Faults(world, self.stats.faults)
        self.vendors = {name: sandbox(world) for name, sandbox in get_sandboxes().items()}
        self._limit: RateLimit | None = None

    def build_reply(self, vendor: str, request: APIRequest) -> Reply:
        """Answer one request of a vendor, with whatever goes wrong with it."""
        sandbox = self.vendors.get(vendor)
        if sandbox is None:
            return Reply(APIResponse(404, b'{"message": "There is no such vendor here."}'))
        wait = self._get_wait(vendor, request)
        if wait:
            return Reply(self._build_rate_limited(vendor, str(wait)), "over_the_limit")
        fault = self.faults.pick(vendor, REQUEST_FAULTS)
        if fault in HOSTILE_FAULTS:
            return Reply(self._build_hostile_response(vendor, fault), fault)
        if fault and fault not in CONNECTION_FAULTS:
            return Reply(self._build_fault_response(vendor, fault), fault)
        answer = self._apply_answer_fault(vendor, sandbox.respond(request, VendorFaults(self.faults, vendor)))
        return Reply(answer, fault, self.faults.pick_variant(vendor, fault, 2)) if fault else Reply(answer)

    def _apply_answer_fault(self, vendor: str, answer: APIResponse) -> APIResponse:
        """Return a successful answer in JSON with the fault that strikes it, if any."""
        plain = answer.status != 200 or answer.content_type != "application/json"
        fault = "" if plain else self.faults.pick(vendor, ANSWER_FAULTS)
        if not fault:
            return answer
        self.stats.faults[vendor, fault] += 1
        return corrupt_response(answer, fault)

    def _get_wait(self, vendor: str, request: APIRequest) -> int:
        allowed = self.settings.requests_per_minute
        if not allowed:
            self._limit = None
            return 0
        if self._limit is None or self._limit.requests_per_minute != allowed:
            self._limit = RateLimit(allowed)
        return self._limit.get_wait(vendor, request.headers.get("authorization", ""), time.monotonic())

    def _build_fault_response(self, vendor: str, fault: str) -> APIResponse:
        """Return the answer of a fault that needs no look at the request."""
        match fault:
            case "redirect":
                return APIResponse(307, b"", headers={"Location": ELSEWHERE})
            case "wrong_json":
                choice = self.faults.pick_variant(vendor, fault, len(WRONG_BODIES))
                return APIResponse(200, WRONG_BODIES[choice])
            case "rate_limited":
                return self._build_rate_limited(vendor, self._format_retry_after(vendor))
            case "unauthorized":
                return self._build_error(vendor, 401, "The credential is not valid.")
            case "forbidden":
                return self._build_error(vendor, 403, "The credential may not do this.")
            case _:
                return self._build_unavailable(vendor)

    def _build_hostile_response(self, vendor: str, fault: str) -> APIResponse:
        """Return the answer of a fault of hostile.py."""
        choice = self.faults.pick_variant(vendor, fault, 1000)
        if fault == "absurd_wait":
            return self._build_rate_limited(vendor, get_absurd_wait(choice))
        return (
            build_packed_error(choice)
            if fault == "packed_error"
            else APIResponse(200, ENVELOPES[choice % len(ENVELOPES)])
        )

    def _build_unavailable(self, vendor: str) -> APIResponse:
        match self.faults.pick_variant(vendor, "unavailable", 3):
            case 0:
                return self._build_error(vendor, 500, "Something went wrong.")
            case 1:
                return BAD_GATEWAY
            case _:
                return self._build_error(vendor, 503, "The service is not available at the moment.")

    def _format_retry_after(self, vendor: str) -> str:
        """Return the wait as seconds or as a date; a date has whole seconds, so it may be a second later."""
        seconds = self.settings.retry_after_seconds
        if self.faults.pick_variant(vendor, "rate_limited", 2):
            return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds + 1), usegmt=True)
        return str(seconds)

    def _build_rate_limited(self, vendor: str, retry_after: str) -> APIResponse:
        error = self._build_error(vendor, 429, "Too many requests.")
        return APIResponse(error.status, error.body, error.content_type, {**error.headers, "Retry-After": retry_after})

    def _build_error(self, vendor: str, status: int, message: str) -> APIResponse:
        return self.vendors[vendor].build_error(status, message)
