"""What the stand-in vendors share: a seed, a clock, a size, and what was arranged to go wrong."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as a vendor's sandbox sees it; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer of a vendor's sandbox."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """How one day of one vendor differs from its plain history, by share of its records (0..1).

    restated: values differ; vanished: records are missing; late: records that were not there before the edit
    was made now are (extra records); emptied: nothing is left; bad: records that do not keep the contract.
    """

    restated: float = 0.0
    vanished: float = 0.0
    late: float = 0.0
    emptied: bool = False
    bad: float = 0.0


@dataclass
class World:
    """The one state behind all sandboxes: same seed, date and edits, same answers.

    `now` is a callable so that tests can set the clock; `days` is how far history reaches back from today;
    `scale` multiplies the number of records; `records_per_day` overrides it exactly, where given.
    `credential` is what every vendor accepts (in its own scheme). `zone` is the Workato account's.
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

    def edit(self, vendor: str, day: date) -> Edit:
        """Return what was arranged for a vendor's day."""
        return self.edits.get((vendor, day), PLAIN)

    def roll(self, *parts: Any) -> int:
        """Return 64 random bits that depend on the seed and `parts` only."""
        text = "\x1f".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def chance(self, share: float, *parts: Any) -> bool:
        """Tell, always the same way for the same `parts`, whether a share of cases includes this one."""
        return share > 0 and self.roll("chance", *parts) < share * 2**64


PLAIN = Edit()


class ContentFaults(Protocol):
    """Faults of one answer's content, decided by the server for this request, for a vendor to carry out."""

    def hit(self, name: str) -> bool:
        """Tell whether the fault `name` (e.g. `repeated_token`, `duplicate`, `bad_record`, `growth`) strikes now."""


class VendorSandbox(Protocol):
    """One vendor's stand-in; each vendor folder has one, named `Sandbox`, in `sandbox.py`.

    Made as `Sandbox(world)`. It is served under `/<vendor>`, so a source's base URL is
    `http://127.0.0.1:<port>/<vendor>` followed by what the vendor's own base URL has behind its host.
    """

    def __init__(self, world: World) -> None: ...

    def answer(self, request: Request, faults: ContentFaults) -> Answer:
        """Answer one request; `request.path` is without the `/<vendor>` prefix."""
