"""What long-running programs hold at an instant, and how much more of it late in a run than early."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import psycopg

from tests.benchmarks.cost import children

MIB: Final = 1024  # KiB
CONNECTIONS: Final = """
    SELECT application_name, count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1
"""
SYNCED: Final = """
    SELECT count(*) FROM sync_syncrun WHERE trigger = 'schedule' AND subject = 'days' AND finished_at IS NOT NULL
"""
TABLES: Final = """
    SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY 1
"""


@dataclass(frozen=True)
class Held:
    """What the processes of one program hold: MiB, shared pages counted whole or in parts, and open files."""

    resident: float
    proportional: float
    anonymous: float
    files: int


@dataclass(frozen=True)
class TableSize:
    """A table's rows by PostgreSQL's statistics, and its bytes with indexes."""

    live: int
    dead: int
    size: int


@dataclass(frozen=True)
class Sample:
    """One look; `synced` counts the scheduled syncs that have ended, `waiting` is the longest the queue was since the look before, `logged` the bytes per tick since then."""

    minute: float
    held: Mapping[str, Held]
    connections: Mapping[str, int]
    tables: Mapping[str, TableSize]
    synced: int
    waiting: int
    keys: int
    logged: Mapping[str, float]


def measure_processes(pid: int) -> Held:
    """Return what a process and its children hold; a child that ends meanwhile counts as nothing."""
    memory = {"Rss": 0, "Pss": 0, "Pss_Anon": 0}
    files = 0
    for process_pid in (pid, *children(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            files += sum(1 for _ in Path(f"/proc/{process_pid}/fd").iterdir())
            for line in Path(f"/proc/{process_pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, _, value = line.partition(":")
                if name in memory:
                    memory[name] += int(value.split()[0])
    return Held(memory["Rss"] / MIB, memory["Pss"] / MIB, memory["Pss_Anon"] / MIB, files)


def measure_database(url: str) -> tuple[dict[str, int], dict[str, TableSize], int]:
    """Return the connections by application, the size of every table, and the scheduled syncs that have ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        connections = dict(connection.execute(CONNECTIONS).fetchall())
        tables = {name: TableSize(*sizes) for name, *sizes in connection.execute(TABLES).fetchall()}
        ((synced,),) = connection.execute(SYNCED).fetchall()
        return connections, tables, synced


def split_quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the second and the last quarter; the first is the warm-up."""
    quarter = len(samples) // 4
    return samples[quarter : 2 * quarter], samples[-quarter:]


def compare(samples: Sequence[Sample], measure: Callable[[Sample], float]) -> float:
    """Return the median of the last quarter over that of the second; of nothing that became something, infinity."""
    early, late = (median(map(measure, quarter)) for quarter in split_quarters(samples))
    return late / early if early else float("inf") if late else 1.0


def find_most(samples: Iterable[Sample], measure: Callable[[Sample], float]) -> float:
    """Return the largest of a figure."""
    return max(map(measure, samples))
