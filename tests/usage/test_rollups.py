"""Rollups equal the sums of the records to the last digit, whatever happens to a day."""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import EnvironmentUsageFactory, SourceDayFactory, SourceFactory
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from usage.days import Day
from usage.models import (
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentUsage,
    RecipeDay,
    RecipeRow,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceRow,
    ResourceUsage,
    Rollup,
    Source,
    SourceDay,
    UsageRecord,
)
from usage.rollups import (
    ROLLUPS,
    choose_rollup,
    compare_rollups,
    get_last_stop_day,
    is_rolled_up,
    roll_up_days,
    write_rollups,
)

pytestmark = pytest.mark.django_db
EXAMPLES = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
NEXT = DAY + timedelta(days=1)
STOPPED_DIMENSIONS = ("project_id", "environment_class_id", "runner_id", "user_id")
Groups = dict[tuple[Any, ...], list[Any]]


def sum_records(rollup: type[Rollup], records: Iterable[UsageRecord], by: tuple[str, ...]) -> Groups:
    """Return [records, *sums] of the current records by source, day and `by`, added one by one in Python."""
    return add_up((record, [1, *(get_summand(record, name) for name in rollup.sums)], by) for record in records)


def add_up(summands: Iterable[tuple[Any, list[Any], tuple[str, ...]]]) -> Groups:
    """Return the sums of the numbers of rows, by source, day and the columns of each; None adds nothing."""
    groups: Groups = {}
    for record, numbers, by in summands:
        key = (record.source_id, record.day, *(getattr(record, name) for name in by))
        sums = groups.setdefault(key, [0, *(None for _ in numbers[1:])])
        for place, value in enumerate(numbers):
            if value is not None:
                sums[place] = value if sums[place] is None else sums[place] + value
    return groups


def get_summand(record: Any, name: str) -> Any:
    """Return the summand of a record."""
    if name.startswith("records_without_"):
        measure = name.removeprefix("records_without_")
        return int(getattr(record, "runtime_seconds" if measure == "runtime" else measure) is None)
    if name == "records_beyond_decimal":
        return int(-record.consumed_quantity.as_tuple().exponent > 18 or abs(record.consumed_quantity) >= 10**20)
    if name == "digest":
        return struct.unpack(">q", hashlib.md5(f"{record.id}:{record.revision}".encode()).digest()[:8])[0]
    return getattr(record, name)


def find_last_changes(rollup: type[Rollup]) -> dict[tuple[Any, ...], datetime]:
    """Return when the last current record of each row of a rollup changed."""
    changes: dict[tuple[Any, ...], datetime] = {}
    for record in rollup.kind.objects.current():
        key = (record.source_id, record.day, *(getattr(record, name) for name in rollup.dimensions))
        changes[key] = max(record.changed_at, changes.get(key, record.changed_at))
    return changes


def sum_rollup(rollup: type[Rollup], rows: Iterable[Rollup], by: tuple[str, ...]) -> Groups:
    """Return the same sums from the rows of a rollup."""
    return add_up((row, [getattr(row, name) for name in ("records", *rollup.sums)], by) for row in rows)


def list_subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [tuple(name for place, name in enumerate(names) if bits >> place & 1) for bits in range(1 << len(names))]


def split_runs() -> dict[tuple[Any, ...], Any]:
    """Return the seconds of the current runs by source, owning day, date and dimensions, cut in Python."""
    groups: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for run in EnvironmentUsage.objects.current().exclude(created_at=None).select_related("source"):
        start = run.created_at
        while start < run.stopped_at:
            day = Day.containing(start, run.source.zone)
            end = min(day.end, run.stopped_at)
            dimensions = (getattr(run, name) for name in STOPPED_DIMENSIONS)
            groups[run.source_id, run.day, day.date, *dimensions] += (
                Decimal((end - start) // timedelta(microseconds=1)) / 1_000_000
            )
            start = end
    return dict(groups)


def read_accrual() -> dict[tuple[Any, ...], Any]:
    names = ("source_id", "day", "accrued_on", *STOPPED_DIMENSIONS)
    return {
        tuple(getattr(accrual, name) for name in names): accrual.runtime_seconds
        for accrual in EnvironmentAccrual.objects.filter(runtime_seconds__gt=0)
    }


def assert_exact() -> None:
    """Every rollup equals the sums of the records, for every combination of its dimensions."""
    for rollup in ROLLUPS:
        dimensions = STOPPED_DIMENSIONS if rollup is EnvironmentAccrual else rollup.dimensions
        records, rows = list(rollup.kind.objects.current()), list(rollup.objects.all())
        for by in list_subsets(dimensions):
            assert sum_rollup(rollup, rows, by) == sum_records(rollup, records, by)
        assert len(rows) == len(sum_rollup(rollup, rows, rollup.dimensions))
        if rollup.latest:
            columns = ("source_id", "day", *rollup.dimensions)
            latest = rollup.objects.values_list(*columns, "last_changed_at")
            assert {row[:-1]: row[-1] for row in latest} == find_last_changes(rollup)
    assert read_accrual() == split_runs()


texts = st.sampled_from(["", "a", "b"])
instants = st.integers(0, 86_399_999_999).map(
    lambda micros: datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(microseconds=micros)
)
durations = st.one_of(
    st.none(), st.just(0), st.integers(1, 10**6), st.integers(1, 86_400 * 10**6), st.integers(1, 90 * 86_400 * 10**6)
)
runs = st.builds(
    lambda stopped, duration, *ids: (stopped, None if duration is None else stopped - timedelta(microseconds=duration), *ids),
    instants, durations, texts, texts, texts, texts,
)  # fmt: skip
listings = st.lists(st.lists(runs, max_size=12), min_size=1, max_size=4)


@EXAMPLES
@given(listings)
def test_environment_rollups_follow_every_restatement_to_the_last_digit(
    source: Source, listing: Listing, reads: list[list[Any]]
) -> None:
    for read in reads:
        listing.records[DAY] = [
            build_run(number, stopped_at=stopped, created_at=created, project_id=project, user_id=user, runner_id=runner,
                environment_class_id=environment_class)
            for number, (stopped, created, project, user, runner, environment_class) in enumerate(read)
        ]  # fmt: skip
        assert read_day(source).outcome in ("loaded", "unchanged", "suspect")
        assert_exact()


digits = st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**18, places=9)
optional_ids = st.one_of(st.none(), st.integers(1, 2))
resources = st.lists(
    st.tuples(texts, texts, st.sampled_from(["GB", "minutes"]), optional_ids, optional_ids, digits), max_size=10
)


@EXAMPLES
@given(st.lists(resources, min_size=1, max_size=3))
def test_resource_rollups_follow_every_restatement_to_the_last_digit(
    source: Source, listing: Listing, reads: list[list[Any]]
) -> None:
    listing.kind = ResourceUsage
    for read in reads:
        listing.records[DAY] = [
            ResourceRow(UUID(int=number), kind or "vm", metric, quantity, unit, project, region, "", "", None, None)
            for number, (kind, metric, unit, project, region, quantity) in enumerate(read)
        ]
        assert read_day(source).outcome in ("loaded", "unchanged", "suspect")
        assert_exact()


counts = st.one_of(st.none(), st.integers(0, 2**62))
recipes = st.lists(st.tuples(st.integers(1, 2), optional_ids, optional_ids, texts, counts, counts, counts), max_size=10)


@EXAMPLES
@given(st.lists(recipes, min_size=1, max_size=3), st.booleans())
def test_recipe_rollups_follow_every_restatement_and_take_missing_for_missing(
    source: Source, listing: Listing, reads: list[list[Any]], accepted: bool
) -> None:
    listing.kind = RecipeUsage
    noon = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    for read in reads:
        listing.records[DAY] = [
            RecipeRow(workspace, name, name, recipe, "", folder, "", noon + timedelta(hours=hour),
                      noon + timedelta(hours=hour + 1), tasks, result, failed, 1)
            for hour, (workspace, recipe, folder, name, tasks, result, failed) in enumerate(read)
        ]  # fmt: skip
        # A read that lacks a count that is stored changes nothing until a person accepts it.
        SourceDay.objects.update(shrink_accepted=accepted)
        assert read_day(source).outcome in ("loaded", "unchanged", "unverified")
        assert_exact()


@pytest.mark.parametrize(
    ("zone", "on"),
    [
        ("Europe/Berlin", date(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 10, 25)),
        ("America/Sao_Paulo", date(2018, 11, 4)),
        ("Atlantic/Azores", date(2026, 10, 25)),
        ("Australia/Lord_Howe", date(2026, 4, 5)),
    ],
)
def test_runs_are_cut_at_the_midnights_of_days_of_23_to_25_hours(zone: str, on: date) -> None:
    source = SourceFactory(time_zone=zone)
    for offset in (0, 1):
        day = Day.of(on + timedelta(days=offset), zone)
        source_day = SourceDayFactory(source=source, day=day.date, starts_at=day.start, ends_at=day.end)
        for number, duration in enumerate((1, 3600, 86_400, 90_000, 400 * 86_400 + 7)):
            stopped_at = day.end - timedelta(microseconds=1 + 3_000_000 * number)
            EnvironmentUsageFactory(
                source=source, day=day.date, stopped_at=stopped_at, created_at=stopped_at - timedelta(seconds=duration)
            )
        write_rollups(EnvironmentUsage, source_day)
    calendar_day = Day.of(on, zone)
    stopped_at = Day.of(on + timedelta(days=1), zone).start
    late = SourceDay.objects.get(source=source, day=on + timedelta(days=1))
    EnvironmentUsageFactory(
        source=source, day=late.day, stopped_at=stopped_at, created_at=calendar_day.start, project_id="all of it"
    )
    write_rollups(EnvironmentUsage, late)

    assert_exact()
    accrual = EnvironmentAccrual.objects.get(project_id="all of it", runtime_seconds__gt=0)
    assert (accrual.accrued_on, accrual.runtime_seconds) == (
        on,
        int((calendar_day.end - calendar_day.start).total_seconds()),
    )


def test_withdrawn_moved_and_returned_records_are_followed(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n, minutes=900 + n, user_id=f"user-{n % 3}") for n in range(12)]
    read_day(source)
    assert_exact()
    record = listing.records[DAY].pop()
    read_day(source)
    assert_exact()
    listing.records[DAY].append(record)
    read_day(source)
    assert_exact()
    listing.records[NEXT] = [build_run(3, on=NEXT, minutes=10)]
    read_day(source, NEXT)
    assert_exact()
    assert SourceDay.objects.get(day=DAY).records == 11
    assert EnvironmentDay.objects.get(day=DAY).records == 11


def test_a_suspect_read_changes_no_rollup_until_it_is_believed(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    listing.records[DAY] = []

    read_day(source)
    assert EnvironmentDay.objects.get().records == 20

    read_day(source)
    assert not EnvironmentDay.objects.exists()
    assert_exact()


def test_a_merge_that_fails_midway_leaves_the_rollups_as_they_were(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.records[DAY] = [build_run(n) for n in range(5)]
    read_day(source)
    listing.records[DAY].append(build_run(9))
    before = list(EnvironmentDay.objects.values()) + list(EnvironmentAccrual.objects.values())

    def fail(*_: Any) -> str:
        raise RuntimeError("after the rollups were written")

    monkeypatch.setattr("sync.engine.store.succeed", fail)

    assert read_day(source).outcome == "failed"
    assert list(EnvironmentDay.objects.values()) + list(EnvironmentAccrual.objects.values()) == before
    assert_exact()


def test_reading_a_day_again_writes_no_row_version_of_its_rollups(transactional_db: None, listing: Listing) -> None:
    source = make_source()
    listing.records[DAY] = [build_run(n, minutes=2000, user_id=f"user-{n % 7}") for n in range(300)]
    read_day(source)
    before = count_row_versions()
    assert sum(inserted for _, inserted, _, _ in before) > 0

    assert read_day(source).outcome == "unchanged"
    SourceDay.objects.update(digest="")
    assert read_day(source).outcome == "loaded"

    assert count_row_versions() == before


def count_row_versions() -> list[tuple[str, int, int, int]]:
    """Return the rows ever inserted, updated and deleted in every rollup."""
    names = [model._meta.db_table for model in ROLLUPS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = ANY(%s) "
            "ORDER BY relname",
            [names],
        )
        return cursor.fetchall()


def test_the_smallest_rollup_that_keeps_the_columns_apart_is_chosen() -> None:
    assert choose_rollup(EnvironmentUsage, []) is EnvironmentDay
    assert choose_rollup(EnvironmentUsage, ["source_id", "day", "project_id", "runtime_seconds"]) is EnvironmentDay
    assert choose_rollup(EnvironmentUsage, {"project_id", "user_id"}) is EnvironmentAccrual
    assert choose_rollup(EnvironmentUsage, {"accrued_on"}) is EnvironmentAccrual
    assert choose_rollup(EnvironmentUsage, {"environment_id"}) is None
    assert choose_rollup(ResourceUsage, {"consumed_unit", "project_id"}) is ResourceDay
    assert choose_rollup(RecipeUsage, {"workspace_id"}) is RecipeWorkspaceDay
    assert choose_rollup(RecipeUsage, {"recipe_id"}) is RecipeDay


def test_days_stored_before_there_were_rollups_are_caught_up(source: Source, listing: Listing) -> None:
    for on in (DAY, NEXT):
        listing.records[on] = [build_run(n, on=on, record_id=f"{on}-{n}") for n in range(3)]
        read_day(source, on)
    read_day(source, NEXT + timedelta(days=1))
    assert is_rolled_up()
    for model in ROLLUPS:
        model.objects.all().delete()
    SourceDay.objects.update(rolled_up=False)
    assert not is_rolled_up([source.pk], DAY, NEXT)
    assert is_rolled_up([source.pk], NEXT + timedelta(days=1))
    assert is_rolled_up([source.pk + 1])

    assert roll_up_days(seconds=0) == 0
    assert roll_up_days() == 2
    assert roll_up_days() == 0

    assert is_rolled_up()
    assert_exact()


def test_the_last_stop_day_bounds_the_records_that_touch_some_dates(source: Source, listing: Listing) -> None:
    late = DAY + timedelta(days=6)
    listing.records[late] = [build_run(1, on=late, minutes=5 * 24 * 60)]
    listing.records[DAY] = [build_run(2, minutes=5)]
    read_day(source, late)
    read_day(source)

    assert get_last_stop_day([source.pk], DAY, NEXT) == DAY
    assert get_last_stop_day([source.pk], DAY, DAY + timedelta(days=3)) == late
    assert get_last_stop_day([source.pk + 1], DAY, DAY + timedelta(days=3)) == DAY + timedelta(days=2)
    assert get_last_stop_day([source.pk], DAY, late + timedelta(days=9)) == late + timedelta(days=8)
    assert compare_rollups(EnvironmentUsage, SourceDay.objects.get(day=late))[1] == {}
