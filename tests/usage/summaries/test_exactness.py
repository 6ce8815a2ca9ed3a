"""Exactness: summaries of runs and resources equal a sum made by hand over the raw rows."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
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
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from usage.models import EnvironmentUsage
from usage.summaries.result import summarize

pytestmark = pytest.mark.django_db
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"]
# Around the changes of clocks in Europe, America and on Lord Howe, in autumn and in spring.
STARTS = [datetime(2026, month, day, tzinfo=UTC) for month, day in ((10, 24), (3, 28), (10, 3), (4, 4))]


def to_seconds(length: timedelta) -> Decimal:
    """Return the exact seconds of a duration."""
    return Decimal(length // timedelta(microseconds=1)) / 1_000_000


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
    sources = [SourceFactory(time_zone=zone, slug=f"s{index}") for index, zone in enumerate(zones)]
    for after, length, project, user, index in runs:
        stopped_at = start + timedelta(microseconds=after)
        created_at = None if length is None else stopped_at - timedelta(microseconds=length)
        day = stopped_at.astimezone(ZoneInfo(zones[index])).date()
        EnvironmentUsageFactory(
            source=sources[index],
            stopped_at=stopped_at,
            created_at=created_at,
            day=day,
            project_id=project,
            user_id=user,
        )
    create_source_days(rolled=True)
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
            name = (format_interval_start(run.stopped_at, interval, on),) if interval else ()
            key = (*name, *(run.source.slug if column == "source" else getattr(run, column) for column in by))
            sums = expected[key]
            sums[0] += 1
            sums[2] += run.created_at is None
            if run.created_at is not None:
                sums[1] = (sums[1] or 0) + to_seconds(run.stopped_at - run.created_at)
        query = {"group_by": ",".join([*by, interval]).strip(","), "from": str(first), "to": str(last), "tz": zone}
        names = [*filter(None, [interval]), *by]
        measures = ("records", "runtime_seconds", "records_without_runtime")
        summaries = [summarize(build_query("environment-usage", rolled, **query)) for rolled in (True, False)]
        assert summaries[0]["results"] == summaries[1]["results"]
        assert summaries[0]["totals"] == summaries[1]["totals"]
        rows = {key: (n, s and Decimal(s), m) for key, (n, s, m) in index_rows(summaries[0], names, measures).items()}
        grouped = {key: tuple(sums) for key, sums in expected.items()}
        assert rows == grouped if names else list(grouped.values()) in ([], list(rows.values()))
        total = summaries[0]["totals"][0]
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
        pieces = cut_range(first, last, on, hours=interval == "hour")
        expected: dict[Key, Decimal] = defaultdict(Decimal)
        for run in store_runs(runs, start, zones):
            if run.created_at is None:
                continue
            for starts, ends in pieces:
                duration = min(run.stopped_at, ends) - max(run.created_at, starts)
                if duration > timedelta():
                    key = (
                        format_interval_start(starts, interval, on),
                        *(run.source.slug if column == "source" else getattr(run, column) for column in by),
                    )
                    expected[key] += to_seconds(duration)
        query = {"group_by": ",".join([*by, interval]), "from": str(first), "to": str(last), "tz": zone}
        query |= {"basis": "accrued", "measures": "runtime_seconds"}
        summaries = [summarize(build_query("environment-usage", rolled, **query)) for rolled in (True, False)]
        sums = [index_rows(summary, [interval, *by], ("runtime_seconds",)) for summary in summaries]
        assert {key: Decimal(value[0]) for key, value in sums[0].items()} == dict(expected)
        assert sums[1] == sums[0]
        assert Decimal(summaries[1]["totals"][0]["runtime_seconds"] or 0) == sum(expected.values())
        full = summarize(build_query("environment-usage", **{**query, "measures": ""}))["totals"][0]
        assert Decimal(full["runtime_seconds"] or 0) == sum(expected.values())
        transaction.set_rollback(True)


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
            name = format_interval_start(datetime(day.year, day.month, day.day, tzinfo=UTC), interval, ZoneInfo("UTC"))
            expected[(*([name] if interval else []), unit, project, *([tag or None] if team else []))] += quantity
        create_source_days(rolled=True)
        query = {"group_by": ",".join([*by, interval]).strip(",")}
        summaries = [summarize(build_query("resource-usage", rolled, **query)) for rolled in (True, False)]
        assert summaries[0]["results"] == summaries[1]["results"]
        assert summaries[0]["totals"] == summaries[1]["totals"]
        sums = index_rows(summaries[0], [*filter(None, [interval]), *by], ("consumed_quantity",))
        assert {key: Decimal(value[0]) for key, value in sums.items()} == dict(expected)
        transaction.set_rollback(True)
