"""Loading Ona records: the portal, dlt's rest_api source, and the floor, side by side."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portal.environment import BASE_DIR
from tests.benchmarks.cost import Cost, Entry, race
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.stage import Stage

CONTENDERS = "tests.benchmarks.contenders"
PORTAL, PORTAL_4, AGAIN = "portal, 1 worker", "portal, 4 workers", "portal, 1 worker, unchanged days again"
DLT, DLT_4 = "dlt rest_api + merge", "dlt rest_api + merge, 4 listings at once"
FLOOR, FLOOR_ROWS = "floor: pages over HTTP, COPY + merge", "floor: rows in memory, COPY + merge"
SMALL, LARGE = "small", "large"
PAIRS = 3  # of floor and portal in each round: the ratios of single pairs go from 1.15 to 1.42

Costs = dict[str, list[Cost]]


@dataclass(frozen=True)
class Size:
    """How much is loaded, and how often."""

    days: int
    per_day: int
    rounds: int
    latency_ms: float
    small_day: int
    large_day: int


FULL = Size(days=20, per_day=10_000, rounds=3, latency_ms=50, small_day=20_000, large_day=1_000_000)
QUICK = Size(days=2, per_day=300, rounds=1, latency_ms=5, small_day=600, large_day=2_000)


class Course:
    """One sandbox and the days that are loaded from it."""

    def __init__(self, stage: Stage, days: int, per_day: int) -> None:
        # Not above: it reads the settings, which the stage sets.
        from tests.support.sandbox_process import SandboxProcess

        self.stage = stage
        self.days = days
        self.records = days * per_day
        # Today is left out: it grows.
        self.first = datetime.now(UTC).date() - timedelta(days=days)
        self.sandbox = SandboxProcess("--records-per-day", str(per_day), "--days", str(days + 1))

    @property
    def base_url(self) -> str:
        """Where the stand-in's API begins."""
        return f"{self.sandbox.url}/ona/api"

    def load(self, workers: int) -> list[Cost]:
        """Load all days by so many workers into an empty database."""
        env = self.stage.fresh()
        costs = self._race(self._enter_portal(env, workers))
        self.stage.drop(env)
        return costs

    def load_by_floor(self, kind: str) -> Cost:
        """Load all days with nothing around COPY and merge."""
        env = self.stage.fresh()
        (cost,) = self._race(self._enter_floor(env, kind))
        self.stage.drop(env)
        return cost

    def load_beside_floor(self) -> list[Cost]:
        """Load all days by the floor and by one worker, a day each in turns, and by the worker again, unchanged."""
        floor_env, portal_env = self.stage.fresh(), self.stage.fresh()
        portal = self._enter_portal(portal_env, 1)
        costs = self._race(self._enter_floor(floor_env, "pages"), portal) + self._race(portal)
        self.stage.drop(floor_env)
        self.stage.drop(portal_env)
        return costs

    def load_by_dlt(self, listings: int) -> Cost:
        """Load all days by dlt, in one listing or several at the same time."""
        env = self.stage.fresh() | {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
        arguments = [self.base_url, str(self.first), str(self.days), str(listings)]
        (cost,) = self._race(Entry([str(other_python()), "-m", f"{CONTENDERS}.dlt_rest", *arguments], env))
        self.stage.drop(env)
        return cost

    def _enter_portal(self, env: dict[str, str], workers: int) -> Entry:
        span = [self.base_url, str(self.first), str(self.first + timedelta(days=self.days)), str(workers)]
        return Entry(self._build_command("portal", *span), env, self.days if workers == 1 else 1)

    def _enter_floor(self, env: dict[str, str], kind: str) -> Entry:
        return Entry(self._build_command("floor", kind, self.base_url, str(self.first), str(self.days)), env, self.days)

    def _race(self, *entries: Entry) -> list[Cost]:
        costs = race(entries, self.stage.postmaster, self.sandbox.pid)
        for entry, cost in zip(entries, costs, strict=True):
            if cost.records != self.records:
                raise RuntimeError(f"{entry.command} loaded {cost.records:,} of {self.records:,} records.")
        return costs

    @staticmethod
    def _build_command(contender: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"{CONTENDERS}.{contender}", *arguments]


def run(stage: Stage, *, quick: bool) -> Report:
    """Race them all: several rounds without latency, one with it, and two single days for the memory."""
    size = QUICK if quick else FULL
    course = Course(stage, size.days, size.per_day)
    with course.sandbox:
        if not quick:
            course.load_by_floor("pages")  # so that the sandbox and the disk are as warm for the first as for the last
        facts = list_facts(stage, course, size)
        plain = rounds(course, size.rounds)
        course.sandbox.post("settings", latency_ms=size.latency_ms)
        slow = with_latency(course, plain if quick else {})
    small = plain[PORTAL][0] if quick else one_day(stage, size.small_day)
    memory = {SMALL: small, LARGE: one_day(stage, size.large_day)}
    report = build_report(size, facts, plain, slow, memory)
    return replace(report, judged=not quick)


def rounds(course: Course, times: int) -> Costs:
    """Let the contenders take turns, so that a busy moment of the machine does not fall on one of them alone."""
    costs: Costs = {name: [] for name in (FLOOR_ROWS, FLOOR, PORTAL, AGAIN, PORTAL_4, DLT)}
    for _ in range(times):
        costs[FLOOR_ROWS].append(course.load_by_floor("rows"))
        for _ in range(PAIRS):
            for name, cost in zip((FLOOR, PORTAL, AGAIN), course.load_beside_floor(), strict=True):
                costs[name].append(cost)
        costs[PORTAL_4] += course.load(4)
        costs[DLT].append(course.load_by_dlt(1))
    return costs


def with_latency(course: Course, known: Costs) -> Costs:
    """Load once with every answer of the vendor coming late; of whom is `known`, those costs stand for it."""
    loads: dict[str, Callable[[], list[Cost]]] = {
        PORTAL: lambda: course.load(1),
        PORTAL_4: lambda: course.load(4),
        DLT: lambda: [course.load_by_dlt(1)],
        DLT_4: lambda: [course.load_by_dlt(4)],
    }
    return {name: known.get(name) or load() for name, load in loads.items()}


def one_day(stage: Stage, records: int) -> Cost:
    """Load a single day of so many records in a fresh process."""
    course = Course(stage, 1, records)
    with course.sandbox:
        return course.load(1)[0]


def other_python() -> Path:
    """Return the Python of the environment that dlt has for itself, which is made where it is missing."""
    # The portal's own environment is what runs this, so it is not looked at.
    make = ["make", "--silent", "--old-file=.venv/.ready", ".venvs/bench/.ready"]
    subprocess.run(make, cwd=BASE_DIR, check=True, stdout=subprocess.DEVNULL)
    return BASE_DIR / ".venvs" / "bench" / "bin" / "python"


def list_facts(stage: Stage, course: Course, size: Size) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    command = [str(other_python()), "-c", "from importlib.metadata import version; print(version('dlt'))"]
    dlt = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded, fsync on), sandbox on the same machine",
        "dlt": f"{dlt}, its defaults, one listing over all days unless said otherwise",
        "rows": f"{course.records:,} ({size.days} days of {size.per_day:,}, pages of 100)",
        "rounds": f"{size.rounds}, contenders taking turns, medians shown; one with latency",
        "turns": f"floor over HTTP and portal with 1 worker load a day each in turns, {PAIRS} times a round",
        "CPU": "user + system of the loading processes from the start signal on; others in columns of their own",
    }


COLUMNS = ("", "wall s", "records/s", "CPU µs/record", "PostgreSQL µs/record", "sandbox µs/record", "peak MiB")


def build_row(name: str, cost: Cost) -> tuple[str, ...]:
    """Return one contender's row under COLUMNS."""
    cpu_times = (f"{value:.1f}" for value in (cost.cpu_each, cost.postgres_each, cost.sandbox_each))
    return name, f"{cost.wall:.2f}", f"{cost.rate:,.0f}", *cpu_times, f"{cost.peak_mib:.0f}"


def build_report(size: Size, facts: dict[str, str], plain: Costs, slow: Costs, memory: Mapping[str, Cost]) -> Report:
    """Return the report of all races."""
    middle = {name: Cost.middle(costs) for name, costs in plain.items()}
    late = {name: Cost.middle(costs) for name, costs in slow.items()}
    days = {f"portal, one day of {memory[label].records:,}": memory[label] for label in (SMALL, LARGE)}
    return Report(
        name="ona-load",
        title="Loading Ona records",
        facts=facts,
        tables=[
            Table("Without latency", COLUMNS, [build_row(*item) for item in middle.items()]),
            Table(f"With {size.latency_ms:g} ms of latency", COLUMNS, [build_row(*item) for item in late.items()]),
            Table("Peak memory, each in a fresh process", COLUMNS, [build_row(*item) for item in days.items()]),
        ],
        aims=aims(middle, late, memory),
        figures=figures(plain, slow, memory),
    )


def aims(plain: Mapping[str, Cost], late: Mapping[str, Cost], memory: Mapping[str, Cost]) -> list[Aim]:
    """Return the aims (docs/benchmarks.md) with what was measured."""
    portal, four, again, floor, dlt = (plain[name] for name in (PORTAL, PORTAL_4, AGAIN, FLOOR, DLT))
    return [
        Aim("CPU per record: dlt / portal with 1 worker", dlt.cpu_each / portal.cpu_each, 6, at_least=True),
        Aim("CPU per record: dlt / portal with 4 workers", dlt.cpu_each / four.cpu_each, 6, at_least=True),
        Aim("speed with latency: portal with 4 workers / dlt", late[PORTAL_4].rate / late[DLT].rate, 5, at_least=True),
        Aim("wall time: portal with 1 worker / floor over HTTP", portal.wall / floor.wall, 2),
        Aim("CPU per record: portal with 1 worker / floor over HTTP", portal.cpu_each / floor.cpu_each, 2),
        Aim("CPU with PostgreSQL's: portal with 1 worker / floor over HTTP", portal.all_each / floor.all_each, 1.3),
        Aim("wall time: unchanged days again / first load", again.wall / portal.wall, 0.5),
        Aim("CPU with PostgreSQL's: unchanged days again / first load", again.all_each / portal.all_each, 0.5),
        Aim("peak memory: largest day / small day", memory[LARGE].peak_mib / memory[SMALL].peak_mib, 1.2),
    ]


def figures(plain: Costs, slow: Costs, memory: Mapping[str, Cost]) -> dict[str, Any]:
    """Return every single measurement, for the JSON file."""
    return {
        "plain": {name: [asdict(cost) for cost in costs] for name, costs in plain.items()},
        "latency": {name: [asdict(cost) for cost in costs] for name, costs in slow.items()},
        "memory": {name: asdict(cost) for name, cost in memory.items()},
    }
