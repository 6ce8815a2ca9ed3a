"""The records of a day of the Gcore stand-in, which are counted and located before they are built."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import accumulate
from typing import Any

from sync.sandbox.bits import is_hit
from sync.sandbox.world import Edit, World
from sync.vendors.gcore.sandbox.kinds import FILLER, RESOURCE_KINDS, ResourceKind
from sync.vendors.gcore.sandbox.rows import build_decimal, build_row
from sync.vendors.gcore.sandbox.stock import DAY, SLOT, Piece, Stock, get_presence

SETTLED_MINUTES = DAY + 60  # minutes after a day's start by which the last hour is complete
BASE = 420


def count_slots(world: World, on: date | None = None) -> list[int]:
    """Return how many records each type has on a plain day, or on a day of average business.

    Together they are exactly `records_per_day`, where that is set. From 100 a day on, no type is missing.
    """
    total = world.records_per_day
    if total is None:
        total = round(BASE * world.scale * (1 if on is None else get_presence(on.toordinal())))
    least = 1 if total >= 100 else 0
    slots = [max(least, total * kind.weight // 1000) for kind in RESOURCE_KINDS]
    slots[FILLER] += total - sum(slots)
    return slots


class DayListing:
    """The records of one UTC day, in the default order: by type, id and first seen. Indexes count from 0.

    A record's place is its number among all slots of the day, which is its index where every slot has a record.
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
        plain = count_slots(world, on)
        slots = [count + round(edit.late * count) for count in plain]
        slots[FILLER] += grown + (edit.late > 0 and slots == plain)
        self.ends = list(accumulate(slots))
        self.starts = [end - count for end, count in zip(self.ends, slots, strict=True)]
        self.places = self._list_places()

    def __len__(self) -> int:
        return len(self.places)

    @property
    def record_count(self) -> int:
        """How many places are in memory."""
        return 0 if isinstance(self.places, range) else len(self.places)

    def _list_places(self) -> Sequence[int]:
        """Return the places that have a record: all of them on a plain day that is over."""
        all_places = range(self.ends[-1])
        if self.edit.emptied:
            return range(0)
        if self.minutes >= SETTLED_MINUTES and not self.edit.vanished:
            return all_places
        return array("Q", (place for place in all_places if self._exists(place)))

    def _exists(self, place: int) -> bool:
        return not self._is_edited(place, 0, self.edit.vanished) and self._get_piece(place)[1] is not None

    def _is_edited(self, place: int, purpose: int, share: float) -> bool:
        """Return whether an edit strikes a place; it goes by the slot, so that a grown day keeps its picks."""
        if not share:
            return False
        number = bisect_right(self.ends, place)
        return is_hit(self.salt + (number << 40 | place - self.starts[number]) * SLOT + purpose, share)

    def _get_piece(self, place: int) -> tuple[Stock, Piece | None]:
        number = bisect_right(self.ends, place)
        stock = self.stocks[number]
        return stock, stock.get_piece(place - self.starts[number], self.day, self.minutes)

    def iterate_pieces(self, can_match: Callable[[ResourceKind], bool]) -> Iterator[tuple[int, Stock, Piece]]:
        """Yield index, stock and record of every kind that can match, values as restated."""
        matching_kinds = [can_match(kind) for kind in RESOURCE_KINDS]
        for index, place in enumerate(self.places):
            number = bisect_right(self.ends, place)
            if matching_kinds[number]:
                stock = self.stocks[number]
                piece = stock.get_piece(place - self.starts[number], self.day, self.minutes)
                if piece is not None:
                    yield index, stock, self._restate(place, piece)

    def _restate(self, place: int, piece: Piece) -> Piece:
        if self._is_edited(place, 1, self.edit.restated):
            return piece._replace(scaled=piece.scaled * 15 // 16)
        return piece

    def get_row(self, index: int) -> dict[str, Any]:
        """Write out the record at an index, as the vendor would; raises LookupError where there is none."""
        place = self.places[index]
        stock, piece = self._get_piece(place)
        if piece is None:
            raise LookupError(f"no record at {index} of {self.on}")
        return self.build_row(stock, self._restate(place, piece))

    def build_row(self, stock: Stock, piece: Piece) -> dict[str, Any]:
        row = build_row(stock, piece)
        row["billing_value"] = build_decimal(piece.scaled, piece.digits)
        row["first_seen"] = self.format_second(piece.first * 60)
        row["last_seen"] = self.format_second(piece.upto * 60 - 1)
        return row

    def format_second(self, second: int) -> str:
        """Return a second of this day as the vendor writes it."""
        return f"{self.on}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"

    def is_bad(self, index: int) -> bool:
        """Return whether an edit makes the record at an index break the contract."""
        return self._is_edited(self.places[index], 2, self.edit.bad)
