"""Pages of 100 from a web server of many threads and of two, side by side."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.benchmarks.ground import TINY, Ground, Size, ground
from tests.benchmarks.lists import COLUMNS, Course, build_row, find_median_rate
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.stage import Stage

KIND = "environment-usage"
ROWS = 100
MANY, FEW = 64, 2
SMALL = Size("32,000 rows", 32_000, 32, 20_000, 16, 4, 5, 1, 20_000)


def run(stage: Stage, *, quick: bool) -> Report:
    """Measure both in turns, and report the ratio of their rates."""
    size = TINY if quick else SMALL
    with ground(stage, size, KIND) as ready, serve_both(ready) as course:
        for name in course.servers:  # so that nobody is measured cold
            course.load(name, size.clients, ROWS)
        turns = [{name: course.load(name, size.clients, ROWS) for name in course.servers} for _ in range(size.rounds)]
    middle = {name: find_median_rate([turn[name] for turn in turns]) for name in turns[0]}
    ratio = median(turn[label(MANY)].rate / turn[label(FEW)].rate for turn in turns)
    return Report(
        name="threads",
        title=f"Pages of {ROWS} with {MANY} and with {FEW} threads",
        facts=facts(stage, size),
        tables=[Table("Lists", COLUMNS, [build_row(name, ROWS, load) for name, load in middle.items()])],
        aims=[Aim(f"requests/s, {label(MANY)} / {label(FEW)}", ratio, 0.9, at_least=True)],
        figures={"turns": [{name: asdict(load) for name, load in turn.items()} for turn in turns]},
        judged=not quick,
    )


@contextmanager
def serve_both(ready: Ground) -> Iterator[Course]:
    """Serve the portal twice over one database."""
    with ExitStack() as stack:
        servers: Mapping[str, Any] = {
            label(threads): (stack.enter_context(ready.portal(threads)), f"/api/v1/{KIND}/?") for threads in (MANY, FEW)
        }
        yield Course(ready, servers, guarded=frozenset(servers))


def label(threads: int) -> str:
    """Return what a server is called in the report."""
    return f"{threads} threads a worker"


def facts(stage: Stage, size: Size) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded), 2 workers each, clients on the same machine",
        "rows": f"{size.rows:,} over {size.days} days, 2 sources",
        "load": f"{size.clients} clients on kept connections, {size.rounds} rounds of {size.seconds:g} s in turns, "
        "the round of the middle rate shown; CPU per request",
    }
