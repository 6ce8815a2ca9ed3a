"""The history of the Ona stand-in: which runs stopped on a day.

Nothing is stored. Run number `i` of a day is a pure function of the world's seed, the day and `i`, so a day
of millions of runs costs no memory, and a run keeps its number whatever happens to the days around it. Runs
are made in blocks of 100. Instants are integers: nanoseconds since 1970-01-01T00:00:00Z; days are ordinals
of UTC dates.
"""

import math
import struct
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from hashlib import shake_128
from statistics import NormalDist
from typing import Final, NamedTuple

from sync.sandbox.world import Edit, World
from sync.vendors.ona.instants import SECOND
from sync.vendors.ona.sandbox.people import TABLE_SIZE, build_environments, build_popularity_table
from sync.vendors.ona.sandbox.runs import EPOCH, FAULT_COUNT, Environment, Run

VENDOR: Final = "ona"
BLOCK_SIZE: Final = 100
DAY_LENGTH: Final = 86_400 * SECOND
# The random parts of a run: id, moment, environment, runtime, quirks, second, fraction.
DICE: Final = struct.Struct("<16sHHHHII")
DIGITS: Final = (9, 9, 9, 6, 6, 6, 3, 3, 0, 0, 1, 2, 4, 5, 7, 8)  # of a timestamp's fraction, equally likely
OMITTED_FIELDS: Final = {0: "createdAt", 1: "userId", 2: "environmentClassId", 3: "runnerId", 4: "environmentId"}
STRIDE: Final = 2_654_435_761  # a prime above any number of runs, so i * STRIDE is a permutation of them
WEEKDAY_FACTORS: Final = (0.94, 1.04, 1.08, 1.02, 0.86, 0.16, 0.13)


class DayPlan(NamedTuple):
    """One day: the `runs` of its unedited history and `late` runs after them, changed by `edit`.

    `size` is the usual number of runs a day.
    """

    seed: int
    ordinal: int
    size: int
    runs: int
    late: int
    edit: Edit

    @property
    def length(self) -> int:
        """How many run numbers the day has, including vanished runs."""
        return 0 if self.edit.emptied else self.runs + self.late

    @property
    def start(self) -> int:
        """The day's first instant."""
        return (self.ordinal - EPOCH) * DAY_LENGTH


def get_size(world: World) -> int:
    """Return the usual number of runs a day."""
    return round(420 * world.scale) if world.records_per_day is None else world.records_per_day


def plan_day(world: World, ordinal: int) -> DayPlan:
    """Return the world's day as it is once it is over."""
    day = date.fromordinal(ordinal)
    edit = world.get_edit(VENDOR, day)
    size = 420 * world.scale if world.records_per_day is None else world.records_per_day
    count = round(size * _get_load(world, day)) if world.records_per_day is None else world.records_per_day
    return DayPlan(world.seed, ordinal, get_size(world), count, math.ceil(count * edit.late), edit)


@lru_cache(maxsize=4)
def build_runs(day: DayPlan, number: int) -> Sequence[Run | None]:
    """Return the runs `[100 * number, 100 * (number + 1))` of a day; None stands for a vanished run."""
    first = number * BLOCK_SIZE
    size = min(BLOCK_SIZE, day.length - first)
    runs: list[Run | None] = list(_draw_runs(day, number, size))
    if day.edit.restated or day.edit.vanished or day.edit.bad:
        return [_apply_edit(day, first + i, run) for i, run in enumerate(runs) if run is not None]
    return runs


def build_inserted_run(day: DayPlan, start: int, end: int, project: str, number: int) -> Run | None:
    """Return a run outside of the day's history, stopped in `[start, end)`; None for an unknown project."""
    dice = next(DICE.iter_unpack(shake_128(f"{day.seed}/new/{day.ordinal}/{number}".encode()).digest(DICE.size)))
    all_environments = build_environments(day.seed, day.size)
    environments = [environment for environment in all_environments if project in ("", environment.project_id)]
    if not environments:
        return None
    stopped = start + int.from_bytes(dice[0][:8]) % (end - start)
    environment = environments[dice[2] % len(environments)]
    return Run(_format_uuid(dice[0]), environment, stopped - 900 * SECOND, 9, stopped, 9)


def _draw_runs(day: DayPlan, number: int, size: int) -> Sequence[Run]:
    """Return a block's runs before any edit."""
    dice = shake_128(f"{day.seed}/{VENDOR}/{day.ordinal}/{number}".encode()).digest(DICE.size * size)
    minutes = _build_minute_table(date.fromordinal(day.ordinal).weekday() > 4)
    environments, runtimes = build_popularity_table(day.seed, day.size), _build_runtime_table()
    start = day.start
    runs = []
    for id_bytes, moment, environment, runtime, quirks, second, fraction in DICE.iter_unpack(dice):
        stopped_digits, created_digits = DIGITS[quirks & 15], DIGITS[quirks >> 4 & 15]
        stopped = start + (minutes[moment >> 4] * 60 + second % 60) * SECOND + fraction % SECOND
        created = stopped - runtimes[runtime >> 4] - fraction * 7
        stopped -= stopped % 10 ** (9 - stopped_digits)
        created -= created % 10 ** (9 - created_digits)
        omitted = OMITTED_FIELDS.get(quirks >> 8, "")
        runs.append(
            Run(
                _format_uuid(id_bytes),
                environments[environment >> 4],
                None if omitted == "createdAt" else created,
                created_digits,
                stopped,
                stopped_digits,
                omitted,
            )
        )
    return runs


def _apply_edit(day: DayPlan, index: int, run: Run) -> Run | None:
    """Return one run as the day's edit leaves it; the edit touches exactly its share of the unedited history."""
    if index >= day.runs:
        return run
    edit, rank = day.edit, index * STRIDE
    if (rank + day.runs // 3) % day.runs < math.ceil(edit.vanished * day.runs):
        return None
    if (rank + 2 * day.runs // 3) % day.runs < math.ceil(edit.bad * day.runs):
        return run._replace(fault=index % FAULT_COUNT)
    if rank % day.runs < math.ceil(edit.restated * day.runs):
        created = run.stopped_at - 2 * (run.stopped_at - run.created_at) if run.created_at is not None else None
        return run._replace(environment=_change_class(run.environment), created_at=created, created_digits=9)
    return run


@lru_cache(maxsize=1024)
def _change_class(environment: Environment) -> Environment:
    """Return the environment after a restatement: of another class."""
    return Environment.create(*environment[:4], f"{environment.environment_class_id[:-4]}aaaa")


def _format_uuid(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _get_load(world: World, day: date) -> float:
    """Return how busy a date is: the weekday, slow growth, summer, the turn of the year, and some noise."""
    growth = max(0.4, 0.7 + (day - date(2024, 1, 1)).days * 0.0004)
    season = 0.78 if day.month == 8 else 1.0
    if (day.month, day.day) >= (12, 24) or (day.month, day.day) == (1, 1):
        season = 0.3
    noise = 0.9 + 0.2 * (world.roll(VENDOR, "noise", day) / 2**64)
    return WEEKDAY_FACTORS[day.weekday()] * growth * season * noise


@lru_cache(maxsize=1)
def _build_runtime_table() -> tuple[int, ...]:
    """Return a run's length for each outcome: mostly tens of minutes, up to two days."""
    spread = NormalDist(math.log(2400), 1.15)
    seconds = (math.exp(spread.inv_cdf((i + 0.5) / TABLE_SIZE)) for i in range(TABLE_SIZE))
    return tuple(round(min(length, 172_800) * SECOND) for length in seconds)


@lru_cache(maxsize=2)
def _build_minute_table(weekend: bool) -> tuple[int, ...]:
    """Return the minute of the day a run stops in for each outcome: the office hours of two continents."""
    peaks = [(720, 90, 0.5), (1010, 80, 1.0), (1290, 110, 0.6)] if not weekend else [(900, 220, 1.0)]
    shapes = [(NormalDist(middle, width), weight * width) for middle, width, weight in peaks]
    weights = [0.06 + sum(shape.pdf(minute) * weight for shape, weight in shapes) for minute in range(1440)]
    total, cumulated = sum(weights), 0.0
    table: list[int] = []
    for minute, weight in enumerate(weights):
        cumulated += weight
        table += [minute] * (round(cumulated / total * TABLE_SIZE) - len(table))
    return tuple(table)
