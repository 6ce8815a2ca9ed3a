"""Load days of N records, created while they are read; print the peak memory of this process in KiB after each.

`python -m tests.support.load_big_day N…`, on the database of DATABASE_URL.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import django

from tests.benchmarks.contenders.lane import read_peak

PAGE = 1000
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def load_day(records: int) -> None:
    """Load a day of `records` made-up environment runs through the engine."""
    from sync.engine import load
    from sync.engine.plan import request_sync
    from sync.models import Trigger
    from sync.vendors.base import Account, Comparison, Page, Pages, VendorReader
    from tests.support.scripted_vendor import NoHTTP, build_run, make_source
    from usage.days import Day
    from usage.models import EnvironmentUsage, Source

    class Reader(VendorReader):
        kind = EnvironmentUsage
        title, hosts, base_url = "Large", (), ""

        @classmethod
        def build_authorization(cls, credential: str) -> str:
            return credential

        def pages(self, day: Day) -> Pages:
            for first in range(0, records, PAGE):
                numbers = range(first, min(first + PAGE, records))
                yield Page(
                    [build_run(n, created_at=NOON, stopped_at=NOON + timedelta(microseconds=n)) for n in numbers]
                )
            return Comparison()

        def probe(self) -> str:
            return ""

    @contextmanager
    def open_reader(source: Source, before_request: Any = None) -> Iterator[VendorReader]:
        yield Reader(Account(source.slug, source.zone, source.options), NoHTTP())  # type: ignore[arg-type]

    vars(load)["open_reader"] = open_reader
    source = make_source(f"large-{records}")
    request_sync(source, NOON.date(), NOON.date() + timedelta(days=1), Trigger.COMMAND)
    attempt = load.load_next(source.pk)
    if attempt is None or attempt.inserted != records:
        raise SystemExit(f"not loaded: {attempt and attempt.error}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    for number in sys.argv[1:]:
        load_day(int(number))
        # Not `ru_maxrss`, which begins with the peak of the process that started this one.
        print(read_peak())
