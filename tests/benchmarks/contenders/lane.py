"""A contender's side of a race: say when ready, wait for the start, report what the work itself cost.

Imports nothing but the standard library, since contenders live in environments of their own.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path


def spent() -> float:
    """Return the CPU seconds, user and system, of this process and of the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def read_peak(pid: int | str = "self") -> int:
    """Return the largest resident memory of a process, in KiB; `ru_maxrss` begins with that of who started it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def run(work: Callable[[], int], turns: int = 1) -> None:
    """Do `work`, which returns the number of records it loaded, each time that the referee says so."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in range(turns):
        sys.stdin.readline()
        before = spent()
        records = work()
        cpu = spent() - before
        peak = max(read_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        sys.stdout.write(json.dumps({"records": records, "cpu": cpu, "peak_kib": peak}) + "\n")
        sys.stdout.flush()
    # Connections stay open until the referee has read what their other ends have spent.
    sys.stdin.readline()
