"""Merging a day beside millions of rows: a new day, one of which 5 % changed, and an unchanged one, of two sizes.

`python -m tests.benchmarks.merge ROUNDS RECORDS…` reads days of so many resources into the database of DATABASE_URL,
from a vendor that costs nothing, and prints the seconds as JSON. Everything the engine does with a day is in them: the
claim, the spool, the digests, the merge, the roll-ups and the record of it.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import django

from tests.benchmarks.ground import TEN_MILLION, Ground, Size, ground
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.stage import Stage
from tests.benchmarks.starting import run

KIND: Final = "resource-usage"
DAYS: Final = 320
FEW_DAYS: Final = 40
ROWS: Final = 20_000_000
RECORDS: Final = (30_000, 100_000)
FEW_RECORDS: Final = (300, 1_000)
ROUNDS: Final = 3
READS: Final = ("new", "5 % changed", "unchanged")
CHANGED_EVERY: Final = 20
FIRST_DAY: Final = date(2026, 1, 1)
MOST_CHANGED, MOST_UNCHANGED, MOST_GROWTH = 2.0, 0.3, 4.5  # the aims

Took = dict[str, dict[str, list[float]]]  # by records of the day, and by read


class Merge:
    """The benchmark; `rows` are in the table before."""

    def __init__(self, rows: int = ROWS) -> None:
        self.rows = rows // DAYS * DAYS

    def __call__(self, stage: Stage, *, quick: bool) -> Report:
        """Fill a table, have days merged into it in a process of its own, and report."""
        days = FEW_DAYS if quick else DAYS
        rows, records, rounds = (days, FEW_RECORDS, 1) if quick else (self.rows, RECORDS, ROUNDS)
        size = replace(TEN_MILLION, name=f"{rows:,} rows", rows=rows, days=days)
        with ground(stage, size, KIND) as ready:
            times = merge_days(ready, rounds, records)
        return Report(
            name="merge",
            title="Merging a day of resources",
            facts=facts(stage, size, rounds),
            tables=[Table("Seconds of a read and its merge", ("records", *READS), build_table_rows(times))],
            aims=aims(times),
            figures={"seconds": times},
            judged=not quick and rows >= ROWS,
        )


def merge_days(ready: Ground, rounds: int, records: tuple[int, ...]) -> Took:
    """Have the days merged by a fresh process; returns its seconds."""
    times: Took = json.loads(run("tests.benchmarks.merge", str(rounds), *map(str, records), env=ready.environment))
    return times


def facts(stage: Stage, size: Size, rounds: int) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded, fsync on)",
        "rows before": f"{size.rows:,} resources over {size.days} days, 2 sources",
        "rounds": f"{rounds}, both sizes taking turns, medians shown",
        "seconds": "claim, spool, digests, merge, roll-ups and record of one day, by one worker; no vendor is waited for",
    }


def build_table_rows(times: Took) -> list[tuple[str, ...]]:
    """Return the table's rows."""
    return [
        (f"{int(records):,}", *(f"{median(reads[read]):.2f}" for read in READS)) for records, reads in times.items()
    ]


def aims(reads_by_size: Took) -> list[Aim]:
    """Return the aims with what was measured."""
    middle = {
        records: {read: median(times) for read, times in reads.items()} for records, reads in reads_by_size.items()
    }
    new, changed, unchanged = READS
    small, large = middle
    results = []
    for records, reads in middle.items():
        results.append(Aim(f"{int(records):,} records: {changed} / new", reads[changed] / reads[new], MOST_CHANGED))
        results.append(
            Aim(f"{int(records):,} records: {unchanged} / new", reads[unchanged] / reads[new], MOST_UNCHANGED)
        )
    growth = f"{int(large):,} / {int(small):,} records"
    return results + [
        Aim(f"{read}: {growth}", middle[large][read] / middle[small][read], MOST_GROWTH) for read in READS
    ]


def main(rounds: str, *records: str) -> None:
    """Merge the days and print the seconds."""
    django.setup()
    from usage.models import Source

    values = {"vendor": "gcore", "base_url": "https://127.0.0.1", "credential": "none", "backfill_from": FIRST_DAY}
    source, _ = Source.objects.get_or_create(slug="merged", defaults=values)
    first = FIRST_DAY + timedelta(days=source.days.count())
    times: Took = {number: {read: [] for read in READS} for number in records}
    days = iter(first + timedelta(days=number) for number in range(1 + int(rounds) * len(records)))
    merge_one(source, next(days), FEW_RECORDS[0])  # so that nobody is measured cold
    for _ in range(int(rounds)):
        for number in records:
            for read, seconds in merge_one(source, next(days), int(number)).items():
                times[number][read].append(seconds)
    sys.stdout.write(json.dumps(times))


def merge_one(source: Any, on: date, number: int) -> dict[str, float]:
    """Read a day of `number` resources three times; raises RuntimeError where a read does not do what it is to."""
    changed = number // CHANGED_EVERY
    expected = dict(zip(READS, ((number, 0, 0), (0, changed, number - changed), (0, 0, number)), strict=True))
    first, second = build_rows(on, number, changed=False), build_rows(on, number, changed=True)
    seconds = {}
    for read, rows in zip(READS, (first, second, second), strict=True):
        with scripted(on, rows):
            seconds[read], attempt = read_timed(source, on)
        if (attempt.inserted, attempt.changed, attempt.unchanged) != expected[read]:
            raise RuntimeError(f"A day that is {read} was merged as {attempt.outcome}: {attempt.error}")
    return seconds


def read_timed(source: Any, on: date) -> tuple[float, Any]:
    """Read a day; returns the seconds it took, and the attempt."""
    from tests.support.scripted_vendor import read_day

    started_at = time.perf_counter()
    attempt = read_day(source, on)
    return time.perf_counter() - started_at, attempt


@contextmanager
def scripted(on: date, rows: list[Any]) -> Iterator[None]:
    """Let the engine read `rows` of a day from a vendor that costs nothing."""
    from sync.vendors.base import Account
    from tests.support.scripted_vendor import Listing, NoHTTP, build_reader_class
    from usage.models import ResourceUsage

    listing = Listing(records={on: rows}, kind=ResourceUsage, page_size=1000)

    @contextmanager
    def open_reader(source: Any, *_: Any, **__: Any) -> Iterator[Any]:
        yield build_reader_class(listing)(Account(source.slug, source.zone, source.options), NoHTTP())  # type: ignore[arg-type]

    with patch("sync.engine.load.open_reader", open_reader):
        yield


def build_rows(on: date, number: int, *, changed: bool) -> list[Any]:
    """Return resources of a day; `changed`: with another quantity in every twentieth of them."""
    from usage.models import ResourceRow

    midnight = datetime(on.year, on.month, on.day, tzinfo=UTC)
    return [
        ResourceRow(
            UUID(int=place * 2**64 + on.toordinal()),
            "instance",
            "g2-standard-4-8",
            Decimal(1440 + (changed and place % CHANGED_EVERY == 0)) / 7,
            "minutes",
            1000 + place % 200,
            1 + place % 4,
            str(UUID(int=place)),
            f"resource {place}",
            midnight,
            midnight + timedelta(hours=23),
            '{"flavor":"g2-standard-4-8"}',
            '{"team":"data"}',
        )
        for place in range(number)
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
