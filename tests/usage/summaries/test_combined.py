"""The totals of the summary over all vendors: of the whole filter, per vendor, metric and unit, to the last digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days

pytestmark = pytest.mark.django_db
STOPPED = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, params=["raw", "rolled"])
def usage(request: pytest.FixtureRequest) -> None:
    """Usage at three vendors, of two sources at one of them; days that no rollup holds, and days that one does."""
    for slug in ("one", "two"):
        source = SourceFactory(slug=slug, vendor="gcore")
        ResourceUsageFactory(
            source=source, consumed_quantity=Decimal("12345678901234567890123456789.1"), consumed_unit="GB"
        )
        ResourceUsageFactory(source=source, consumed_quantity=7, consumed_unit="minutes")
    environments = SourceFactory(slug="runs", vendor="ona")
    EnvironmentUsageFactory(source=environments, stopped_at=STOPPED, created_at=STOPPED - timedelta(seconds=90))
    EnvironmentUsageFactory(source=environments, stopped_at=STOPPED, created_at=None)
    RecipeUsageFactory(source=SourceFactory(slug="recipes", vendor="workato"), task_count=None, job_failed_count=2)
    create_source_days(rolled=request.param == "rolled")


def fetch_totals(**params: str) -> dict[tuple[str, str], Any]:
    """Return the quantities by vendor and unit; of recipes only tasks."""
    params = {"from_": "2026-01-01", "to": "2026-02-01", **params}
    rows = get(create_api_client(), "usage/summary/", **params)["totals"]
    return {(row["vendor"], row["unit"]): row for row in rows if not row["metric"].startswith("jobs")}


def test_totals_are_exact_and_of_one_unit_each() -> None:
    totals = fetch_totals()

    assert totals["gcore", "GB"]["quantity"] == "24691357802469135780246913578.2"
    assert totals["gcore", "minutes"]["quantity"] == "14"
    assert totals["gcore", "GB"]["records"] == 2
    assert Decimal(totals["ona", "seconds"]["quantity"]) == 90
    assert totals["ona", "seconds"]["records"] == 2
    assert totals["workato", "tasks"]["quantity"] is None  # missing is never taken as zero


@pytest.mark.parametrize("interval", ["day", "month"])
def test_totals_are_the_same_whatever_the_rows_are(interval: str) -> None:
    assert fetch_totals(interval=interval) == fetch_totals()


def test_totals_are_of_what_is_asked_for() -> None:
    assert list(fetch_totals(source="one")) == [("gcore", "GB"), ("gcore", "minutes")]
    assert fetch_totals(source="one")["gcore", "minutes"]["quantity"] == "7"
    assert fetch_totals(from_="2030-01-01", to="2030-02-01") == {}


def test_an_hour_that_clocks_show_twice_comes_in_the_order_of_time() -> None:
    source = SourceFactory(slug="autumn", vendor="ona")
    for hour in (0, 1, 2):
        stopped_at = datetime(2026, 10, 25, hour, 10, tzinfo=UTC)
        EnvironmentUsageFactory(source=source, stopped_at=stopped_at, day=stopped_at.date())
    create_source_days(rolled=False)
    query = {"from_": "2026-10-25", "to": "2026-10-26", "tz": "Europe/Berlin", "source": "autumn", "interval": "hour"}
    hours = [row["hour"] for row in get(create_api_client(), "usage/summary/", **query)["results"]]
    assert hours == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("interval", ["", "&interval=day"])
def test_where_no_zone_suits_all_vendors_the_refusal_says_to_ask_for_some(zone: str, interval: str) -> None:
    source, starts_at = (
        SourceFactory(slug="india", vendor="workato", time_zone="Asia/Kolkata"),
        STOPPED.replace(minute=30),
    )
    RecipeUsageFactory(source=source, starts_at=starts_at)
    create_source_days(rolled=False)
    for bounds in ("&from=2026-01-01&to=2026-02-01", ""):
        if bounds or interval:
            response = create_api_client().get(f"{API}/usage/summary/?tz={zone}{bounds}{interval}")
            assert get_problem_details(response)[""][0].endswith("ask for other vendors alone.")
