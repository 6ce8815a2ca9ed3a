"""Records that the vendor moves between days of a source change their day without a deadlock."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier, BrokenBarrierError, get_ident

import pytest
from django.db import connection

from sync.engine.load import load_next
from sync.engine.merge import DayMerge
from sync.engine.plan import ensure_days
from sync.models import LoadAttempt
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, make_source, read_day
from usage.models import DayState, SourceDay

NEXT_DAY = DAY + timedelta(days=1)


def load_in_thread(source_id: int) -> str:
    try:
        attempt = load_next(source_id)
        assert attempt is not None
        return f"{attempt.outcome} {attempt.error}".strip()
    finally:
        connection.close()


def name_runs(numbers: Iterable[int]) -> set[str]:
    return {f"run-{number}" for number in numbers}


def start_merges_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next merges of two threads begin when both have copied what was read."""
    both_have_read, waited_threads = Barrier(2, timeout=120), set()
    hold_records = DayMerge.hold_records

    def wait_and_hold_records(steps: DayMerge) -> None:
        if get_ident() not in waited_threads:
            waited_threads.add(get_ident())
            both_have_read.wait()
        hold_records(steps)

    monkeypatch.setattr(DayMerge, "hold_records", wait_and_hold_records)


@pytest.mark.django_db(transaction=True)
def test_two_days_that_take_records_from_each_other_at_once_are_both_loaded(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(max_concurrency=2)
    listing.records[DAY] = [build_run(n) for n in range(20)]
    listing.records[NEXT_DAY] = [build_run(n, on=NEXT_DAY) for n in range(100, 120)]
    read_day(source)
    read_day(source, NEXT_DAY)
    listing.records[DAY][3] = build_run(103)
    listing.records[NEXT_DAY][3] = build_run(3, on=NEXT_DAY)
    SourceDay.objects.update(state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC))

    start_merges_together(monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load_in_thread, [source.pk] * 2)) == ["loaded", "loaded"]

    assert get_revisions(source).keys() == name_runs({*range(20), 103} - {3})
    assert get_revisions(source, NEXT_DAY).keys() == name_runs({*range(100, 120), 3} - {103})
    assert not LoadAttempt.objects.exclude(outcome="loaded").exists()


@pytest.mark.django_db(transaction=True)
def test_a_record_that_two_days_report_at_once_is_stored_once(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(max_concurrency=2)
    listing.records[DAY] = [build_run(n) for n in range(3)]
    listing.records[NEXT_DAY] = [build_run(n, on=NEXT_DAY) for n in (2, 7, 8)]
    ensure_days(source, DAY, NEXT_DAY + timedelta(days=1))
    both_are_about_to_insert, insert_all = Barrier(2), DayMerge.insert_all

    def wait_and_insert_all(steps: DayMerge) -> None:
        with suppress(BrokenBarrierError):  # the other waits for this one, as it is to
            both_are_about_to_insert.wait(timeout=1)
        insert_all(steps)

    monkeypatch.setattr(DayMerge, "insert_all", wait_and_insert_all)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load_in_thread, [source.pk] * 2)) == ["loaded", "loaded"]

    stored = [*get_revisions(source), *get_revisions(source, NEXT_DAY)]
    assert sorted(stored) == ["run-0", "run-1", "run-2", "run-7", "run-8"]
