"""A day that is read again ends exactly as the vendor now reports it, and every difference is on record."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from sync.models import LoadAttempt
from sync.vendors.base import Comparison, Rejection
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, read_day
from usage.days import Day
from usage.models import (
    DayState,
    EnvironmentUsage,
    RejectedRecord,
    Restatement,
    Source,
    SourceDay,
    Verification,
)

pytestmark = pytest.mark.django_db
Outcome = LoadAttempt.Outcome


def get_day(source: Source, on=DAY) -> SourceDay:
    return SourceDay.objects.get(source=source, day=on)


def test_a_first_load_stores_every_record(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(250)]

    attempt = read_day(source)

    day = get_day(source)
    assert (attempt.outcome, attempt.fetched, attempt.inserted) == (Outcome.LOADED, 250, 250)
    assert (day.state, day.records, day.complete, day.final, day.withdrawn) == (DayState.LOADED, 250, True, False, 0)
    assert day.sums == {"runtime_seconds": "450000.000000"}
    assert len(get_revisions(source)) == 250
    assert not Restatement.objects.exists()


def test_an_empty_day_is_loaded_and_says_so(source: Source, listing: Listing) -> None:
    read_day(source)

    day = get_day(source)
    assert day.complete
    assert not day.records
    assert get_day(source).state == DayState.LOADED


def test_a_restated_day_changes_only_what_differs(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    listing.records[DAY][3] = build_run(3, minutes=45)
    listing.records[DAY][4] = build_run(4, extra='{"region": "eu"}')

    attempt = read_day(source)

    assert (attempt.changed, attempt.unchanged, attempt.inserted, attempt.withdrawn) == (2, 8, 0, 0)
    assert get_revisions(source) == {f"run-{n}": 2 if n in (3, 4) else 1 for n in range(10)}
    assert EnvironmentUsage.objects.get(record_id="run-3").runtime_seconds == 45 * 60
    assert EnvironmentUsage.objects.get(record_id="run-4").extra == {"region": "eu"}
    restatement = Restatement.objects.get()
    assert (restatement.changed, restatement.records_before, restatement.records_after) == (2, 10, 10)
    assert restatement.sums_before == {"runtime_seconds": "18000.000000"}
    assert restatement.sums_after == {"runtime_seconds": "18900.000000"}
    assert get_day(source).restated_at is not None


def test_a_record_keeps_when_it_was_first_seen_through_every_change(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    stored = EnvironmentUsage.objects.get(record_id="run-3")
    first = stored.first_seen_at
    assert first == stored.changed_at

    for minutes in (45, 50):
        listing.records[DAY][3] = build_run(3, minutes=minutes)
        read_day(source)
    listing.records[DAY].pop(3)
    read_day(source)

    record = EnvironmentUsage.objects.get(record_id="run-3")
    assert (record.revision, record.first_seen_at) == (4, first)
    assert record.changed_at == record.withdrawn_at > first


def test_a_grown_day_gains_the_new_records(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    listing.records[DAY] += [build_run(n) for n in range(10, 15)]

    attempt = read_day(source)

    assert (attempt.inserted, attempt.unchanged) == (5, 10)
    assert set(get_revisions(source).values()) == {1}
    assert Restatement.objects.get().inserted == 5


def test_a_shrunk_day_withdraws_what_vanished_and_deletes_nothing(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    del listing.records[DAY][:4]

    attempt = read_day(source)

    assert (attempt.withdrawn, attempt.unchanged) == (4, 6)
    assert set(get_revisions(source)) == {f"run-{n}" for n in range(4, 10)}
    withdrawn = EnvironmentUsage.objects.exclude(withdrawn_at=None)
    assert {record.record_id for record in withdrawn} == {f"run-{n}" for n in range(4)}
    assert all(record.revision == 2 for record in withdrawn)
    assert Restatement.objects.get().withdrawn == 4
    assert (get_day(source).records, get_day(source).withdrawn) == (6, 4)


def test_a_returned_record_stands_again(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    record = listing.records[DAY].pop()
    read_day(source)
    listing.records[DAY].append(record)

    attempt = read_day(source)

    assert (attempt.returned, attempt.unchanged, attempt.inserted) == (1, 9, 0)
    assert get_revisions(source)["run-9"] == 3
    assert EnvironmentUsage.objects.count() == 10
    assert Restatement.objects.count() == 2


def test_an_emptied_day_is_suspect_until_a_second_read_agrees(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    listing.records[DAY] = []

    first = read_day(source)

    day = get_day(source)
    assert (first.outcome, day.state, day.records) == (Outcome.SUSPECT, DayState.SUSPECT, 20)
    assert day.suspicion["held"] == day.suspicion["would_withdraw"] == 20
    assert day.suspicion["reported"] == 0
    assert len(get_revisions(source)) == 20

    second = read_day(source)

    day = get_day(source)
    assert (second.outcome, second.withdrawn, day.state, day.suspicion) == (
        Outcome.LOADED,
        20,
        DayState.LOADED,
        None,
    )
    assert day.complete
    assert not day.records
    assert get_revisions(source) == {}


def test_a_suspect_day_that_comes_back_as_it_was_is_loaded_unchanged(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    records, listing.records[DAY] = listing.records[DAY], []
    read_day(source)
    listing.records[DAY] = records

    assert read_day(source).outcome == Outcome.UNCHANGED
    assert get_day(source).state == DayState.LOADED
    assert get_day(source).suspicion is None


def test_two_reads_that_shrink_differently_do_not_agree(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(40)]
    read_day(source)
    listing.records[DAY] = [build_run(n) for n in range(5)]
    read_day(source)
    listing.records[DAY] = [build_run(n) for n in range(6)]

    assert read_day(source).outcome == Outcome.SUSPECT
    assert len(get_revisions(source)) == 40


def test_a_person_can_accept_a_suspect_day(source: Source, listing: Listing) -> None:
    from sync.engine.plan import accept_shrink

    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    listing.records[DAY] = [build_run(0)]
    read_day(source)
    accept_shrink(get_day(source), "ann")
    listing.records[DAY] = [build_run(1)]

    assert read_day(source).outcome == Outcome.LOADED
    assert set(get_revisions(source)) == {"run-1"}
    assert not get_day(source).shrink_accepted


def test_reading_an_unchanged_day_writes_no_row_version(transactional_db: None, listing: Listing) -> None:
    from tests.support.scripted_vendor import make_source

    source = make_source()
    listing.records[DAY] = [build_run(n) for n in range(300)]
    read_day(source)
    before = count_row_versions()
    listing.records[DAY].reverse()

    attempt = read_day(source)

    assert (attempt.outcome, attempt.unchanged) == (Outcome.UNCHANGED, 300)
    assert count_row_versions() == before
    # It is the same where no digest is stored and the rows are compared one by one.
    SourceDay.objects.update(digest="")
    attempt = read_day(source)
    assert (attempt.outcome, attempt.unchanged) == (Outcome.LOADED, 300)
    assert count_row_versions() == before
    assert not Restatement.objects.exists()


def count_row_versions() -> tuple[int, int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'usage_environmentusage'"
        )
        return cursor.fetchone()


def test_a_record_repeated_on_another_page_counts_once_and_the_last_word_stands(
    source: Source, listing: Listing
) -> None:
    listing.records[DAY] = [*(build_run(n) for n in range(150)), build_run(7), build_run(8, minutes=50)]

    attempt = read_day(source)

    assert (attempt.outcome, get_day(source).records) == (Outcome.LOADED, 150)
    assert EnvironmentUsage.objects.get(record_id="run-8").runtime_seconds == 50 * 60
    assert set(get_revisions(source).values()) == {1}
    assert read_day(source).outcome == Outcome.UNCHANGED


def test_a_record_that_moves_to_another_day_is_counted_there_only(source: Source, listing: Listing) -> None:
    next_day = DAY + timedelta(days=1)
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    listing.records[next_day] = [build_run(3, on=next_day), build_run(99, on=next_day)]

    attempt = read_day(source, next_day)

    assert (attempt.inserted, attempt.changed) == (1, 1)
    assert set(get_revisions(source, next_day)) == {"run-3", "run-99"}
    assert "run-3" not in get_revisions(source)
    assert EnvironmentUsage.objects.count() == 11
    first_day = get_day(source)
    assert (first_day.records, first_day.sums) == (9, {"runtime_seconds": "16200.000000"})
    restatement = Restatement.objects.get(source_day=first_day)
    assert (restatement.moved, restatement.records_before, restatement.records_after) == (1, 10, 9)


def test_a_bad_record_leaves_the_day_partial_and_withdraws_nothing(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(5)]
    read_day(source)
    listing.records[DAY] = [build_run(n) for n in range(1, 6)]
    listing.rejected[DAY] = [Rejection('{"id": "run-0"}', "stoppedAt is missing.")]

    attempt = read_day(source)

    day = get_day(source)
    assert (attempt.outcome, attempt.rejected, attempt.inserted, attempt.withdrawn) == (
        Outcome.PARTIAL,
        1,
        1,
        0,
    )
    assert (day.state, day.complete, day.rejected) == (DayState.PARTIAL, False, 1)
    assert set(get_revisions(source)) == {f"run-{n}" for n in range(6)}
    rejected = RejectedRecord.objects.get()
    assert (rejected.payload, rejected.reason, rejected.resolved_at) == (
        '{"id": "run-0"}',
        "stoppedAt is missing.",
        None,
    )

    listing.rejected.clear()
    assert read_day(source).withdrawn == 1
    assert get_day(source).complete
    rejected.refresh_from_db()
    assert rejected.resolved_at is not None


def test_a_mismatch_is_read_once_more_and_then_shown(source: Source, listing: Listing) -> None:
    mismatch = Comparison(Verification.UNVERIFIED, [{"what": "sum", "vendor": "2", "portal": "1"}])
    listing.records[DAY] = [build_run(1)]
    listing.checks = [mismatch, Comparison(Verification.VERIFIED)]

    read_day(source)

    assert (listing.reads, get_day(source).verification, get_day(source).differences) == (
        2,
        Verification.VERIFIED,
        [],
    )

    listing.checks = [mismatch, mismatch]
    read_day(source)

    assert listing.reads == 4
    assert get_day(source).verification == Verification.UNVERIFIED
    assert get_day(source).differences == [{"what": "sum", "vendor": "2", "portal": "1"}]


def test_a_day_that_is_not_over_is_loaded_up_to_now_and_stays_due(source: Source, listing: Listing) -> None:
    today = datetime.now(UTC).date()
    listing.records[today] = [build_run(1, on=today)]

    read_day(source, today)

    day = get_day(source, today)
    assert (day.state, day.complete, day.final, day.records) == (DayState.DUE, False, False, 1)
    assert day.covered_until < day.ends_at
    assert day.due_at > datetime.now(UTC) + timedelta(minutes=source.interval_minutes - 1)

    listing.records[today].append(build_run(2, on=today))
    read_day(source, today)
    assert not Restatement.objects.exists()
    assert get_day(source, today).records == 2


def test_a_reader_that_hands_over_a_record_of_another_day_is_found_out(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(1), build_run(2, stopped_at=datetime(2026, 11, 9, tzinfo=UTC), created_at=None)]

    attempt = read_day(source)

    assert attempt.outcome == Outcome.FAILED
    assert "2 records were read, but the day would hold 1" in attempt.error
    assert not EnvironmentUsage.objects.exists()


def test_a_day_that_another_takes_a_record_from_while_it_is_read_is_compared_row_by_row(
    source: Source, listing: Listing
) -> None:
    listing.records[DAY] = [build_run(n) for n in range(250)]
    read_day(source)

    def clear_digest(day: Day, at: int) -> None:
        """Do what a merge of another day does to this one, between its claim and its own merge."""
        SourceDay.objects.filter(day=DAY).update(digest="")

    listing.before_page = clear_digest

    attempt = read_day(source)

    assert (attempt.outcome, attempt.unchanged, attempt.withdrawn) == (Outcome.LOADED, 250, 0)
    assert len(get_revisions(source)) == 250


def test_every_statement_over_the_spool_is_planned_without_nested_loops(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(number) for number in range(50)]
    read_day(source)
    listing.records[DAY] = [build_run(number, user_id="changed") for number in range(10, 60)]
    settings: list[tuple[str, ...]] = []

    def read_setting(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if "pg_temp.spool_" in sql and (" JOIN " in sql or " USING " in sql):
            with connection.connection.cursor() as cursor:
                settings.append(cursor.execute("SHOW enable_nestloop").fetchone())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(read_setting):
        assert read_day(source).changed == 40

    assert len(settings) >= 5
    assert set(settings) == {("off",)}
