"""`python -m tests.benchmarks [NAME…] [--quick]`: run benchmarks, print and write what they found."""

import argparse
import sys
from pathlib import Path
from typing import Protocol

from portal.environment import BASE_DIR
from tests.benchmarks import indexes, lake, mirrors, ona, threads
from tests.benchmarks.asking import Asking
from tests.benchmarks.ground import MILLION, TEN_MILLION
from tests.benchmarks.merge import Merge
from tests.benchmarks.pages import Pages
from tests.benchmarks.report import Report
from tests.benchmarks.scale import Scale
from tests.benchmarks.soak import HOURS, TICK_SECONDS, Soak
from tests.benchmarks.stage import Stage, stage
from tests.benchmarks.starting import STARTER
from tests.support.servers import write_without_waiting


class Entry(Protocol):
    """A benchmark: measures on the stage and reports; `quick` asks for sizes that only show that it runs."""

    def __call__(self, stage: Stage, *, quick: bool) -> Report: ...


ENTRIES: dict[str, Entry] = {
    "ona-load": ona.run,
    "ask-1m": Asking("ask-1m", MILLION),
    "ask-10m": Asking("ask-10m", TEN_MILLION),
    "merge": Merge(),
    "pages": Pages(),
    "mirrors": mirrors.run,
    "threads": threads.run,
    "scale": Scale(),
    "indexes": indexes.run,
    "lake": lake.run,
    "lake-year": lake.run_year,
    "soak": Soak(),
}


def main(arguments: list[str]) -> int:
    """Run the entries that are named, or all; returns 1 where an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"One of {', '.join(ENTRIES)}. Default: all.")
    parser.add_argument("--quick", action="store_true", help="Tiny sizes: shows that it runs, measures nothing.")
    parser.add_argument(
        "--rows",
        type=int,
        help="How many rows `pages`, `merge` and `scale` take for many. Default: 10, 20, 30 million.",
    )
    parser.add_argument("--hours", type=float, default=HOURS, help="Simulated hours of `soak`. Default: %(default)g.")
    parser.add_argument(
        "--tick",
        type=int,
        default=TICK_SECONDS,
        help="Seconds that stand for a minute of `soak`; more where the machine is slow. Default: %(default)s.",
    )
    parser.add_argument("--out", type=Path, default=BASE_DIR / "bench-results", help="Where the results go.")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - ENTRIES.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    rows = options.rows
    sized = {"pages": Pages(rows), "merge": Merge(rows), "scale": Scale(rows)} if rows else {}
    entries = {**ENTRIES, **sized, "soak": Soak(options.hours, options.tick)}
    missed = False
    names = list(options.names or ENTRIES)
    # What is measured gets servers of its own; to see that all run, they share them.
    for group in [names] if options.quick else [[name] for name in names]:
        with stage() as ready:
            if options.quick:
                write_without_waiting(ready.url)
                STARTER.set_up()
            for name in group:
                report = entries[name](ready, quick=options.quick)
                report.write(options.out)
                print(report, flush=True)
                missed |= report.missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
