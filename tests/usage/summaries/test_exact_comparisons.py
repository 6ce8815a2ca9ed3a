"""Exactness of limits, comparisons and recipes, whichever table they were read from."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from tests.support.expected_sums import (
    BOUNDED,
    QUANTITIES,
    Key,
    build_query,
    cut_range,
    format_interval_start,
    index_rows,
)
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
    create_many_environments,
)
from tests.support.plans import analyze
from tests.support.source_days import create_source_days
from usage.models import EnvironmentAccrual, EnvironmentUsage, ResourceUsage, Rollup, SourceDay
from usage.summaries.query import SummaryQuery
from usage.summaries.result import summarize
from usage.summaries.rows import choose_rows, get_bounds
from usage.summaries.sql import build_statement

pytestmark = pytest.mark.django_db
UTC_ZONE = ZoneInfo("UTC")


def get_table(query: SummaryQuery) -> Any:
    """Return the table that the query reads."""
    return choose_rows(query, get_bounds(query) or []).queryset.model


def sum_by_unit(quantities: Any) -> dict[Key, list[Decimal]]:
    """Return the sums, now and before, of all projects of a unit: of the whole range ('') and of each interval."""
    sums: dict[Key, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for (unit, _), intervals in quantities.items():
        for name, (now, before) in intervals.items():
            for part in {(unit, ""), (unit, name)}:
                sums[part] = [sums[part][0] + now, sums[part][1] + before]
    return sums


def assert_comparison(line: dict[str, Any], now: Decimal, before: Decimal) -> None:
    """Check the value, the value before, and the change of a line."""
    name = "consumed_quantity"
    assert (Decimal(line[name]), Decimal(line["previous"][name])) == (now, before)
    assert Decimal(line["change"][name]) == now - before
    part = line["relative_change"][name]
    assert (part and Decimal(part)) == (Context(prec=12).divide(now - before, before) if before else None)


@BOUNDED
@given(rows=QUANTITIES, interval=st.sampled_from(["", "day", "week", "month"]), limit=st.integers(1, 3))
def test_what_the_limit_keeps_and_leaves_is_compared_and_adds_up_to_the_totals(
    rows: Any, interval: str, limit: int
) -> None:
    """Of February, beside January: its first week beside the first of the other, and so on."""
    with transaction.atomic(), localcontext(Context(prec=60)):
        source, month = SourceFactory(), {0: date(2026, 2, 1), 1: date(2026, 1, 1)}
        names = [
            [*dict.fromkeys(format_interval_start(start, interval, UTC_ZONE) if interval else "" for start, _ in days)]
            for days in (
                cut_range(month[0], date(2026, 3, 1), UTC_ZONE, hours=False),
                cut_range(month[1], month[0], UTC_ZONE, hours=False),
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
                    format_interval_start(datetime(day.year, day.month, day.day, tzinfo=UTC), interval, UTC_ZONE)
                    if interval
                    else ""
                )
                place = names[before].index(name)
                if place < len(names[0]):
                    used[unit, project][names[0][place]][before] += quantity
        create_source_days(rolled=True)
        january = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 1, 2, tzinfo=UTC)}
        SourceDay.objects.get_or_create(source=source, day=month[1], defaults=january)
        SourceDay.objects.update(loaded_at=datetime(2026, 3, 5, tzinfo=UTC))
        own = {"limit": str(limit), "compare": "previous", "measures": "consumed_quantity"}
        own["group_by"] = ",".join(filter(None, ["project_id", interval]))
        bounds = {"from": "2026-02-01", "to": "2026-03-01"}
        summary, raw = (summarize(build_query("resource-usage", rolled, **own, **bounds)) for rolled in (True, False))
        assert [summary[part] for part in ("totals", "results", "others")] == [
            raw[part] for part in ("totals", "results", "others")
        ]
        for line in summary["totals"]:
            assert_comparison(line, *totals.pop(line["consumed_unit"]))
        assert not totals
        kept_sums: dict[Key, Decimal] = defaultdict(Decimal)
        for line in summary["results"]:
            key, name = (line["consumed_unit"], line["project_id"]), line[interval] if interval else ""
            assert_comparison(line, *used[key].pop(name))
            kept_sums[key] += Decimal(line["consumed_quantity"])
        assert not any(used.pop(key) for key in kept_sums)
        remaining = sum_by_unit(used)
        others = summary["others"] or {"groups": 0, "totals": []}
        assert others["groups"] == len(used)
        for line in (*others["totals"], *others.get("results", ())):
            assert_comparison(line, *remaining.pop((line["consumed_unit"], line.get(interval, ""))))
        assert not remaining
        for unit in {unit for unit, _ in used}:
            largest_sums = [value for key, value in kept_sums.items() if key[0] == unit]
            assert len(largest_sums) == limit
            remaining_maximum = max(
                sum(now for now, _ in sums.values()) for key, sums in used.items() if key[0] == unit
            )
            assert min(largest_sums) >= remaining_maximum
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
            starts_at = datetime(2026, 3, 27, tzinfo=UTC) + timedelta(hours=after)
            day = starts_at.astimezone(source.zone).date()
            RecipeUsageFactory(source=source, starts_at=starts_at, day=day, recipe_id=recipe, task_count=tasks)
            sums = expected[(format_interval_start(starts_at, interval, ZoneInfo(zone)), recipe, recipe is None)]
            sums[0] += 1
            sums[1] = sums[1] if tasks is None else (sums[1] or 0) + tasks
        create_source_days(rolled=True)
        query = {"group_by": f"recipe_id,{interval}", "tz": zone}
        summaries = [summarize(build_query("recipe-usage", rolled, **query)) for rolled in (True, False)]
        assert summaries[0]["results"] == summaries[1]["results"]
        assert summaries[0]["totals"] == summaries[1]["totals"]
        counts = index_rows(summaries[0], [interval, "recipe_id", "deleted_recipes"], ("records", "task_count"))
        assert counts == {key: tuple(sums) for key, sums in expected.items()}
        transaction.set_rollback(True)


def test_rollups_are_used_where_the_days_are_whole_and_only_there() -> None:
    EnvironmentUsageFactory(source=SourceFactory(time_zone="Europe/Berlin"))
    ResourceUsageFactory(source=SourceFactory(vendor="gcore"))
    create_source_days(rolled=True)
    month = {"from": "2026-01-01", "to": "2026-02-01"}
    filters = {"vendor": "acme"}
    berlin = {**month, **filters, "tz": "Europe/Berlin"}
    for query in ({"group_by": "project_id,month"}, {"group_by": "user_id"}, {"project_id": "project-1"}):
        assert issubclass(get_table(build_query("environment-usage", **berlin, **query)), Rollup)
    accrued = {"basis": "accrued", "measures": "runtime_seconds", "group_by": "user_id,day"}
    assert get_table(build_query("environment-usage", **berlin, **accrued)) is EnvironmentAccrual
    for query in ({"tz": "UTC"}, {"group_by": "hour"}, {"group_by": "environment_id"}, {"measures": "users"}):
        assert get_table(build_query("environment-usage", **{**berlin, **query})) is EnvironmentUsage
    for query in ({"include_withdrawn": "true"}, {"runtime_seconds__gte": "1"}, {"updated_since": "2026-01-01"}):
        assert get_table(build_query("environment-usage", **berlin, **query)) is EnvironmentUsage
    assert issubclass(get_table(build_query("resource-usage", **month, vendor="gcore")), Rollup)
    assert get_table(build_query("resource-usage", **month, group_by="tag:team", vendor="gcore")) is ResourceUsage


def test_a_range_is_read_off_an_index() -> None:
    create_many_environments(SourceFactory(), 5000)
    filters = {"from": "2026-01-01T06:00:00Z", "to": "2026-01-01T06:01:00Z", "group_by": "project_id"}
    query = build_query("environment-usage", **filters)
    sql, params = build_statement(query, choose_rows(query, []))
    analyze("usage_environmentusage")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on usage_environmentusage_2026_01" not in plan
    assert "Index" in plan
