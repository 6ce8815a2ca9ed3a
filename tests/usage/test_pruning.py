"""Pruning a month: its records go and their disk space is free again; days, roll-ups and summaries stay."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from tests.support.api_clients import client as client
from tests.support.api_clients import get
from tests.support.database import keep_rows
from tests.support.factories import EnvironmentUsageFactory, SourceDayFactory, SourceFactory
from usage.data_quality import assess_intervals
from usage.data_quality.messages import describe_quality
from usage.explore.charts import describe_days
from usage.explore.quality import describe_answer_quality
from usage.integrity import check_day
from usage.models import EnvironmentDay, EnvironmentUsage, RecordRevision, Source, SourceDay
from usage.partitions import create_partition, ensure_partitions, list_partitions
from usage.pruning import (
    PruningRefused,
    count_days,
    drop_month,
    get_latest_month,
    list_obstacles,
    list_old_partitions,
)
from usage.rollups import check_rollups, roll_up_days, roll_up_next_day

pytestmark = pytest.mark.django_db
# Older than the months that the tests' database has, so that these are the only ones before KEPT.
MONTH, KEPT = date(2025, 6, 1), date(2025, 7, 1)
RANGE = {"from_": "2025-06-01", "to": "2025-07-01"}


@pytest.fixture(scope="module")
def month(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Store the source for all tests of the module, each of which is rolled back to it."""
    with keep_rows(django_db_blocker):
        store_month()
        yield


@pytest.fixture
def source(month: None, db: None) -> Source:
    """A source with a final month, of which every day has a run, and a day of the month after."""
    return Source.objects.get(slug="main")


def store_month() -> Source:
    """Store a source with a final month, of which every day has a run, and a day of the month after."""
    source: Source = SourceFactory(slug="main", backfill_from=MONTH)
    store_days(source, MONTH, date(2025, 7, 2))
    return source


def store_days(source: Source, first: date, end: date, **values: Any) -> None:
    """Store final days with a run each, rolled up."""
    for number in range((end - first).days):
        day = first + timedelta(days=number)
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        EnvironmentUsageFactory(source=source, stopped_at=noon)
        fields = {"complete": True, "final": True, "loaded_at": noon, "state": "loaded", "records": 1, **values}
        SourceDayFactory(source=source, day=day, starts_at=noon.replace(hour=0), **fields)
    roll_up_days()


def list_month_tables() -> dict[str, int]:
    """Return the tables of the month and how many bytes they have."""
    return {partition.table: partition.bytes for partition in list_old_partitions(KEPT) if partition.month == MONTH}


def list_refusals(month: date = MONTH) -> list[str]:
    """Return the obstacles that keep a month from being dropped."""
    with pytest.raises(PruningRefused) as error:
        drop_month(month)
    assert not SourceDay.objects.filter(pruned_at__isnull=False).exists()
    return [str(obstacle) for obstacle in error.value.obstacles]


def test_a_month_is_dropped_in_a_moment_and_gives_its_space_back(source: Source) -> None:
    ensure_partitions(EnvironmentUsage, MONTH, KEPT)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_environmentusage (source_id, day, record_id, stopped_at) SELECT %s, '2025-06-15', "
            "'many-' || n, '2025-06-15T01:00Z'::timestamptz + n * interval '1 ms' FROM generate_series(1, 20000) AS n",
            [source.pk],
        )
    assert list_month_tables()["usage_environmentusage_2025_06"] > 2**20
    assert count_days([MONTH]) == {"main": 30}

    drop_month(MONTH)

    assert list_month_tables() == {}
    assert MONTH not in list_partitions(EnvironmentUsage).keys() | list_partitions(RecordRevision).keys()
    assert list(EnvironmentUsage.objects.values_list("day", flat=True)) == [KEPT]
    days = SourceDay.objects.filter(day__lt=KEPT)
    assert days.filter(pruned_at__isnull=False, final=True, records=1).count() == 30
    assert EnvironmentDay.objects.filter(day__lt=KEPT).count() == 30
    assert SourceDay.objects.get(day=KEPT).pruned_at is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"final": False}, "not final"),
        ({"state": "due"}, "to be read again"),
        ({"state": "loading", "lease_expires_at": datetime(2030, 1, 1, tzinfo=UTC)}, "to be read again"),
        ({"state": "failed"}, "to be read again"),
        ({"final": False, "complete": False, "loaded_at": None, "state": "due"}, "never read"),
        ({"rolled_up": False}, "not rolled up"),
    ],
)
def test_a_day_that_may_still_change_keeps_its_month(source: Source, values: dict[str, Any], reason: str) -> None:
    SourceDay.objects.filter(day=date(2025, 6, 9)).update(**values)

    assert list_refusals() == [f"main 2025-06-09 ({reason})"]

    assert EnvironmentUsage.objects.filter(day__lt=KEPT).count() == 30


def test_days_that_were_never_planned_keep_their_month(source: Source) -> None:
    SourceFactory(slug="late", backfill_from=date(2025, 6, 29))

    assert list_refusals() == ["late 2025-06-29 (never read)", "late 2025-06-30 (never read)"]


def test_no_day_is_expected_after_the_last_of_a_retired_source(source: Source) -> None:
    SourceFactory(slug="gone", backfill_from=date(2025, 5, 1), retired_after=date(2025, 5, 31), enabled=False)
    Source.objects.filter(pk=source.pk).update(retired_after=date(2025, 6, 29), enabled=False)
    SourceDay.objects.filter(day=date(2025, 6, 30)).delete()

    drop_month(MONTH)

    assert SourceDay.objects.filter(pruned_at__isnull=False).count() == 29


def test_a_day_accepted_for_good_does_not_keep_its_month(source: Source) -> None:
    partial = {"final": False, "complete": False, "state": "partial", "findings": "f", "rejected": 1}
    accepted = {"accepted_at": timezone.now(), "accepted_reason": "Known at the vendor."}
    day = SourceDay.objects.filter(day=date(2025, 6, 9))
    day.update(**partial, loaded_at=datetime(2025, 7, 2, tzinfo=UTC), **accepted)
    assert list_refusals() == ["main 2025-06-09 (not final)"], "read before its month closed"
    day.update(loaded_at=datetime(2025, 7, 5, tzinfo=UTC))

    drop_month(MONTH)

    assert day.get().pruned_at is not None


def test_a_failure_between_the_steps_leaves_everything(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: date) -> None:
        raise RuntimeError

    monkeypatch.setattr("usage.pruning.drop_partitions", fail)
    with pytest.raises(RuntimeError):
        drop_month(MONTH)

    assert not SourceDay.objects.filter(pruned_at__isnull=False).exists()
    assert EnvironmentUsage.objects.filter(day__lt=KEPT).count() == 30


def test_a_month_that_is_not_over_in_every_zone_is_not_dropped() -> None:
    assert get_latest_month(datetime(2026, 2, 1, 11, 59, tzinfo=UTC)) == date(2026, 1, 1)
    assert get_latest_month(datetime(2026, 2, 1, 12, tzinfo=UTC)) == date(2026, 2, 1)


def test_other_sources_may_fill_a_month_again_and_pruned_days_stay_pruned(source: Source, client: Client) -> None:
    drop_month(MONTH)
    pruned_at = SourceDay.objects.get(day=MONTH).pruned_at
    other_source = SourceFactory(slug="other", backfill_from=date(2025, 6, 28))
    store_days(other_source, date(2025, 6, 28), KEPT)

    meta = get(client, "environment-usage/export-manifest/", **RANGE)["meta"]
    assert (meta["complete"], meta["pruned_days"]["total"]) == (False, 30)
    assert get(client, "environment-usage/export-manifest/", **RANGE, source="other")["rows"] == 3
    drop_month(MONTH)

    assert SourceDay.objects.filter(pruned_at__isnull=False).count() == 33
    assert SourceDay.objects.get(source=source, day=MONTH).pruned_at == pruned_at


def test_sums_of_roll_ups_stay_complete_and_name_the_pruned_days(source: Source, client: Client) -> None:
    params = {**RANGE, "group_by": "month"}
    before = get(client, "environment-usage/summary/", **params)
    totals = get(client, "usage/summary/", **RANGE)["totals"]

    drop_month(MONTH)

    after = get(client, "environment-usage/summary/", **params)
    assert after["results"] == before["results"] != []
    assert (after["meta"]["complete"], after["meta"]["complete_through"]) == (True, "2025-06-30")
    assert after["meta"]["pruned_days"]["total"] == 30
    assert after["meta"]["pruned_days"]["rolled_up"]
    open_summary = get(client, "environment-usage/summary/", group_by="month")
    assert [row["month"] for row in open_summary["results"]] == ["2025-06-01", "2025-07-01"]
    accrued_summary = get(
        client, "environment-usage/summary/", group_by="month", measures="runtime_seconds", basis="accrued"
    )
    assert [row["month"] for row in accrued_summary["results"]] == ["2025-06-01", "2025-07-01"]
    combined_summary = get(client, "usage/summary/", **RANGE)
    assert (combined_summary["totals"], combined_summary["meta"]["pruned_days"]["total"]) == (totals, 30)


def test_the_last_page_of_a_list_names_the_pruned_days_of_its_range(source: Source, client: Client) -> None:
    assert "pruned_days" not in get(client, "environment-usage/", **RANGE)
    drop_month(MONTH)

    page = get(client, "environment-usage/", **RANGE | {"from_": "2025-06-30", "to": "2025-07-02"})
    assert [row["day"] for row in page["results"]] == ["2025-07-01"]
    assert page["pruned_days"] == {"total": 1, "days": [{"source": "main", "day": "2025-06-30"}]}
    assert "archived_days" not in page
    assert "pruned_days" not in get(client, "environment-usage/", from_="2025-07-01")


def test_pages_and_files_say_which_days_were_pruned_and_what_follows(source: Source, client: Client) -> None:
    drop_month(MONTH)

    records = get(client, "environment-usage/summary/", **RANGE, group_by="environment_id")["meta"]
    days = "main 1 Jun 2025 – 30 Jun 2025"
    sentences = [f"Not complete: 30 days pruned ({days}).", "Pruned days are not in these numbers."]
    assert describe_answer_quality(records).sentences == list(describe_quality(records)) == sentences
    rollups = get(client, "environment-usage/summary/", **RANGE)["meta"]
    quality = describe_answer_quality(rollups)
    assert quality.tone == "good"
    assert quality.sentences[1] == f"The records of 30 days were pruned, so their sums come from roll-ups: {days}."
    bounds = [datetime(2025, month, 1, tzinfo=UTC) for month in (6, 7)]
    (june,) = assess_intervals([source], bounds)
    assert june.pruned == 30
    assert describe_days(june) == "main: 30 of 30 without records, which were pruned"
    assert assess_intervals([source], bounds, rolled_up=True) == []


def test_roll_ups_of_a_pruned_day_are_neither_rebuilt_nor_compared(source: Source) -> None:
    drop_month(MONTH)
    day = SourceDay.objects.get(day=MONTH)

    assert check_day(day.pk) is None
    assert check_rollups(day.pk) == {}
    assert roll_up_next_day() is None
    with pytest.raises(IntegrityError), transaction.atomic():
        SourceDay.objects.filter(pk=day.pk).update(state="due")
    with pytest.raises(IntegrityError), transaction.atomic():
        SourceDay.objects.filter(pk=day.pk).update(rolled_up=False)


def test_the_preview_lists_no_obstacle_of_a_pruned_month(source: Source) -> None:
    drop_month(MONTH)

    assert list_obstacles([MONTH]) == []
    assert count_days([MONTH]) == {}


def test_a_failure_that_is_no_lock_is_raised_at_once_and_nothing_is_dropped(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(month: date) -> None:
        tries.append(month)
        raise OperationalError("The server closed the connection.")

    monkeypatch.setattr("usage.pruning.drop_partitions", fail)

    with pytest.raises(OperationalError, match="closed the connection"):
        drop_month(MONTH)

    assert tries == [MONTH]
    assert not SourceDay.objects.filter(pruned_at__isnull=False).exists()


def test_a_month_that_another_session_has_created_meanwhile_stays_as_it_is(source: Source) -> None:
    partitions, records = list_partitions(EnvironmentUsage), EnvironmentUsage.objects.count()

    create_partition(EnvironmentUsage, MONTH)

    assert (list_partitions(EnvironmentUsage), EnvironmentUsage.objects.count()) == (partitions, records)
