"""The records of a day of the Gcore stand-in, counted and found by their place without being built before."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import accumulate
from typing import Any

from sync.sandbox.bits import struck
from sync.sandbox.world import Edit, World
from sync.vendors.gcore.sandbox.kinds import FILLER, KINDS, Kind
from sync.vendors.gcore.sandbox.rows import described, value_of
from sync.vendors.gcore.sandbox.stock import DAY, SLOT, Piece, Stock, presence

SETTLED = DAY + 60  # minutes after a day's start by which the last hour is complete
BASE = 420


def slots_of(world: World, on: date | None = None) -> list[int]:
    """Return how many records each type has on a plain day, or on a day of average business.

    Together they are exactly `records_per_day`, where that is set. From 100 a day on, no type is missing.
    """
    wanted = world.records_per_day
    if wanted is None:
        wanted = round(BASE * world.scale * (1 if on is None else presence(on.toordinal())))
    least = 1 if wanted >= 100 else 0
    slots = [max(least, wanted * kind.weight // 1000) for kind in KINDS]
    slots[FILLER] += wanted - sum(slots)
    return slots


class DayListing:
    """The records of one UTC day, in the default order: by type, id and first seen. Indexes count from 0.

    A record's place is its number among all slots of the day, which is its index where every slot is held.
    """

    def __init__(
        self, world: World, stocks: Sequence[Stock], on: date, *, minutes: int, edit: Edit, grown: int
    ) -> None:
        self.on = on
        self.day = on.toordinal()
        self.minutes = minutes
        self.edit = edit
        self.stocks = stocks
        self.salt = world.roll("gcore", "edit", on)
        plain = slots_of(world, on)
        slots = [count + round(edit.late * count) for count in plain]
        slots[FILLER] += grown + (edit.late > 0 and slots == plain)
        self.ends = list(accumulate(slots))
        self.starts = [end - count for end, count in zip(self.ends, slots, strict=True)]
        self.kept = self._kept()

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def held(self) -> int:
        """How many places are kept in memory."""
        return 0 if isinstance(self.kept, range) else len(self.kept)

    def _kept(self) -> Sequence[int]:
        """Return the places that hold a record: all of them on a plain day that is over."""
        every = range(self.ends[-1])
        if self.edit.emptied:
            return range(0)
        if self.minutes >= SETTLED and not self.edit.vanished:
            return every
        return array("Q", (place for place in every if self._is_there(place)))

    def _is_there(self, place: int) -> bool:
        return not self._picked(place, 0, self.edit.vanished) and self._piece(place)[1] is not None

    def _picked(self, place: int, purpose: int, share: float) -> bool:
        """Tell whether an edit strikes a place; it goes by the slot, so that a grown day keeps its picks."""
        if not share:
            return False
        number = bisect_right(self.ends, place)
        return struck(self.salt + (number << 40 | place - self.starts[number]) * SLOT + purpose, share)

    def _piece(self, place: int) -> tuple[Stock, Piece | None]:
        number = bisect_right(self.ends, place)
        stock = self.stocks[number]
        return stock, stock.piece(place - self.starts[number], self.day, self.minutes)

    def pieces(self, wanted: Callable[[Kind], bool]) -> Iterator[tuple[int, Stock, Piece]]:
        """Yield index, stock and record of every kind that is wanted, values as restated."""
        kinds = [wanted(kind) for kind in KINDS]
        for index, place in enumerate(self.kept):
            number = bisect_right(self.ends, place)
            if kinds[number]:
                stock = self.stocks[number]
                piece = stock.piece(place - self.starts[number], self.day, self.minutes)
                if piece is not None:
                    yield index, stock, self._restated(place, piece)

    def _restated(self, place: int, piece: Piece) -> Piece:
        if self._picked(place, 1, self.edit.restated):
            return piece._replace(scaled=piece.scaled * 15 // 16)
        return piece

    def row(self, index: int) -> dict[str, Any]:
        """Write out the record at an index, as the vendor would; raises LookupError where there is none."""
        place = self.kept[index]
        stock, piece = self._piece(place)
        if piece is None:
            raise LookupError(f"no record at {index} of {self.on}")
        return self.written(stock, self._restated(place, piece))

    def written(self, stock: Stock, piece: Piece) -> dict[str, Any]:
        """Write out one record of this day."""
        row = described(stock, piece)
        row["billing_value"] = value_of(piece.scaled, piece.digits)
        row["first_seen"] = self.instant(piece.first * 60)
        row["last_seen"] = self.instant(piece.upto * 60 - 1)
        return row

    def instant(self, second: int) -> str:
        """Return a second of this day in the vendor's writing."""
        return f"{self.on}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"

    def is_bad(self, index: int) -> bool:
        """Tell whether the record at an index was arranged not to keep the contract."""
        return self._picked(self.kept[index], 2, self.edit.bad)
