"""What the stand-in vendors share: a seed, a clock, a size, edits of days and faults."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from sync.api_messages import APIRequest, APIResponse


@dataclass(frozen=True, slots=True)
class Edit:
    """How one day of one vendor differs from its plain history, by share of its records (0..1).

    restated: values differ; vanished: records are missing; late: extra records that were not there before the edit;
    emptied: nothing is left; bad: records break the contract.
    """

    restated: float = 0.0
    vanished: float = 0.0
    late: float = 0.0
    emptied: bool = False
    bad: float = 0.0


PLAIN = Edit()
BY_CHANCE = {
    "restated": Edit(restated=0.1),
    "vanished": Edit(vanished=0.1),
    "late": Edit(late=0.05),
    "emptied": Edit(emptied=True),
    "bad": Edit(bad=0.02),
}


@dataclass
class World:
    """The state behind all sandboxes: same seed, date and edits, same answers.

    `now` is a callable so that tests can set the clock; `days` is how far history reaches back from today;
    `scale` multiplies the number of records; `records_per_day` overrides it exactly, where set.
    `credential` is what every vendor accepts (in its own scheme). `zone` is that of the accounts that have a zone.
    `edits` has the edits of vendors' days. `faults` maps a fault's name (faults.py has them), or
    `<vendor>.<name>`, to its probability: per request, or per day for the names of `BY_CHANCE`.
    """

    seed: int = 1
    days: int = 400
    scale: float = 1.0
    records_per_day: int | None = None
    credential: str = "sandbox-key"
    zone: str = "Europe/Berlin"
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    edits: dict[tuple[str, date], Edit] = field(default_factory=dict)
    faults: dict[str, float] = field(default_factory=dict)

    @property
    def first_day(self) -> date:
        """The first day any vendor has history of."""
        return self.now().date() - timedelta(days=self.days)

    def get_edit(self, vendor: str, day: date) -> Edit:
        """Return how a vendor's day differs from its plain history by now: as arranged, or else by chance."""
        edit = self.edits.get((vendor, day))
        if edit is not None:
            return edit
        return self._draw_edit(vendor, day) if self.faults else PLAIN

    def get_share(self, vendor: str, fault: str) -> float:
        """Return the probability of a fault for one vendor: its own where it has any, else that of all vendors."""
        return self.faults.get(f"{vendor}.{fault}", self.faults.get(fault, 0.0))

    def set_clock(self, now: datetime | None) -> None:
        """Stop the clock at `now` (aware), or with None let it run with the real clock."""
        self.now = (lambda: datetime.now(UTC)) if now is None else (lambda: now)

    def advance(self, by: timedelta) -> None:
        """Move the clock on and leave it as it was, stopped or running."""
        before = self.now
        self.now = lambda: before() + by

    def _draw_edit(self, vendor: str, day: date) -> Edit:
        """Return the edit a past day has by chance; it happens 3 to 48 hours after the date's end in UTC."""
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        for name, edit in BY_CHANCE.items():
            if self.chance(self.get_share(vendor, name), vendor, name, day):
                after = timedelta(hours=3, seconds=self.roll("happens", vendor, name, day) % (45 * 3600))
                if end + after <= self.now():
                    return edit
        return PLAIN

    def roll(self, *parts: Any) -> int:
        """Return 64 random bits that depend on the seed and `parts` only."""
        text = "\x1f".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def chance(self, share: float, *parts: Any) -> bool:
        """Tell, always the same way for the same `parts`, whether a share of cases includes this case."""
        return share > 0 and self.roll("chance", *parts) < share * 2**64


class ContentFaults(Protocol):
    """Faults of one answer's content, decided by the server for this request, for a vendor to carry out."""

    def hit(self, name: str) -> bool:
        """Return whether the fault `name` of faults.py's CONTENT_FAULTS strikes now.

        Ask once per answer, and only where the fault could be carried out.
        """


class VendorSandbox(Protocol):
    """One vendor's stand-in; each vendor folder has a `Sandbox` in its package `sandbox`.

    Made as `Sandbox(world)`. It is served under `/<vendor>`, so a source's base URL is
    `http://127.0.0.1:<port>/<vendor>` followed by what the vendor's own base URL has behind its host.
    """

    def __init__(self, world: World) -> None: ...

    def respond(self, request: APIRequest, faults: ContentFaults) -> APIResponse:
        """Answer one request; `request.path` is without the `/<vendor>` prefix."""

    def build_error(self, status: int, message: str) -> APIResponse:
        """Return an error in the vendor's format, for the faults 401, 403, 429, 500 and 503."""
