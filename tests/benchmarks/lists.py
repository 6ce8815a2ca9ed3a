"""Pages of lists: the portal, stock DRF and a bare WSGI function, each behind granian under the same clients."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from portal.environment import BASE_DIR
from tests.benchmarks.cost import cpu_of
from tests.benchmarks.ground import Findings, Ground
from tests.benchmarks.report import Aim
from tests.benchmarks.serving import Served

OURS, STOCK, UNCOUNTED, FLOOR = "portal", "stock DRF", "stock DRF, table not counted", "floor: bare function, json_agg"
STOCK_APPLICATION = "tests.benchmarks.contenders.stock.wsgi:application"
FLOOR_APPLICATION = "tests.benchmarks.contenders.bare_list:application"
# Rows of a page, and the part of the floor's speed that is promised: of a small page it is all rights and parameters.
PAGES: dict[int, float | None] = {100: None, 1000: 0.6}
FIRST, DEEP = "page 1", "deep page"
COLUMNS = (
    *("list", "rows", "requests/s", "median ms", "95 % ms", "server CPU ms", "PostgreSQL CPU ms", "clients' CPU ms"),
)


@dataclass(frozen=True)
class Load:
    """What the clients saw, and the CPU seconds that each side took for it."""

    requests: int
    seconds: float
    bytes: int
    median_ms: float
    p95_ms: float
    cpu: float
    server_cpu: float
    postgres_cpu: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Course:
    """The servers that are measured, all of them up, so that they can take turns."""

    ground: Ground
    servers: Mapping[str, tuple[Served, str]]  # and where its list is, up to `page_size=`
    guarded: frozenset[str] = frozenset({OURS})  # who wants a token

    def load(self, name: str, clients: int, rows: int, params: str = "") -> Load:
        """Let the clients ask one server for pages of so many rows."""
        server, address = self.servers[name]
        token = self.ground.token if name in self.guarded else ""
        module = "tests.benchmarks.contenders.clients"
        seconds = str(self.ground.size.seconds)
        path = f"{address}page_size={rows}{params}"
        command = [sys.executable, "-m", module, str(server.port), str(clients), seconds, path]
        before = server.cpu, cpu_of(self.ground.stage.postmaster)
        process = subprocess.run(
            command, cwd=BASE_DIR, env={**os.environ, "BENCH_TOKEN": token}, check=True, stdout=subprocess.PIPE
        )
        after = server.cpu, cpu_of(self.ground.stage.postmaster)
        result = json.loads(process.stdout)
        return Load(**result, server_cpu=after[0] - before[0], postgres_cpu=after[1] - before[1])


@contextmanager
def start_course(ground: Ground) -> Iterator[Course]:
    """Start every contender over the same database."""
    with (
        ground.portal() as portal,
        ground.served(STOCK_APPLICATION) as stock,
        ground.served(FLOOR_APPLICATION) as floor,
    ):
        yield Course(
            ground,
            {
                OURS: (portal, f"/api/v1/{ground.kind}/?"),
                STOCK: (stock, f"/counted/{ground.kind}/?"),
                UNCOUNTED: (stock, f"/uncounted/{ground.kind}/?"),
                FLOOR: (floor, f"/{ground.kind}?"),
            },
        )


def measure(ground: Ground) -> Findings:
    """Measure pages of every size by everybody, taking turns, and the portal's deep page beside its first."""
    size = ground.size
    findings = Findings()
    with start_course(ground) as ready:
        for name in ready.servers if size.rounds > 1 else ():  # so that nobody is measured cold
            ready.load(name, size.clients, 100)
        for rows, floor_share in PAGES.items():
            turns = [{name: ready.load(name, size.clients, rows) for name in ready.servers} for _ in range(size.rounds)]
            findings.figures[str(rows)] = [{name: asdict(load) for name, load in turn.items()} for turn in turns]
            medians = {name: find_median_rate([turn[name] for turn in turns]) for name in ready.servers}
            findings.rows += [build_row(f"{ground.kind}, {name}", rows, load) for name, load in medians.items()]
            findings.aims += build_aims(f"{ground.kind}, pages of {rows}", medians, floor_share)
        measure_deep(ready, findings)
    return findings


def find_median_rate(loads: list[Load]) -> Load:
    """Return the load of the middle rate."""
    return sorted(loads, key=lambda load: load.rate)[len(loads) // 2]


def build_row(name: str, rows: int, load: Load) -> tuple[str, ...]:
    """Return one row under COLUMNS; CPU is per request."""
    cpu_times = (f"{cpu / load.requests * 1000:.2f}" for cpu in (load.server_cpu, load.postgres_cpu, load.cpu))
    return name, f"{rows:,}", f"{load.rate:,.1f}", f"{load.median_ms:.1f}", f"{load.p95_ms:.1f}", *cpu_times


def build_aims(subject: str, medians: Mapping[str, Load], floor_share: float | None) -> list[Aim]:
    """Return the aims for lists (docs/benchmarks.md)."""
    ours, stock, floor = (medians[name].rate for name in (OURS, STOCK, FLOOR))
    aims = [Aim(f"{subject}: requests/s, portal / stock DRF", ours / stock, 5, at_least=True)]
    if floor_share is not None:
        aims.append(Aim(f"{subject}: requests/s, portal / floor", ours / floor, floor_share, at_least=True))
    return aims


def measure_deep(ready: Course, findings: Findings) -> None:
    """Measure a page far down beside the first, one client, page by page in turns."""
    ground = ready.ground
    cursor = f"&cursor={find_cursor(ground, ready.servers[OURS][0], ground.size.deep_row)}"
    turns = [
        {FIRST: ready.load(OURS, 1, 100), DEEP: ready.load(OURS, 1, 100, cursor)}
        for _ in range(3 if ground.size.rounds > 1 else 1)
    ]
    findings.figures["deep"] = [{name: asdict(load) for name, load in turn.items()} for turn in turns]
    names = {FIRST: "page 1", DEEP: f"page at row {ground.size.deep_row:,}"}
    medians = {name: find_median_rate([turn[name] for turn in turns]) for name in names}
    findings.rows += [
        build_row(f"{ground.kind}, {label}, one client", 100, medians[name]) for name, label in names.items()
    ]
    ratio = median(turn[DEEP].median_ms / turn[FIRST].median_ms for turn in turns)
    findings.aims.append(Aim(f"{ground.kind}: median time, {names[DEEP]} / page 1", ratio, 1.3))


def find_cursor(ground: Ground, server: Served, row_number: int) -> str:
    """Walk down the list by its cursors until `row` rows have passed, and return the cursor there."""
    cursor = ""
    for _ in range(row_number // 1000):
        with ground.answer(server, f"/api/v1/{ground.kind}/?page_size=1000{cursor}") as response:
            page: dict[str, Any] = json.loads(response.read())
        cursor = f"&cursor={page['next_cursor']}"
    return cursor.removeprefix("&cursor=")
