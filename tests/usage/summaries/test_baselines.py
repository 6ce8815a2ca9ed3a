"""The baselines of a comparison, and groups in the order of their change."""

from datetime import UTC, date, datetime
from http import HTTPStatus
from zoneinfo import ZoneInfo

import pytest
import time_machine

from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from usage.datetimes import to_instant
from usage.summaries.intervals import get_baseline

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "first", "end", "expected"),
    [
        ("previous", "2026-10-01", "2026-11-01", ("2026-09-01", "2026-10-01")),
        ("last_month", "2026-10-05", "2026-10-12", ("2026-09-05", "2026-09-12")),
        ("last_month", "2026-03-29", "2026-04-01", ("2026-02-28", "2026-03-01")),
        ("last_month", "2026-01-01", "2026-02-01", ("2025-12-01", "2026-01-01")),
        ("last_year", "2024-02-29", "2024-03-01", ("2023-02-28", "2023-03-01")),
        ("last_year", "2026-10-01", "2026-11-01", ("2025-10-01", "2025-11-01")),
        ("same_weekday", "2026-10-07", "2026-10-08", ("2026-09-30", "2026-10-01")),
        ("same_weekday", "2026-10-01", "2026-10-31", ("2026-08-27", "2026-09-26")),
        # Of a month that is not over, the days up to today.
        ("last_month", "2026-11-01", "2026-12-01", ("2026-10-01", "2026-10-18")),
        ("last_year", "2026-11-01", "2026-12-01", ("2025-11-01", "2025-11-18")),
        ("previous", "2026-11-01", "2026-12-01", ("2026-10-01", "2026-11-01")),
        # One that has not begun is moved whole.
        ("last_month", "2026-12-01", "2027-01-01", ("2026-11-01", "2026-12-01")),
    ],
)
def test_a_baseline_is_of_days_that_people_would_choose(
    name: str, first: str, end: str, expected: tuple[str, str]
) -> None:
    for zone in (ZoneInfo("UTC"), BERLIN):
        start, stop = (to_instant(date.fromisoformat(day), zone) for day in (first, end))
        baseline = get_baseline(name, start, stop, zone, NOW)
        assert tuple(str(instant.astimezone(zone).date()) for instant in baseline) == expected
        assert all(instant.astimezone(zone).hour == 0 for instant in baseline)


@pytest.mark.parametrize(
    ("compare", "end", "message"),
    [("last_month", "2025-10-02", "longer than a month"), ("last_year", "2026-09-02", "longer than a year")],
)
@pytest.mark.django_db
def test_a_range_is_never_compared_with_a_part_of_itself(compare: str, end: str, message: str) -> None:
    SourceFactory()
    url = f"{API}/resource-usage/summary/?from=2025-09-01&group_by=source&compare={compare}"
    assert message in str(get_problem_details(create_api_client().get(f"{url}&to={end}")))
    assert create_api_client().get(f"{url}&to=2025-10-01").status_code == HTTPStatus.OK


def test_hours_are_compared_with_the_same_hours() -> None:
    start, end = datetime(2026, 10, 5, 8, tzinfo=UTC), datetime(2026, 10, 5, 17, tzinfo=UTC)
    assert get_baseline("same_weekday", start, end, ZoneInfo("UTC"), NOW) == (
        datetime(2026, 9, 28, 8, tzinfo=UTC),
        datetime(2026, 9, 28, 17, tzinfo=UTC),
    )


@pytest.mark.django_db
@time_machine.travel(NOW, tick=False)
def test_groups_are_ordered_and_chosen_by_their_change() -> None:
    source = SourceFactory()
    for project, before, now in ((1, 100, 90), (2, 10, 50), (3, 5, 6), (4, 7, 0)):
        for day, quantity in ((date(2026, 9, 3), before), (date(2026, 10, 3), now)):
            if quantity:
                ResourceUsageFactory(source=source, day=day, project_id=project, consumed_quantity=quantity)
    create_source_days(rolled=True)
    client = create_api_client()
    base_params = {"from_": "2026-10-01", "to": "2026-11-01", "group_by": "project_id", "compare": "last_month"}

    def list_projects(**params: str) -> list[int]:
        rows = get(client, "resource-usage/summary/", **{**base_params, **params})["results"]
        return [row["project_id"] for row in rows]

    assert list_projects(order_by="-change_consumed_quantity") == [2, 3, 4, 1]
    assert list_projects(order_by="change_consumed_quantity", limit="2") == [1, 4]
    series = {"group_by": "project_id,day", "order_by": "-change_consumed_quantity", "limit": "1"}
    assert list_projects(**series) == [2]


@pytest.mark.django_db
def test_a_change_is_no_order_without_a_comparison() -> None:
    caller = create_api_client()
    assert "order_by" in str(get_problem_details(caller.get(f"{API}/resource-usage/summary/?order_by=-change_records")))
    errors = str(get_problem_details(caller.get(f"{API}/resource-usage/summary/?compare=yesterday")))
    assert "previous, last_month, last_year, same_weekday" in errors
