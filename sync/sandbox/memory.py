"""A bounded memory of what was worked out before, counted in records."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Kept = TypeVar("Kept")


class Memory:
    """Keeps results by what they depend on and forgets the longest unused ones beyond `records` records."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.held = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept], weigh: Callable[[Kept], int]) -> Kept:
        """Return what is kept under `key`, or make, weigh (in records) and keep it."""
        if key in self._kept:
            self._kept.move_to_end(key)
            kept: Kept = self._kept[key][0]
            return kept
        made = make()
        weight = 1 + weigh(made)
        self._kept[key] = made, weight
        self.held += weight
        while self.held > self.records and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self.held -= gone
        return made
