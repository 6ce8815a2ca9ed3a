"""What a soak found: the last quarter beside the second."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Final

from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.samples import Sample, compare, find_most, split_quarters

PROGRAMS: Final = ("web", "worker", "beat")
# Tables that grow with every sync or request by design, by how their names begin; docs/operations.md, "Prune".
GROWING: Final[Mapping[str, str]] = {
    "sync_loadattempt": "prune",
    "sync_syncrun": "prune",
    "usage_recordrevision": "prune",
    "usage_rejectedrecord": "prune",
    "usage_restatement": "stays",
    "django_session": "prune",
    "incidents_": "prune",
    "accounts_auditentry": "stays",
}
MOST_MEMORY, MOST_CONNECTIONS, MOST_DEAD, MOST_SIZE, MOST_LOG, MOST_FILES = 1.1, 1.0, 1.5, 1.1, 1.1, 1.1  # the aims
MOST_KEYS = 1.1
LEAST_SYNCED = 0.8
TICKS_OF_MESSAGES = 3
Measure = Callable[[Sample], float]


def build(
    version: str, samples: Sequence[Sample], statuses: Counter[str], sources: int, tick: int, *, judged: bool = True
) -> Report:
    """Return the report of a soak."""
    failed = sum(number for status, number in statuses.items() if status[0] != "2")
    return Report(
        name="soak",
        title=f"{samples[-1].minute / 60:.1f} simulated hours of {sources} sources",
        facts=surroundings()
        | {
            "servers": f"PostgreSQL {version} (embedded), granian with 2 workers, a Celery worker of 2, beat",
            "time": f"a tick, a minute in production, takes {tick} s; each source is due every simulated hour",
            "looks": f"{len(samples)}; the medians of the last quarter beside those of the second",
            "answers": ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items())),
        },
        tables=[
            Table("Second and last quarter", ("", "second", "last", "ratio"), build_rows(samples)),
            Table("Tables that grow by design", ("", "rows, second", "rows, last", "goes by"), list_growing(samples)),
            Table("Largest tables that do not", ("", "KiB, second", "KiB, last", "most dead"), list_steady(samples)),
        ],
        aims=[*build_aims(samples, sources), Aim("requests not answered by 2xx", failed, 0)],
        figures={"samples": [asdict(sample) for sample in samples], "answers": dict(statuses)},
        judged=judged,
    )


def find_reason(table: str) -> str | None:
    """Return by what the rows of a table that grows go; None where it is not to grow."""
    return next((reason for start, reason in GROWING.items() if table.startswith(start)), None)


def get_held(program: str, figure: str) -> Measure:
    """Return what reads a figure of a program."""
    return lambda sample: float(getattr(sample.held[program], figure))


def get_connections(application: str) -> Measure:
    """Return what reads the connections of an application."""
    return lambda sample: sample.connections.get(application, 0)


def get_logged(program: str) -> Measure:
    """Return what reads the bytes that a program logs in a tick."""
    return lambda sample: sample.logged[program]


def list_measures() -> dict[str, tuple[Measure, float]]:
    """Return each figure that has to stay flat, and the most that its last quarter may be of the second."""
    return {
        **{f"{name}: memory, MiB": (get_held(name, "proportional"), MOST_MEMORY) for name in PROGRAMS},
        "postgres: private memory, MiB": (get_held("postgres", "anonymous"), MOST_MEMORY),
        "valkey: memory, MiB": (get_held("valkey", "proportional"), MOST_MEMORY),
        "connections": (lambda s: sum(s.connections.values()), MOST_CONNECTIONS),
        **{f"{name}: open files": (get_held(name, "files"), MOST_FILES) for name in PROGRAMS},
        "dead rows": (lambda s: sum(size.dead for size in s.tables.values()), MOST_DEAD),
        "KiB of tables that are not to grow": (sum_steady, MOST_SIZE),
        "keys in Redis": (lambda s: s.keys, MOST_KEYS),
        "log, bytes a tick": (lambda s: sum(s.logged.values()), MOST_LOG),
    }


def sum_steady(sample: Sample) -> float:
    """Return the KiB of the tables that have no reason to grow."""
    return sum(size.size for name, size in sample.tables.items() if find_reason(name) is None) / 1024


def build_aims(samples: Sequence[Sample], sources: int) -> list[Aim]:
    """Return every promise with what was measured."""
    ratios = [
        Aim(f"{name}, last / second quarter", compare(samples, measure), limit)
        for name, (measure, limit) in list_measures().items()
    ]
    _, late = split_quarters(samples)
    hours = (late[-1].minute - late[0].minute) / 60
    done = (late[-1].synced - late[0].synced) / (sources * hours) if hours else 0.0
    # A tick sends two loads and one message for names of each source, and a few of its own.
    most = TICKS_OF_MESSAGES * (3 * sources + 5)
    return [
        *ratios,
        # Without it a portal that gets to nothing would pass.
        Aim("syncs of a source in a simulated hour, last quarter", done, LEAST_SYNCED, at_least=True),
        Aim("messages waiting at most, last quarter", find_most(late, lambda s: s.waiting), most),
    ]


def build_rows(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Return the medians of both quarters and their ratio, with what has no aim of its own."""
    counts: dict[str, Measure] = {
        **{f"{name}: resident, MiB": get_held(name, "resident") for name in samples[0].held},
        **{
            f"connections: {name}": get_connections(name)
            for name in sorted({name for sample in samples for name in sample.connections})
        },
        **{f"log of {name}, bytes a tick": get_logged(name) for name in samples[0].logged},
        "messages waiting at most": lambda s: s.waiting,
    }
    measures = {name: measure for name, (measure, _) in list_measures().items()} | counts
    early, late = split_quarters(samples)
    return [
        (
            name,
            f"{median(map(measure, early)):,.1f}",
            f"{median(map(measure, late)):,.1f}",
            f"{compare(samples, measure):.2f}",
        )
        for name, measure in measures.items()
    ]


def list_growing(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Return the tables that grow by design and have rows."""
    early, late = (quarter[-1] for quarter in split_quarters(samples))
    return [
        (name, f"{early.tables[name].live if name in early.tables else 0:,}", f"{table.live:,}", reason)
        for name, table in late.tables.items()
        if (reason := find_reason(name)) is not None and table.live
    ]


def list_steady(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Return the ten largest of the other tables."""
    early, late = (quarter[-1] for quarter in split_quarters(samples))
    steady = {name: table for name, table in late.tables.items() if find_reason(name) is None}
    return [
        (
            name,
            f"{early.tables[name].size / 1024 if name in early.tables else 0:,.0f}",
            f"{table.size / 1024:,.0f}",
            f"{max(sample.tables[name].dead for sample in samples if name in sample.tables):,.0f}",
        )
        for name, table in sorted(steady.items(), key=lambda item: -item[1].size)[:10]
    ]
