"""The portal: workers that take days of a source until none is left, as its Celery tasks do.

The days are planned before the start, as a person would by asking for them.
"""

import multiprocessing
import os
import sys
from datetime import date

import django

from tests.benchmarks.contenders import lane


def plan(base_url: str, first: date, end: date, workers: int) -> None:
    """Make the days `[first, end)` due for a source that is made where there is none yet."""
    from sync.engine.plan import request_sync
    from sync.models import Trigger
    from usage.models import Source

    source, _ = Source.objects.get_or_create(
        pk=1,
        defaults={
            "slug": "bench",
            "vendor": "ona",
            "base_url": base_url,
            "credential_env": "PORTAL_VENDOR_BENCH",
            "backfill_from": first,
            "max_concurrency": workers,
        },
    )
    request_sync(source, first, end, Trigger.COMMAND)


def load_day() -> int | None:
    """Load the next day; returns the number of records read, None where no day is left.

    Raises RuntimeError where the day was not loaded.
    """
    from sync.engine.load import load_next
    from sync.models import LoadAttempt

    attempt = load_next(1)
    if attempt is None:
        return None
    if attempt.outcome not in {LoadAttempt.Outcome.LOADED, LoadAttempt.Outcome.UNCHANGED}:
        raise RuntimeError(f"{attempt.source_day}: {attempt.outcome} {attempt.error}")
    return attempt.fetched


def load(worker: int) -> int:
    """Load day after day until none is left; returns the number of records read."""
    return sum(iter(load_day, None))


def main() -> None:
    """Race with base URL, first day, end day and number of worker processes as arguments; one worker loads a day a turn."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from django.db import connection

    # What a worker has long since done when a day comes: its modules are imported, its TLS context is made, and it has
    # compared the migrations (portal/celery.py).
    import sync.engine.load  # noqa: F401
    from sync.http.network import create_tls
    from sync.vendors import readers
    from usage.schema_state import check_schema

    base_url, first, end, workers = sys.argv[1:]
    readers()
    create_tls()
    check_schema()
    first_day, end_day = date.fromisoformat(first), date.fromisoformat(end)
    plan(base_url, first_day, end_day, int(workers))
    if workers == "1":
        lane.run(lambda: load_day() or 0, turns=(end_day - first_day).days)
        return
    connection.close()
    with multiprocessing.get_context("fork").Pool(int(workers)) as pool:

        def work() -> int:
            records = sum(pool.map(load, range(int(workers)), chunksize=1))
            pool.close()
            pool.join()  # what a child has spent is known once it was waited for
            return records

        lane.run(work)


if __name__ == "__main__":
    main()
