"""What is stored of a day is proven: what is lost or changed in the database is found, and read again."""

import os
import resource
import stat
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from sync.engine.scrub import scrub
from sync.engine.spool import Spool
from sync.models import LoadAttempt
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, make_source, read_day
from usage.data_quality import VENDOR_KINDS
from usage.integrity import Mismatch, check_day
from usage.models import DayState, EnvironmentDay, EnvironmentUsage, Restatement, Source, SourceDay
from usage.stored import StoredDay, read_stored_day

pytestmark = pytest.mark.django_db
Outcome = LoadAttempt.Outcome
OLD = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def known_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VENDOR_KINDS, "scripted", EnvironmentUsage)


def get_day(on: date = DAY) -> SourceDay:
    return SourceDay.objects.select_related("source").get(day=on)


def run_verify(*arguments: str) -> tuple[int, str]:
    """Return the exit status of `manage.py verify` and what it printed."""
    out = StringIO()
    try:
        call_command("verify", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def delete_rows(count: int) -> None:
    """Delete records by SQL, past the portal."""
    keys = EnvironmentUsage.objects.order_by("pk").values_list("pk", flat=True)[:count]
    EnvironmentUsage.objects.filter(pk__in=list(keys))._raw_delete("default")


def test_rows_deleted_by_sql_come_back_with_the_next_read_and_are_a_repair(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(534)]
    read_day(source)
    delete_rows(100)

    attempt = read_day(source)

    assert (attempt.outcome, attempt.inserted, attempt.unchanged) == (Outcome.REPAIRED, 100, 434)
    assert len(get_revisions(source)) == get_day().records == 534
    assert not Restatement.objects.exists()
    assert read_day(source).outcome == Outcome.UNCHANGED


@pytest.mark.parametrize(
    "damage",
    [
        {"stopped_at": F("stopped_at") + timedelta(microseconds=1)},
        {"user_id": "somebody else"},
        {"extra": {"colour": "red"}},
        {"withdrawn_at": OLD},
    ],
    ids=["instant", "text", "json", "withdrawn"],
)
def test_any_change_of_a_stored_record_is_found_by_the_next_read(
    source: Source, listing: Listing, damage: dict[str, object]
) -> None:
    listing.records[DAY] = [build_run(n, extra='{"size": 1.50}') for n in range(20)]
    read_day(source)
    before = read_stored_day(EnvironmentUsage, get_day())
    EnvironmentUsage.objects.filter(record_id="run-7").update(**damage)

    attempt = read_day(source)

    assert (attempt.outcome, attempt.changed + attempt.returned) == (Outcome.REPAIRED, 1)
    assert read_stored_day(EnvironmentUsage, get_day()) == StoredDay.from_day(get_day()) == before
    assert not Restatement.objects.exists()


def test_the_digest_of_what_is_stored_depends_on_no_setting_of_the_session(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n, extra='{"size": 1.50}') for n in range(20)]
    read_day(source)
    day = get_day()

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'; SET LOCAL DateStyle = 'SQL, DMY'")

    assert read_stored_day(EnvironmentUsage, day) == StoredDay.from_day(day)


def test_a_record_that_moves_renews_the_digest_of_both_days(source: Source, listing: Listing) -> None:
    following = DAY + timedelta(days=1)
    listing.records[DAY] = [build_run(n) for n in range(5)]
    read_day(source)
    moved = build_run(2)._replace(stopped_at=build_run(2).stopped_at + timedelta(days=1))
    listing.records = {DAY: [build_run(n) for n in (0, 1, 3, 4)], following: [moved]}

    read_day(source, following)

    for on in (DAY, following):
        assert read_stored_day(EnvironmentUsage, get_day(on)) == StoredDay.from_day(get_day(on))
    assert get_day().records == 4


def test_a_record_that_moves_does_not_hide_what_its_day_lost_before(source: Source, listing: Listing) -> None:
    following = DAY + timedelta(days=1)
    listing.records[DAY] = [build_run(n) for n in range(30)]
    read_day(source)
    delete_rows(2)
    listing.records[following] = [build_run(9)._replace(stopped_at=build_run(9).stopped_at + timedelta(days=1))]

    read_day(source, following)

    assert {mismatch["code"] for mismatch in get_day().mismatch} == {"records", "sums", "digest", "rollups"}
    del listing.records[DAY][9]
    read_day(source)
    assert (get_day().records, get_day().mismatch) == (29, None)


def test_verify_names_each_day_that_differs_and_repair_has_it_read_again(source: Source, listing: Listing) -> None:
    following = DAY + timedelta(days=1)
    listing.records = {on: [build_run(n, on=on, record_id=f"{on}-{n}") for n in range(30)] for on in (DAY, following)}
    for on in listing.records:
        read_day(source, on)
    assert run_verify() == (0, "2 days checked: every one is stored as it was read.\n")
    delete_rows(3)

    status, text = run_verify("scripted")
    assert status == 1
    assert f"scripted {DAY}: records: 27 stored, 30 expected" in text
    assert str(following) not in text
    assert "1 of 2 days differ" in text
    assert get_day().mismatch is None, "looking changes nothing"
    assert run_verify("--from", str(following))[0] == 0

    status, text = run_verify("--repair")
    assert status == 0, text
    assert f"scripted {DAY}: repaired" in text
    assert len(get_revisions(source)) == 30
    assert run_verify()[0] == 0


def test_verify_fails_where_a_vendor_was_removed_and_nobody_can_check_its_days(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.records[DAY] = [build_run(1)]
    read_day(source)
    monkeypatch.delitem(VENDOR_KINDS, "scripted")

    assert run_verify() == (1, "1 day of scripted could not be checked: the vendor scripted is not known here.")


def test_verify_finds_roll_ups_that_differ_and_repair_mends_them(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(30)]
    read_day(source)
    EnvironmentDay.objects.update(runtime_seconds=1)

    assert "1 rows of environmentday differ" in run_verify()[1]
    assert run_verify("--repair")[0] == 0
    assert EnvironmentDay.objects.get().runtime_seconds == 30 * 30 * 60


def test_the_scrub_finds_a_wrong_day_makes_it_provisional_and_due(source: Source, listing: Listing) -> None:
    closed = make_source("closed", backfill_from=date(2025, 11, 3), look_back_days=1)
    on = closed.backfill_from
    listing.records[on] = [build_run(n, on=on) for n in range(30)]
    read_day(closed, on)
    assert get_day(on).final
    delete_rows(1)
    assert scrub(60) == [], "a day that was just merged needs no look"

    SourceDay.objects.update(checked_at=OLD)
    assert [day.day for day in scrub(60)] == [on]

    day = get_day(on)
    assert not day.final
    assert {mismatch["code"] for mismatch in day.mismatch} == {"records", "sums", "digest", "rollups"}
    assert read_day(closed, on).outcome == Outcome.REPAIRED
    assert get_day(on).mismatch is None
    assert get_day(on).final


def test_wrong_roll_ups_are_written_anew_though_the_day_comes_back_otherwise(listing: Listing) -> None:
    closed = make_source("closed", backfill_from=date(2025, 11, 3), look_back_days=1)
    on = closed.backfill_from
    listing.records[on] = [build_run(n, on=on) for n in range(30)]
    read_day(closed, on)
    SourceDay.objects.update(digest="", checked_at=OLD)
    EnvironmentDay.objects.update(records=7)
    scrub(60)

    read_day(closed, on)

    assert EnvironmentDay.objects.get().records == get_day(on).records
    assert (get_day(on).mismatch, get_day(on).final) == (None, True)


def test_a_record_that_was_put_outside_of_its_day_comes_back(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    EnvironmentUsage.objects.filter(record_id="run-7").update(stopped_at=F("stopped_at") + timedelta(days=2))

    attempt = read_day(source)

    assert (attempt.outcome, attempt.changed, attempt.unchanged) == (Outcome.REPAIRED, 1, 19)
    assert EnvironmentUsage.objects.get(record_id="run-7").stopped_at == build_run(7).stopped_at
    assert not Restatement.objects.exists()


def test_the_scrub_checks_every_day_within_its_time_oldest_first(
    source: Source, listing: Listing, settings: Any
) -> None:
    days = [DAY + timedelta(days=number) for number in range(6)]
    for on in days:
        read_day(source, on)
    for number, on in enumerate(days):
        SourceDay.objects.filter(day=on).update(checked_at=OLD + timedelta(hours=number))
    settings.PORTAL_SCRUB_DAYS, settings.PORTAL_TICK_SECONDS = 1, 24 * 60 * 60 // 3

    scrub(60)
    assert set(SourceDay.objects.filter(checked_at__gt=OLD + timedelta(days=1)).values_list("day", flat=True)) == set(
        days[:3]
    )
    scrub(60)
    assert not SourceDay.objects.filter(checked_at__lt=OLD + timedelta(days=1)).exists()


def test_a_scrub_that_takes_too_long_checks_one_day(source: Source, listing: Listing, settings: Any) -> None:
    for number in range(2):
        read_day(source, DAY + timedelta(days=number))
    SourceDay.objects.update(checked_at=OLD)
    settings.PORTAL_SCRUB_DAYS, settings.PORTAL_TICK_SECONDS = 1, 24 * 60 * 60

    scrub(-1)

    assert SourceDay.objects.filter(checked_at__gt=OLD).count() == 1


def test_a_day_that_a_merge_has_locked_is_left_to_it(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_day(source)
    SourceDay.objects.update(checked_at=OLD)
    monkeypatch.setattr("sync.engine.scrub.check_day", lambda pk, *, skip_locked: None if skip_locked else [])

    assert scrub(60) == []
    assert get_day().checked_at == OLD


def test_verify_checks_the_days_of_a_range_and_leaves_out_those_pruned_meanwhile(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        read_day(source, DAY + timedelta(days=number))
    bounds = ["--from", str(DAY), "--to", str(DAY + timedelta(days=2))]
    assert run_verify(*bounds) == (0, "2 days checked: every one is stored as it was read.\n")

    pruned = get_day().pk
    monkeypatch.setattr("sync.management.commands.verify.check_day", lambda pk: None if pk == pruned else check_day(pk))
    assert run_verify(*bounds) == (0, "1 days checked: every one is stored as it was read.\n")


def test_a_day_that_cannot_be_checked_keeps_no_other_from_its_check(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = DAY + timedelta(days=1)
    for on in (DAY, following):
        listing.records[on] = [build_run(1, on=on, record_id=str(on))]
        read_day(source, on)
    SourceDay.objects.update(checked_at=OLD + timedelta(hours=1))
    SourceDay.objects.filter(day=DAY).update(checked_at=OLD)
    EnvironmentDay.objects.update(records=7)

    def refuse(pk: int, *, skip_locked: bool) -> list[Mismatch] | None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/%s", [pk - SourceDay.objects.get(day=DAY).pk])
        return check_day(pk, skip_locked=skip_locked)

    monkeypatch.setattr("sync.engine.scrub.check_day", refuse)

    assert [day.day for _ in range(2) for day in scrub(60)] == [following]


def test_verify_repairs_the_days_of_other_sources_where_one_is_halted(source: Source, listing: Listing) -> None:
    halted = make_source("halted")
    listing.records[DAY] = [build_run(n) for n in range(5)]
    read_day(source)
    read_day(halted)
    EnvironmentUsage.objects.filter(record_id="run-1")._raw_delete("default")
    Source.objects.filter(pk=halted.pk).update(halted_at=OLD, halt_reason="The key was refused.")

    status, text = run_verify("--repair")

    assert status == 1
    assert "halted: halted is halted: The key was refused." in text
    assert f"halted {DAY} still differs" in text
    assert f"scripted {DAY}: repaired" in text
    assert len(get_revisions(source)) == 5


def test_an_unchanged_day_is_neither_copied_nor_written(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.records[DAY] = [build_run(n) for n in range(50)]
    read_day(source)
    monkeypatch.setattr("sync.engine.merge.DayMerge.copy", None)

    assert read_day(source).outcome == Outcome.UNCHANGED


def test_the_spool_file_has_no_name_and_is_its_owners_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sync.engine.spool.BYTES_IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [build_run(n) for n in range(500)]
    with Spool(EnvironmentUsage) as spool:
        for start in range(0, 500, 100):
            spool.add(rows[start : start + 100])

        assert list(tmp_path.iterdir()) == []
        status = os.fstat(spool._file.fileno())
        assert (stat.S_IMODE(status.st_mode), status.st_size > 0) == (0o600, True)
        assert list(spool.read_rows()) == [tuple(record) for record in rows]
        spool.clear()
        assert list(spool.read_rows()) == []


def test_a_full_disk_fails_the_day_in_words(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sync.engine.spool.BYTES_IN_MEMORY", 1000)
    listing.records[DAY] = [build_run(n) for n in range(2000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    listing.before_page = lambda day, at: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        attempt = read_day(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert attempt.outcome == Outcome.FAILED
    assert "The worker cannot use its temporary file (File too large)" in attempt.error
    assert get_day().state == DayState.FAILED
    assert not EnvironmentUsage.objects.exists()
    listing.before_page = None
    assert read_day(source).outcome == Outcome.LOADED
