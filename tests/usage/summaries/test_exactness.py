"""Exactness: summaries equal a sum made by hand in Python over the raw rows, whichever table they were read from."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
    many_environments,
)
from tests.support.plans import analyze
from tests.support.source_days import hold_days
from usage.models import EnvironmentAccrual, EnvironmentUsage, ResourceUsage, Rollup, SourceDay
from usage.summaries.combined import FILTERS
from usage.summaries.metrics import METRICS
from usage.summaries.params import ENVIRONMENT_PARAMS, parse_params
from usage.summaries.query import SummaryQuery
from usage.summaries.result import summarize
from usage.summaries.rows import choose_rows, get_bounds
from usage.summaries.sql import build_statement

pytestmark = pytest.mark.django_db
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"]
# Around the changes of clocks in Europe, America and on Lord Howe, in autumn and in spring.
STARTS = [datetime(2026, month, day, tzinfo=UTC) for month, day in ((10, 24), (3, 28), (10, 3), (4, 4))]
BOUNDED = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
Key = tuple[Any, ...]
MINUTE = timedelta(minutes=1)
UTC_ZONE = ZoneInfo("UTC")


def begins_hour(minute: datetime, zone: ZoneInfo) -> bool:
    """Tell whether the clock on the wall comes to another hour at this minute, or to the full one again."""
    now, before = minute.astimezone(zone), (minute - MINUTE).astimezone(zone)
    return now.minute == 0 or (now.date(), now.hour) != (before.date(), before.hour)


def name_of(instant: datetime, interval: str, zone: ZoneInfo) -> str:
    """Return the interval that an instant falls in by the calendar on the wall."""
    on = instant.astimezone(zone).date()
    if interval == "hour":
        minute = instant.replace(second=0, microsecond=0)
        while not begins_hour(minute, zone):
            minute -= MINUTE
        return minute.astimezone(zone).isoformat()
    if interval == "week":
        year, week, _ = on.isocalendar()
        return date.fromisocalendar(year, week, 1).isoformat()
    if interval == "month":
        return on.replace(day=1).isoformat()
    if interval == "quarter":
        return date(on.year, {1: 1, 2: 4, 3: 7, 4: 10}[(on.month + 2) // 3], 1).isoformat()
    return on.replace(month=1, day=1).isoformat() if interval == "year" else on.isoformat()


def build_query(kind: str, rolled: Any = True, **said: Any) -> SummaryQuery:
    """Return the query that the API would build, over days that the roll-ups hold or do not hold."""
    SourceDay.objects.update(rolled_up=rolled)
    words = {name.rstrip("_"): value for name, value in said.items() if value}
    own: dict[str, str] = {name: words.pop(name) for name in ENVIRONMENT_PARAMS if name in words}
    filterset = FILTERS[kind](words)
    assert filterset.is_valid(), filterset.errors
    return parse_params(own, METRICS[kind], filterset, None)


def table(query: SummaryQuery) -> Any:
    """Return the table that the query reads."""
    return choose_rows(query, get_bounds(query) or []).queryset.model


def rows_of(said: dict[str, Any], names: Iterable[str], measures: Iterable[str]) -> dict[Key, Key]:
    """Return the measures of an answer's rows by what they are grouped by."""
    rows = {tuple(row[name] for name in names): tuple(row[name] for name in measures) for row in said["results"]}
    assert len(rows) == len(said["results"])
    return rows


def seconds(length: timedelta) -> Decimal:
    """Return a length exactly."""
    return Decimal(length // timedelta(microseconds=1)) / 1_000_000


def pieces_of(first: date, last: date, zone: ZoneInfo, *, hours: bool) -> list[tuple[datetime, datetime]]:
    """Return the days, or hours, of the dates `[first, last)` by the calendar, or clock, on the wall."""
    midnights = [
        datetime(on.year, on.month, on.day, tzinfo=zone).astimezone(UTC)
        for on in (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    ]
    if hours:
        minutes = int((midnights[-1] - midnights[0]) / MINUTE)
        passing = (midnights[0] + number * MINUTE for number in range(minutes + 1))
        midnights = [minute for minute in passing if begins_hour(minute, zone)]
    return list(pairwise(midnights))


RUNS = st.lists(
    st.tuples(
        st.integers(0, 5 * 86_400_000_000),  # when it stopped, in microseconds after the start
        st.one_of(st.none(), st.just(0), st.integers(0, 3 * 86_400_000_000)),  # how long it ran
        st.sampled_from(["a", "b", ""]),
        st.sampled_from(["u", "v"]),
        st.integers(0, 1),  # which source
    ),
    max_size=12,
)


def store_runs(runs: Any, start: datetime, zones: tuple[str, str]) -> list[EnvironmentUsage]:
    """Store runs of two sources, and their days, rolled up."""
    sources = [SourceFactory(time_zone=zone, slug=f"s{at}") for at, zone in enumerate(zones)]
    for after, length, project, user, at in runs:
        stopped = start + timedelta(microseconds=after)
        created = None if length is None else stopped - timedelta(microseconds=length)
        day = stopped.astimezone(ZoneInfo(zones[at])).date()
        EnvironmentUsageFactory(
            source=sources[at], stopped_at=stopped, created_at=created, day=day, project_id=project, user_id=user
        )
    hold_days(rolled=True)
    return list(EnvironmentUsage.objects.select_related("source"))


@BOUNDED
@given(
    runs=RUNS,
    start=st.sampled_from(STARTS),
    zone=st.sampled_from(ZONES),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    days=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    interval=st.sampled_from(["", "hour", "day", "week", "month", "quarter", "year"]),
    by=st.sampled_from([(), ("project_id",), ("source", "user_id"), ("project_id", "user_id", "source")]),
)
def test_stopped_runtime_is_the_sum_of_the_rows(
    runs: Any, start: datetime, zone: str, zones: Any, days: Any, interval: str, by: Any
) -> None:
    with transaction.atomic():
        first, last = start.date() + timedelta(days=days[0]), start.date() + timedelta(days=sum(days))
        on = ZoneInfo(zone)
        expected: dict[Key, list[Any]] = defaultdict(lambda: [0, None, 0])
        for run in store_runs(runs, start, zones):
            if not first <= run.stopped_at.astimezone(on).date() < last:
                continue
            name = (name_of(run.stopped_at, interval, on),) if interval else ()
            key = (*name, *(run.source.slug if one == "source" else getattr(run, one) for one in by))
            sums = expected[key]
            sums[0] += 1
            sums[2] += run.created_at is None
            if run.created_at is not None:
                sums[1] = (sums[1] or 0) + seconds(run.stopped_at - run.created_at)
        said = {"group_by": ",".join([*by, interval]).strip(","), "from": str(first), "to": str(last), "tz": zone}
        names = [*filter(None, [interval]), *by]
        measures = ("records", "runtime_seconds", "records_without_runtime")
        both = [summarize(build_query("environment-usage", rolled, **said)) for rolled in (True, False)]
        assert both[0]["results"] == both[1]["results"]
        assert both[0]["totals"] == both[1]["totals"]
        found = {key: (n, s and Decimal(s), m) for key, (n, s, m) in rows_of(both[0], names, measures).items()}
        grouped = {key: tuple(sums) for key, sums in expected.items()}
        assert found == grouped if names else list(grouped.values()) in ([], list(found.values()))
        total = both[0]["totals"][0]
        assert total["records"] == sum(sums[0] for sums in expected.values())
        known = [sums[1] for sums in expected.values() if sums[1] is not None]
        assert Decimal(total["runtime_seconds"] or 0) == sum(known)
        transaction.set_rollback(True)


@BOUNDED
@given(
    runs=RUNS,
    start=st.sampled_from(STARTS),
    zone=st.sampled_from(ZONES),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    days=st.tuples(st.integers(-3, 3), st.integers(0, 5)),
    interval=st.sampled_from(["hour", "day", "week", "month"]),
    by=st.sampled_from([(), ("project_id",), ("source", "user_id")]),
)
def test_accrued_runtime_is_every_run_cut_at_every_hour_and_midnight(
    runs: Any, start: datetime, zone: str, zones: Any, days: Any, interval: str, by: Any
) -> None:
    with transaction.atomic():
        first, last = start.date() + timedelta(days=days[0]), start.date() + timedelta(days=days[0] + days[1])
        on = ZoneInfo(zone)
        pieces = pieces_of(first, last, on, hours=interval == "hour")
        expected: dict[Key, Decimal] = defaultdict(Decimal)
        for run in store_runs(runs, start, zones):
            if run.created_at is None:
                continue
            for begins, ends in pieces:
                lasted = min(run.stopped_at, ends) - max(run.created_at, begins)
                if lasted > timedelta():
                    key = (
                        name_of(begins, interval, on),
                        *(run.source.slug if one == "source" else getattr(run, one) for one in by),
                    )
                    expected[key] += seconds(lasted)
        said = {"group_by": ",".join([*by, interval]), "from": str(first), "to": str(last), "tz": zone}
        said |= {"basis": "accrued", "measures": "runtime_seconds"}
        both = [summarize(build_query("environment-usage", rolled, **said)) for rolled in (True, False)]
        found = [rows_of(one, [interval, *by], ("runtime_seconds",)) for one in both]
        assert {key: Decimal(value[0]) for key, value in found[0].items()} == dict(expected)
        assert found[1] == found[0]
        assert Decimal(both[1]["totals"][0]["runtime_seconds"] or 0) == sum(expected.values())
        full = summarize(build_query("environment-usage", **{**said, "measures": ""}))["totals"][0]
        assert Decimal(full["runtime_seconds"] or 0) == sum(expected.values())
        transaction.set_rollback(True)


QUANTITIES = st.lists(
    st.tuples(
        st.integers(0, 70),
        st.decimals(0, 10**25, places=9, allow_nan=False, allow_infinity=False),
        st.sampled_from(["minutes", "bytes"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=15,
)


@BOUNDED
@given(rows=QUANTITIES, interval=st.sampled_from(["", "day", "week", "month", "quarter", "year"]), team=st.booleans())
def test_resource_quantities_are_summed_per_unit_to_the_last_digit(rows: Any, interval: str, team: bool) -> None:
    with transaction.atomic(), localcontext(Context(prec=60)):
        source = SourceFactory()
        expected: dict[Key, Decimal] = defaultdict(Decimal)
        by = ["consumed_unit", "project_id", *(["tag:team"] if team else [])]
        for after, quantity, unit, project, tag in rows:
            day = date(2026, 1, 1) + timedelta(days=after)
            tags = {"team": tag} if tag else {}
            ResourceUsageFactory(
                source=source, day=day, consumed_quantity=quantity, consumed_unit=unit, project_id=project, tags=tags
            )
            name = name_of(datetime(day.year, day.month, day.day, tzinfo=UTC), interval, ZoneInfo("UTC"))
            expected[(*([name] if interval else []), unit, project, *([tag or None] if team else []))] += quantity
        hold_days(rolled=True)
        said = {"group_by": ",".join([*by, interval]).strip(",")}
        both = [summarize(build_query("resource-usage", rolled, **said)) for rolled in (True, False)]
        assert both[0]["results"] == both[1]["results"]
        assert both[0]["totals"] == both[1]["totals"]
        found = rows_of(both[0], [*filter(None, [interval]), *by], ("consumed_quantity",))
        assert {key: Decimal(value[0]) for key, value in found.items()} == dict(expected)
        transaction.set_rollback(True)


def by_unit(used: Any) -> dict[Key, list[Decimal]]:
    """Return the sums, now and before, of all projects of a unit: of the whole range ('') and of each interval."""
    sums: dict[Key, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for (unit, _), intervals in used.items():
        for name, (now, was) in intervals.items():
            for part in {(unit, ""), (unit, name)}:
                sums[part] = [sums[part][0] + now, sums[part][1] + was]
    return sums


def compared(line: dict[str, Any], now: Decimal, was: Decimal) -> None:
    """Check what a line says of now, before, and the change."""
    name = "consumed_quantity"
    assert (Decimal(line[name]), Decimal(line["previous"][name])) == (now, was)
    assert Decimal(line["change"][name]) == now - was
    part = line["relative_change"][name]
    assert (part and Decimal(part)) == (Context(prec=12).divide(now - was, was) if was else None)


@BOUNDED
@given(rows=QUANTITIES, interval=st.sampled_from(["", "day", "week", "month"]), limit=st.integers(1, 3))
def test_what_the_limit_keeps_and_leaves_is_compared_and_adds_up_to_the_totals(
    rows: Any, interval: str, limit: int
) -> None:
    """Of February, beside January: its first week beside the first of the other, and so on."""
    with transaction.atomic(), localcontext(Context(prec=60)):
        source, month = SourceFactory(), {0: date(2026, 2, 1), 1: date(2026, 1, 1)}
        names = [
            [*dict.fromkeys(name_of(start, interval, UTC_ZONE) if interval else "" for start, _ in days)]
            for days in (
                pieces_of(month[0], date(2026, 3, 1), UTC_ZONE, hours=False),
                pieces_of(month[1], month[0], UTC_ZONE, hours=False),
            )
        ]
        totals: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        # By (unit, project), then by interval of February: what was used then, and before.
        used: dict[Key, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [Decimal(0), Decimal(0)]))
        for after, quantity, unit, project, _ in rows:
            day = date(2026, 1, 1) + timedelta(days=after)
            ResourceUsageFactory(
                source=source, day=day, consumed_quantity=quantity, consumed_unit=unit, project_id=project
            )
            if day < date(2026, 3, 1):
                before = int(day < month[0])
                totals[unit][before] += quantity
                name = (
                    name_of(datetime(day.year, day.month, day.day, tzinfo=UTC), interval, UTC_ZONE) if interval else ""
                )
                place = names[before].index(name)
                if place < len(names[0]):
                    used[unit, project][names[0][place]][before] += quantity
        hold_days(rolled=True)
        january = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 1, 2, tzinfo=UTC)}
        SourceDay.objects.get_or_create(source=source, day=month[1], defaults=january)
        SourceDay.objects.update(loaded_at=datetime(2026, 3, 5, tzinfo=UTC))
        own = {"limit": str(limit), "compare": "previous", "measures": "consumed_quantity"}
        own["group_by"] = ",".join(filter(None, ["project_id", interval]))
        said = {"from": "2026-02-01", "to": "2026-03-01"}
        found, raw = (summarize(build_query("resource-usage", rolled, **own, **said)) for rolled in (True, False))
        assert [found[part] for part in ("totals", "results", "others")] == [
            raw[part] for part in ("totals", "results", "others")
        ]
        for line in found["totals"]:
            compared(line, *totals.pop(line["consumed_unit"]))
        assert not totals
        kept: dict[Key, Decimal] = defaultdict(Decimal)
        for line in found["results"]:
            key, name = (line["consumed_unit"], line["project_id"]), line[interval] if interval else ""
            compared(line, *used[key].pop(name))
            kept[key] += Decimal(line["consumed_quantity"])
        assert not any(used.pop(key) for key in kept)
        left = by_unit(used)
        others = found["others"] or {"groups": 0, "totals": []}
        assert others["groups"] == len(used)
        for line in (*others["totals"], *others.get("results", ())):
            compared(line, *left.pop((line["consumed_unit"], line.get(interval, ""))))
        assert not left
        for unit in {unit for unit, _ in used}:
            ours = [value for key, value in kept.items() if key[0] == unit]
            assert len(ours) == limit
            largest = max(sum(now for now, _ in sums.values()) for key, sums in used.items() if key[0] == unit)
            assert min(ours) >= largest
        transaction.set_rollback(True)


COUNTS = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from([None, 1, 2]), st.one_of(st.none(), st.integers(0, 2**62))),
    max_size=12,
    unique_by=lambda row: row[:2],
)


@BOUNDED
@given(
    rows=COUNTS,
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    interval=st.sampled_from(["day", "week"]),
)
def test_recipe_counts_are_the_sums_of_what_was_reported(rows: Any, zone: str, interval: str) -> None:
    with transaction.atomic():
        source = SourceFactory(time_zone="Europe/Berlin")
        expected: dict[Key, list[Any]] = defaultdict(lambda: [0, None])
        for after, recipe, tasks in rows:
            starts = datetime(2026, 3, 27, tzinfo=UTC) + timedelta(hours=after)
            day = starts.astimezone(source.zone).date()
            RecipeUsageFactory(source=source, starts_at=starts, day=day, recipe_id=recipe, task_count=tasks)
            sums = expected[(name_of(starts, interval, ZoneInfo(zone)), recipe, recipe is None)]
            sums[0] += 1
            sums[1] = sums[1] if tasks is None else (sums[1] or 0) + tasks
        hold_days(rolled=True)
        said = {"group_by": f"recipe_id,{interval}", "tz": zone}
        both = [summarize(build_query("recipe-usage", rolled, **said)) for rolled in (True, False)]
        assert both[0]["results"] == both[1]["results"]
        assert both[0]["totals"] == both[1]["totals"]
        found = rows_of(both[0], [interval, "recipe_id", "deleted_recipes"], ("records", "task_count"))
        assert found == {key: tuple(sums) for key, sums in expected.items()}
        transaction.set_rollback(True)


def test_rollups_are_used_where_the_days_are_whole_and_only_there() -> None:
    EnvironmentUsageFactory(source=SourceFactory(time_zone="Europe/Berlin"))
    ResourceUsageFactory(source=SourceFactory(vendor="gcore"))
    hold_days(rolled=True)
    month = {"from": "2026-01-01", "to": "2026-02-01"}
    ours = {"vendor": "acme"}
    berlin = {**month, **ours, "tz": "Europe/Berlin"}
    for said in ({"group_by": "project_id,month"}, {"group_by": "user_id"}, {"project_id": "project-1"}):
        assert issubclass(table(build_query("environment-usage", **berlin, **said)), Rollup)
    accrued = {"basis": "accrued", "measures": "runtime_seconds", "group_by": "user_id,day"}
    assert table(build_query("environment-usage", **berlin, **accrued)) is EnvironmentAccrual
    for said in ({"tz": "UTC"}, {"group_by": "hour"}, {"group_by": "environment_id"}, {"measures": "users"}):
        assert table(build_query("environment-usage", **{**berlin, **said})) is EnvironmentUsage
    for said in ({"include_withdrawn": "true"}, {"runtime_seconds__gte": "1"}, {"updated_since": "2026-01-01"}):
        assert table(build_query("environment-usage", **berlin, **said)) is EnvironmentUsage
    assert issubclass(table(build_query("resource-usage", **month, vendor="gcore")), Rollup)
    assert table(build_query("resource-usage", **month, group_by="tag:team", vendor="gcore")) is ResourceUsage


def test_a_range_is_read_off_an_index() -> None:
    many_environments(SourceFactory(), 5000)
    said = {"from": "2026-01-01T06:00:00Z", "to": "2026-01-01T06:01:00Z", "group_by": "project_id"}
    query = build_query("environment-usage", **said)
    sql, params = build_statement(query, choose_rows(query, []))
    analyze("usage_environmentusage")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on usage_environmentusage_2026_01" not in plan
    assert "Index" in plan
