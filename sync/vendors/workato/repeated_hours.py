"""Hours that the clocks of a zone show twice, distinguished by their order where times have no offset."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from sync.vendors.workato.schema import STARTS, find_first
from usage.days import Day


class RowOwner(NamedTuple):
    """The workspace or recipe that a row is of, as the vendor wrote it."""

    workspace: str
    recipe: str


class RepeatedHours:
    """The hours of one answer whose time the clocks show twice on `day`.

    Both hours of one workspace or recipe are distinguished by their order among its rows, which rise or fall with
    time. A single row, or rows in no order, leave it open which hour is meant: then the first hour is assumed,
    and the hour is one of `doubts`, with the number of its rows.
    """

    def __init__(self, day: Day) -> None:
        self.day = day
        self.doubts: Counter[datetime] = Counter()
        self._starts: dict[RowOwner, list[datetime]] = {}
        self._placed_counts: Counter[tuple[RowOwner, datetime]] = Counter()
        self._falling = False

    @cached_property
    def can_occur(self) -> bool:
        """Whether the clocks of the day show any time twice."""
        zone = self.day.zone
        first, last = (
            instant.astimezone(zone).utcoffset() or timedelta() for instant in (self.day.start, self.day.end)
        )
        return first > last

    def add(self, bucket: dict[str, Any]) -> None:
        """Record a row of the answer, before any is placed."""
        if (start := parse_naive(bucket)) is not None:
            starts = self._starts.setdefault(get_owner(bucket), [])
            self._falling |= bool(starts) and start < starts[-1]
            starts.append(start)

    def choose_fold(self, bucket: dict[str, Any]) -> int:
        """Return 0 or 1: the first or the second coming of the time at which a row begins."""
        start = parse_naive(bucket)
        if start is None or len(self.list_instants(start)) < 2:
            return 0
        owner = get_owner(bucket)
        number = self._placed_counts[owner, start]
        self._placed_counts[owner, start] += 1
        rises, falls = self.find_order(owner)
        if self._starts[owner].count(start) != 2 or not (rises or falls):
            self.doubts[start] += 1
            return min(number, 1)
        return min(number, 1) if rises else max(1 - number, 0)

    def find_order(self, owner: RowOwner) -> tuple[bool, bool]:
        """Return whether the rows of one workspace or recipe rise with time, and whether they fall."""
        steps = list(pairwise(self._starts[owner]))
        rises = all(start <= following for start, following in steps)
        falls = all(start >= following for start, following in steps)
        if rises and falls:
            # Two rows of one time have no order of their own: that of the other rows holds.
            return not self._falling, False
        return rises, falls

    def list_instants(self, start: datetime) -> list[datetime]:
        """Return the instants at which the clocks show a time: two where it comes twice."""
        first, second = (start.replace(tzinfo=self.day.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return [first, second] if first < second else [first]

    def list_doubts(self, bucket: dict[str, Any]) -> list[datetime]:
        """Return the instants at which a row that was placed may begin, where that is not certain."""
        start = parse_naive(bucket)
        return self.list_instants(start) if start in self.doubts and start is not None else []

    def find_differences(self) -> Iterator[dict[str, Any]]:
        """Yield the times whose hour is not known."""
        for start, rows in sorted(self.doubts.items()):
            what = "an hour that the clocks show twice, without an offset"
            yield {"what": what, "vendor": None, "portal": None, "time": start.isoformat(), "rows": rows}


def get_owner(bucket: dict[str, Any]) -> RowOwner:
    """Return the owner of a row."""
    return RowOwner(str(bucket.get("workspace_id")), str(bucket.get("recipe_id")))


def parse_naive(bucket: dict[str, Any]) -> datetime | None:
    """Return the time at which a row begins, None where it has an offset or is no time."""
    value = bucket.get(find_first(STARTS, bucket) or "")
    try:
        start = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return start if start is not None and start.tzinfo is None else None
