"""Every transaction that locks a source and its days locks the source first, which rules out a deadlock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from sync.engine.load import load_next
from sync.engine.merge import DayMerge
from sync.engine.plan import request_sync
from sync.errors import VendorUnavailable
from sync.models import SyncRun, Trigger
from tests.support.processes import wait_for
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
# A row lock names no database; a process that waits for one also holds locks that do.
WAITING = """
    SELECT FROM pg_locks AS waiting JOIN pg_locks AS own USING (pid) JOIN pg_database AS d ON d.oid = own.database
    WHERE NOT waiting.granted AND d.datname = current_database()
"""


def run_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    finally:
        connection.close()


def is_waiting_for_a_lock() -> bool:
    """Return whether a process waits for a lock in this run's own database."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return cursor.fetchone() is not None


@pytest.fixture
def source(listing: Listing) -> Source:
    """A source that failed before, with one day that is due and has changed."""
    failed_source = make_source()
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(failed_source)
    listing.records[DAY].append(build_run(20))
    SourceDay.objects.update(state=DayState.DUE, due_at=failed_source.created_at)
    Source.objects.update(failures=1)
    return failed_source


def test_a_request_for_a_day_that_is_being_merged_and_the_merge_both_succeed(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt_ids = DayMerge.adopt_ids
    with ThreadPoolExecutor(1) as pool:
        requests: list[Any] = []

        def request_and_adopt_ids(steps: DayMerge) -> Any:
            # The merge has locked its day.
            days = (DAY, DAY + timedelta(days=1))
            requests.append(pool.submit(run_in_thread, request_sync, source, *days, Trigger.API))
            wait_for(is_waiting_for_a_lock, "somebody to wait for a lock")
            return adopt_ids(steps)

        monkeypatch.setattr(DayMerge, "adopt_ids", request_and_adopt_ids)
        attempt = load_next(source.pk)

        assert attempt is not None
        assert (attempt.outcome, attempt.error) == ("loaded", "")
        assert requests[0].result(20).days_total == 1
    source.refresh_from_db()
    assert source.failures == 0
    assert SourceDay.objects.get().state == DayState.DUE


def test_a_request_for_a_day_that_fails_and_the_failure_both_succeed(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_before_page(*_: object) -> None:
        raise VendorUnavailable("The vendor is away.")

    listing.before_page = run_before_page
    from sync.engine import recording

    release = recording.release
    with ThreadPoolExecutor(1) as pool:
        requests: list[Any] = []

        def release_and_request(claim: Any, columns: Any) -> int:
            updated = release(claim, columns)
            if not requests:
                days = (DAY, DAY + timedelta(days=1))
                requests.append(pool.submit(run_in_thread, request_sync, source, *days, Trigger.API))
                wait_for(is_waiting_for_a_lock, "somebody to wait for a lock")
            return updated

        monkeypatch.setattr(recording, "release", release_and_request)
        attempt = load_next(source.pk)

        assert attempt is not None
        assert (attempt.outcome, attempt.error) == ("failed", "The vendor is away.")
        assert requests[0].result(20).days_total == 1
    assert SyncRun.objects.count() == 1
