"""What the watch costs: as many queries however much is stored, none of usage, and a part of a tick."""

import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.incidents.watch import watch
from tests.support.dashboard_data import create_synced_source, set_day
from tests.support.factories import SourceFactory
from tests.support.source_days import copy_days

pytestmark = pytest.mark.django_db
USAGE = ("usage_environmentusage", "usage_resourceusage", "usage_recipeusage", "usage_recordrevision")


def run() -> list[str]:
    """Watch, and return the statements."""
    with CaptureQueriesContext(connection) as queries:
        watch()
    return [query["sql"] for query in queries.captured_queries]


def test_the_queries_of_the_watch_do_not_grow_with_sources_and_days_and_read_no_usage() -> None:
    set_day(create_synced_source("first", "gcore", days=5), 3, state="failed", complete=False, final=False)
    run()
    few_queries = run()
    for number in range(8):
        set_day(
            create_synced_source(f"more-{number}", "gcore", days=30), 3, state="failed", complete=False, final=False
        )
    run()
    many_queries = run()
    assert len(many_queries) == len(few_queries), "\n".join(many_queries)
    assert not [sql for sql in many_queries if any(f'"{table}"' in sql for table in USAGE)]


def test_of_the_days_of_three_million_rows_the_watch_takes_a_small_part_of_a_tick() -> None:
    """At 320 records a day 10,000 days are of 3.2 million rows; a busy machine is given several times what it takes."""
    first = create_synced_source("gcore-0", "gcore", days=1000)
    values = {"vendor": "gcore", "backfill_from": first.backfill_from, "next_sync_at": first.next_sync_at}
    copy_days(first, [SourceFactory.create(slug=f"gcore-{number}", **values) for number in range(1, 10)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_sourceday")
    watch()
    assert min(measure() for _ in range(5)) < 0.5


def measure() -> float:
    """Return the seconds of one watch."""
    started_at = time.perf_counter()
    watch()
    return time.perf_counter() - started_at
