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
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=600)) as line:
            size = self.put(line)
            before = cpu(), postgres(), time.perf_counter()
            for _ in range(times):
                self.put(line)
            wall = time.perf_counter() - before[2]
        return Cost(wall / times, (cpu() - before[0]) / times, (postgres() - before[1]) / times, size)

    def put(self, line: http.client.HTTPConnection) -> int:
        """Ask once; returns how many bytes came."""
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        line.request(self.method, self.path, json.dumps(self.body) if self.body else None, headers)
        answer = line.getresponse()
        said = answer.read()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.path} is answered by {answer.status}: {said[:2000]!r}")
        return len(said)


def run(stage: Stage, *, quick: bool) -> Report:
    """Measure pages and days beside the others, then months of three sizes."""
    course = QUICK if quick else FULL
    beside = {**runs(stage, course), **days(stage, course)}
    months = {number: month(stage, course, number) for number in course.months}
    return Report(
        name="mirrors",
        title="Mirrors",
        facts=facts(stage, course),
        tables=[
            Table("Beside the sandbox and the record list", COLUMNS, [row(*one) for one in beside.items()]),
            Table(f"{DAYS} days of resources in one answer", OF_MONTHS, [of_month(*one) for one in months.items()]),
        ],
        aims=aims(beside, months, course),
        figures={
            "beside": {name: asdict(cost) for name, cost in beside.items()},
            "months": {str(number): asdict(cost) for number, cost in months.items()},
        },
        judged=not quick,
    )


def runs(stage: Stage, course: Course) -> dict[str, Cost]:
    """Return what a page of runs costs: of the mirror, of the sandbox and of the record list."""
    with filled(stage, "environment-usage", course.runs) as (ready, server):
        first, end = span(course.runs)
        body = {"filter": {"dateRange": {"startTime": stamp(first), "endTime": stamp(end)}}}
        asked = body | {"pagination": {"pageSize": course.page}}
        mirror = of_portal(ready, server, "POST", f"/mirror/ona-0{LIST}", asked)
        query = f"source=ona-0&from={first}&to={end}&ordering=stopped_at&page_size={course.page}"
        listed = of_portal(ready, server, "GET", f"/api/v1/environment-usage/?{query}", None)
        theirs = of_sandbox(f"/ona{LIST}", asked, "Bearer", course.runs // DAYS)
        return three(f"page of {course.page} runs", course, stage, server, mirror, listed, theirs)


def days(stage: Stage, course: Course) -> dict[str, Cost]:
    """Return what a day of resources costs: of the mirror, of the sandbox and of the record list."""
    with filled(stage, "resource-usage", course.resources * SOURCES * DAYS) as (ready, server):
        first = last_day()
        end = first + timedelta(days=1)
        asked = {"time_from": stamp(first), "time_to": stamp(end), "limit": course.resources}
        mirror = of_portal(ready, server, "POST", f"/mirror/gcore-0{REPORT}", asked)
        query = f"source=gcore-0&from={first}&to={end}&page_size={course.resources}"
        listed = of_portal(ready, server, "GET", f"/api/v1/resource-usage/?{query}", None)
        theirs = of_sandbox(f"/gcore{REPORT}", asked, "APIKey", course.resources)
        return three(f"day of {course.resources:,} resources", course, stage, server, mirror, listed, theirs)


def month(stage: Stage, course: Course, resources: int) -> Cost:
    """Return what a month of so many resources costs in one answer, the middle of several."""
    with filled(stage, "resource-usage", resources * SOURCES * DAYS) as (ready, server):
        end = last_day() + timedelta(days=1)
        asked = {"time_from": stamp(end - timedelta(days=DAYS)), "time_to": stamp(end), "limit": resources}
        question = of_portal(ready, server, "POST", f"/mirror/gcore-0{REPORT}", asked)
        return middle([question.cost(3, lambda: server.cpu, postgres(stage)) for _ in range(course.rounds)])


def three(
    what: str, course: Course, stage: Stage, server: Served, mirror: Question, listed: Question, theirs: Any
) -> dict[str, Cost]:
    """Let the mirror, the record list and the sandbox answer in turns."""
    with theirs as (question, pid):
        costs: dict[str, list[Cost]] = {}
        for _ in range(course.rounds):
            for name, one, cpu in (
                (f"{what}, mirror", mirror, lambda: server.cpu),
                (f"{what}, record list", listed, lambda: server.cpu),
                (f"{what}, sandbox", question, lambda: cpu_of(pid)),
            ):
                costs.setdefault(name, []).append(one.cost(course.times, cpu, postgres(stage)))
    return {name: middle(found) for name, found in costs.items()}


@contextmanager
def filled(stage: Stage, kind: str, rows: int) -> Iterator[tuple[Ground, Served]]:
    """Serve a portal with so many rows of a kind over the days, and a token that reads mirrors."""
    even = rows - rows % DAYS
    with ground(stage, Size("", even, DAYS, 0, 1, 0, 1, 1, 0), kind) as ready, ready.portal() as server:
        yield ready, server


def of_portal(ready: Ground, server: Served, method: str, path: str, body: dict[str, Any] | None) -> Question:
    """Return a question to the portal."""
    return Question(server.port, method, path, body, f"Bearer {ready.token}")


@contextmanager
def of_sandbox(path: str, body: dict[str, Any], scheme: str, per_day: int) -> Iterator[tuple[Question, int]]:
    """Return a question to a sandbox that has so many records a day, and its process id."""
    # Not above: it reads the settings, which the stage sets.
    from sync.sandbox.process import SandboxProcess

    with SandboxProcess("--records-per-day", str(per_day), "--days", str(DAYS + 1)) as sandbox:
        yield Question(urlsplit(sandbox.url).port or 0, "POST", path, body, f"{scheme} {CREDENTIAL}"), sandbox.pid


def postgres(stage: Stage) -> Callable[[], float]:
    """Return what tells PostgreSQL's CPU seconds."""
    return lambda: cpu_of(stage.postmaster)


def middle(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    wall, cpu, database = (median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "postgres"))
    return Cost(wall, cpu, database, costs[0].size)


def last_day() -> date:
    """Return the last day that has rows."""
    return datetime.now(UTC).date() - timedelta(days=1)


def span(runs: int) -> tuple[date, date]:
    """Return the days that have rows."""
    end = last_day() + timedelta(days=1)
    return end - timedelta(days=DAYS), end


def stamp(on: date) -> str:
    """Return the beginning of a day as every vendor takes it."""
    return f"{on}T00:00:00.000Z"


def row(name: str, cost: Cost) -> tuple[str, ...]:
    """Return a row under COLUMNS."""
    each = (f"{seconds * 1000:.2f}" for seconds in (cost.cpu, cost.postgres))
    return name, f"{1 / cost.wall:,.0f}", *each, f"{cost.size / 1024:,.1f}"


def of_month(resources: int, cost: Cost) -> tuple[str, ...]:
    """Return a row under OF_MONTHS."""
    rows = resources * DAYS
    each = (f"{seconds * 1000:,.0f}" for seconds in (cost.cpu, cost.postgres, cost.all))
    return (
        f"{resources:,}",
        f"{rows:,}",
        f"{cost.wall:.2f}",
        *each,
        f"{cost.all / rows * 1e6:.2f}",
        f"{cost.size / 2**20:.1f}",
    )


def aims(beside: dict[str, Cost], months: dict[int, Cost], course: Course) -> list[Aim]:
    """Return the aims (docs/benchmarks.md) with what was measured."""
    few, some, many = course.months
    page, listed, _, day, records, _ = beside.values()
    return [
        Aim(f"{DAYS} days of {some:,} resources: CPU seconds, PostgreSQL's with them", months[some].all, 1),
        Aim(f"CPU: {some:,} resources / {few:,} resources", share(months[some], months[few]), 2.5),
        Aim(f"CPU: {many:,} resources / {some:,} resources", share(months[many], months[some]), 2.5),
        Aim("CPU of a page of runs: mirror / record list", share(page, listed), 2),
        Aim("CPU of a day of resources: mirror / record list", share(day, records), 3),
    ]


def share(one: Cost, other: Cost) -> float:
    """Return how many times the other's CPU one took; a quick run may be over before any clock of CPU ticks."""
    return one.all / other.all if other.all else 1.0


def facts(stage: Stage, course: Course) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded), granian with 2 workers, sandbox beside them",
        "asked": f"one after the other over a kept connection, {course.times} times a round, {course.rounds} rounds in "
        "turns, medians shown; CPU per answer",
        "rows": f"{course.runs:,} runs; {course.resources:,} and {', '.join(f'{one:,}' for one in course.months)} "
        f"resources a day in each of {SOURCES} sources; all over {DAYS} days",
    }
