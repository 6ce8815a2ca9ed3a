"""Summaries: the numbers a finance person would check by hand."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.summaries import _relation as _relation
from tests.support.summaries import build_instant, create_run, get
from tests.support.summaries import client as client

pytestmark = pytest.mark.django_db


def test_a_run_belongs_to_the_day_it_stopped_or_to_the_days_it_lasted(client: Client) -> None:
    source = SourceFactory()
    create_run(source, build_instant(1, 22), build_instant(3, 1), project_id="a")
    query = {"group_by": "project_id,day", "from_": "2026-01-01", "to": "2026-01-05"}
    rows = get(client, "environment-usage/summary/", **query)["results"]
    assert [(row["day"], row["runtime_seconds"], row["records"]) for row in rows] == [("2026-01-03", "97200.000000", 1)]
    accrued_summary = get(client, "environment-usage/summary/", **query, basis="accrued")
    assert [(row["day"], row["runtime_seconds"]) for row in accrued_summary["results"]] == [
        ("2026-01-01", "7200.000000"),
        ("2026-01-02", "86400.000000"),
        ("2026-01-03", "3600.000000"),
    ]
    assert accrued_summary["totals"] == [
        {"records": 1, "runtime_seconds": "97200.000000", "records_without_runtime": 0}
    ]


def test_accrued_runtime_is_cut_at_the_range(client: Client) -> None:
    create_run(SourceFactory(), build_instant(1, 22), build_instant(9, 1))
    summary = get(client, "environment-usage/summary/", basis="accrued", from_="2026-01-02", to="2026-01-04")
    assert summary["totals"][0]["runtime_seconds"] == "172800.000000"


def test_a_run_without_its_beginning_is_counted_apart_and_never_as_zero(client: Client) -> None:
    EnvironmentUsageFactory(created_at=None, project_id="a")
    for basis in ("stopped", "accrued"):
        summary = get(client, "environment-usage/summary/", basis=basis, group_by="project_id")
        assert summary["results"] == [
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
    summary = get(client, "resource-usage/summary/", group_by="resource_type")
    assert [(row["consumed_unit"], row["consumed_quantity"]) for row in summary["totals"]] == [
        ("minutes", "3.25"),
        ("bytes", "7"),
    ]
    assert {row["consumed_unit"]: row["consumed_quantity"] for row in summary["results"]} == {
        "bytes": "7",
        "minutes": "3.25",
    }


def test_the_limit_leaves_the_rest_to_others_and_totals_to_the_whole(client: Client) -> None:
    source = SourceFactory()
    for number in range(1, 6):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(number), project_id=number)
    summary = get(client, "resource-usage/summary/", group_by="project_id", limit="2")
    assert [row["project_id"] for row in summary["results"]] == [5, 4]
    assert summary["others"]["groups"] == 3
    assert summary["others"]["totals"][0]["consumed_quantity"] == "6"
    assert summary["totals"][0]["consumed_quantity"] == "15"
    ascending = get(client, "resource-usage/summary/", group_by="project_id", order_by="project_id")
    assert [row["project_id"] for row in ascending["results"]] == [1, 2, 3, 4, 5]
    assert ascending["others"] is None


def test_the_limit_keeps_whole_series_and_adds_up_the_others_of_each_interval(client: Client) -> None:
    source = SourceFactory()
    # Project 1 is the largest of the first day, 3 of all days together.
    quantities = {1: {1: 9}, 2: {1: 1, 2: 2}, 3: {1: 2, 2: 5, 3: 6}, 4: {2: 1}}
    for project, days in quantities.items():
        for day, quantity in days.items():
            ResourceUsageFactory(
                source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
            )
    summary = get(client, "resource-usage/summary/", group_by="day,project_id", limit="2", measures="consumed_quantity")
    assert [(row["day"], row["project_id"], row["consumed_quantity"]) for row in summary["results"]] == [
        ("2026-01-01", 1, "9"),
        ("2026-01-01", 3, "2"),
        ("2026-01-02", 3, "5"),
        ("2026-01-03", 3, "6"),
    ]
    others = summary["others"]
    assert (others["groups"], others["totals"][0]["consumed_quantity"]) == (2, "4")
    assert [(row["day"], row["consumed_quantity"]) for row in others["results"]] == [
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
    summary = get(client, "resource-usage/summary/", group_by="project_id", limit="1")
    assert [(row["project_id"], row["consumed_unit"]) for row in summary["results"]] == [(3, "bytes"), (3, "minutes")]
    assert {total["consumed_unit"]: total["consumed_quantity"] for total in summary["others"]["totals"]} == {
        "bytes": "3000000000",
        "minutes": "3",
    }


def test_the_limit_chooses_by_measures_and_what_else_is_ordered_by_arranges(client: Client) -> None:
    source = SourceFactory()
    for project, day, quantity in ((1, 1, 9), (2, 1, 1), (3, 2, 5), (3, 3, 6), (4, 4, 2)):
        ResourceUsageFactory(
            source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
        )

    def list_values(name: str, **query: str) -> list[Any]:
        return [row[name] for row in get(client, "resource-usage/summary/", **query)["results"]]

    assert list_values("project_id", group_by="project_id", limit="2", order_by="project_id") == [1, 3]
    assert list_values("project_id", group_by="project_id,day", limit="2", order_by="-project_id,day") == [3, 3, 1]
    assert list_values("day", group_by="day", limit="2") == ["2026-01-01", "2026-01-03"]


def test_gaps_are_filled_in_the_series_that_the_limit_keeps(client: Client) -> None:
    source = SourceFactory()
    for project, day in ((1, 1), (2, 1), (2, 2)):
        ResourceUsageFactory(source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(day))
    query = {"from_": "2026-01-01", "to": "2026-01-03", "group_by": "project_id,day", "fill": "zero"}
    summary = get(client, "resource-usage/summary/", **query, limit="1", order_by="consumed_quantity,day")
    assert [(row["project_id"], row["day"], row["consumed_quantity"]) for row in summary["results"]] == [
        (1, "2026-01-02", "0"),
        (1, "2026-01-01", "1"),
    ]
    assert [(row["day"], row["consumed_quantity"]) for row in summary["others"]["results"]] == [
        ("2026-01-01", "1"),
        ("2026-01-02", "2"),
    ]


def test_sources_are_ordered_by_their_slugs(client: Client) -> None:
    for slug in ("b", "c", "a"):
        ResourceUsageFactory(source=SourceFactory(slug=slug))
    for order, slugs in (("source", "abc"), ("-source", "cba")):
        summary = get(client, "resource-usage/summary/", group_by="source", order_by=order)
        assert [row["source"] for row in summary["results"]] == [*slugs]


def test_what_the_limit_left_out_is_compared_too(client: Client) -> None:
    source = SourceFactory()
    for day, project, quantity in ((1, 1, 8), (2, 1, 9), (1, 2, 2), (2, 2, 3), (1, 3, 4)):
        ResourceUsageFactory(
            source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=Decimal(quantity)
        )
    query = {"from_": "2026-01-02", "to": "2026-01-03", "compare": "previous", "measures": "consumed_quantity"}
    for group_by in ("project_id", "project_id,day"):
        summary = get(client, "resource-usage/summary/", **query, group_by=group_by, limit="1")
        (total,) = summary["others"]["totals"]
        assert summary["others"].get("results", [{**total, "day": "2026-01-02"}]) == [{**total, "day": "2026-01-02"}]
        assert (summary["others"]["groups"], total["consumed_quantity"]) == (2, "3")
        assert total["previous"] == {"consumed_quantity": "6"}
        assert total["change"] == {"consumed_quantity": "-3"}
        assert total["relative_change"] == {"consumed_quantity": "-0.5"}


def test_totals_are_compared_as_the_rows_are_where_one_period_has_no_record(client: Client) -> None:
    source = SourceFactory()
    create_run(source, build_instant(6, 8), build_instant(6, 10))
    for number in (5, 6):
        SourceDayFactory(
            source=source,
            day=build_instant(number).date(),
            loaded_at=build_instant(number + 1),
            records=int(number == 6),
        )
    query = {"compare": "previous", "group_by": "project_id", "measures": "records,runtime_seconds"}
    for first, last, change in (
        ("2026-01-06", "2026-01-07", "7200.000000"),
        ("2026-01-07", "2026-01-08", "-7200.000000"),
    ):
        summary = get(client, "environment-usage/summary/", from_=first, to=last, **query)
        (row,), (total,) = summary["results"], summary["totals"]
        assert row["change"]["runtime_seconds"] == change
        assert total == {name: value for name, value in row.items() if name not in {"project_id", "project_name"}}


def test_nothing_is_compared_with_a_period_of_which_nothing_is_stored(client: Client) -> None:
    old, new = SourceFactory(slug="old"), SourceFactory(slug="new", backfill_from=build_instant(6).date())
    SourceDayFactory(source=old, day=build_instant(5).date(), loaded_at=build_instant(6))
    for source in (old, new):
        SourceDayFactory(source=source, day=build_instant(6).date(), loaded_at=build_instant(7), records=1)
        create_run(source, build_instant(6, 8), build_instant(6, 10))
    query = {"from_": "2026-01-06", "to": "2026-01-07", "compare": "previous", "measures": "runtime_seconds"}
    summary = get(client, "environment-usage/summary/", **query, group_by="source")
    before = {row["source"]: (row["previous"], row["change"]) for row in summary["results"]}
    assert before["old"] == ({"runtime_seconds": "0"}, {"runtime_seconds": "7200.000000"})
    assert before["new"] == ({"runtime_seconds": None}, {"runtime_seconds": None})
    assert summary["totals"][0]["previous"] == {"runtime_seconds": "0"}
    new_summary = get(client, "environment-usage/summary/", **query, source="new")
    assert new_summary["totals"][0]["previous"] == {"runtime_seconds": None}
    assert new_summary["meta"]["previous"]["later_sources"] == [{"source": "new", "first_day": "2026-01-06"}]


def test_changes_and_others_have_all_their_digits(client: Client) -> None:
    source = SourceFactory()
    huge, tiny = Decimal(12345678901234567890123456789), Decimal("0.000000001")
    for day, project, quantity in ((1, 1, tiny), (2, 1, Decimal(f"{huge}0")), (2, 2, huge), (2, 3, tiny)):
        ResourceUsageFactory(source=source, project_id=project, day=date(2026, 1, day), consumed_quantity=quantity)
    query = {"from_": "2026-01-02", "to": "2026-01-03", "compare": "previous", "group_by": "project_id"}
    summary = get(client, "resource-usage/summary/", **query, limit="1")
    assert summary["results"][0]["change"]["consumed_quantity"] == "123456789012345678901234567889.999999999"
    assert summary["others"]["totals"][0]["consumed_quantity"] == "12345678901234567890123456789.000000001"
    assert summary["totals"][0]["change"]["consumed_quantity"] == "135802467913580246791358024679.000000000"


def test_withdrawn_runs_that_lasted_long_after_the_range_are_counted_on_request(client: Client) -> None:
    source = SourceFactory()
    create_run(source, build_instant(1), build_instant(20), withdrawn_at=build_instant(22))
    create_run(source, build_instant(2), build_instant(3))
    query = {"from_": "2026-01-02", "to": "2026-01-03", "basis": "accrued", "include_withdrawn": "true"}
    for measures in ("records,runtime_seconds", "runtime_seconds"):
        summary = get(client, "environment-usage/summary/", **query, measures=measures)
        assert summary["totals"][0]["runtime_seconds"] == "172800.000000"


def test_details_flavors_and_tags_are_dimensions(client: Client) -> None:
    source = SourceFactory()
    ResourceUsageFactory(source=source, details={"flavor": "g1", "volume_type": "ssd"}, tags={"team": "x"})
    ResourceUsageFactory(source=source, details={"flavor": "g1"}, tags={"team": "y", "1": "one"})
    summary = get(client, "resource-usage/summary/", group_by="flavor,tag:team", order_by="tag:team")
    assert [(row["flavor"], row["tag:team"], row["records"]) for row in summary["results"]] == [
        ("g1", "x", 1),
        ("g1", "y", 1),
    ]
    kinds = get(client, "resource-usage/summary/", group_by="details.volume_type,tag:1")["results"]
    assert {(row["details.volume_type"], row["tag:1"]) for row in kinds} == {("ssd", None), (None, "one")}


def test_deleted_recipes_are_a_row_of_their_own(client: Client) -> None:
    source = SourceFactory()
    RecipeUsageFactory(source=source, recipe_id=None, recipe_name="", folder_id=None, task_count=4)
    RecipeUsageFactory(source=source, recipe_id=1, recipe_name="Deleted recipes", folder_id=None, task_count=5)
    summary = get(client, "recipe-usage/summary/", group_by="recipe_name")["results"]
    assert [(row["recipe_name"], row["deleted_recipes"], row["task_count"]) for row in summary] == [
        ("Deleted recipes", False, 5),
        ("Deleted recipes", True, 4),
    ]
    for order, counts in (("deleted_recipes", [5, 4]), ("-deleted_recipes", [4, 5])):
        ordered_rows = get(client, "recipe-usage/summary/", group_by="recipe_name", order_by=order)["results"]
        assert [row["task_count"] for row in ordered_rows] == counts
    folders = get(client, "recipe-usage/summary/", group_by="folder_id")["results"]
    assert [(row["folder_id"], row["deleted_recipes"]) for row in folders] == [(None, False), (None, True)]
    assert get(client, "recipe-usage/summary/", measures="recipes")["totals"][0]["recipes"] == 1


def test_what_the_limit_left_out_has_the_sums_of_what_was_reported_and_no_distinct_counts(client: Client) -> None:
    source = SourceFactory()
    for recipe, count in ((1, 9), (2, None), (3, 4)):
        RecipeUsageFactory(source=source, recipe_id=recipe, task_count=count)
    query = {"group_by": "recipe_id", "order_by": "-task_count", "limit": "1", "measures": "task_count,recipes"}

    summary = get(client, "recipe-usage/summary/", **query)

    assert [(row["recipe_id"], row["task_count"]) for row in summary["results"]] == [(1, 9)]
    assert summary["others"] == {"groups": 2, "totals": [{"task_count": 4, "recipes": None}]}


def test_an_instant_that_is_midnight_of_two_dates_belongs_to_each_source_by_its_own(client: Client) -> None:
    # Clocks on Kiritimati are a whole day ahead of those in Honolulu.
    for zone, on in (("Pacific/Honolulu", date(2026, 1, 1)), ("Pacific/Kiritimati", date(2026, 1, 2))):
        source = SourceFactory(time_zone=zone)
        EnvironmentUsageFactory(source=source, day=on, created_at=build_instant(1, 11), stopped_at=build_instant(1, 20))
    query = {"from_": "2026-01-01T10:00:00Z", "to": "2026-01-02T10:00:00Z"}

    rows = get(client, "environment-usage/summary/", **query, group_by="source")["results"]

    assert [row["records"] for row in rows] == [1, 1]


def test_a_count_that_was_never_reported_stays_unknown(client: Client) -> None:
    RecipeUsageFactory(task_count=None, job_failed_count=0)
    total = get(client, "recipe-usage/summary/")["totals"][0]
    assert (total["task_count"], total["job_failed_count"]) == (None, 0)
