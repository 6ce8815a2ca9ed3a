"""Rollups equal what the records add up to, to the last digit, whatever happens to a day."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import EnvironmentUsageFactory, SourceDayFactory, SourceFactory
from tests.scripted import DAY, Listing, make_source, read_day, row
from usage.days import Day
from usage.models import (
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentProjectDay,
    EnvironmentUsage,
    EnvironmentUserDay,
    RecipeDay,
    RecipeRow,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceProjectDay,
    ResourceRow,
    ResourceUsage,
    Rollup,
    Source,
    SourceDay,
)
from usage.rollups import ROLLUPS, differences, fitting, last_stop_day, roll_up, rolled_up, write

pytestmark = pytest.mark.django_db
MANY = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
NEXT = DAY + timedelta(days=1)
TABLES: tuple[Any, ...] = (*ROLLUPS, EnvironmentAccrual)


def added_up(rollup: type[Rollup], by: tuple[str, ...]) -> dict[tuple[Any, ...], list[Any]]:
    """Return [records, *sums] of the current records by source, day and `by`, added one by one in Python."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for record in rollup.kind.objects.current():
        sums = groups.setdefault(
            (record.source_id, record.day, *(getattr(record, name) for name in by)), [0, *(None for _ in rollup.sums)]
        )
        sums[0] += 1
        for place, name in enumerate(rollup.sums, 1):
            value = int(record.runtime_seconds is None) if name == "records_without_runtime" else getattr(record, name)
            if value is not None:
                sums[place] = value if sums[place] is None else sums[place] + value
    return groups


def rolled(rollup: type[Rollup], by: tuple[str, ...]) -> dict[tuple[Any, ...], list[Any]]:
    """Return the same, added from the rollup's rows."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for held in rollup.objects.all():
        key = (held.source_id, held.day, *(getattr(held, name) for name in by))
        sums = groups.setdefault(key, [0, *(None for _ in rollup.sums)])
        for place, name in enumerate(("records", *rollup.sums)):
            value = getattr(held, name)
            if value is not None:
                sums[place] = value if sums[place] is None else sums[place] + value
    return groups


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [tuple(name for place, name in enumerate(names) if bits >> place & 1) for bits in range(1 << len(names))]


def accrued() -> dict[tuple[Any, ...], list[Any]]:
    """Return [seconds, runs] of the current runs by source, owning day, date and dimensions, cut in Python."""
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [Decimal(0), 0])
    for run in EnvironmentUsage.objects.current().exclude(created_at=None).select_related("source"):
        at = run.created_at
        while at < run.stopped_at:
            on = Day.containing(at, run.source.zone)
            until = min(on.end, run.stopped_at)
            dimensions = (getattr(run, name) for name in EnvironmentAccrual.dimensions)
            cut = groups[run.source_id, run.day, on.date, *dimensions]
            cut[0] += Decimal((until - at) // timedelta(microseconds=1)) / 1_000_000
            cut[1] += 1
            at = until
    return dict(groups)


def accrual_held() -> dict[tuple[Any, ...], list[Any]]:
    names = ("source_id", "day", "accrued_on", *EnvironmentAccrual.dimensions)
    return {
        tuple(getattr(held, name) for name in names): [held.accrued_seconds, held.runs]
        for held in EnvironmentAccrual.objects.all()
    }


def assert_exact() -> None:
    """Every rollup equals the sums of the records, for every combination of its dimensions."""
    for rollup in ROLLUPS:
        for by in subsets(rollup.dimensions):
            assert rolled(rollup, by) == added_up(rollup, by)
        assert rollup.objects.count() == len(rolled(rollup, rollup.dimensions))
    assert accrual_held() == accrued()
    assert EnvironmentAccrual.objects.count() == len(accrual_held())


few = st.sampled_from(["", "a", "b"])
instants = st.integers(0, 86_399_999_999).map(
    lambda micros: datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(microseconds=micros)
)
lasted = st.one_of(
    st.none(), st.just(0), st.integers(1, 10**6), st.integers(1, 86_400 * 10**6), st.integers(1, 90 * 86_400 * 10**6)
)
runs = st.builds(
    lambda stopped, lasting, *ids: (stopped, None if lasting is None else stopped - timedelta(microseconds=lasting), *ids),
    instants, lasted, few, few, few, few,
)  # fmt: skip
listings = st.lists(st.lists(runs, max_size=12), min_size=1, max_size=4)


@MANY
@given(listings)
def test_environment_rollups_follow_every_restatement_to_the_last_digit(
    source: Source, listing: Listing, reads: list[list[Any]]
) -> None:
    for read in reads:
        listing.records[DAY] = [
            row(number, stopped_at=stopped, created_at=created, project_id=project, user_id=user, runner_id=runner,
                environment_class_id=of_class)
            for number, (stopped, created, project, user, runner, of_class) in enumerate(read)
        ]  # fmt: skip
        assert read_day(source).outcome in ("loaded", "unchanged", "suspect")
        assert_exact()


digits = st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**18, places=9)
maybe = st.one_of(st.none(), st.integers(1, 2))
resources = st.lists(st.tuples(few, few, st.sampled_from(["GB", "minutes"]), maybe, maybe, digits), max_size=10)


@MANY
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
recipes = st.lists(st.tuples(st.integers(1, 2), maybe, maybe, few, counts, counts, counts), max_size=10)


@MANY
@given(st.lists(recipes, min_size=1, max_size=3))
def test_recipe_rollups_follow_every_restatement_and_take_missing_for_missing(
    source: Source, listing: Listing, reads: list[list[Any]]
) -> None:
    listing.kind = RecipeUsage
    noon = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    for read in reads:
        listing.records[DAY] = [
            RecipeRow(workspace, name, name, recipe, "", folder, "", noon + timedelta(hours=hour),
                      noon + timedelta(hours=hour + 1), tasks, done, failed, 1)
            for hour, (workspace, recipe, folder, name, tasks, done, failed) in enumerate(read)
        ]  # fmt: skip
        assert read_day(source).outcome in ("loaded", "unchanged", "suspect")
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
        made = SourceDayFactory(source=source, day=day.date, starts_at=day.start, ends_at=day.end)
        for number, back in enumerate((1, 3600, 86_400, 90_000, 400 * 86_400 + 7)):
            stopped = day.end - timedelta(microseconds=1 + 3_000_000 * number)
            EnvironmentUsageFactory(
                source=source, day=day.date, stopped_at=stopped, created_at=stopped - timedelta(seconds=back)
            )
        write(EnvironmentUsage, made)
    whole = Day.of(on, zone)
    stopped = Day.of(on + timedelta(days=1), zone).start
    late = SourceDay.objects.get(source=source, day=on + timedelta(days=1))
    EnvironmentUsageFactory(
        source=source, day=late.day, stopped_at=stopped, created_at=whole.start, project_id="all of it"
    )
    write(EnvironmentUsage, late)

    assert_exact()
    cut = EnvironmentAccrual.objects.get(project_id="all of it")
    assert (cut.accrued_on, cut.accrued_seconds) == (on, int((whole.end - whole.start).total_seconds()))


def test_withdrawn_moved_and_returned_records_are_followed(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(n, minutes=900 + n, user_id=f"user-{n % 3}") for n in range(12)]
    read_day(source)
    assert_exact()
    gone = listing.records[DAY].pop()
    read_day(source)
    assert_exact()
    listing.records[DAY].append(gone)
    read_day(source)
    assert_exact()
    listing.records[NEXT] = [row(3, on=NEXT, minutes=10)]
    read_day(source, NEXT)
    assert_exact()
    assert SourceDay.objects.get(day=DAY).records == 11
    assert EnvironmentDay.objects.get(day=DAY).records == 11


def test_a_suspect_read_changes_no_rollup_until_it_is_believed(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(n) for n in range(20)]
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
    listing.records[DAY] = [row(n) for n in range(5)]
    read_day(source)
    listing.records[DAY].append(row(9))
    before = list(EnvironmentDay.objects.values()) + list(EnvironmentAccrual.objects.values())

    def broken(*_: Any) -> str:
        raise RuntimeError("after the rollups were written")

    monkeypatch.setattr("sync.engine.load.succeed", broken)

    assert read_day(source).outcome == "failed"
    assert list(EnvironmentDay.objects.values()) + list(EnvironmentAccrual.objects.values()) == before
    assert_exact()


def test_reading_a_day_again_writes_no_row_version_of_its_rollups(transactional_db: None, listing: Listing) -> None:
    source = make_source()
    listing.records[DAY] = [row(n, minutes=2000, user_id=f"user-{n % 7}") for n in range(300)]
    read_day(source)
    before = row_versions()
    assert sum(inserted for _, inserted, _, _ in before) > 0

    assert read_day(source).outcome == "unchanged"
    SourceDay.objects.update(digest="")
    assert read_day(source).outcome == "loaded"
    write(EnvironmentUsage, SourceDay.objects.get())

    assert row_versions() == before


def test_a_change_of_one_record_writes_only_the_rows_it_is_in(transactional_db: None, listing: Listing) -> None:
    source = make_source()
    listing.records[DAY] = [row(n, project_id=f"project-{n}") for n in range(50)]
    read_day(source)
    before = {name: counts for name, *counts in row_versions()}
    listing.records[DAY][7] = row(7, project_id="project-7", minutes=31)
    read_day(source)

    after = {name: counts for name, *counts in row_versions()}
    for rollup in (EnvironmentProjectDay, EnvironmentDay, EnvironmentUserDay, EnvironmentAccrual):
        inserted, updated, deleted = before[rollup._meta.db_table]
        assert after[rollup._meta.db_table] == [inserted, updated + 1, deleted]


def row_versions() -> list[tuple[str, int, int, int]]:
    """Return the rows ever inserted, updated and deleted in every rollup."""
    names = [model._meta.db_table for model in TABLES]
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
    assert fitting(EnvironmentUsage, []) is EnvironmentProjectDay
    assert fitting(EnvironmentUsage, ["source_id", "day", "project_id"]) is EnvironmentProjectDay
    assert fitting(EnvironmentUsage, {"project_id", "user_id"}) is EnvironmentUserDay
    assert fitting(EnvironmentUsage, {"runner_id", "user_id"}) is None
    assert fitting(EnvironmentUsage, {"environment_id"}) is None
    assert fitting(ResourceUsage, {"consumed_unit", "project_id"}) is ResourceProjectDay
    assert fitting(ResourceUsage, {"consumed_unit", "region_id"}) is ResourceDay
    assert fitting(RecipeUsage, {"workspace_id"}) is RecipeWorkspaceDay
    assert fitting(RecipeUsage, {"recipe_id"}) is RecipeDay


def test_days_stored_before_there_were_rollups_are_caught_up(source: Source, listing: Listing) -> None:
    for on in (DAY, NEXT):
        listing.records[on] = [row(n, on=on, record_id=f"{on}-{n}") for n in range(3)]
        read_day(source, on)
    read_day(source, NEXT + timedelta(days=1))
    assert rolled_up(EnvironmentUsage, None, None, None)
    for model in TABLES:
        model.objects.all().delete()
    SourceDay.objects.update(rolled_up=False)
    assert not rolled_up(EnvironmentUsage, [source.pk], DAY, NEXT)
    assert rolled_up(EnvironmentUsage, [source.pk], NEXT + timedelta(days=1), None)
    assert rolled_up(EnvironmentUsage, [source.pk + 1], None, None)

    assert roll_up(seconds=0) == 0
    assert roll_up() == 2
    assert roll_up() == 0

    assert rolled_up(EnvironmentUsage, None, None, None)
    assert_exact()


def test_the_last_stop_day_bounds_the_records_that_touch_some_dates(source: Source, listing: Listing) -> None:
    late = DAY + timedelta(days=6)
    listing.records[late] = [row(1, on=late, minutes=5 * 24 * 60)]
    listing.records[DAY] = [row(2, minutes=5)]
    read_day(source, late)
    read_day(source)

    assert last_stop_day([source.pk], DAY, NEXT) == DAY
    assert last_stop_day([source.pk], DAY, DAY + timedelta(days=3)) == late
    assert last_stop_day([source.pk + 1], DAY, DAY + timedelta(days=3)) == DAY + timedelta(days=2)
    assert last_stop_day([source.pk], DAY, late + timedelta(days=9)) == late + timedelta(days=8)
    assert differences(EnvironmentUsage, SourceDay.objects.get(day=late)) == {}
