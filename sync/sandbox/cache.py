"""A cache bounded by the number of records in it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class WeightedCache:
    """Keeps results until they have more than `max_records` records; drops the least recently used first."""

    def __init__(self, max_records: int) -> None:
        self.max_records = max_records
        self.record_count = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, build: Callable[[], T], count_records: Callable[[T], int]) -> T:
        """Return the entry of `key`; a missing entry is built and stored."""
        if key in self._entries:
            self._entries.move_to_end(key)
            entry: T = self._entries[key][0]
            return entry
        entry = build()
        weight = 1 + count_records(entry)
        self._entries[key] = entry, weight
        self.record_count += weight
        while self.record_count > self.max_records and len(self._entries) > 1:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.record_count -= dropped
        return entry
