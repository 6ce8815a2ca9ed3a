"""CSV of everything: the portal over HTTP, psql's \\copy of the same rows and columns, and django-import-export."""

import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from tests.benchmarks.contenders.columns import select
from tests.benchmarks.cost import Racer
from tests.benchmarks.ground import Findings, Ground
from tests.benchmarks.report import Aim
from tests.benchmarks.serving import Served

BLOCK = 1 << 20
COLUMNS = ("export", "rows", "seconds", "rows/s", "MiB/s", "peak MiB")
AS_CSV = "WITH (FORMAT csv, HEADER)"
EXPORTED = "tests.benchmarks.contenders.stock.exported"


def measure(ground: Ground) -> Findings:
    """Export by everybody in turns, all of them into a file, and watch the memory of the portal's workers."""
    found = Findings()
    whole: dict[str, list[float]] = {"portal": [], BESIDE: []}
    with ground.portal() as server:
        rows, size = checked(ground, server)
        peaks = peak_of(ground, server, last_tenth(ground)), peak_of(ground, server, "")
        for _ in range(ground.size.whole_rounds):
            whole["portal"].append(timed(lambda path: downloaded(ground, server, "", path), ground.scratch))
            whole[BESIDE].append(timed(lambda path: copied(ground, path), ground.scratch))
    seconds = {name: median(times) for name, times in whole.items()}
    peak = {"portal": f"{peaks[1]:.0f}", BESIDE: ""}
    for name, took in seconds.items():
        speed = f"{rows / took:,.0f}", f"{size / took / 2**20:.1f}"
        found.rows.append((f"{ground.kind}, {name}", f"{rows:,}", f"{took:.2f}", *speed, peak[name]))
    few_rows, few_seconds, few_peak = exported(ground)
    speed = f"{few_rows / few_seconds:,.0f}", ""
    theirs = f"{ground.kind}, django-import-export"
    found.rows.append((theirs, f"{few_rows:,}", f"{few_seconds:.2f}", *speed, f"{few_peak:.0f}"))
    found.figures = {
        "seconds": whole,
        "rows": rows,
        "bytes": size,
        "peak_mib": peaks,
        "others": (few_rows, few_seconds),
    }
    speeds = seconds[BESIDE] / seconds["portal"], rows / seconds["portal"] / (few_rows / few_seconds)
    found.aims = [
        Aim(f"{ground.kind}, CSV: speed, portal / {BESIDE}", speeds[0], 0.8, at_least=True),
        Aim(f"{ground.kind}, CSV: rows/s, portal / django-import-export", speeds[1], 5, at_least=True),
        Aim(f"{ground.kind}, CSV: peak memory, all rows / a tenth of them", peaks[1] / peaks[0], 1.2),
    ]
    return found


def timed(work: Callable[[Path], None], folder: Path) -> float:
    """Return the seconds that `work` takes to write a file, which is gone afterwards."""
    path = folder / "export.csv"
    started = time.perf_counter()
    work(path)
    took = time.perf_counter() - started
    path.unlink()
    return took


def downloaded(ground: Ground, server: Served, narrowed: str, path: Path) -> None:
    """Save the portal's export."""
    address = f"/api/v1/{ground.kind}/?format=csv{narrowed}"
    buffer = memoryview(bytearray(BLOCK))
    with ground.answer(server, address) as response, path.open("wb") as file:
        while came := response.readinto(buffer):
            file.write(buffer[:came])


def psql_copy(ground: Ground, path: Path) -> None:
    """Let psql copy the same rows."""
    command = f"\\copy ({select(ground.kind)}) TO '{path}' {AS_CSV}"
    subprocess.run([PSQL, "--no-psqlrc", "--quiet", "--command", command, ground.url], check=True)


def libpq_copy(ground: Ground, path: Path) -> None:
    """Copy the same rows by COPY … TO STDOUT, where no psql is installed."""
    copy = f"COPY ({select(ground.kind)}) TO STDOUT {AS_CSV}"
    with psycopg.connect(ground.url) as connection, path.open("wb") as file:
        with connection.cursor() as cursor, cursor.copy(copy) as rows:
            for row in rows:
                file.write(row)


PSQL = shutil.which("psql") or ""
copied = psql_copy if PSQL else libpq_copy
BESIDE = "psql \\copy" if PSQL else "COPY TO STDOUT by psycopg"


def checked(ground: Ground, server: Served) -> tuple[int, int]:
    """Return the rows and bytes of the portal's export; raises RuntimeError where psql's has other rows."""
    counts = []
    for work in (lambda path: downloaded(ground, server, "", path), lambda path: copied(ground, path)):
        path = ground.scratch / "checked.csv"
        work(path)
        with path.open("rb") as file:
            counts.append((sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b"")) - 1, file.tell()))
        path.unlink()
    (ours, size), (theirs, _) = counts
    if ours != theirs:
        raise RuntimeError(f"The portal exports {ours:,} rows of {ground.kind}, {BESIDE} {theirs:,}.")
    return ours, size


def last_tenth(ground: Ground) -> str:
    """Return the filter for the last tenth of the days."""
    first = datetime.now(UTC).date() - timedelta(days=max(ground.size.days // 10, 1))
    return f"&from={first}"


def peak_of(ground: Ground, server: Served, narrowed: str) -> float:
    """Return the peak memory of the portal's workers during one export, in MiB."""
    server.forget_peak()
    timed(lambda path: downloaded(ground, server, narrowed, path), ground.scratch)
    return server.peak_mib


def exported(ground: Ground) -> tuple[int, float, float]:
    """Return the rows that django-import-export exported, the seconds it took, and its peak memory in MiB."""
    from tests.benchmarks.ona import other_python

    command = [str(other_python()), "-m", EXPORTED, ground.kind, str(ground.size.few_rows)]
    with Racer(command, ground.environment) as racer:
        racer.ready()
        started = time.perf_counter()
        racer.go()
        result = racer.result()
        took = time.perf_counter() - started
        racer.go()
    return result["records"], took, result["peak_kib"] / 1024
