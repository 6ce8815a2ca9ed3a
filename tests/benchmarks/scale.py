"""Years of data: a table of thirty million resources beside one of one million, in turns on one PostgreSQL.

Both have days of one length. `python -m tests.benchmarks.scale FIRST END` checks the stored days `[FIRST, END)` of the
database of DATABASE_URL as `manage.py verify` does, copies the same rows out, day by day in turns, and prints the
seconds of both as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any, Final

import django
import psycopg

from tests.benchmarks import merge
from tests.benchmarks.contenders.columns import table
from tests.benchmarks.cost import read_cpu
from tests.benchmarks.ground import TEN_MILLION, Ground, ground
from tests.benchmarks.merge import READS
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.serving import Served
from tests.benchmarks.stage import Stage
from tests.benchmarks.starting import run

KIND: Final = "resource-usage"
SMALL, LARGE = "small", "large"
SMALL_ROWS, LARGE_ROWS = 1_000_000, 30_000_000
PER_DAY, FEW_PER_DAY = 62_500, 100  # a month has two million
MERGED, FEW_MERGED = 30_000, 300
VERIFY_CPU, COPY_CPU = "verify, PostgreSQL's CPU", "COPY, PostgreSQL's CPU"
MONTH: Final = timedelta(days=30)
MOST_GROWTH, MOST_CHANGED, MOST_UNCHANGED, MOST_BYTES, MOST_VERIFY = 1.5, 2.0, 0.3, 400.0, 2.0  # the aims

INDEX_SIZES: Final = """
    SELECT parent.relname, sum(pg_relation_size(child.indexrelid)), sum(stat.idx_scan)
    FROM pg_index AS parents
    JOIN pg_class AS parent ON parent.oid = parents.indexrelid
    JOIN pg_inherits ON inhparent = parents.indexrelid
    JOIN pg_index AS child ON child.indexrelid = inhrelid
    JOIN pg_stat_user_indexes AS stat ON stat.indexrelid = child.indexrelid
    WHERE parents.indrelid = %(table)s::regclass GROUP BY 1 ORDER BY 2 DESC
"""
HEAP_SIZE: Final = "SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(%(table)s::regclass)"


@dataclass(frozen=True)
class Turns:
    """How often a day is merged, and how often each question is asked, first uncounted."""

    merges: int
    cold: int
    requests: int
    rounds: int


class Scale:
    """The benchmark; `rows` of the large table."""

    def __init__(self, rows: int = LARGE_ROWS) -> None:
        self.rows = rows

    def __call__(self, stage: Stage, *, quick: bool) -> Report:
        """Fill both tables, measure in turns, and report."""
        per_day = FEW_PER_DAY if quick else PER_DAY
        days = {SMALL: 40, LARGE: 40} if quick else {SMALL: SMALL_ROWS // PER_DAY, LARGE: self.rows // PER_DAY}
        turns = Turns(1, 1, 2, 1) if quick else Turns(3, 20, 50, 5)
        with (fill_one_database if quick else fill_databases)(stage, days, per_day) as grounds:
            large = grounds[LARGE]
            sizes = measure_sizes(large.url)
            merged = merge_in_turns(grounds, turns, FEW_MERGED if quick else MERGED)
            latencies = ask_in_turns(grounds, turns)
            end = datetime.now(UTC).date()
            verified = verify(large, end - MONTH, end)
            sizes_after = measure_sizes(large.url)
        rows = days[LARGE] * per_day
        million = sum(size for size, _ in sizes.values()) / rows
        return Report(
            name="scale",
            title=f"{rows:,} resources beside {days[SMALL] * per_day:,}",
            facts=surroundings()
            | {
                "servers": f"PostgreSQL {stage.version} (embedded, fsync on), granian with 2 workers",
                "rows": f"{per_day:,} a day, 2 sources, {days[SMALL]} and {days[LARGE]} days, both sizes taking turns",
                "merged": f"days of {MERGED:,} by one worker; no vendor is waited for",
            },
            tables=[
                Table("Seconds of a read and its merge", ("", *READS), merge_rows(merged)),
                Table("Milliseconds of an answer", ("", *QUESTIONS), ask_rows(latencies)),
                Table(
                    "Bytes a row, and scans in this run", ("", "bytes", "scans"), size_rows(sizes, sizes_after, rows)
                ),
            ],
            aims=[
                *merge_aims(merged),
                *(
                    Aim(f"{question}, large / small", median(latencies[LARGE][question]) / median(times), MOST_GROWTH)
                    for question, times in latencies[SMALL].items()
                ),
                Aim("heap and indexes, MB a million rows", million, MOST_BYTES),
                Aim("verify of a month / COPY of it", verified["verify"] / verified["copy"], MOST_VERIFY),
                Aim("the same, PostgreSQL's CPU", verified[VERIFY_CPU] / verified[COPY_CPU], MOST_VERIFY),
            ],
            figures={"merged": merged, "asked": latencies, "sizes": sizes, "used": sizes_after, "verified": verified},
            judged=not quick,
        )


@contextmanager
def fill_one_database(stage: Stage, days: Mapping[str, int], per_day: int) -> Iterator[dict[str, Ground]]:
    """Fill one database that stands for both, and serve it."""
    count = days[LARGE]
    size = replace(TEN_MILLION, rows=count * per_day, days=count)
    with ground(stage, size, KIND) as filled_ground, filled_ground.portal() as server:
        yield dict.fromkeys(days, replace(filled_ground, server=server))


@contextmanager
def fill_databases(stage: Stage, days: Mapping[str, int], per_day: int) -> Iterator[dict[str, Ground]]:
    """Fill both databases, each with a Redis database of its own."""
    with ExitStack() as stack:
        grounds = {}
        for number, (name, count) in enumerate(days.items(), start=1):
            size = replace(TEN_MILLION, name=name, rows=count * per_day, days=count)
            filled_ground = stack.enter_context(ground(stage, size, KIND))
            redis = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/{number}"
            grounds[name] = replace(filled_ground, environment={**filled_ground.environment, "REDIS_URL": redis})
        yield grounds


def merge_in_turns(grounds: Mapping[str, Ground], turns: Turns, records: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each read, by size."""
    times: dict[str, dict[str, list[float]]] = {name: {read: [] for read in READS} for name in grounds}
    for _ in range(turns.merges):
        for name, target in grounds.items():
            for read, seconds in merge.merge_days(target, 1, (records,))[str(records)].items():
                times[name][read] += seconds
    return times


def ask_in_turns(grounds: Mapping[str, Ground], turns: Turns) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each answer, by size and question."""
    times: dict[str, dict[str, list[float]]] = {name: {question: [] for question in QUESTIONS} for name in grounds}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(target.portal()) for name, target in grounds.items()}
        for question, address in QUESTIONS.items():
            for number in range(turns.rounds):
                for name, target in grounds.items():
                    if not number:
                        ask(target, servers[name], address, turns.cold)
                    times[name][question] += ask(target, servers[name], address, turns.requests)
    return times


def ask(target: Ground, server: Served, address: str, times: int) -> list[float]:
    """Return the seconds of so many answers."""
    latencies = []
    for _ in range(times):
        started_at = time.perf_counter()
        with target.answer(server, address) as response:
            response.read()
        latencies.append(time.perf_counter() - started_at)
    return latencies


def build_questions() -> dict[str, str]:
    """Return the addresses of the questions."""
    end = datetime.now(UTC).date()
    start = end - timedelta(days=14)
    return {
        "page of 100": "/api/v1/resource-usage/",
        "page of a project": "/api/v1/resource-usage/?project_id=1042",
        "summary by day and project": f"/api/v1/resource-usage/summary/?from={start}&to={end}&group_by=day,project_id",
    }


QUESTIONS: Final = build_questions()


def verify(target: Ground, first: date, end: date) -> dict[str, float]:
    """Return the seconds that a check and a COPY of these days take, in a fresh process."""
    seconds: dict[str, float] = json.loads(run("tests.benchmarks.scale", str(first), str(end), env=target.environment))
    return seconds


def measure_sizes(url: str) -> dict[str, tuple[int, int]]:
    """Return the bytes of the heap and of each index, and how often each index was scanned."""
    with psycopg.connect(url, autocommit=True) as connection:
        params = {"table": table(KIND)}
        heap = connection.execute(HEAP_SIZE, params).fetchone()
        indexes = connection.execute(INDEX_SIZES, params).fetchall()
    assert heap is not None
    return {"heap": (int(heap[0]), 0)} | {name: (int(size), int(scans)) for name, size, scans in indexes}


def merge_rows(merged: Mapping[str, Mapping[str, list[float]]]) -> list[tuple[str, ...]]:
    """Return the rows of the merges' table."""
    return [(name, *(f"{median(reads[read]):.2f}" for read in READS)) for name, reads in merged.items()]


def ask_rows(latencies: Mapping[str, Mapping[str, list[float]]]) -> list[tuple[str, ...]]:
    """Return the rows of the answers' table."""
    return [
        (name, *(f"{median(times) * 1000:.1f}" for times in questions.values()))
        for name, questions in latencies.items()
    ]


def size_rows(sizes: Mapping[str, Any], sizes_after: Mapping[str, Any], rows: int) -> list[tuple[str, ...]]:
    """Return the rows of the table of sizes."""
    return [
        (name, f"{size / rows:.1f}", f"{sizes_after[name][1] - scans:,}" if name != "heap" else "")
        for name, (size, scans) in sizes.items()
    ]


def merge_aims(merged: Mapping[str, Mapping[str, list[float]]]) -> list[Aim]:
    """Return the aims of merging."""
    new, changed, unchanged = READS
    small, large = ({read: median(times) for read, times in merged[name].items()} for name in (SMALL, LARGE))
    return [
        Aim(f"{new} day, large / small", large[new] / small[new], MOST_GROWTH),
        Aim(f"{changed} / {new} day, large", large[changed] / large[new], MOST_CHANGED),
        Aim(f"{unchanged} / {new} day, large", large[unchanged] / large[new], MOST_UNCHANGED),
    ]


def main(first: str, end: str) -> None:
    """Check the days and copy their rows out, in turns; print the seconds of both, and those of PostgreSQL's CPU."""
    django.setup()
    from django.db import connection

    from sync.management.commands.verify import check_days
    from usage.models import SourceDay

    stored = SourceDay.objects.filter(day__gte=first, day__lt=end, source__slug__startswith="gcore")
    days = list(stored.select_related("source"))
    costs = {"verify": Spent(), "copy": Spent()}
    with (
        psycopg.connect(os.environ["DATABASE_URL"]) as copy_connection,
        copy_connection.cursor() as cursor,
        connection.cursor() as backend_cursor,
    ):
        backend_cursor.execute("SELECT pg_backend_pid()")
        (pid,) = backend_cursor.fetchone()
        for day in days:
            with costs["verify"].measure(pid):
                ((_, mismatches),) = check_days([day])
            if mismatches:
                raise RuntimeError(f"{day}: {mismatches}")
            select = f"SELECT * FROM {table(KIND)} WHERE source_id = {day.source_id} AND day = '{day.day}'"
            with (
                costs["copy"].measure(copy_connection.info.backend_pid),
                cursor.copy(f"COPY ({select}) TO STDOUT") as copy,
            ):
                for _ in copy:
                    pass
    figures = {name: cost.seconds for name, cost in costs.items()}
    figures |= {VERIFY_CPU: costs["verify"].cpu, COPY_CPU: costs["copy"].cpu}
    sys.stdout.write(json.dumps(figures | {"days": len(days)}))


@dataclass
class Spent:
    """Seconds, and those of the CPU of a connection's own process of PostgreSQL."""

    seconds: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def measure(self, pid: int) -> Iterator[None]:
        """Add what the block takes."""
        started, before = time.perf_counter(), read_cpu(pid)
        yield
        self.seconds += time.perf_counter() - started
        self.cpu += read_cpu(pid) - before


if __name__ == "__main__":
    main(*sys.argv[1:])
