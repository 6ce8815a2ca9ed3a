"""Summaries: the numbers a finance person would check by hand, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.api_clients import API, bearer, refused
from tests.support.api_clients import get as got
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.source_days import hold_days
from usage.models import DayState, SourceDay

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    caller = bearer()
    caller.get(f"{API}/sources/")  # the token's use is written down with the first request
    return caller


ROLLED = {"yes": False}


@pytest.fixture(autouse=True, params=["raw", "rolled"])
def _relation(request: pytest.FixtureRequest) -> None:
    """Have every test twice: with days that no rollup holds, and with days that are rolled up."""
    ROLLED["yes"] = request.param == "rolled"


def get(client: Client, address: str, **query: Any) -> Any:
    """Return an answer, after the days of the records were written down, and rolled up where this is about that."""
    hold_days(rolled=ROLLED["yes"])
    return got(client, address, **query)


def run(source: Any, begins: datetime, ends: datetime, **said: Any) -> None:
    """Store one run."""
    EnvironmentUsageFactory(source=source, created_at=begins, stopped_at=ends, day=ends.date(), **said)


def at(day: int, hour: int = 0, minute: int = 0, month: int = 1) -> datetime:
    """Return an instant of 2026."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_a_run_belongs_to_the_day_it_stopped_or_to_the_days_it_lasted(client: Client) -> None:
    source = SourceFactory()
    run(source, at(1, 22), at(3, 1), project_id="a")
    asked = {"group_by": "project_id,day", "from_": "2026-01-01", "to": "2026-01-05"}
    stopped = get(client, "environment-usage/summary/", **asked)["results"]
    assert [(row["day"], row["runtime_seconds"], row["records"]) for row in stopped] == [
        ("2026-01-03", "97200.000000", 1)
    ]
    accrued = get(client, "environment-usage/summary/", **asked, basis="accrued")
    assert [(row["day"], row["runtime_seconds"]) for row in accrued["results"]] == [
        ("2026-01-01", "7200.000000"),
        ("2026-01-02", "86400.000000"),
        ("2026-01-03", "3600.000000"),
    ]
    assert accrued["totals"] == [{"records": 1, "runtime_seconds": "97200.000000", "records_without_runtime": 0}]


def test_accrued_runtime_is_cut_at_the_range(client: Client) -> None:
    run(SourceFactory(), at(1, 22), at(9, 1))
    found = get(client, "environment-usage/summary/", basis="accrued", from_="2026-01-02", to="2026-01-04")
    assert found["totals"][0]["runtime_seconds"] == "172800.000000"


def test_a_run_without_its_beginning_is_counted_apart_and_never_as_zero(client: Client) -> None:
    EnvironmentUsageFactory(created_at=None, project_id="a")
    for basis in ("stopped", "accrued"):
        found = get(client, "environment-usage/summary/", basis=basis, group_by="project_id")
        assert found["results"] == [
            {
                "project_id": "a",
                "project_name": None,
                "records": 1,
                "runtime_seconds": None,
                "records_without_runtime": 1,
            }
        ]


def test_units_are_never_added(client: Client) -> None:
    source = SourceFactory()
    ResourceUsageFactory(source=source, consumed_quantity=Decimal("1.25"), project_id=1)
    ResourceUsageFactory(source=source, consumed_quantity=Decimal(2), project_id=2)
    ResourceUsageFactory(source=source, consumed_quantity=Decimal(7), consumed_unit="bytes", billing_metric="traffic")
    found = get(client, "resource-usage/summary/", group_by="resource_type")
    assert [(row["consumed_unit"], row["consumed_quantity"]) for row in found["totals"]] == [
        ("minutes", "3.25"),
        ("bytes", "7"),
    ]
    assert {row["consumed_unit"]: row["consumed_quantity"] for row in found["results"]} == {
        "bytes": "7",
        "minutes": "3.25",
    }


def test_the_limit_leaves_the_rest_to_others_and_totals_to_the_whole(client: Client) -> None:
    source = SourceFactory()
    for number in range(1, 6):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(number), project_id=number)
    found = get(client, "resource-usage/summary/", group_by="project_id", limit="2")
    assert [row["project_id"] for row in found["results"]] == [5, 4]
    assert found["others"]["groups"] == 3
    assert found["others"]["totals"][0]["consumed_quantity"] == "6"
    assert found["totals"][0]["consumed_quantity"] == "15"
    up = get(client, "resource-usage/summary/", group_by="project_id", order_by="project_id")
    assert [row["project_id"] for row in up["results"]] == [1, 2, 3, 4, 5]
    assert up["others"] is None


def test_the_limit_keeps_whole_series_and_adds_up_the_others_of_each_interval(client: Client) -> None:
    source = SourceFactory()
    # Project 1 is the largest of the first day, 3 of all days together.
    used = {1: {1: 9}, 2: {1: 1, 2: 2}, 3: {1: 2, 2: 5, 3: 6}, 4: {2: 1}}
    for project, days in used.items():
        for day, quantity in days.items():
            ResourceUsageFactory(
                source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
            )
    found = get(client, "resource-usage/summary/", group_by="day,project_id", limit="2", measures="consumed_quantity")
    assert [(row["day"], row["project_id"], row["consumed_quantity"]) for row in found["results"]] == [
        ("2026-01-01", 1, "9"),
        ("2026-01-01", 3, "2"),
        ("2026-01-02", 3, "5"),
        ("2026-01-03", 3, "6"),
    ]
    left = found["others"]
    assert (left["groups"], left["totals"][0]["consumed_quantity"]) == (2, "4")
    assert [(row["day"], row["consumed_quantity"]) for row in left["results"]] == [
        ("2026-01-01", "1"),
        ("2026-01-02", "3"),
    ]
    least = get(client, "resource-usage/summary/", group_by="day,project_id", limit="1", order_by="consumed_quantity")
    assert {row["project_id"] for row in least["results"]} == {4}


def test_the_limit_is_of_each_unit_as_units_do_not_compare(client: Client) -> None:
    source = SourceFactory()
    for number in range(1, 4):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(number), project_id=number)
        ResourceUsageFactory(
            source=source,
            consumed_quantity=Decimal(number * 10**9),
            project_id=number,
            consumed_unit="bytes",
            billing_metric="traffic",
        )
    found = get(client, "resource-usage/summary/", group_by="project_id", limit="1")
    assert [(row["project_id"], row["consumed_unit"]) for row in found["results"]] == [(3, "bytes"), (3, "minutes")]
    assert {one["consumed_unit"]: one["consumed_quantity"] for one in found["others"]["totals"]} == {
        "bytes": "3000000000",
        "minutes": "3",
    }


def test_the_limit_chooses_by_measures_and_what_else_is_ordered_by_arranges(client: Client) -> None:
    source = SourceFactory()
    for project, day, quantity in ((1, 1, 9), (2, 1, 1), (3, 2, 5), (3, 3, 6), (4, 4, 2)):
        ResourceUsageFactory(
            source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
        )

    def chosen(name: str, **asked: str) -> list[Any]:
        return [row[name] for row in get(client, "resource-usage/summary/", **asked)["results"]]

    assert chosen("project_id", group_by="project_id", limit="2", order_by="project_id") == [1, 3]
    assert chosen("project_id", group_by="project_id,day", limit="2", order_by="-project_id,day") == [3, 3, 1]
    assert chosen("day", group_by="day", limit="2") == ["2026-01-01", "2026-01-03"]


def test_gaps_are_filled_in_the_series_that_the_limit_keeps(client: Client) -> None:
    source = SourceFactory()
    for project, day in ((1, 1), (2, 1), (2, 2)):
        ResourceUsageFactory(source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(day))
    asked = {"from_": "2026-01-01", "to": "2026-01-03", "group_by": "project_id,day", "fill": "zero"}
    found = get(client, "resource-usage/summary/", **asked, limit="1", order_by="consumed_quantity,day")
    assert [(row["project_id"], row["day"], row["consumed_quantity"]) for row in found["results"]] == [
        (1, "2026-01-02", "0"),
        (1, "2026-01-01", "1"),
    ]
    assert [(row["day"], row["consumed_quantity"]) for row in found["others"]["results"]] == [
        ("2026-01-01", "1"),
        ("2026-01-02", "2"),
    ]


def test_sources_are_ordered_by_their_slugs(client: Client) -> None:
    for slug in ("b", "c", "a"):
        ResourceUsageFactory(source=SourceFactory(slug=slug))
    for order, slugs in (("source", "abc"), ("-source", "cba")):
        found = get(client, "resource-usage/summary/", group_by="source", order_by=order)
        assert [row["source"] for row in found["results"]] == [*slugs]


def test_what_the_limit_left_out_is_compared_too(client: Client) -> None:
    source = SourceFactory()
    for day, project, quantity in ((1, 1, 8), (2, 1, 9), (1, 2, 2), (2, 2, 3), (1, 3, 4)):
        ResourceUsageFactory(
            source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
        )
    asked = {"from_": "2026-01-02", "to": "2026-01-03", "compare": "previous", "measures": "consumed_quantity"}
    for group_by in ("project_id", "project_id,day"):
        found = get(client, "resource-usage/summary/", **asked, group_by=group_by, limit="1")
        (left,) = found["others"]["totals"]
        assert found["others"].get("results", [{**left, "day": "2026-01-02"}]) == [{**left, "day": "2026-01-02"}]
        assert (found["others"]["groups"], left["consumed_quantity"]) == (2, "3")
        assert left["previous"] == {"consumed_quantity": "6"}
        assert left["change"] == {"consumed_quantity": "-3"}
        assert left["relative_change"] == {"consumed_quantity": "-0.5"}


def test_totals_are_compared_as_the_rows_are_where_one_period_has_no_record(client: Client) -> None:
    source = SourceFactory()
    run(source, at(6, 8), at(6, 10))
    for number in (5, 6):
        SourceDayFactory(source=source, day=at(number).date(), loaded_at=at(number + 1), records=int(number == 6))
    asked = {"compare": "previous", "group_by": "project_id", "measures": "records,runtime_seconds"}
    for first, last, change in (
        ("2026-01-06", "2026-01-07", "7200.000000"),
        ("2026-01-07", "2026-01-08", "-7200.000000"),
    ):
        found = get(client, "environment-usage/summary/", from_=first, to=last, **asked)
        (row,), (total,) = found["results"], found["totals"]
        assert row["change"]["runtime_seconds"] == change
        assert total == {name: value for name, value in row.items() if name not in {"project_id", "project_name"}}


def test_nothing_is_compared_with_a_period_of_which_nothing_is_stored(client: Client) -> None:
    old, new = SourceFactory(slug="old"), SourceFactory(slug="new", backfill_from=at(6).date())
    SourceDayFactory(source=old, day=at(5).date(), loaded_at=at(6))
    for source in (old, new):
        SourceDayFactory(source=source, day=at(6).date(), loaded_at=at(7), records=1)
        run(source, at(6, 8), at(6, 10))
    asked = {"from_": "2026-01-06", "to": "2026-01-07", "compare": "previous", "measures": "runtime_seconds"}
    found = get(client, "environment-usage/summary/", **asked, group_by="source")
    before = {row["source"]: (row["previous"], row["change"]) for row in found["results"]}
    assert before["old"] == ({"runtime_seconds": "0"}, {"runtime_seconds": "7200.000000"})
    assert before["new"] == ({"runtime_seconds": None}, {"runtime_seconds": None})
    assert found["totals"][0]["previous"] == {"runtime_seconds": "0"}
    alone = get(client, "environment-usage/summary/", **asked, source="new")
    assert alone["totals"][0]["previous"] == {"runtime_seconds": None}
    assert alone["meta"]["previous"]["later_sources"] == [{"source": "new", "first_day": "2026-01-06"}]


def test_changes_and_others_have_all_their_digits(client: Client) -> None:
    source = SourceFactory()
    huge, tiny = Decimal(12345678901234567890123456789), Decimal("0.000000001")
    for day, project, quantity in ((1, 1, tiny), (2, 1, Decimal(f"{huge}0")), (2, 2, huge), (2, 3, tiny)):
        ResourceUsageFactory(source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=quantity)
    asked = {"from_": "2026-01-02", "to": "2026-01-03", "compare": "previous", "group_by": "project_id"}
    found = get(client, "resource-usage/summary/", **asked, limit="1")
    assert found["results"][0]["change"]["consumed_quantity"] == "123456789012345678901234567889.999999999"
    assert found["others"]["totals"][0]["consumed_quantity"] == "12345678901234567890123456789.000000001"
    assert found["totals"][0]["change"]["consumed_quantity"] == "135802467913580246791358024679.000000000"


def test_withdrawn_runs_that_lasted_long_after_the_range_are_counted_on_request(client: Client) -> None:
    source = SourceFactory()
    run(source, at(1), at(20), withdrawn_at=at(22))
    run(source, at(2), at(3))
    asked = {"from_": "2026-01-02", "to": "2026-01-03", "basis": "accrued", "include_withdrawn": "true"}
    for measures in ("records,runtime_seconds", "runtime_seconds"):
        found = get(client, "environment-usage/summary/", **asked, measures=measures)
        assert found["totals"][0]["runtime_seconds"] == "172800.000000"


def test_details_flavors_and_tags_are_dimensions(client: Client) -> None:
    source = SourceFactory()
    ResourceUsageFactory(source=source, details={"flavor": "g1", "volume_type": "ssd"}, tags={"team": "x"})
    ResourceUsageFactory(source=source, details={"flavor": "g1"}, tags={"team": "y", "1": "one"})
    found = get(client, "resource-usage/summary/", group_by="flavor,tag:team", order_by="tag:team")
    assert [(row["flavor"], row["tag:team"], row["records"]) for row in found["results"]] == [
        ("g1", "x", 1),
        ("g1", "y", 1),
    ]
    kinds = get(client, "resource-usage/summary/", group_by="details.volume_type,tag:1")["results"]
    assert {(row["details.volume_type"], row["tag:1"]) for row in kinds} == {("ssd", None), (None, "one")}


def test_deleted_recipes_are_a_row_of_their_own(client: Client) -> None:
    source = SourceFactory()
    RecipeUsageFactory(source=source, recipe_id=None, recipe_name="", folder_id=None, task_count=4)
    RecipeUsageFactory(source=source, recipe_id=1, recipe_name="Deleted recipes", folder_id=None, task_count=5)
    found = get(client, "recipe-usage/summary/", group_by="recipe_name")["results"]
    assert [(row["recipe_name"], row["deleted_recipes"], row["task_count"]) for row in found] == [
        ("Deleted recipes", False, 5),
        ("Deleted recipes", True, 4),
    ]
    for order, counts in (("deleted_recipes", [5, 4]), ("-deleted_recipes", [4, 5])):
        ordered = get(client, "recipe-usage/summary/", group_by="recipe_name", order_by=order)["results"]
        assert [row["task_count"] for row in ordered] == counts
    folders = get(client, "recipe-usage/summary/", group_by="folder_id")["results"]
    assert [(row["folder_id"], row["deleted_recipes"]) for row in folders] == [(None, False), (None, True)]
    assert get(client, "recipe-usage/summary/", measures="recipes")["totals"][0]["recipes"] == 1


def test_a_count_that_was_never_reported_stays_unknown(client: Client) -> None:
    RecipeUsageFactory(task_count=None, job_failed_count=0)
    total = get(client, "recipe-usage/summary/")["totals"][0]
    assert (total["task_count"], total["job_failed_count"]) == (None, 0)


def test_a_comparison_says_how_complete_the_period_before_is(client: Client) -> None:
    source = SourceFactory(backfill_from=date(2026, 1, 15))
    ResourceUsageFactory(source=source, day=date(2026, 1, 20))
    hold_days(rolled=False)
    SourceDay.objects.update(complete=True, loaded_at=at(22), state=DayState.LOADED)
    asked = {"from_": "2026-01-20", "to": "2026-01-21"}
    assert "previous" not in get(client, "resource-usage/summary/", **asked)["meta"]
    meta = get(client, "resource-usage/summary/", **asked, compare="previous")["meta"]
    assert (meta["complete"], meta["previous"]["complete"]) == (True, False)
    assert (meta["previous"]["from"], meta["previous"]["missing_days"]["total"]) == ("2026-01-19T00:00:00Z", 1)


def test_the_previous_month_is_compared_with_whatever_its_length(client: Client) -> None:
    source = SourceFactory()
    for day, quantity in ((date(2026, 1, 31), 10), (date(2026, 2, 28), 15), (date(2025, 12, 31), 99)):
        ResourceUsageFactory(source=source, day=day, consumed_quantity=quantity, project_id=1)
    ResourceUsageFactory(source=source, day=date(2026, 2, 1), consumed_quantity=3, project_id=2)
    ResourceUsageFactory(source=source, day=date(2026, 1, 1), consumed_quantity=2, project_id=3)
    found = get(
        client,
        "resource-usage/summary/",
        from_="2026-02-01",
        to="2026-03-01",
        group_by="project_id",
        compare="previous",
        measures="consumed_quantity",
    )
    rows = {row["project_id"]: row for row in found["results"]}
    assert rows[1]["previous"] == {"consumed_quantity": "10"}
    assert rows[1]["change"] == {"consumed_quantity": "5"}
    assert rows[1]["relative_change"] == {"consumed_quantity": "0.5"}
    assert rows[2]["relative_change"] == {"consumed_quantity": None}
    assert (rows[3]["consumed_quantity"], rows[3]["change"]["consumed_quantity"]) == ("0", "-2")
    assert found["totals"][0]["change"] == {"consumed_quantity": "6"}


def test_a_change_has_all_its_digits(client: Client) -> None:
    source = SourceFactory()
    for day, quantity in ((date(2026, 1, 5), "1"), (date(2026, 1, 6), "1000000000000000.0000000000000000000000001")):
        ResourceUsageFactory(source=source, day=day, consumed_quantity=Decimal(quantity))
    asked = {"from_": "2026-01-06", "to": "2026-01-07", "compare": "previous", "measures": "consumed_quantity"}
    total = get(client, "resource-usage/summary/", **asked)["totals"][0]
    assert total["change"] == {"consumed_quantity": "999999999999999.0000000000000000000000001"}


def test_gaps_of_a_series_are_filled_on_request(client: Client) -> None:
    ResourceUsageFactory(day=date(2026, 1, 2))
    found = get(client, "resource-usage/summary/", from_="2026-01-01", to="2026-01-04", group_by="day", fill="zero")[
        "results"
    ]
    assert [(row["day"], row["consumed_quantity"]) for row in found] == [
        ("2026-01-01", "0"),
        ("2026-01-02", "1440"),
        ("2026-01-03", "0"),
    ]


def test_a_day_with_a_clock_change_has_its_hours(client: Client) -> None:
    source = SourceFactory()
    begins = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin; 25 hours later it is midnight again
    run(source, begins, begins + timedelta(hours=25))
    asked = {"from_": "2026-10-25", "to": "2026-10-26", "tz": "Europe/Berlin", "basis": "accrued"}
    hours = get(client, "environment-usage/summary/", **asked, group_by="hour")["results"]
    assert len(hours) == 25
    assert {row["runtime_seconds"] for row in hours} == {"3600.000000"}
    assert [row["hour"] for row in hours][2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    (day,) = get(client, "environment-usage/summary/", **asked, group_by="day")["results"]
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


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"group_by": "day", "tz": "Europe/Berlin"}, "tz"),
        ({"group_by": "hour"}, "group_by"),
        ({"from": "2026-01-01", "tz": "Europe/Berlin"}, "from"),
        ({"group_by": "day,month"}, "group_by"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "details.a'b"}, "group_by"),
        ({"measures": "euros"}, "measures"),
        ({"order_by": "colour"}, "order_by"),
        ({"limit": "0"}, "limit"),
        ({"compare": "next"}, "compare"),
        ({"compare": "previous"}, "compare"),
        ({"fill": "zero", "from": "2026-01-01", "to": "2026-01-03"}, "fill"),
        ({"basis": "accrued"}, "basis"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(client: Client, query: dict[str, str], parameter: str) -> None:
    ResourceUsageFactory()
    assert parameter in refused(client.get(f"{API}/resource-usage/summary/", query))


def test_everything_that_is_wrong_with_a_question_is_named_at_once(client: Client) -> None:
    wrong = {"bogus": "1", "from": "x", "tz": "y", "source": "w", "group_by": "colour", "limit": "0", "fill": "zero"}
    assert set(refused(client.get(f"{API}/environment-usage/summary/", wrong))) == {"", *wrong}
    wrong = {"bogus": "1", "from": "x", "interval": "decade"}
    assert set(refused(client.get(f"{API}/usage/summary/", wrong))) == {"", *wrong}
    malformed = refused(
        client.get(f"{API}/environment-usage/summary/", {"from": "x", "to": "y", "compare": "previous"})
    )
    assert set(malformed) == {"", "from", "to"}


def test_more_intervals_than_an_answer_holds_are_refused_by_the_parameter_that_asks_for_them(client: Client) -> None:
    EnvironmentUsageFactory(source=SourceFactory(slug="ona", vendor="ona"))
    years = {"from": "2000-01-01", "to": "2026-01-01"}
    for address, asked in (
        ("environment-usage/summary/", {"group_by": "hour"}),
        ("usage/summary/", {"interval": "hour", "vendor": "ona"}),
    ):
        assert set(refused(client.get(f"{API}/{address}", {**years, **asked}))) == {"", next(iter(asked))}


ENDS = ["", "0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59.999999Z"]
# Each of them asks for another look at the calendar.
EACH_KIND: dict[str, list[dict[str, str]]] = {
    "environment-usage": [
        {"basis": "accrued"},
        {"basis": "accrued", "measures": "runtime_seconds"},
        {"group_by": "week"},
        {"group_by": "hour"},
        {"compare": "previous"},
    ],
    "resource-usage": [{}, {"group_by": "month", "fill": "zero"}, {"compare": "previous"}],
    "recipe-usage": [{}, {"group_by": "hour"}, {"group_by": "year"}],
}


@pytest.mark.parametrize(("turn", "tz"), list(enumerate(("UTC", "Asia/Kathmandu", "America/Sao_Paulo"))))
def test_a_range_that_reaches_to_an_end_of_the_calendar_is_answered_or_refused(
    client: Client, turn: int, tz: str
) -> None:
    source = SourceFactory(slug="east", time_zone="Asia/Tokyo")
    west = SourceFactory(slug="west", time_zone="America/Lima")
    for factory in (EnvironmentUsageFactory, ResourceUsageFactory, RecipeUsageFactory):
        factory(source=source)
        factory(source=west)
    hold_days(rolled=ROLLED["yes"])
    questions = [(f"{kind}/summary/", asked) for kind, several in EACH_KIND.items() for asked in several]
    questions += [("usage/summary/", {}), *((f"{kind}/export-manifest/", {}) for kind in EACH_KIND)]
    ranges = list(product(ENDS, ENDS))
    for number, (address, asked) in enumerate(questions):
        # Each question is asked with every range, in one of the three zones.
        for first, last in ranges[(number + turn) % 3 :: 3]:
            query = {"tz": tz, **asked, **({"from": first} if first else {}), **({"to": last} if last else {})}
            assert client.get(f"{API}/{address}", query).status_code in (200, 400), (address, query)


def test_an_hour_of_recipes_is_not_cut(client: Client) -> None:
    RecipeUsageFactory(source=SourceFactory(slug="recipes"))
    query = {"group_by": "day", "tz": "Asia/Kolkata"}
    (said,) = refused(client.get(f"{API}/recipe-usage/summary/", query))["tz"]
    assert said == (
        "The usage of recipes is kept by whole hours of UTC, and 2025-12-31T18:30:00Z lies within one; ask with tz=UTC."
    )
    (said,) = refused(client.get(f"{API}/recipe-usage/summary/", {"from": "2026-01-01T00:30:00Z"}))["from"]
    assert said.endswith("2026-01-01T00:30:00Z lies within one; give a whole hour or a date.")
    assert get(client, "recipe-usage/summary/", group_by="day", tz="Europe/Berlin")["results"]


def test_the_period_before_cuts_no_hour_of_recipes_either(client: Client) -> None:
    # Clocks on Lord Howe stand 11 hours ahead in November, and 10 and a half on the first of October.
    RecipeUsageFactory(source=SourceFactory(slug="island", time_zone="Australia/Lord_Howe"))
    asked = {"from": "2026-11-01", "to": "2026-12-01", "compare": "previous"}
    (said,) = refused(client.get(f"{API}/recipe-usage/summary/", asked))["compare"]
    assert "2026-10-01T00:00:00Z lies within one" in said
    assert get(
        client,
        "recipe-usage/summary/",
        from_="2026-11-01",
        to="2026-12-01",
        compare="previous",
        tz="Australia/Lord_Howe",
    )


def test_hours_of_a_half_hour_zone_are_asked_for_in_it(client: Client) -> None:
    source = SourceFactory(slug="mumbai", time_zone="Asia/Kolkata")
    starts = datetime(2025, 12, 31, 18, 30, tzinfo=UTC)  # midnight there
    RecipeUsageFactory(source=source, starts_at=starts, day=date(2026, 1, 1))
    (said,) = refused(client.get(f"{API}/recipe-usage/summary/", {"group_by": "hour", "from": "2026-01-01"}))["from"]
    assert "mumbai is kept by whole hours of Asia/Kolkata" in said
    assert said.endswith("ask with tz=Asia/Kolkata.")
    asked = {"from_": "2026-01-01", "to": "2026-01-02", "tz": "Asia/Kolkata"}
    for interval, begins in (("hour", "2026-01-01T00:00:00+05:30"), ("day", "2026-01-01")):
        found = get(client, "recipe-usage/summary/", **asked, group_by=interval, fill="zero")["results"]
        assert len(found) == (24 if interval == "hour" else 1)
        assert (found[0][interval], found[0]["task_count"]) == (begins, 12)
    RecipeUsageFactory(source=SourceFactory(slug="berlin", time_zone="Europe/Berlin"))
    query = {"tz": "Asia/Kolkata", "from": "2026-01-01"}
    (said,) = refused(client.get(f"{API}/recipe-usage/summary/", query))["from"]
    assert said.endswith("ask with tz=Europe/Berlin, or for other sources alone.")


def test_a_token_limited_to_a_source_learns_of_no_other(client: Client) -> None:
    mine, other = SourceFactory(slug="mine"), SourceFactory(slug="other")
    for source in (mine, other):
        EnvironmentUsageFactory(source=source, environment_class_id="c")
        ResourceUsageFactory(source=source)
    limited = bearer(sources=[mine])
    for address in ("environment-usage/summary/", "resource-usage/summary/"):
        found = get(limited, address, group_by="source")
        assert [row["source"] for row in found["results"]] == ["mine"]
        assert found["totals"][0]["records"] == 1
        assert {day["source"] for day in found["meta"]["missing_days"]["days"]} == {"mine"}
        assert get(client, address)["totals"][0]["records"] == 2
    found = get(limited, "usage/summary/")
    assert {row["source"] for row in found["results"]} == {"mine"}
    assert b"other" not in limited.get(f"{API}/usage/summary/").content
    assert "source" in refused(limited.get(f"{API}/usage/summary/", {"source": "other"}))


def test_one_answer_tells_what_was_used_of_everything(client: Client) -> None:
    ona, gcore, workato = (SourceFactory(slug=name, vendor=name) for name in ("ona", "gcore", "workato"))
    EnvironmentUsageFactory(source=ona, environment_class_id="large")
    ResourceUsageFactory(source=gcore)
    RecipeUsageFactory(source=workato, task_count=12, starts_at=at(1, 5))
    found = get(client, "usage/summary/", interval="month", from_="2026-01-01", to="2026-02-01")
    assert [tuple(row.values()) for row in found["results"]] == [
        ("2026-01-01", "gcore", "gcore", "instance", None, "instance_minutes", "minutes", "1440", 1),
        ("2026-01-01", "ona", "ona", "large", None, "runtime", "seconds", "3600.000000", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "jobs_failed", "jobs", "1", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "jobs_succeeded", "jobs", "3", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "tasks", "tasks", "12", 1),
    ]
    assert found["meta"]["complete"] is False
    assert "interval" in refused(client.get(f"{API}/usage/summary/", {"interval": "hour"}))
    assert get(client, "usage/summary/", vendor="ona", interval="hour")["results"]


def test_withdrawn_records_count_only_on_request(client: Client) -> None:
    EnvironmentUsageFactory(withdrawn_at=at(5))
    assert get(client, "environment-usage/summary/")["totals"][0]["records"] == 0
    assert get(client, "environment-usage/summary/", include_withdrawn="true")["totals"][0]["records"] == 1


@pytest.mark.parametrize("kind", ["environment-usage", "resource-usage", "recipe-usage"])
def test_a_summary_costs_the_same_few_queries_however_much_there_is(client: Client, kind: str) -> None:
    factory: Any = {
        "environment-usage": EnvironmentUsageFactory,
        "resource-usage": ResourceUsageFactory,
        "recipe-usage": RecipeUsageFactory,
    }[kind]
    by = "source,month" if kind == "recipe-usage" else "source,project_id,month"
    asked = {"group_by": by, "from": "2026-01-01", "to": "2026-02-01"}
    counts = []
    for _ in range(2):
        factory.create_batch(10)
        hold_days(rolled=ROLLED["yes"])
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{API}/{kind}/summary/", asked).status_code == 200
        counts.append(len(queries))
    # The token, the sources twice, their days, whether the rollups hold them, the numbers, and names where there are ids;
    # in the transaction of a test four for the limit of time, which cost nothing otherwise.
    expected = 10 if kind == "recipe-usage" else 11
    assert counts == [expected, expected], [query["sql"] for query in queries]


@pytest.mark.parametrize("first", ["0001-01-01", "0001-01-01T00:00:00.000001Z", "9999-12-31"])
@pytest.mark.parametrize("end", ["0001-01-01", "0001-01-02T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_stand_for_no_bound(client: Client, first: str, end: str) -> None:
    run(SourceFactory(time_zone="America/New_York"), at(1, 22), at(3, 1))
    RecipeUsageFactory(source=SourceFactory(vendor="workato", time_zone="Asia/Tokyo"))
    hold_days(rolled=ROLLED["yes"])
    asked = {"from": first, "to": end}
    everything = first.startswith("0001") and end.startswith("9999")
    for address, further in (
        ("environment-usage/", {"tz": "Etc/GMT+12"}),
        ("environment-usage/export-manifest/", {}),
        ("environment-usage/summary/", {"basis": "accrued", "tz": "America/New_York"}),
        ("recipe-usage/summary/", {"tz": "UTC"}),
        ("usage/summary/", {}),
    ):
        answer = client.get(f"{API}/{address}", {**asked, **further})
        # Hours of zones that were not cut by hours then, and ranges that run backwards, are refused as ever.
        assert answer.status_code in {200, 400}, (address, answer.content)
        if everything and "recipe" not in address and not address.startswith("usage/"):
            said = answer.json()
            assert len(said.get("results", ())) == 1 or said["rows"] == 1, (address, said)


def test_grouped_by_unit_the_rows_and_totals_are_by_unit_alone(client: Client) -> None:
    source = SourceFactory()
    for metric, unit, quantity in (("vm", "minutes", 5), ("ip", "minutes", 7), ("traffic", "bytes", 10**9)):
        ResourceUsageFactory(
            source=source, billing_metric=metric, consumed_unit=unit, consumed_quantity=Decimal(quantity)
        )

    found = get(client, "resource-usage/summary/", group_by="consumed_unit")

    sums = [{"consumed_unit": "bytes", "n": 10**9}, {"consumed_unit": "minutes", "n": 12}]
    for rows in (found["totals"], found["results"]):
        assert "billing_metric" not in rows[0]
        numbers = [{"consumed_unit": row["consumed_unit"], "n": int(Decimal(row["consumed_quantity"]))} for row in rows]
        assert sorted(numbers, key=str) == sums


def test_an_order_by_size_holds_within_each_unit(client: Client) -> None:
    source = SourceFactory()
    for project, unit, quantity in ((1, "minutes", 5), (2, "bytes", 10**9), (3, "minutes", 7)):
        ResourceUsageFactory(source=source, project_id=project, consumed_unit=unit, consumed_quantity=Decimal(quantity))

    rows = get(client, "resource-usage/summary/", group_by="project_id")["results"]

    assert [row["project_id"] for row in rows] == [3, 1, 2]


def test_resources_are_grouped_and_filtered_by_what_they_are_for(client: Client) -> None:
    source = SourceFactory()
    for place, name in enumerate(("instance", "volume", "egress_traffic", "inference", "something_new")):
        ResourceUsageFactory(source=source, resource_type=name, consumed_quantity=Decimal(place + 1))

    rows = get(client, "resource-usage/summary/", group_by="category")["results"]

    assert {row["category"]: row["records"] for row in rows} == dict.fromkeys(
        ("compute", "storage", "network", "ai", "other"), 1
    )
    kept = get(client, "resource-usage/summary/", group_by="resource_type", category="storage,other")["results"]
    assert {row["resource_type"] for row in kept} == {"volume", "something_new"}
