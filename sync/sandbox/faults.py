"""What goes wrong on demand: named faults, by probability or arranged for the next requests."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sync.sandbox.world import BY_CHANCE, World

REQUEST_FAULTS: Final = {
    "hang": "no answer until the client has given up",
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
}
CONTENT_FAULTS: Final = {
    "repeated_token": "the next page's token is the one just used",
    "duplicate": "a page begins with the last record of the page before",
    "bad_record": "one record of the page does not keep the contract",
    "no_id": "one record of the page has no id",
    "growth": "a record is inserted while the listing is paged through",
}
DAY_FAULTS: Final = {
    "restated": "some values of a past day change after its end",
    "vanished": "some records of a past day are gone",
    "late": "more records of a past day turn up",
    "emptied": "a past day loses all its records",
    "bad": "some records of a past day no longer keep the contract",
}
assert set(DAY_FAULTS) == set(BY_CHANCE)  # noqa: S101 - two lists of one thing
NAMES: Final = frozenset({*REQUEST_FAULTS, *CONTENT_FAULTS, *DAY_FAULTS})


def checked(name: str, probability: float = 1.0) -> str:
    """Return a fault's name, `<fault>` or `<vendor>.<fault>`.

    Raises ValueError, listing the known names, for an unknown one, and for what is no probability.
    """
    if name.rpartition(".")[2] not in NAMES:
        raise ValueError(f"Unknown fault {name!r}; known are {', '.join(sorted(NAMES))}.")
    if not 0 <= probability <= 1:
        raise ValueError(f"{name}: a probability lies between 0 and 1.")
    return name


def parsed(text: str) -> tuple[str, float]:
    """Return name and probability of `name=probability`; raises ValueError with a sentence for people."""
    name, separator, share = text.partition("=")
    try:
        probability = float(share) if separator else 1.0
    except ValueError:
        raise ValueError(f"{text!r}: a fault is given as name=probability, e.g. rate_limited=0.05.") from None
    return checked(name, probability), probability


@dataclass
class Arranged:
    """A fault that strikes the next `times` chances after `after` spared ones."""

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
    """The faults of one server: probabilities live in `world.faults`, arranged ones here.

    The same sequence of requests meets the same faults: every chance is numbered per vendor and fault.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._arranged: dict[str, Arranged] = {}
        self._chances: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def any(self) -> bool:
        """Whether any fault is set at all."""
        return bool(self.world.faults or self._arranged)

    def set(self, name: str, probability: float = 1.0) -> None:
        """Let a fault strike with a probability, 0 meaning never; raises ValueError as `checked` does."""
        self.world.faults[checked(name, probability)] = probability

    def next(self, name: str, times: int = 1, after: int = 0) -> None:
        """Let a fault strike the next `times` chances it has, sparing `after` of them first."""
        if checked(name).rpartition(".")[2] in DAY_FAULTS:
            raise ValueError(f"{name} is a fault of a day: set its probability, or edit the day.")
        with self._lock:
            self._arranged[name] = Arranged(times, after)

    def clear(self) -> None:
        """Stop all faults, probable and arranged."""
        with self._lock:
            self.world.faults.clear()
            self._arranged.clear()

    def strikes(self, vendor: str, name: str) -> bool:
        """Tell whether a fault strikes now, using up one chance."""
        with self._lock:
            if self._arranged_strikes(f"{vendor}.{name}") or self._arranged_strikes(name):
                return True
            share = self.world.share(vendor, name)
            if not share:
                return False
            self._chances[vendor, name] += 1
            return self.world.chance(share, "fault", vendor, name, self._chances[vendor, name])

    def of_request(self, vendor: str) -> str:
        """Return the request fault that strikes a vendor's request now, or an empty string."""
        return next((name for name in REQUEST_FAULTS if self.strikes(vendor, name)), "")

    def variant(self, vendor: str, name: str, choices: int) -> int:
        """Return which of several forms the fault that just struck takes, counting from 0."""
        return self.world.roll("variant", vendor, name, self._turn(vendor, name)) % choices

    def _turn(self, vendor: str, name: str) -> int:
        key = (vendor, f"{name} variant")
        self._chances[key] += 1
        return self._chances[key]

    def _arranged_strikes(self, name: str) -> bool:
        arranged = self._arranged.get(name)
        if arranged is None:
            return False
        struck = arranged.strike()
        if arranged.times <= 0:
            del self._arranged[name]
        return struck


@dataclass(frozen=True, slots=True)
class FaultsOf:
    """One vendor's content faults, as its sandbox asks for them."""

    faults: Faults
    vendor: str

    def hit(self, name: str) -> bool:
        """Tell whether the content fault `name` strikes now."""
        return self.faults.any and self.faults.strikes(self.vendor, name)
