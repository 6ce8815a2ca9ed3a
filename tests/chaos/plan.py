"""The plan of a chaos run: what goes wrong when. The same seed and length make the same plan."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from sync.sandbox.faults import ANSWER_FAULTS, CONTENT_FAULTS, REQUEST_FAULTS

FAULTS = sorted({*REQUEST_FAULTS, *CONTENT_FAULTS, *ANSWER_FAULTS})
PROGRAMS = ("worker", "worker child", "web", "web child", "beat", "postgres", "valkey")
SIGNALS = [f"kill {name}" for name in PROGRAMS] + [
    f"stop {name}" for name in ("worker", "web", "beat", "postgres", "valkey")
]
VENDORS = ("gcore", "ona", "workato")
EDITS: tuple[dict[str, float | bool], ...] = (
    {"restated": 0.3},
    {"vanished": 0.2},
    {"late": 0.2},
    {"emptied": True},
    {},
)
DAYS = 3  # today included
FAULTS_EVERY, SIGNAL_EVERY, EDIT_EVERY = 2.0, 3.2, 2.4
LONGEST_STOP = 4.0


@dataclass(frozen=True)
class Event:
    """One thing that goes wrong `at` so many seconds after the beginning."""

    at: float
    action: str
    faults: tuple[tuple[str, float], ...] = ()
    vendor: str = ""
    days_ago: int = 0
    edit: tuple[tuple[str, float | bool], ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the event as a line of the plan."""
        details = [f"{name} {share:.2f}" for name, share in self.faults]
        details += [f"{self.vendor} {self.days_ago} days ago {dict(self.edit)}"] if self.action == "edit" else []
        details += [f"for {self.seconds:.1f} s"] if self.seconds else []
        return f"{self.at:7.1f} s  {self.action}  {', '.join(details)}".rstrip()


def make_plan(seed: int, seconds: float) -> list[Event]:
    """Return the events of a run, in order: every fault and every signal comes round before one comes again."""
    dice = random.Random(seed)
    events = [*plan_faults(dice, seconds), *plan_signals(dice, seconds), *plan_edits(dice, seconds)]
    return sorted(events, key=lambda event: event.at)


def deal(dice: random.Random, cards: list[str]) -> list[str]:
    """Return the cards in a new order."""
    return dice.sample(cards, len(cards))


def list_times(dice: random.Random, first: float, step: float, end: float) -> list[float]:
    """Return instants about `step` seconds apart."""
    times: list[float] = []
    while (at := first + len(times) * step) < end:
        times.append(round(at + dice.uniform(0, step / 4), 1))
    return times


def plan_faults(dice: random.Random, seconds: float) -> Iterator[Event]:
    """Yield the times at which other faults take over, three at a time, each with its share of the chances."""
    waiting: list[str] = []
    for at in list_times(dice, 0.4, FAULTS_EVERY, seconds):
        if len(waiting) < 3:
            waiting += deal(dice, FAULTS)
        chosen, waiting = waiting[:3], waiting[3:]
        yield Event(at, "faults", faults=tuple((name, round(dice.uniform(0.1, 0.35), 2)) for name in chosen))


def plan_signals(dice: random.Random, seconds: float) -> Iterator[Event]:
    """Yield when a program is killed or stopped for a while."""
    waiting: list[str] = []
    for at in list_times(dice, 1.2, SIGNAL_EVERY, seconds):
        waiting = waiting or deal(dice, SIGNALS)
        name = waiting.pop()
        yield Event(at, name, seconds=round(dice.uniform(1, LONGEST_STOP), 1) if name.startswith("stop") else 0.0)


def plan_edits(dice: random.Random, seconds: float) -> Iterator[Event]:
    """Yield when a vendor restates one of its days, or takes a restatement back."""
    for at in list_times(dice, 1.6, EDIT_EVERY, seconds):
        edit = tuple(dice.choice(EDITS).items())
        yield Event(at, "edit", edit=edit, vendor=dice.choice(VENDORS), days_ago=dice.randrange(DAYS))
