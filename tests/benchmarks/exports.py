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
    findings = Findings()
    times_by_name: dict[str, list[float]] = {"portal": [], OTHER_NAME: []}
    with ground.portal() as server:
        rows, size = check_rows(ground, server)
        peaks = measure_peak(ground, server, build_last_tenth_filter(ground)), measure_peak(ground, server, "")
        for _ in range(ground.size.whole_rounds):
            times_by_name["portal"].append(
                measure_seconds(lambda path: download(ground, server, "", path), ground.scratch)
            )
            times_by_name[OTHER_NAME].append(measure_seconds(lambda path: copy_rows(ground, path), ground.scratch))
    seconds = {name: median(times) for name, times in times_by_name.items()}
    peak = {"portal": f"{peaks[1]:.0f}", OTHER_NAME: ""}
    for name, elapsed in seconds.items():
        speed = f"{rows / elapsed:,.0f}", f"{size / elapsed / 2**20:.1f}"
        findings.rows.append((f"{ground.kind}, {name}", f"{rows:,}", f"{elapsed:.2f}", *speed, peak[name]))
    few_rows, few_seconds, few_peak = export_by_library(ground)
    speed = f"{few_rows / few_seconds:,.0f}", ""
    label = f"{ground.kind}, django-import-export"
    findings.rows.append((label, f"{few_rows:,}", f"{few_seconds:.2f}", *speed, f"{few_peak:.0f}"))
    findings.figures = {
        "seconds": times_by_name,
        "rows": rows,
        "bytes": size,
        "peak_mib": peaks,
        "others": (few_rows, few_seconds),
    }
    speeds = seconds[OTHER_NAME] / seconds["portal"], rows / seconds["portal"] / (few_rows / few_seconds)
    findings.aims = [
        Aim(f"{ground.kind}, CSV: speed, portal / {OTHER_NAME}", speeds[0], 0.8, at_least=True),
        Aim(f"{ground.kind}, CSV: rows/s, portal / django-import-export", speeds[1], 5, at_least=True),
        Aim(f"{ground.kind}, CSV: peak memory, all rows / a tenth of them", peaks[1] / peaks[0], 1.2),
    ]
    return findings


def measure_seconds(work: Callable[[Path], None], folder: Path) -> float:
    """Return the seconds that `work` takes to write a file, which is gone afterwards."""
    path = folder / "export.csv"
    started_at = time.perf_counter()
    work(path)
    elapsed = time.perf_counter() - started_at
    path.unlink()
    return elapsed


def download(ground: Ground, server: Served, params: str, path: Path) -> None:
    """Save the portal's export."""
    address = f"/api/v1/{ground.kind}/?format=csv{params}"
    buffer = memoryview(bytearray(BLOCK))
    with ground.answer(server, address) as response, path.open("wb") as file:
        while size := response.readinto(buffer):
            file.write(buffer[:size])


def copy_by_psql(ground: Ground, path: Path) -> None:
    """Let psql copy the same rows."""
    command = f"\\copy ({select(ground.kind)}) TO '{path}' {AS_CSV}"
    subprocess.run([PSQL, "--no-psqlrc", "--quiet", "--command", command, ground.url], check=True)


def copy_by_libpq(ground: Ground, path: Path) -> None:
    """Copy the same rows by COPY … TO STDOUT, where no psql is installed."""
    copy = f"COPY ({select(ground.kind)}) TO STDOUT {AS_CSV}"
    with psycopg.connect(ground.url) as connection, path.open("wb") as file:
        with connection.cursor() as cursor, cursor.copy(copy) as rows:
            for row in rows:
                file.write(row)


PSQL = shutil.which("psql") or ""
copy_rows = copy_by_psql if PSQL else copy_by_libpq
OTHER_NAME = "psql \\copy" if PSQL else "COPY TO STDOUT by psycopg"


def check_rows(ground: Ground, server: Served) -> tuple[int, int]:
    """Return the rows and bytes of the portal's export; raises RuntimeError where psql's has other rows."""
    counts = []
    for work in (lambda path: download(ground, server, "", path), lambda path: copy_rows(ground, path)):
        path = ground.scratch / "checked.csv"
        work(path)
        with path.open("rb") as file:
            counts.append((sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b"")) - 1, file.tell()))
        path.unlink()
    (portal_rows, size), (other_rows, _) = counts
    if portal_rows != other_rows:
        raise RuntimeError(f"The portal exports {portal_rows:,} rows of {ground.kind}, {OTHER_NAME} {other_rows:,}.")
    return portal_rows, size


def build_last_tenth_filter(ground: Ground) -> str:
    """Return the filter for the last tenth of the days."""
    first = datetime.now(UTC).date() - timedelta(days=max(ground.size.days // 10, 1))
    return f"&from={first}"


def measure_peak(ground: Ground, server: Served, params: str) -> float:
    """Return the peak memory of the portal's workers during one export, in MiB."""
    server.forget_peak()
    measure_seconds(lambda path: download(ground, server, params, path), ground.scratch)
    return server.peak_mib


def export_by_library(ground: Ground) -> tuple[int, float, float]:
    """Return the rows that django-import-export exported, the seconds it took, and its peak memory in MiB."""
    from tests.benchmarks.ona import other_python

    command = [str(other_python()), "-m", EXPORTED, ground.kind, str(ground.size.few_rows)]
    with Racer(command, ground.environment) as racer:
        racer.ready()
        started_at = time.perf_counter()
        racer.go()
        result = racer.result()
        elapsed = time.perf_counter() - started_at
        racer.go()
    return result["records"], elapsed, result["peak_kib"] / 1024
