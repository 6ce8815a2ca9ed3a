"""Faults on demand: by probability, or scheduled for the next requests."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sync.sandbox.world import BY_CHANCE, World

REQUEST_FAULTS: Final = {
    "hang": "no answer until the client disconnects",
    "reset": "the connection is reset, before the answer or within it",
    "redirect": "307 to another host",
    "rate_limited": "429 with Retry-After, as seconds or as a date",
    "unavailable": "500, 503, or a 502 that is an HTML page",
    "unauthorized": "401",
    "forbidden": "403",
    "wrong_json": "200 with a body that is not JSON, or JSON of another shape",
    "huge": "an answer that does not end",
    "gzip_bomb": "a small compressed answer that is very large when read",
    "truncated": "less body than Content-Length promises",
    "absurd_wait": "429 with a Retry-After beyond reason, or with nonsense in it",
    "packed_error": "429, 503, 401 or 403 whose body is called gzip and is none",
    "header_trickle": "a header line a second, and never the last line",
    "error_envelope": "200 with an error in place of the records",
}
CONTENT_FAULTS: Final = {
    "repeated_token": "the next page's token is that of this page",
    "duplicate": "a page begins with the last record of the page before",
    "bad_record": "one record of the page does not keep the contract",
    "no_id": "one record of the page has no id",
    "growth": "a record is inserted while the listing is paged through",
    "other_total": "a total that is requested apart from the listing differs from the listing",
    "no_total": "the vendor has no such total",
}
# Carried out on the finished answer, whichever vendor's it is (hostile.py).
ANSWER_FAULTS: Final = {
    "surrogate": "one name of the page has half a character in it",
    "oversized_name": "one name of the page has 100,000 characters",
    "oversized_id": "one id of the page has 6,400 characters",
    "missing_metric": "one metric is missing from every record of the page",
}
DAY_FAULTS: Final = {
    "restated": "some values of a past day change after its end",
    "vanished": "some records of a past day are gone",
    "late": "more records of a past day turn up",
    "emptied": "a past day loses all its records",
    "bad": "some records of a past day no longer keep the contract",
}
assert set(DAY_FAULTS) == set(BY_CHANCE)  # noqa: S101 - two lists of the same faults
NAMES: Final = frozenset({*REQUEST_FAULTS, *CONTENT_FAULTS, *ANSWER_FAULTS, *DAY_FAULTS})


def check_fault(name: str, probability: float = 1.0) -> str:
    """Return a fault's name, `<fault>` or `<vendor>.<fault>`.

    Raises ValueError, listing the known names, for an unknown name, and for what is no probability.
    """
    if name.rpartition(".")[2] not in NAMES:
        raise ValueError(f"Unknown fault {name!r}; known are {', '.join(sorted(NAMES))}.")
    if not 0 <= probability <= 1:
        raise ValueError(f"{name}: a probability lies between 0 and 1.")
    return name


def parse_fault(text: str) -> tuple[str, float]:
    """Return name and probability of `name=probability`; raises ValueError with a sentence for people."""
    name, separator, share = text.partition("=")
    try:
        probability = float(share) if separator else 1.0
    except ValueError:
        raise ValueError(f"{text!r}: a fault is given as name=probability, e.g. rate_limited=0.05.") from None
    return check_fault(name, probability), probability


@dataclass
class ScheduledFault:
    """A fault that strikes the next `times` chances after `after` spared chances."""

    times: int
    after: int

    def strike(self) -> bool:
        """Use up one chance and tell whether it strikes."""
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """The faults of one server: probabilities are in `world.faults`, scheduled faults here.

    `counts` counts the content faults that struck, by vendor and name. The same sequence of requests meets the same
    faults: every chance is numbered per vendor and fault.
    """

    def __init__(self, world: World, struck: Counter[tuple[str, str]] | None = None) -> None:
        self.world = world
        self.counts: Counter[tuple[str, str]] = Counter() if struck is None else struck
        self._scheduled_faults: dict[str, ScheduledFault] = {}
        self._chances: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def is_any_set(self) -> bool:
        return bool(self.world.faults or self._scheduled_faults)

    def set(self, name: str, probability: float = 1.0) -> None:
        """Let a fault strike with a probability, 0 meaning never; raises ValueError as `check_fault` does."""
        self.world.faults[check_fault(name, probability)] = probability

    def next(self, name: str, times: int = 1, after: int = 0) -> None:
        """Let a fault strike the next `times` chances it has, sparing `after` of them first."""
        if check_fault(name).rpartition(".")[2] in DAY_FAULTS:
            raise ValueError(f"{name} is a fault of a day: set its probability, or edit the day.")
        with self._lock:
            self._scheduled_faults[name] = ScheduledFault(times, after)

    def clear(self) -> None:
        """Stop all faults, probable and scheduled."""
        with self._lock:
            self.world.faults.clear()
            self._scheduled_faults.clear()

    def strike(self, vendor: str, name: str) -> bool:
        """Return whether a fault strikes now, using up one chance."""
        with self._lock:
            if self._strike_scheduled(f"{vendor}.{name}") or self._strike_scheduled(name):
                return True
            share = self.world.get_share(vendor, name)
            if not share:
                return False
            self._chances[vendor, name] += 1
            return self.world.chance(share, "fault", vendor, name, self._chances[vendor, name])

    def pick(self, vendor: str, names: Iterable[str]) -> str:
        """Return which of some faults strikes a vendor now, or an empty string."""
        return next((name for name in names if self.strike(vendor, name)), "") if self.is_any_set else ""

    def pick_variant(self, vendor: str, name: str, choices: int) -> int:
        """Return which of several forms the fault that just struck takes, counting from 0."""
        turn = (vendor, f"{name} variant")
        self._chances[turn] += 1
        return self.world.roll("variant", vendor, name, self._chances[turn]) % choices

    def _strike_scheduled(self, name: str) -> bool:
        scheduled = self._scheduled_faults.get(name)
        if scheduled is None:
            return False
        struck = scheduled.strike()
        if scheduled.times <= 0:
            del self._scheduled_faults[name]
        return struck


@dataclass(frozen=True, slots=True)
class VendorFaults:
    """One vendor's content faults, as its stand-in gets them."""

    faults: Faults
    vendor: str

    def hit(self, name: str) -> bool:
        """Return whether the content fault `name` strikes now."""
        hit = self.faults.is_any_set and self.faults.strike(self.vendor, name)
        if hit:
            self.faults.counts[self.vendor, name] += 1
        return hit
