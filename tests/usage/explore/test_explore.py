"""The Explore page: the API's own numbers, in tables and charts."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import time_machine

from tests.support.explore import JANUARY, QUESTIONS, list_rows, open_explore, store_some_of_each
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db


def test_the_page_has_the_numbers_of_the_api(subtests: pytest.Subtests) -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    for query in QUESTIONS:
        with subtests.test(query):
            page = open_explore(client, query)
            api_summary = client.get(page.context["api"]).json()
            summary = page.context["answer"].summary
            assert {**summary, "meta": {**summary["meta"], "as_of": api_summary["meta"]["as_of"]}} == api_summary
            kind, _separator, query_string = query.removeprefix("kind=").partition("&")
            assert page.context["api"] == f"/api/v1/{kind}/summary/?{query_string}"
            assert len(page.context["table"].rows) in {len(api_summary["results"]), 0}


def test_a_period_that_is_not_stored_is_compared_as_unknown() -> None:
    source = SourceFactory(vendor="gcore", backfill_from=date(2026, 1, 5))
    ResourceUsageFactory(source=source, day=date(2026, 1, 5), consumed_quantity=Decimal("30.5"))
    query = "kind=resource-usage&from=2026-01-05&to=2026-01-07&group_by=project_id&compare=previous&measures=consumed_quantity"
    page = open_explore(sign_in_as("viewer"), query)
    assert list_rows(page)[0][-3:] == ["–", "–", "100.0 %"]
    assert "In the period before: Not yet stored at the start of the range" in page.context["quality"].text


def test_a_table_shows_exact_numbers_with_units_shares_and_changes() -> None:
    source = SourceFactory(vendor="gcore")
    SourceDayFactory(source=source, day=date(2026, 1, 3), records=1, loaded_at=datetime(2026, 1, 4, tzinfo=UTC))
    for day, project, quantity in ((5, 1, "30.5"), (5, 2, "10.5"), (3, 1, "20.5")):
        ResourceUsageFactory(
            source=source, day=date(2026, 1, day), project_id=project, consumed_quantity=Decimal(quantity)
        )
    ResourceUsageFactory(
        source=source, day=date(2026, 1, 5), consumed_unit="bytes", consumed_quantity=Decimal(2), project_id=1
    )
    client = sign_in_as("viewer")
    query = "kind=resource-usage&from=2026-01-05&to=2026-01-07&group_by=project_id&compare=previous&order_by=project_id&measures=consumed_quantity"
    assert list_rows(open_explore(client, query)) == [
        [
            "1",
            "instance_minutes",
            "minutes",
            "0.51 h 30.5 minutes",
            "0.34 h 20.5 minutes",
            "+0.17 h (+48.8 %) +10 minutes",
            "74.4 %",
        ],
        ["1", "instance_minutes", "bytes", "2 bytes", "0 bytes", "+2 bytes", "100.0 %"],
        [
            "2",
            "instance_minutes",
            "minutes",
            "0.18 h 10.5 minutes",
            "0 h",
            "+0.18 h +10.5 minutes",
            "25.6 %",
        ],
        ["Total", "instance_minutes", "bytes", "2 bytes", "0 bytes", "+2 bytes", "100.0 %"],
        [
            "Total",
            "instance_minutes",
            "minutes",
            "0.68 h 41 minutes",
            "0.34 h 20.5 minutes",
            "+0.34 h (+100.0 %) +20.5 minutes",
            "100.0 %",
        ],
    ]


def test_seconds_are_also_said_as_people_say_them() -> None:
    EnvironmentUsageFactory()
    (row,) = list_rows(open_explore(sign_in_as("viewer"), "kind=environment-usage&measures=runtime_seconds"))
    assert row == ["Total", "1 h 3,600 s"]


def test_what_the_limit_leaves_out_is_one_more_row() -> None:
    source = SourceFactory()
    for number, quantity in enumerate((9, 5, 3, 1)):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=Decimal(quantity))
    query = "kind=resource-usage&group_by=project_id&limit=2&measures=consumed_quantity"
    page = open_explore(sign_in_as("viewer"), query)
    assert [(row[0], row[-2]) for row in list_rows(page)] == [
        ("0", "0.15 h 9 minutes"),
        ("1", "0.083 h 5 minutes"),
        ("Others (2)", "0.067 h 4 minutes"),
        ("Total", "0.3 h 18 minutes"),
    ]
    (panel,) = page.context["charts"]["panels"]
    assert (panel["labels"], panel["values"]) == (["0", "1", "Others"], ["9", "5", "4"])
    ResourceUsageFactory(source=source, project_id=3, day=date(2026, 1, 2), consumed_quantity=Decimal(2))
    query += "&from=2026-01-02&to=2026-01-03&compare=previous"
    (panel,) = open_explore(sign_in_as("viewer"), query).context["charts"]["panels"]
    assert (panel["labels"], panel["values"], panel["before"]) == (
        ["3", "0", "Others"],
        ["2", "0", "0"],
        ["1", "9", "8"],
    )
    (panel,) = open_explore(sign_in_as("viewer"), query.replace("=project_id", "=project_id,day")).context["charts"][
        "panels"
    ]
    assert panel["before"] == ["18"]


def test_a_chart_of_everything_without_a_range_has_the_intervals_of_its_rows_and_no_marks() -> None:
    source = SourceFactory(vendor="gcore")
    for day in (5, 9):
        ResourceUsageFactory(source=source, day=date(2026, 1, day))

    charts = open_explore(sign_in_as("viewer"), "kind=usage&interval=day").context["charts"]

    assert [label[:10] for label in charts["labels"]] == ["2026-01-05", "2026-01-09"]
    assert all(panel["days"] == [] for panel in charts["panels"])


def test_different_units_are_never_drawn_on_one_axis() -> None:
    store_some_of_each()
    page = open_explore(
        sign_in_as("viewer"), f"kind=resource-usage&{JANUARY}&group_by=project_id,day&measures=consumed_quantity"
    )
    assert {panel["unit"] for panel in page.context["charts"]["panels"]} == {"minutes", "bytes"}
    summary = page.context["answer"].summary
    for panel in page.context["charts"]["panels"]:
        (total,) = [line for line in summary["totals"] if line["consumed_unit"] == panel["unit"]]
        chart_total = sum(Decimal(value) for series in panel["series"] for value in series["values"] if value)
        assert chart_total == Decimal(total["consumed_quantity"])


def test_a_chart_of_many_groups_adds_up_the_small_ones() -> None:
    source = SourceFactory()
    for number in range(12):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=Decimal(number + 1))
    page = open_explore(sign_in_as("viewer"), f"kind=resource-usage&{JANUARY}&group_by=project_id,day")
    series = page.context["charts"]["panels"][0]["series"]
    assert [line["name"] for line in series] == ["11", "10", "9", "8", "7", "6", "5", "4", "Others"]
    assert series[-1]["values"][0] == "10"


def test_a_header_orders_and_orders_the_other_way_round() -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    heads = {
        head.name: head
        for head in open_explore(client, "kind=environment-usage&group_by=project_id").context["table"].heads
    }
    assert heads["project_id"].query.endswith("order_by=project_id")
    first = open_explore(client, heads["records"].query)
    head = next(head for head in first.context["table"].heads if head.name == "records")
    assert (head.sorted, head.query.split("order_by=")[1]) == ("descending", "records")
    assert b'aria-sort="descending"' in first.content


def test_a_value_leads_one_step_further_and_its_chip_back() -> None:
    ResourceUsageFactory(project_id=5, tags={"team": "a:b"})
    client = sign_in_as("viewer")
    page = open_explore(client, "kind=resource-usage&group_by=project_id,tag:team,resource_type")
    (row,) = page.context["table"].rows
    assert [cell.query.removeprefix("kind=resource-usage&") for cell in row[:3]] == [
        "group_by=tag:team,resource_type&project_id=5",
        "group_by=project_id,resource_type&tag=team:a:b",
        "group_by=project_id,tag:team&resource_type=instance",
    ]
    for cell in row[:3]:
        filtered_page = open_explore(client, cell.query)
        assert len(filtered_page.context["table"].rows) == 1
        (chip,) = filtered_page.context["chips"]
        assert chip.remove_url.startswith("?kind=resource-usage&group_by=")
        assert open_explore(client, chip.remove_url.removeprefix("?")).context["chips"] == []


def test_what_is_left_to_break_down_by_is_offered_and_the_next_is_taken() -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    page = open_explore(
        client, f"kind=environment-usage&{JANUARY}&group_by=project_id&limit=5&order_by=-records,project_id"
    )
    query = page.context["table"].rows[0][0].query
    assert re.fullmatch(
        rf"kind=environment-usage&{JANUARY}&group_by=user_id&limit=5&order_by=-records&project_id=\S+", query
    )
    dimension_links = open_explore(client, query).context["by_dimension"]
    assert [(link.label, link.is_current) for link in dimension_links][:2] == [("User", True), ("Class", False)]
    assert "Project" not in [link.label for link in dimension_links]
    assert [link.label for link in page.context["limits"] if link.is_current] == ["Top 5 + others"]
    for link in (*dimension_links, *page.context["by_interval"], *page.context["limits"]):
        assert open_explore(client, link.url.removeprefix("?"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("group_by=day", "from=2026-01-05&to=2026-01-06&group_by=workspace_id"),
        ("group_by=recipe_id,day&fill=zero", "from=2026-01-05&to=2026-01-06&group_by=recipe_id"),
        ("group_by=month", "from=2026-01-01&to=2026-02-01&group_by=day"),
        ("group_by=week", "from=2026-01-05&to=2026-01-12&group_by=day"),
        ("group_by=hour", "from=2026-01-05T10:00:00Z&to=2026-01-05T11:00:00Z&group_by=workspace_id"),
    ],
)
def test_an_interval_leads_to_itself(query: str, expected: str) -> None:
    RecipeUsageFactory(starts_at=datetime(2026, 1, 5, 10, tzinfo=UTC))
    client = sign_in_as("viewer")
    page = open_explore(client, f"kind=recipe-usage&{JANUARY}&{query}")
    charts = page.context["charts"]
    index = next(
        position
        for position, value in enumerate(charts["panels"][0]["series"][0]["values"])
        if value not in {None, "0"}
    )
    step = page.context["table"].rows[index if "fill" in query else 0][0].query
    assert step == f"kind=recipe-usage&{expected}"
    start, end = charts["bounds"][index]
    assert charts["step"].replace("{from}", start).replace("{to}", end) == step
    assert open_explore(client, step).context["answer"].summary["totals"][0]["records"] == 1


def test_an_interval_stays_within_the_range() -> None:
    ResourceUsageFactory(day=date(2026, 1, 1))
    page = open_explore(sign_in_as("viewer"), "kind=resource-usage&from=2026-01-01&to=2026-01-03&group_by=week")
    assert page.context["charts"]["bounds"] == [("2026-01-01", "2026-01-03")]


def test_a_ranking_may_be_in_the_order_of_its_changes() -> None:
    source = SourceFactory()
    for project, before, now in ((1, 100, 110), (2, 10, 50)):
        ResourceUsageFactory(source=source, day=date(2026, 1, 5), project_id=project, consumed_quantity=before)
        ResourceUsageFactory(source=source, day=date(2026, 1, 6), project_id=project, consumed_quantity=now)
    client = sign_in_as("viewer")
    query = "kind=resource-usage&from=2026-01-06&to=2026-01-07&group_by=project_id&compare=previous"
    page = open_explore(client, query)
    (change, _) = [head for head in page.context["table"].heads if head.label == "Change"]
    sorted_page = open_explore(client, change.query)
    assert change.query == f"{query}&order_by=-change_consumed_quantity"
    assert [str(row[0].text) for row in sorted_page.context["table"].rows] == ["2", "1"]
    assert sorted_page.context["charts"]["panels"][0]["labels"] == ["2", "1"]
    assert page.context["charts"]["panels"][0]["labels"] == ["1", "2"]
    assert sorted_page.context["charts"]["before"] == "5 Jan 2026"
    assert b'aria-sort="descending"' in sorted_page.content


def test_baselines_are_offered_with_their_dates() -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False):
        page = open_explore(
            client, "kind=resource-usage&from=2026-03-01&to=2026-03-08&group_by=project_id&compare=last_year"
        )
    assert [(baseline.label, baseline.dates, baseline.is_current) for baseline in page.context["baselines"]] == [
        ("Period before", "22 Feb 2026 – 28 Feb 2026", False),
        ("Same days last month", "1 Feb 2026 – 7 Feb 2026", False),
        ("Same days last year", "1 Mar 2025 – 7 Mar 2025", True),
        ("Same weekdays before", "22 Feb 2026 – 28 Feb 2026", False),
    ]
    assert [chip.label for chip in page.context["chips"]] == ["Compared with 1 Mar 2025 – 7 Mar 2025"]
    for baseline in page.context["baselines"]:
        assert open_explore(client, baseline.url.removeprefix("?"))
    assert open_explore(client, "kind=resource-usage&from=2026-03-01&group_by=day").context["baselines"] == []


def test_this_month_against_the_last_is_one_link() -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    with time_machine.travel(datetime(2026, 2, 10, 12, tzinfo=UTC), tick=False):
        link = open_explore(client, f"kind=environment-usage&{JANUARY}&group_by=day").context["month_link"]
        assert link.url == (
            "?kind=environment-usage&from=2026-02-01&to=2026-03-01&group_by=project_id&compare=last_month"
        )
        page = open_explore(client, link.url.removeprefix("?"))
    assert page.context["month_link"].is_current
    assert open_explore(client, "kind=usage").context["month_link"] is None
