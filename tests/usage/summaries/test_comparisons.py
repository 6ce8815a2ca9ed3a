"""Summaries beside those of another period, and intervals without a gap."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from tests.support.factories import (
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from tests.support.summaries import _relation as _relation
from tests.support.summaries import build_instant, create_run, get
from tests.support.summaries import client as client
from usage.models import DayState, SourceDay

pytestmark = pytest.mark.django_db


def test_a_comparison_says_how_complete_the_period_before_is(client: Client) -> None:
    source = SourceFactory(backfill_from=date(2026, 1, 15))
    ResourceUsageFactory(source=source, day=date(2026, 1, 20))
    create_source_days(rolled=False)
    SourceDay.objects.update(complete=True, loaded_at=build_instant(22), state=DayState.LOADED)
    params = {"from_": "2026-01-20", "to": "2026-01-21"}
    assert "previous" not in get(client, "resource-usage/summary/", **params)["meta"]
    meta = get(client, "resource-usage/summary/", **params, compare="previous")["meta"]
    assert (meta["complete"], meta["previous"]["complete"]) == (True, False)
    assert (meta["previous"]["from"], meta["previous"]["missing_days"]["total"]) == ("2026-01-19T00:00:00Z", 1)


def test_the_previous_month_is_compared_with_whatever_its_length(client: Client) -> None:
    source = SourceFactory()
    for day, quantity in ((date(2026, 1, 31), 10), (date(2026, 2, 28), 15), (date(2025, 12, 31), 99)):
        ResourceUsageFactory(source=source, day=day, consumed_quantity=quantity, project_id=1)
    ResourceUsageFactory(source=source, day=date(2026, 2, 1), consumed_quantity=3, project_id=2)
    ResourceUsageFactory(source=source, day=date(2026, 1, 1), consumed_quantity=2, project_id=3)
    summary = get(
        client,
        "resource-usage/summary/",
        from_="2026-02-01",
        to="2026-03-01",
        group_by="project_id",
        compare="previous",
        measures="consumed_quantity",
    )
    rows = {row["project_id"]: row for row in summary["results"]}
    assert rows[1]["previous"] == {"consumed_quantity": "10"}
    assert rows[1]["change"] == {"consumed_quantity": "5"}
    assert rows[1]["relative_change"] == {"consumed_quantity": "0.5"}
    assert rows[2]["relative_change"] == {"consumed_quantity": None}
    assert (rows[3]["consumed_quantity"], rows[3]["change"]["consumed_quantity"]) == ("0", "-2")
    assert summary["totals"][0]["change"] == {"consumed_quantity": "6"}


def test_a_day_that_only_the_longer_month_before_has_is_no_row(client: Client) -> None:
    source = SourceFactory()
    for day, quantity in ((date(2026, 1, 1), 1), (date(2026, 1, 31), 10), (date(2026, 2, 2), 3)):
        ResourceUsageFactory(source=source, day=day, consumed_quantity=quantity)
    query = {"from_": "2026-02-01", "to": "2026-03-01", "group_by": "day", "compare": "previous"}

    february = get(client, "resource-usage/summary/", **query, measures="consumed_quantity")

    quantities = [
        (row["day"], row["consumed_quantity"], row["previous"]["consumed_quantity"]) for row in february["results"]
    ]
    assert quantities == [("2026-02-01", "0", "1"), ("2026-02-02", "3", None)]
    assert february["totals"][0]["previous"] == {"consumed_quantity": "11"}


def test_a_change_has_all_its_digits(client: Client) -> None:
    source = SourceFactory()
    for day, quantity in ((date(2026, 1, 5), "1"), (date(2026, 1, 6), "1000000000000000.0000000000000000000000001")):
        ResourceUsageFactory(source=source, day=day, consumed_quantity=Decimal(quantity))
    params = {"from_": "2026-01-06", "to": "2026-01-07", "compare": "previous", "measures": "consumed_quantity"}
    total = get(client, "resource-usage/summary/", **params)["totals"][0]
    assert total["change"] == {"consumed_quantity": "999999999999999.0000000000000000000000001"}


def test_gaps_of_a_series_are_filled_on_request(client: Client) -> None:
    ResourceUsageFactory(day=date(2026, 1, 2))
    rows = get(client, "resource-usage/summary/", from_="2026-01-01", to="2026-01-04", group_by="day", fill="zero")[
        "results"
    ]
    assert [(row["day"], row["consumed_quantity"]) for row in rows] == [
        ("2026-01-01", "0"),
        ("2026-01-02", "1440"),
        ("2026-01-03", "0"),
    ]


def test_a_day_with_a_clock_change_has_its_hours(client: Client) -> None:
    source = SourceFactory()
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin; 25 hours later it is midnight again
    create_run(source, start, start + timedelta(hours=25))
    params = {"from_": "2026-10-25", "to": "2026-10-26", "tz": "Europe/Berlin", "basis": "accrued"}
    hours = get(client, "environment-usage/summary/", **params, group_by="hour")["results"]
    assert len(hours) == 25
    assert {row["runtime_seconds"] for row in hours} == {"3600.000000"}
    assert [row["hour"] for row in hours][2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    (day,) = get(client, "environment-usage/summary/", **params, group_by="day")["results"]
    assert (day["day"], day["runtime_seconds"]) == ("2026-10-25", "90000.000000")


def test_weeks_begin_on_monday_and_quarters_with_their_first_month(client: Client) -> None:
    ResourceUsageFactory(day=date(2026, 2, 11))
    for interval, first in (
        ("week", "2026-02-09"),
        ("month", "2026-02-01"),
        ("quarter", "2026-01-01"),
        ("year", "2026-01-01"),
    ):
        (row,) = get(client, "resource-usage/summary/", group_by=interval)["results"]
        assert row[interval] == first
