"""The Gcore stand-in's resources and their usage of a day: computed from the seed, never stored.

A day's records stand in numbered slots per resource type. A slot has one resource at a time (a
*generation*) that lives from a few days to for ever, so that a day has as many records as it has slots.
Ids begin with their slot's place, which makes the order of slots the order of ids.
"""

from datetime import date
from typing import NamedTuple

from sync.sandbox.bits import mix_bits
from sync.sandbox.world import World
from sync.vendors.gcore.sandbox.kinds import RESOURCE_KINDS, ResourceKind

DAY = 1440
FOR_EVER = 2**20
SLOT, GENERATION, DATE = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
EPOCH = date(2025, 1, 1)


class Piece(NamedTuple):
    """One record before it is written: its resource (`slot`, `generation`, `bits`), quantity and time.

    `first` and `upto` are minutes of the day, half-open; the quantity is `scaled / 10**digits`; `choice` is
    the place of the flavor (or volume type, …) among the kind's; `age` is in days.
    """

    slot: int
    generation: int
    bits: int
    choice: int
    age: int
    first: int
    upto: int
    scaled: int
    digits: int


class Stock:
    """The resources of one type over all time."""

    def __init__(self, world: World, number: int, slots: int) -> None:
        self.number = number
        self.kind: ResourceKind = RESOURCE_KINDS[number]
        self.base = world.roll("gcore", self.kind.type)
        self.spread = 2**32 // (4 * slots + 64)
        self.metrics = [self.kind.build_metric(choice) for choice in range(len(self.kind.choices))]
        self.nameless = max(1, slots // 5) if self.kind.type == "log_index" else 0

    def get_life(self, slot: int) -> tuple[int, int, int]:
        """Return how many days resources of the slot live, the shift of lives, and the age of a change."""
        bits = mix_bits(self.base + slot * SLOT)
        life_kind = bits & 15
        length = 3 + (bits >> 8) % 12 if life_kind == 0 else 30 + (bits >> 8) % 90 if life_kind < 6 else FOR_EVER
        can_change = self.kind.changes and not slot & 1 and length > 20
        return length, (bits >> 24) % length, 1 + (bits >> 44) % min(length - 2, 89) if can_change else -1

    def get_piece(self, slot: int, day: int, minutes: int) -> Piece | None:
        """Return what stands in `slot` on a day (its ordinal) of which `minutes` are known, if anything."""
        second = False
        if slot & 1 and self.kind.changes:
            length, shift, change = self.get_life(slot - 1)
            second = (day + shift) % length == change
        if second:
            slot -= 1
        else:
            length, shift, change = self.get_life(slot)
        generation, age = divmod(day + shift, length)
        bits = mix_bits(self.base + slot * SLOT + (generation + 1) * GENERATION)
        today = mix_bits(bits + day * DATE)
        first, end = get_running_minutes(bits, today, age, length, day)
        choice = (bits >> 32) % len(self.kind.choices)
        if age == change:
            cut = 300 + today % 840
            first, end = (cut, DAY) if second else (0, cut)
        if 0 <= change < age or second:
            choice = (choice + 1) % len(self.kind.choices)
        upto = min(end, minutes - (today >> 40) % 56)
        if upto <= first:
            return None
        scaled, digits = measure_quantity(self.kind, bits=bits, today=today, age=age, minutes=upto - first, day=day)
        return Piece(slot, generation, bits, choice, age, first, upto, scaled, digits)


def get_running_minutes(bits: int, today: int, age: int, length: int, day: int) -> tuple[int, int]:
    """Return between which minutes a resource ran: since created, until ended, or in office hours."""
    if age == 0 and length < FOR_EVER:
        return today % 1200, DAY
    if age == length - 1:
        return 0, 240 + today % 1200
    if (bits >> 3) & 7 == 0:
        weekend = day % 7 in {6, 0}  # ordinal 1 was a Monday
        return (600, 720) if weekend else (390 + today % 90, 1050 + (today >> 8) % 150)
    return 0, DAY


def measure_quantity(kind: ResourceKind, *, bits: int, today: int, age: int, minutes: int, day: int) -> tuple[int, int]:
    """Return the consumed quantity of `minutes` as a whole number and how many of its digits are decimals."""
    if kind.meter == "minutes":
        return (minutes * 100 - (today >> 19) % 99, 2) if (today >> 16) & 7 == 0 else (minutes, 0)
    if kind.meter == "size":
        return get_size(bits, age) * minutes, 0
    unit = 10**kind.digits
    full = kind.rate * unit // (1 + (bits >> 20) % 40) * get_trend(day) * (85 + today % 31) // 100_000
    scaled = max(1, full * minutes // DAY)
    if kind.digits and (today >> 48) & 31 == 0:  # now and then as many digits as a vendor's arithmetic leaves
        return scaled * 10**16 + today % 10**16, kind.digits + 16
    return scaled, kind.digits


def get_size(bits: int, age: int) -> int:
    """Return a resource's size in GiB, which grows every 30 days."""
    return (5, 10, 20, 50, 100, 500)[(bits >> 12) % 6] + age % 4000 // 30 * 5


def get_growth(day: int) -> float:
    """Return how big the business is on a day (its ordinal), as a factor."""
    return max(0.5, min(1.9, 1 + (day - EPOCH.toordinal()) / 2500))


def get_presence(day: int) -> float:
    """Return which factor of the usual resources there are on a day: growing, a few less at weekends."""
    return get_growth(day) * (0.93 if day % 7 in {6, 0} else 1)


def get_trend(day: int) -> int:
    """Return in thousandths how busy a day is: growing over the years, quieter at weekends."""
    return round(get_growth(day) * {6: 620, 0: 550}.get(day % 7, 1000))
