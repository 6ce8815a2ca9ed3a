"""Mirrors: a page of runs and a day of resources beside the sandbox and the record list; months of resources.

The portal's rows are made as for the other benchmarks (rows.py), a source of each vendor; the sandbox makes up its own,
as many of them a day. A month is asked for in one answer that holds every resource.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.cost import cpu_of
from tests.benchmarks.ground import Ground, Size, ground
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.rows import SOURCES
from tests.benchmarks.serving import HOST, Served
from tests.benchmarks.stage import CREDENTIAL, Stage

DAYS = 31
LIST = "/api/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
REPORT = "/cloud/v1/usage_report"
COLUMNS = ("", "answers/s", "CPU ms", "PostgreSQL ms", "KiB")
OF_MONTHS = ("resources", "rows", "seconds", "CPU ms", "PostgreSQL ms", "all CPU ms", "CPU µs/row", "MiB")


@dataclass(frozen=True)
class Course:
    """How much is asked, and how often: resources a month in three sizes, the middle one judged."""

    runs: int
    page: int
    resources: int
    months: tuple[int, int, int]
    times: int
    rounds: int


FULL = Course(runs=100_000, page=100, resources=1_000, months=(5_000, 10_000, 20_000), times=100, rounds=3)
QUICK = Course(runs=400, page=100, resources=20, months=(10, 20, 40), times=2, rounds=1)


@dataclass(frozen=True)
class Cost:
    """One answer: seconds, the CPU seconds of who answers and of PostgreSQL, and its bytes."""

    wall: float
    cpu: float
    postgres: float
    size: int

    @property
    def all(self) -> float:
        """All CPU seconds."""
        return self.cpu + self.postgres


@dataclass(frozen=True)
class Question:
    """One request, put as often as one likes over one kept connection to `port`."""

    port: int
    method: str
    path: str
    body: dict[str, Any] | None
    authorization: str

    def cost(self, times: int, cpu: Callable[[], float], postgres: Callable[[], float]) -> Cost:
        """Ask `times` times, once before it to be warm, and return what one answer cost; raises RuntimeError."""
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=600)) as connection:
            size = self.put(connection)
            before = cpu(), postgres(), time.perf_counter()
            for _ in range(times):
                self.put(connection)
            wall = time.perf_counter() - before[2]
        return Cost(wall / times, (cpu() - before[0]) / times, (postgres() - before[1]) / times, size)

    def put(self, connection: http.client.HTTPConnection) -> int:
        """Ask once; returns how many bytes came."""
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        connection.request(self.method, self.path, json.dumps(self.body) if self.body else None, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.path} is answered by {response.status}: {content[:2000]!r}")
        return len(content)


def run(stage: Stage, *, quick: bool) -> Report:
    """Measure pages and days beside the others, then months of three sizes."""
    course = QUICK if quick else FULL
    beside = {**measure_runs(stage, course), **measure_days(stage, course)}
    months = {number: measure_month(stage, course, number) for number in course.months}
    return Report(
        name="mirrors",
        title="Mirrors",
        facts=list_facts(stage, course),
        tables=[
            Table("Beside the sandbox and the record list", COLUMNS, [build_row(*item) for item in beside.items()]),
            Table(
                f"{DAYS} days of resources in one answer",
                OF_MONTHS,
                [build_month_row(*item) for item in months.items()],
            ),
        ],
        aims=build_aims(beside, months, course),
        figures={
            "beside": {name: asdict(cost) for name, cost in beside.items()},
            "months": {str(number): asdict(cost) for number, cost in months.items()},
        },
        judged=not quick,
    )


def measure_runs(stage: Stage, course: Course) -> dict[str, Cost]:
    """Return what a page of runs costs: of the mirror, of the sandbox and of the record list."""
    with serve_portal(stage, "environment-usage", course.runs) as (ready, server):
        first, end = get_span(course.runs)
        body = {"filter": {"dateRange": {"startTime": format_start(first), "endTime": format_start(end)}}}
        request = body | {"pagination": {"pageSize": course.page}}
        mirror = build_portal_question(ready, server, "POST", f"/mirror/ona-0{LIST}", request)
        query = f"source=ona-0&from={first}&to={end}&ordering=stopped_at&page_size={course.page}"
        record_list = build_portal_question(ready, server, "GET", f"/api/v1/environment-usage/?{query}", None)
        sandbox = serve_sandbox(f"/ona{LIST}", request, "Bearer", course.runs // DAYS)
        return measure_in_turns(f"page of {course.page} runs", course, stage, server, mirror, record_list, sandbox)


def measure_days(stage: Stage, course: Course) -> dict[str, Cost]:
    """Return what a day of resources costs: of the mirror, of the sandbox and of the record list."""
    with serve_portal(stage, "resource-usage", course.resources * SOURCES * DAYS) as (ready, server):
        first = get_last_day()
        end = first + timedelta(days=1)
        request = {"time_from": format_start(first), "time_to": format_start(end), "limit": course.resources}
        mirror = build_portal_question(ready, server, "POST", f"/mirror/gcore-0{REPORT}", request)
        query = f"source=gcore-0&from={first}&to={end}&page_size={course.resources}"
        record_list = build_portal_question(ready, server, "GET", f"/api/v1/resource-usage/?{query}", None)
        sandbox = serve_sandbox(f"/gcore{REPORT}", request, "APIKey", course.resources)
        return measure_in_turns(
            f"day of {course.resources:,} resources", course, stage, server, mirror, record_list, sandbox
        )


def measure_month(stage: Stage, course: Course, resources: int) -> Cost:
    """Return what a month of so many resources costs in one answer, the middle of several."""
    with serve_portal(stage, "resource-usage", resources * SOURCES * DAYS) as (ready, server):
        end = get_last_day() + timedelta(days=1)
        request = {
            "time_from": format_start(end - timedelta(days=DAYS)),
            "time_to": format_start(end),
            "limit": resources,
        }
        question = build_portal_question(ready, server, "POST", f"/mirror/gcore-0{REPORT}", request)
        return take_median(
            [question.cost(3, lambda: server.cpu, build_postgres_clock(stage)) for _ in range(course.rounds)]
        )


def measure_in_turns(
    subject: str, course: Course, stage: Stage, server: Served, mirror: Question, record_list: Question, sandbox: Any
) -> dict[str, Cost]:
    """Let the mirror, the record list and the sandbox answer in turns."""
    with sandbox as (question, pid):
        costs: dict[str, list[Cost]] = {}
        for _ in range(course.rounds):
            for name, each_question, cpu in (
                (f"{subject}, mirror", mirror, lambda: server.cpu),
                (f"{subject}, record list", record_list, lambda: server.cpu),
                (f"{subject}, sandbox", question, lambda: cpu_of(pid)),
            ):
                costs.setdefault(name, []).append(each_question.cost(course.times, cpu, build_postgres_clock(stage)))
    return {name: take_median(runs) for name, runs in costs.items()}


@contextmanager
def serve_portal(stage: Stage, kind: str, rows: int) -> Iterator[tuple[Ground, Served]]:
    """Serve a portal with so many rows of a kind over the days, and a token that reads mirrors."""
    divisible_rows = rows - rows % DAYS
    with ground(stage, Size("", divisible_rows, DAYS, 0, 1, 0, 1, 1, 0), kind) as ready, ready.portal() as server:
        yield ready, server


def build_portal_question(
    ready: Ground, server: Served, method: str, path: str, body: dict[str, Any] | None
) -> Question:
    """Return a question to the portal."""
    return Question(server.port, method, path, body, f"Bearer {ready.token}")


@contextmanager
def serve_sandbox(path: str, body: dict[str, Any], scheme: str, per_day: int) -> Iterator[tuple[Question, int]]:
    """Return a question to a sandbox that has so many records a day, and its process id."""
    # Not above: it reads the settings, which the stage sets.
    from tests.support.sandbox_process import SandboxProcess

    with SandboxProcess("--records-per-day", str(per_day), "--days", str(DAYS + 1)) as sandbox:
        yield Question(urlsplit(sandbox.url).port or 0, "POST", path, body, f"{scheme} {CREDENTIAL}"), sandbox.pid


def build_postgres_clock(stage: Stage) -> Callable[[], float]:
    """Return what tells PostgreSQL's CPU seconds."""
    return lambda: cpu_of(stage.postmaster)


def take_median(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    wall, cpu, database = (median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "postgres"))
    return Cost(wall, cpu, database, costs[0].size)


def get_last_day() -> date:
    """Return the last day that has rows."""
    return datetime.now(UTC).date() - timedelta(days=1)


def get_span(runs: int) -> tuple[date, date]:
    """Return the days that have rows."""
    end = get_last_day() + timedelta(days=1)
    return end - timedelta(days=DAYS), end


def format_start(day: date) -> str:
    """Return the beginning of a day as every vendor takes it."""
    return f"{day}T00:00:00.000Z"


def build_row(name: str, cost: Cost) -> tuple[str, ...]:
    """Return a row under COLUMNS."""
    milliseconds = (f"{seconds * 1000:.2f}" for seconds in (cost.cpu, cost.postgres))
    return name, f"{1 / cost.wall:,.0f}", *milliseconds, f"{cost.size / 1024:,.1f}"


def build_month_row(resources: int, cost: Cost) -> tuple[str, ...]:
    """Return a row under OF_MONTHS."""
    rows = resources * DAYS
    milliseconds = (f"{seconds * 1000:,.0f}" for seconds in (cost.cpu, cost.postgres, cost.all))
    return (
        f"{resources:,}",
        f"{rows:,}",
        f"{cost.wall:.2f}",
        *milliseconds,
        f"{cost.all / rows * 1e6:.2f}",
        f"{cost.size / 2**20:.1f}",
    )


def build_aims(beside: dict[str, Cost], months: dict[int, Cost], course: Course) -> list[Aim]:
    """Return the aims (docs/benchmarks.md) with what was measured."""
    small, middle, large = course.months
    page, page_list, _, day, records, _ = beside.values()
    return [
        Aim(f"{DAYS} days of {middle:,} resources: CPU seconds, PostgreSQL's with them", months[middle].all, 1),
        Aim(f"CPU: {middle:,} resources / {small:,} resources", compare_cpu(months[middle], months[small]), 2.5),
        Aim(f"CPU: {large:,} resources / {middle:,} resources", compare_cpu(months[large], months[middle]), 2.5),
        Aim("CPU of a page of runs: mirror / record list", compare_cpu(page, page_list), 2),
        Aim("CPU of a day of resources: mirror / record list", compare_cpu(day, records), 3),
    ]


def compare_cpu(first: Cost, second: Cost) -> float:
    """Return how many times the other's CPU one took; a quick run may be over before any clock of CPU ticks."""
    return first.all / second.all if second.all else 1.0


def list_facts(stage: Stage, course: Course) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded), granian with 2 workers, sandbox beside them",
        "asked": f"one after the other over a kept connection, {course.times} times a round, {course.rounds} rounds in "
        "turns, medians shown; CPU per answer",
        "rows": f"{course.runs:,} runs; {course.resources:,} and {', '.join(f'{number:,}' for number in course.months)} "
        f"resources a day in each of {SOURCES} sources; all over {DAYS} days",
    }
