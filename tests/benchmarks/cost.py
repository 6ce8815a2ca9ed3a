"""What a race costs: wall time, and CPU of everybody who has a part in it, read from /proc."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from tests.benchmarks.starting import finish, start

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """One race: `cpu` of the contender's own processes, the others' beside it; seconds and MiB."""

    records: int
    wall: float
    cpu: float
    postgres_cpu: float
    sandbox_cpu: float
    peak_mib: float

    @classmethod
    def middle(cls, costs: Sequence[Self]) -> Self:
        """Return the median of each figure over several races."""
        names = ("wall", "cpu", "postgres_cpu", "sandbox_cpu", "peak_mib")
        return cls(costs[0].records, *(median(getattr(cost, name) for cost in costs) for name in names))

    @classmethod
    def total(cls, turns: Sequence[Self]) -> Self:
        """Return the sum of several turns, and the largest memory."""
        return cls(
            records=sum(turn.records for turn in turns),
            wall=sum(turn.wall for turn in turns),
            cpu=sum(turn.cpu for turn in turns),
            postgres_cpu=sum(turn.postgres_cpu for turn in turns),
            sandbox_cpu=sum(turn.sandbox_cpu for turn in turns),
            peak_mib=max(turn.peak_mib for turn in turns),
        )

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall

    @property
    def cpu_each(self) -> float:
        """Microseconds of the contender's own CPU for each record."""
        return self.cpu / self.records * 1e6

    @property
    def postgres_each(self) -> float:
        """Microseconds of PostgreSQL's CPU for each record."""
        return self.postgres_cpu / self.records * 1e6

    @property
    def sandbox_each(self) -> float:
        """Microseconds of the sandbox's CPU for each record."""
        return self.sandbox_cpu / self.records * 1e6

    @property
    def all_each(self) -> float:
        """Microseconds of CPU for each record, of the contender and of PostgreSQL together."""
        return self.cpu_each + self.postgres_each


def stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the third on; raises OSError once the process is gone."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


def children(pid: int) -> list[int]:
    """Return the live children of a process."""
    pids = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and int(stat(process.name)[1]) == pid:
                pids.append(int(process.name))
        except OSError:
            continue
    return pids


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process, of its live children, and of those it has waited for."""
    while True:
        child_pids = children(pid)
        try:
            ticks = sum(map(int, stat(pid)[11:15])) + sum(
                int(number) for child in child_pids for number in stat(child)[11:13]
            )
        except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between opening and reading
            continue
        # A child that was waited for meanwhile would be counted twice, or not at all.
        if children(pid) == child_pids:
            return ticks / TICK


def read_cpu(pid: int) -> float:
    """Return the CPU seconds of one process, finer than `cpu_of`."""
    return int(Path("/proc", str(pid), "schedstat").read_text().split()[0]) / 1e9


class Racer:
    """A contender's process (contenders/lane.py has its side)."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.command = command
        self.process = start(command, env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.process.kill()
        finish(self.process)

    def line(self, is_accepted: Callable[[str], bool]) -> str:
        """Return the next line that is `accepted`; raises RuntimeError where the process ends before it."""
        for line in self.process.stdout or ():
            if is_accepted(line):
                return line
        raise RuntimeError(f"{' '.join(self.command)} ended early; what it said is above.")

    def ready(self) -> None:
        """Wait until it is ready to start."""
        self.line(lambda line: line == "ready\n")

    def go(self) -> None:
        """Let it start, or after its end let it leave."""
        print(file=self.process.stdin, flush=True)

    def result(self) -> Mapping[str, Any]:
        """Wait for its end and return what it reports."""
        line: Mapping[str, Any] = json.loads(self.line(lambda line: line.startswith('{"records"')))
        return line


@dataclass(frozen=True)
class Entry:
    """A contender: its command, the environment with its database, and in how many turns it does its work."""

    command: Sequence[str]
    environment: Mapping[str, str]
    turns: int = 1


def race(entries: Sequence[Entry], postgres: int, sandbox: int) -> list[Cost]:
    """Run contenders with as many turns each, one turn of each after the other, and return what each cost.

    `postgres` and `sandbox` are the process ids of the postmaster and of the sandbox.
    A machine that others share is now faster, now slower, by half and for seconds: so it is for all of them.
    """
    with ExitStack() as stack:
        racers = [stack.enter_context(Racer(entry.command, entry.environment)) for entry in entries]
        for racer in racers:
            racer.ready()
        turns: list[list[Cost]] = [[] for _ in racers]
        for number in range(entries[0].turns):
            # None is always the first.
            for racer, costs in list(zip(racers, turns, strict=True))[:: -1 if number % 2 else 1]:
                costs.append(take_turn(racer, postgres, sandbox))
        for racer in racers:
            racer.go()
    return [Cost.total(costs) for costs in turns]


def take_turn(racer: Racer, postgres: int, sandbox: int) -> Cost:
    """Let a contender do one turn of its work and return what it cost."""
    before = cpu_of(postgres), cpu_of(sandbox)
    started_at = time.perf_counter()
    racer.go()
    result = racer.result()
    wall = time.perf_counter() - started_at
    after = cpu_of(postgres), cpu_of(sandbox)
    return Cost(
        records=result["records"],
        wall=wall,
        cpu=result["cpu"],
        postgres_cpu=after[0] - before[0],
        sandbox_cpu=after[1] - before[1],
        peak_mib=result["peak_kib"] / 1024,
    )
