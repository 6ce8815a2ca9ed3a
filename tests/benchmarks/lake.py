"""The lake: a million rows published beside the same rows exported as Parquet, then exported from the lake; and a year
of 30 sources with few records, in which metadata grows.

`python -m tests.benchmarks.lake publish`, `export`, `archived` and `grow DAYS SOURCES` work on the database of DATABASE_URL and the lake of
PORTAL_LAKE_URL, and print what they measured as JSON.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import django
from django.db.models import F
from pyarrow import parquet

from portal.environment import BASE_DIR
from tests.benchmarks.contenders.lane import read_peak
from tests.benchmarks.ground import MILLION, Ground, ground
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.stage import Stage

KIND: Final = "resource-usage"
ROWS, FEW_ROWS, DAYS = 1_000_000, 100_000, 32
ROUNDS: Final = 3
YEAR, SOURCES = 365, 30
RESTATED: Final = 10  # of so many sources, one restates the day before on each day of the year
SOURCE: Final = """
    INSERT INTO usage_source (slug, vendor, base_url, credential, credential_env, time_zone, options, enabled,
        interval_minutes, backfill_from, look_back_days, max_concurrency, halt_reason, updated_at)
    SELECT 'source-' || n, 'ona', 'https://example.com', '', '', 'UTC', '{}', true, 60, %(first)s, 3, 2, '', now()
    FROM generate_series(1, %(sources)s) AS n
"""
DAY: Final = """
    INSERT INTO usage_sourceday (source_id, day, starts_at, ends_at, state, complete, loaded_at, records, stored_digest)
    SELECT id, %(day)s, %(start)s, %(start)s + INTERVAL '1 day', 'loaded', true, %(now)s, 5, md5('new') FROM usage_source
"""
RUNS: Final = """
    INSERT INTO usage_environmentusage (source_id, day, record_id, project_id, created_at, stopped_at)
    SELECT id, %(day)s, md5(slug || %(day)s || n), md5('project' || n), %(start)s, %(start)s + n * INTERVAL '1 hour'
    FROM usage_source, generate_series(1, 5) AS n
"""
RESTATE: Final = (
    "UPDATE usage_environmentusage SET revision = revision + 1 WHERE day = %(before)s AND source_id %% %(restated)s = 1",
    "UPDATE usage_sourceday SET loaded_at = %(now)s WHERE day = %(before)s AND source_id %% %(restated)s = 1",
)


def run(stage: Stage, *, quick: bool) -> Report:
    """Publish and export in turns, and report."""
    sizes = (3_200, 1_600) if quick else (ROWS, FEW_ROWS)
    names = ("publish", "export", "export archived", "publish few", "export few archived")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(1 if quick else ROUNDS):
        for rows in sizes:
            with ground(stage, replace(MILLION, rows=rows, days=DAYS), KIND) as ready:
                if rows == sizes[0]:
                    runs["export"].append(measure(ready, "export"))
                    runs["publish"].append(measure(ready, "publish"))
                    runs["export archived"].append(measure(ready, "archived"))
                else:
                    runs["publish few"].append(measure(ready, "publish"))
                    runs["export few archived"].append(measure(ready, "archived"))
    speed = median(e["seconds"] / p["seconds"] for e, p in zip(runs["export"], runs["publish"], strict=True))
    slower = median(a["seconds"] / e["seconds"] for e, a in zip(runs["export"], runs["export archived"], strict=True))
    peaks = {name: median(measurement["peak"] for measurement in runs[name]) for name in names}
    return Report(
        name="lake",
        title=f"The lake: {sizes[0]:,} rows published, and exported",
        facts=surroundings() | {"rows": f"{sizes[0]:,} resources of 2 sources over {DAYS} days; a folder on this disk"},
        tables=[
            Table(
                "A fresh process each",
                ("", "rows", "seconds", "rows/s", "peak MiB"),
                [
                    (
                        name,
                        f"{measurement['rows']:,}",
                        f"{measurement['seconds']:.1f}",
                        f"{measurement['rows'] / measurement['seconds']:,.0f}",
                        f"{measurement['peak']:.0f}",
                    )
                    for name, measurements in runs.items()
                    for measurement in measurements
                ],
            ),
        ],
        aims=[
            Aim("rows/s, publish / Parquet export", speed, 0.5, at_least=True),
            Aim(f"peak memory, {sizes[0]:,} rows / {sizes[1]:,}", peaks["publish"] / peaks["publish few"], 1.3),
            Aim("seconds, export from the lake / from PostgreSQL", slower, 5),
            Aim(
                f"peak memory of an export from the lake, {sizes[0]:,} rows / {sizes[1]:,}",
                peaks["export archived"] / peaks["export few archived"],
                1.3,
            ),
        ],
        figures={"took": runs},
        judged=not quick,
    )


def run_year(stage: Stage, *, quick: bool) -> Report:
    """Let a year go by, and report."""
    with ground(stage, replace(MILLION, rows=2 * DAYS, days=DAYS), "environment-usage") as ready:
        growth = measure(ready, "grow", str(6 if quick else YEAR), str(SOURCES))
    rows = growth["rows"]
    return Report(
        name="lake-year",
        title=f"The lake: a year of {SOURCES} sources",
        facts=surroundings() | {"rows": f"{SOURCES} sources with 5 runs a day; a folder on this disk"},
        tables=[
            Table(
                f"A round a day; one of {RESTATED} sources restates the day before",
                (
                    "after days",
                    "s a round",
                    "CPU s a round",
                    "snapshots",
                    "data files",
                    "manifests",
                    "metadata.json KiB",
                    "files",
                    "all files MiB",
                ),
                [tuple(f"{value:,.4g}" for value in row.values()) for row in rows],
            )
        ],
        aims=[
            Aim("CPU seconds of a round, last month / second", rows[-1]["cpu"] / rows[min(1, len(rows) - 1)]["cpu"], 3)
        ],
        figures={"grown": growth},
        judged=not quick,
    )


def measure(ready: Ground, *arguments: str) -> dict[str, Any]:
    """Return what a fresh process measured."""
    lake = {"PORTAL_LAKE_URL": f"file://{ready.scratch}/lake", "PORTAL_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "tests.benchmarks.lake", *arguments]
    environment = {**os.environ, **ready.environment, **lake}
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def publish_all() -> dict[str, Any]:
    """Publish everything."""
    from usage.lake.publish import publish

    started_at, rows = time.perf_counter(), 0
    while (published := publish()) is not None:
        rows += published.records
        if not published.more:
            break
    return {"rows": rows, "seconds": time.perf_counter() - started_at, "peak": get_peak()}


def export_all() -> dict[str, Any]:
    """Export everything as the portal does, into a file."""
    from usage.api.serializers import RECORD_SERIALIZERS
    from usage.columns import get_columns
    from usage.exports.copy import ExportQuery
    from usage.exports.formats import FORMATS
    from usage.models import KINDS
    from usage.snapshot import open_snapshot

    kind = KINDS[KIND]
    path = Path(os.environ["BENCH_SCRATCH"]) / "export.parquet"
    started_at = time.perf_counter()
    with open_snapshot() as snapshot, path.open("wb") as file:
        records = kind.objects.current().order_by("-day", "pk")
        for block in FORMATS["parquet"].write(ExportQuery(snapshot, records, get_columns(RECORD_SERIALIZERS[kind]))):
            file.write(block)
    seconds = time.perf_counter() - started_at
    return {"rows": kind.objects.current().count(), "seconds": seconds, "peak": get_peak()}


def export_archived() -> dict[str, Any]:
    """Have the records in the lake alone, and export everything, into a file."""
    from django.db import connection

    from usage.api.serializers import RECORD_SERIALIZERS
    from usage.columns import get_columns
    from usage.exports.archive import ArchivedDay, ArchivedRange
    from usage.exports.copy import ExportQuery
    from usage.exports.formats import FORMATS
    from usage.models import KINDS, SourceDay
    from usage.snapshot import open_snapshot

    kind = KINDS[KIND]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {kind._meta.db_table}")
    columns = ("source_id", "source__slug", "day", "starts_at", "ends_at", "records")
    days = [ArchivedDay(*row) for row in SourceDay.objects.filter(records__gt=0).values_list(*columns)]
    archive = ArchivedRange(kind, days, None, None)
    archive.ensure_readable()
    path = Path(os.environ["BENCH_SCRATCH"]) / "archived.parquet"
    started_at = time.perf_counter()
    with open_snapshot() as snapshot, path.open("wb") as file:
        records = kind.objects.current().order_by(F("day").desc(), F("source_id").desc(), F("resource_key").desc())
        query = ExportQuery(snapshot, records, get_columns(RECORD_SERIALIZERS[kind]), archive=archive)
        for block in FORMATS["parquet"].write(query):
            file.write(block)
    seconds = time.perf_counter() - started_at
    return {"rows": parquet.read_metadata(path).num_rows, "seconds": seconds, "peak": get_peak()}


def get_peak() -> float:
    """Return the peak memory of this process, in MiB."""
    return read_peak() / 1024


def grow(days: int, sources: int) -> dict[str, Any]:
    """Let days of some sources go by, each with a round that publishes it and what was restated, and return every 30th.

    Seconds of a round are the mean of those since the row before.
    """
    import time_machine
    from django.db import connection

    from usage.models import EnvironmentUsage, SourceDay
    from usage.partitions import ensure_partitions

    # Files are removed by their age: the days go by in the future.
    first = datetime.now(UTC).date() + timedelta(days=3)
    ensure_partitions(EnvironmentUsage, first, first + timedelta(days=days))
    EnvironmentUsage.objects.all().delete()
    SourceDay.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(SOURCE, {"first": first, "sources": sources - 2})
    rows, times = [], []
    for number in range(days):
        day = first + timedelta(days=number)
        now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=25)
        with time_machine.travel(now):
            times.append(pass_day(day, now))
        if number % 30 == 29 or number == days - 1:
            seconds, cpu = (sum(values) / len(times) for values in zip(*times, strict=True))
            rows.append({"days": number + 1, "seconds": seconds, "cpu": cpu, **describe()})
            print(rows[-1], file=sys.stderr, flush=True)
            times = []
    return {"rows": rows, "peak": get_peak()}


def pass_day(day: date, now: datetime) -> tuple[float, float]:
    """Store a day of every source, restate some of the one before, publish; returns the seconds of it, and of CPU."""
    from django.db import connection

    from usage.lake.publish import publish

    params = {"day": day, "start": now - timedelta(hours=25), "now": now, "before": day - timedelta(days=1)}
    with connection.cursor() as cursor:
        for statement in (DAY, RUNS, *RESTATE):
            cursor.execute(statement, params | {"restated": RESTATED})
    started_at = time.perf_counter(), time.process_time()
    publish()
    return time.perf_counter() - started_at[0], time.process_time() - started_at[1]


def describe() -> dict[str, float]:
    """Return the size of what the lake is made of."""
    from usage.lake.catalog import open_lake
    from usage.lake.files import list_files
    from usage.models import EnvironmentUsage

    with open_lake() as lake:
        table = lake.usage[EnvironmentUsage]
        current = table.current_snapshot()
        assert current is not None
        folder = Path(os.environ["PORTAL_LAKE_URL"].removeprefix("file://"))
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        return {
            "snapshots": len(table.snapshots()),
            "files": len(list_files(table)),
            "manifests": len(current.manifests(table.io)),
            "metadata": Path(table.metadata_location.removeprefix("file://")).stat().st_size / 1024,
            "files_on_disk": len(sizes),
            "all": sum(sizes) / 2**20,
        }


def main(name: str, *arguments: str) -> None:
    """Do one thing, and print what was measured."""
    django.setup()
    works = {
        "publish": publish_all,
        "export": export_all,
        "archived": export_archived,
        "grow": lambda: grow(*map(int, arguments)),
    }
    sys.stdout.write(json.dumps(works[name]()))


if __name__ == "__main__":
    main(*sys.argv[1:])
