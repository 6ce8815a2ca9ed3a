"""Pages of the Ona stand-in: a window onto its history, read from a position on.

A position is a day and an offset into it. Offsets count from the day's first run; runs that were inserted
while a client paged (the fault `growth`) come first, so they push everything after them back by one, as an
insertion does at vendors that page by offset behind their tokens.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sync.sandbox.cache import WeightedCache
from sync.sandbox.world import World
from sync.vendors.ona.instants import to_nanoseconds
from sync.vendors.ona.sandbox.history import (
    BLOCK_SIZE,
    DAY_LENGTH,
    DayPlan,
    build_inserted_run,
    build_runs,
    plan_day,
)
from sync.vendors.ona.sandbox.runs import EPOCH, Run

MAX_CACHED_RECORDS: Final = 250_000

Encoder = Callable[[Run], bytes]


class Position(NamedTuple):
    """A place in the history: a day's ordinal, and an offset into the day."""

    ordinal: int
    offset: int


class Window(NamedTuple):
    """The runs stopped in `[start, end)` nanoseconds, of one project or, if empty, of all."""

    start: int
    end: int
    project_id: str


@dataclass(frozen=True, slots=True)
class Block:
    """Encoded runs; None where a run has vanished. `first` and `last` bound when they stopped.

    `starts` has the end of a run that has no start.
    """

    texts: Sequence[bytes | None]
    starts: Sequence[int]
    stops: Sequence[int]
    projects: Sequence[str]
    first: int
    last: int
    is_complete: bool

    @classmethod
    def from_runs(cls, runs: Sequence[Run | None], encode: Encoder) -> "Block":
        stops = [run.stopped_at if run else 0 for run in runs]
        return cls(
            [encode(run) if run else None for run in runs],
            [get_start(run) if run else 0 for run in runs],
            stops,
            [run.environment.project_id if run else "" for run in runs],
            min(stops, default=0),
            max(stops, default=0),
            None not in runs,
        )

    def is_inside(self, window: Window) -> bool:
        """Tell, without a check of each run, whether the window has all of them."""
        return self.is_complete and not window.project_id and window.start <= self.first and self.last < window.end

    def is_listed(self, index: int, window: Window) -> bool:
        """Return whether the window has the run at `index`."""
        return (
            self.texts[index] is not None
            and window.start <= self.stops[index] < window.end
            and window.project_id in ("", self.projects[index])
        )


def get_start(run: Run) -> int:
    """Return when a run began, or its end where that is missing."""
    return run.stopped_at if run.created_at is None else run.created_at


class BlockCache:
    """A cache of the encoded blocks of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._blocks = WeightedCache(MAX_CACHED_RECORDS)
        self._inserted: defaultdict[int, list[Run]] = defaultdict(list)

    def get_inserted(self, ordinal: int) -> list[Run]:
        """Return the runs that were inserted into a day, the latest first."""
        return self._inserted.get(ordinal, [])

    def insert_run(self, day: DayPlan, window: Window) -> None:
        """Insert a run of the window at the beginning of a day, if the window allows it."""
        start, end = max(window.start, day.start), min(window.end, day.start + DAY_LENGTH)
        inserted = self._inserted[day.ordinal]
        run = build_inserted_run(day, start, end, window.project_id, len(inserted)) if start < end else None
        if run is not None:
            inserted.insert(0, run)

    def get_block(self, day: DayPlan, number: int, encode: Encoder) -> Block:
        return self._blocks.get(
            (day, number, encode),
            lambda: Block.from_runs(build_runs(day, number), encode),
            lambda block: len(block.texts),
        )


class HistoryView:
    """One request's view of the history: what its window has now, encoded."""

    def __init__(self, blocks: BlockCache, window: Window, encode: Encoder) -> None:
        world = blocks.world
        now = to_nanoseconds(world.now())
        self.blocks = blocks
        self.encode = encode
        self.window = window._replace(end=min(window.end, now + 1))
        self.first = max(self.window.start // DAY_LENGTH + EPOCH, world.first_day.toordinal())
        self.last = (self.window.end - 1) // DAY_LENGTH + EPOCH
        self._days: dict[int, DayPlan] = {}

    @property
    def first_position(self) -> Position:
        """Where a listing without a token begins."""
        return Position(self.first, 0)

    def read_page(self, start: Position, size: int) -> tuple[list[bytes], Position | None]:
        """Return up to `size` encoded records from a position on, and the position of the next record, if any."""
        texts: list[bytes] = []
        position = self.seek(start)
        while position is not None and len(texts) < size:
            block_texts, position = self._read_block(position, size - len(texts))
            texts += block_texts
            position = self.seek(position)
        return texts, position

    def seek(self, start: Position) -> Position | None:
        """Return the first position from `start` on that is in the window."""
        ordinal, offset = start
        while ordinal <= self.last:
            length = self.get_length(ordinal)
            while offset < length:
                block, first = self._locate(ordinal, offset)
                if block.is_inside(self.window):
                    return Position(ordinal, offset)
                for index in range(first, len(block.texts)):
                    if block.is_listed(index, self.window):
                        return Position(ordinal, offset + index - first)
                offset += len(block.texts) - first
            ordinal, offset = ordinal + 1, 0
        return None

    def sum_runtime(self, *, clip: bool = False) -> int:
        """Return the nanoseconds that all runs of the window took; with `clip` only those within the window."""
        return sum(self._iterate_runtimes(clip))

    def _iterate_runtimes(self, clip: bool) -> Iterator[int]:
        position = self.seek(self.first_position)
        while position is not None:
            block, first = self._locate(*position)
            for index in range(first, len(block.texts)):
                if block.is_listed(index, self.window):
                    start = max(block.starts[index], self.window.start) if clip else block.starts[index]
                    yield block.stops[index] - start
            position = self.seek(position._replace(offset=position.offset + len(block.texts) - first))

    def seek_back(self, position: Position) -> Position | None:
        """Return the last position before `position` that is in the window."""
        ordinal, offset = position
        while ordinal >= self.first:
            for earlier in range(min(offset, self.get_length(ordinal)) - 1, -1, -1):
                block, index = self._locate(ordinal, earlier)
                if block.is_listed(index, self.window):
                    return Position(ordinal, earlier)
            ordinal -= 1
            offset = self.get_length(ordinal)
        return None

    def get_run(self, position: Position) -> Run | None:
        """Return the run at a position; None if it has vanished."""
        inserted = self.blocks.get_inserted(position.ordinal)
        if position.offset < len(inserted):
            return inserted[position.offset]
        number, index = divmod(position.offset - len(inserted), BLOCK_SIZE)
        return build_runs(self.get_day(position.ordinal), number)[index]

    def insert_before(self, position: Position) -> None:
        """Insert a run of the window before a position, on the same day."""
        self.blocks.insert_run(self.get_day(position.ordinal), self.window)

    def get_day(self, ordinal: int) -> DayPlan:
        """Return a day, the same for the length of the request."""
        if ordinal not in self._days:
            self._days[ordinal] = plan_day(self.blocks.world, ordinal)
        return self._days[ordinal]

    def get_length(self, ordinal: int) -> int:
        """Return how many positions a day has."""
        day = self.get_day(ordinal)
        return 0 if day.edit.emptied else day.length + len(self.blocks.get_inserted(ordinal))

    def _read_block(self, start: Position, number: int) -> tuple[list[bytes], Position]:
        """Return up to `number` records of one block, and the position after the last record that was checked."""
        block, first = self._locate(*start)
        if block.is_inside(self.window):
            texts = [text for text in block.texts[first : first + number] if text is not None]
            return texts, Position(start.ordinal, start.offset + len(texts))
        texts = []
        index = first
        while index < len(block.texts) and len(texts) < number:
            text = block.texts[index]
            if text is not None and block.is_listed(index, self.window):
                texts.append(text)
            index += 1
        return texts, Position(start.ordinal, start.offset + index - first)

    def _locate(self, ordinal: int, offset: int) -> tuple[Block, int]:
        """Return the block of an offset of a day, and the index in it."""
        inserted = self.blocks.get_inserted(ordinal)
        if offset < len(inserted):
            return Block.from_runs(inserted, self.encode), offset
        number, index = divmod(offset - len(inserted), BLOCK_SIZE)
        return self.blocks.get_block(self.get_day(ordinal), number, self.encode), index
