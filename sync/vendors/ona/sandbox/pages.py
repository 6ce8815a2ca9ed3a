"""Listings of the Ona stand-in: a window onto its history, read from a position on.

A position is a day and an offset into it. Offsets count from the day's first run; runs that were inserted
while somebody paged (the fault `growth`) come first, so they push everything after them back by one, as an
insertion does at vendors that page by offset behind their tokens.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sync.sandbox.memory import Memory
from sync.sandbox.world import World
from sync.vendors.ona.connect import nanoseconds
from sync.vendors.ona.sandbox.history import BLOCK, DAY, Day, block, day_of, new_run
from sync.vendors.ona.sandbox.runs import EPOCH, Run

CACHED_RECORDS: Final = 250_000

Encoder = Callable[[Run], bytes]


class Position(NamedTuple):
    """Where a listing stands: a day's ordinal, and an offset into the day."""

    ordinal: int
    offset: int


class Window(NamedTuple):
    """What is listed: runs stopped in `[start, end)` nanoseconds, of one project or, if empty, of all."""

    start: int
    end: int
    project_id: str

    def holds(self, run: Run) -> bool:
        """Tell whether a run is listed."""
        return self.start <= run.stopped_at < self.end and self.project_id in ("", run.environment.project_id)


@dataclass(frozen=True, slots=True)
class Block:
    """Encoded runs; None where a run has vanished. `first` and `last` bound when they stopped."""

    texts: Sequence[bytes | None]
    stops: Sequence[int]
    projects: Sequence[str]
    first: int
    last: int
    whole: bool

    @classmethod
    def of(cls, runs: Sequence[Run | None], encode: Encoder) -> "Block":
        """Encode a block of runs."""
        stops = [run.stopped_at if run else 0 for run in runs]
        return cls(
            [encode(run) if run else None for run in runs],
            stops,
            [run.environment.project_id if run else "" for run in runs],
            min(stops, default=0),
            max(stops, default=0),
            None not in runs,
        )

    def within(self, window: Window) -> bool:
        """Tell, without a look at each, that all runs are listed."""
        return self.whole and not window.project_id and window.start <= self.first and self.last < window.end

    def listed(self, place: int, window: Window) -> bool:
        """Tell whether the run at a place is listed."""
        return (
            self.texts[place] is not None
            and window.start <= self.stops[place] < window.end
            and window.project_id in ("", self.projects[place])
        )


class Shelf:
    """The encoded blocks of one world, the latest used ones kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._blocks = Memory(CACHED_RECORDS)
        self._inserted: defaultdict[int, list[Run]] = defaultdict(list)

    def inserted(self, ordinal: int) -> list[Run]:
        """Return the runs that were inserted into a day, the latest first."""
        return self._inserted.get(ordinal, [])

    def insert(self, day: Day, window: Window) -> None:
        """Insert a run that the window lists at the beginning of a day, if any can be."""
        start, end = max(window.start, day.start), min(window.end, day.start + DAY)
        before = self._inserted[day.ordinal]
        run = new_run(day, start, end, window.project_id, len(before)) if start < end else None
        if run is not None:
            before.insert(0, run)

    def block(self, day: Day, number: int, encode: Encoder) -> Block:
        """Return an encoded block of a day's plain history."""
        return self._blocks.get(
            (day, number, encode),
            lambda: Block.of(block(day, number), encode),
            lambda made: len(made.texts),
        )


class Listing:
    """One request's view of the history: what its window holds now, in the given encoding."""

    def __init__(self, shelf: Shelf, window: Window, encode: Encoder) -> None:
        world = shelf.world
        now = nanoseconds(world.now())
        self.shelf = shelf
        self.encode = encode
        self.window = window._replace(end=min(window.end, now + 1))
        first_day = world.first_day.toordinal()
        self.first = max(self.window.start // DAY + EPOCH, first_day)
        self.last = (self.window.end - 1) // DAY + EPOCH
        self._days: dict[int, Day] = {}

    @property
    def beginning(self) -> Position:
        """Where a listing without a token begins."""
        return Position(self.first, 0)

    def page(self, start: Position, size: int) -> tuple[list[bytes], Position | None]:
        """Return up to `size` encoded records from a position on, and the next one's position, if any."""
        texts: list[bytes] = []
        place = self.seek(start)
        while place is not None and len(texts) < size:
            taken, place = self._take(place, size - len(texts))
            texts += taken
            place = self.seek(place)
        return texts, place

    def seek(self, start: Position) -> Position | None:
        """Return the first position from `start` on that is listed."""
        ordinal, offset = start
        while ordinal <= self.last:
            length = self.length(ordinal)
            while offset < length:
                held, place = self._at(ordinal, offset)
                if held.within(self.window):
                    return Position(ordinal, offset)
                for at in range(place, len(held.texts)):
                    if held.listed(at, self.window):
                        return Position(ordinal, offset + at - place)
                offset += len(held.texts) - place
            ordinal, offset = ordinal + 1, 0
        return None

    def before(self, position: Position) -> Position | None:
        """Return the last position before `position` that is listed."""
        ordinal, offset = position
        while ordinal >= self.first:
            for earlier in range(min(offset, self.length(ordinal)) - 1, -1, -1):
                held, place = self._at(ordinal, earlier)
                if held.listed(place, self.window):
                    return Position(ordinal, earlier)
            ordinal -= 1
            offset = self.length(ordinal)
        return None

    def run(self, position: Position) -> Run | None:
        """Return the run at a position; None if it has vanished."""
        inserted = self.shelf.inserted(position.ordinal)
        if position.offset < len(inserted):
            return inserted[position.offset]
        number, place = divmod(position.offset - len(inserted), BLOCK)
        return block(self.day(position.ordinal), number)[place]

    def grow(self, position: Position) -> None:
        """Insert a run before a position, on the same day, where it is listed."""
        self.shelf.insert(self.day(position.ordinal), self.window)

    def day(self, ordinal: int) -> Day:
        """Return what a day holds, the same for the whole request."""
        found = self._days.get(ordinal)
        if found is None:
            found = self._days[ordinal] = day_of(self.shelf.world, ordinal)
        return found

    def length(self, ordinal: int) -> int:
        """Return how many positions a day has."""
        day = self.day(ordinal)
        return 0 if day.edit.emptied else day.length + len(self.shelf.inserted(ordinal))

    def _take(self, start: Position, number: int) -> tuple[list[bytes], Position]:
        """Return up to `number` listed records of one block, and the position after the last seen."""
        held, place = self._at(*start)
        if held.within(self.window):
            taken = [text for text in held.texts[place : place + number] if text is not None]
            return taken, Position(start.ordinal, start.offset + len(taken))
        texts: list[bytes] = []
        at = place
        while at < len(held.texts) and len(texts) < number:
            text = held.texts[at]
            if text is not None and held.listed(at, self.window):
                texts.append(text)
            at += 1
        return texts, Position(start.ordinal, start.offset + at - place)

    def _at(self, ordinal: int, offset: int) -> tuple[Block, int]:
        """Return the block that holds an offset of a day, and the place in it."""
        inserted = self.shelf.inserted(ordinal)
        if offset < len(inserted):
            return Block.of(inserted, self.encode), offset
        number, place = divmod(offset - len(inserted), BLOCK)
        return self.shelf.block(self.day(ordinal), number, self.encode), place
