"""Summaries: refused requests, row scope, and the cost of a response."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from tests.support.summaries import ROLLED, build_instant, create_run, get
from tests.support.summaries import _relation as _relation
from tests.support.summaries import client as client

pytestmark = pytest.mark.django_db
# Refused before any record or roll-up is read.
no_relation = pytest.mark.parametrize("_relation", ["raw"], indirect=True)


@no_relation
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"group_by": "day", "tz": "Europe/Berlin"}, "tz"),
        ({"group_by": "hour"}, "group_by"),
        ({"from": "2026-01-01", "tz": "Europe/Berlin"}, "from"),
        ({"group_by": "day,month"}, "group_by"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": ",".join(f"tag:{number}" for number in range(13))}, "group_by"),
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
    assert parameter in get_problem_details(client.get(f"{API}/resource-usage/summary/", query))


@no_relation
def test_everything_that_is_wrong_with_a_question_is_named_at_once(client: Client) -> None:
    params = {"bogus": "1", "from": "x", "tz": "y", "source": "w", "group_by": "colour", "limit": "0", "fill": "zero"}
    assert set(get_problem_details(client.get(f"{API}/environment-usage/summary/", params))) == {"", *params}
    params = {"bogus": "1", "from": "x", "interval": "decade"}
    assert set(get_problem_details(client.get(f"{API}/usage/summary/", params))) == {"", *params}
    errors = get_problem_details(
        client.get(f"{API}/environment-usage/summary/", {"from": "x", "to": "y", "compare": "previous"})
    )
    assert set(errors) == {"", "from", "to"}


@no_relation
def test_more_intervals_than_an_answer_holds_are_refused_by_the_parameter_that_asks_for_them(client: Client) -> None:
    EnvironmentUsageFactory(source=SourceFactory(slug="ona", vendor="ona"))
    years = {"from": "2000-01-01", "to": "2026-01-01"}
    for address, query in (
        ("environment-usage/summary/", {"group_by": "hour"}),
        ("usage/summary/", {"interval": "hour", "vendor": "ona"}),
    ):
        assert set(get_problem_details(client.get(f"{API}/{address}", {**years, **query}))) == {"", next(iter(query))}


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
    create_source_days(rolled=ROLLED["yes"])
    requests = [(f"{kind}/summary/", params) for kind, several in EACH_KIND.items() for params in several]
    requests += [("usage/summary/", {}), *((f"{kind}/export-manifest/", {}) for kind in EACH_KIND)]
    ranges = list(product(ENDS, ENDS))
    turn += 3 * ROLLED["yes"]
    for number, (address, params) in enumerate(requests):
        # Each question is asked with every range, in one of the three zones, of records or of roll-ups.
        for first, last in ranges[(number + turn) % 6 :: 6]:
            query = {"tz": tz, **params, **({"from": first} if first else {}), **({"to": last} if last else {})}
            assert client.get(f"{API}/{address}", query).status_code in (200, 400), (address, query)


def test_an_hour_of_recipes_is_not_cut(client: Client) -> None:
    RecipeUsageFactory(source=SourceFactory(slug="recipes"))
    query = {"group_by": "day", "tz": "Asia/Kolkata"}
    (message,) = get_problem_details(client.get(f"{API}/recipe-usage/summary/", query))["tz"]
    assert message == (
        "The usage of recipes is kept by whole hours of UTC, and 2025-12-31T18:30:00Z lies within one; ask with tz=UTC."
    )
    (message,) = get_problem_details(client.get(f"{API}/recipe-usage/summary/", {"from": "2026-01-01T00:30:00Z"}))[
        "from"
    ]
    assert message.endswith("2026-01-01T00:30:00Z lies within one; give a whole hour or a date.")
    assert get(client, "recipe-usage/summary/", group_by="day", tz="Europe/Berlin")["results"]


def test_the_period_before_cuts_no_hour_of_recipes_either(client: Client) -> None:
    # Clocks on Lord Howe stand 11 hours ahead in November, and 10 and a half on the first of October.
    RecipeUsageFactory(source=SourceFactory(slug="island", time_zone="Australia/Lord_Howe"))
    query = {"from": "2026-11-01", "to": "2026-12-01", "compare": "previous"}
    (message,) = get_problem_details(client.get(f"{API}/recipe-usage/summary/", query))["compare"]
    assert "2026-10-01T00:00:00Z lies within one" in message
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
    starts_at = datetime(2025, 12, 31, 18, 30, tzinfo=UTC)  # midnight there
    RecipeUsageFactory(source=source, starts_at=starts_at, day=date(2026, 1, 1))
    (message,) = get_problem_details(
        client.get(f"{API}/recipe-usage/summary/", {"group_by": "hour", "from": "2026-01-01"})
    )["from"]
    assert "mumbai is kept by whole hours of Asia/Kolkata" in message
    assert message.endswith("ask with tz=Asia/Kolkata.")
    params = {"from_": "2026-01-01", "to": "2026-01-02", "tz": "Asia/Kolkata"}
    for interval, first_label in (("hour", "2026-01-01T00:00:00+05:30"), ("day", "2026-01-01")):
        rows = get(client, "recipe-usage/summary/", **params, group_by=interval, fill="zero")["results"]
        assert len(rows) == (24 if interval == "hour" else 1)
        assert (rows[0][interval], rows[0]["task_count"]) == (first_label, 12)
    RecipeUsageFactory(source=SourceFactory(slug="berlin", time_zone="Europe/Berlin"))
    query = {"tz": "Asia/Kolkata", "from": "2026-01-01"}
    (message,) = get_problem_details(client.get(f"{API}/recipe-usage/summary/", query))["from"]
    assert message.endswith("ask with tz=Europe/Berlin, or for other sources alone.")


def test_a_token_limited_to_a_source_learns_of_no_other(client: Client) -> None:
    own_source, other_source = SourceFactory(slug="mine"), SourceFactory(slug="other")
    for source in (own_source, other_source):
        EnvironmentUsageFactory(source=source, environment_class_id="c")
        ResourceUsageFactory(source=source)
    limited_client = create_api_client(sources=[own_source])
    for address in ("environment-usage/summary/", "resource-usage/summary/"):
        summary = get(limited_client, address, group_by="source")
        assert [row["source"] for row in summary["results"]] == ["mine"]
        assert summary["totals"][0]["records"] == 1
        assert {day["source"] for day in summary["meta"]["missing_days"]["days"]} == {"mine"}
        assert get(client, address)["totals"][0]["records"] == 2
    summary = get(limited_client, "usage/summary/")
    assert {row["source"] for row in summary["results"]} == {"mine"}
    assert b"other" not in limited_client.get(f"{API}/usage/summary/").content
    assert "source" in get_problem_details(limited_client.get(f"{API}/usage/summary/", {"source": "other"}))


def test_one_answer_tells_what_was_used_of_everything(client: Client) -> None:
    ona, gcore, workato = (SourceFactory(slug=name, vendor=name) for name in ("ona", "gcore", "workato"))
    EnvironmentUsageFactory(source=ona, environment_class_id="large")
    ResourceUsageFactory(source=gcore)
    RecipeUsageFactory(source=workato, task_count=12, starts_at=build_instant(1, 5))
    summary = get(client, "usage/summary/", interval="month", from_="2026-01-01", to="2026-02-01")
    assert [tuple(row.values()) for row in summary["results"]] == [
        ("2026-01-01", "gcore", "gcore", "instance", None, "instance_minutes", "minutes", "1440", 1),
        ("2026-01-01", "ona", "ona", "large", None, "runtime", "seconds", "3600.000000", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "jobs_failed", "jobs", "1", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "jobs_succeeded", "jobs", "3", 1),
        ("2026-01-01", "workato", "workato", "recipes", None, "tasks", "tasks", "12", 1),
    ]
    assert summary["meta"]["complete"] is False
    assert "interval" in get_problem_details(client.get(f"{API}/usage/summary/", {"interval": "hour"}))
    assert get(client, "usage/summary/", vendor="ona", interval="hour")["results"]


def test_withdrawn_records_count_only_on_request(client: Client) -> None:
    EnvironmentUsageFactory(withdrawn_at=build_instant(5))
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
    params = {"group_by": by, "from": "2026-01-01", "to": "2026-02-01"}
    counts = []
    for _ in range(2):
        factory.create_batch(10)
        create_source_days(rolled=ROLLED["yes"])
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{API}/{kind}/summary/", params).status_code == 200
        counts.append(len(queries))
    # The token, the sources twice, their days, whether the rollups hold them, the numbers, and names where there are ids;
    # in the transaction of a test four for the limit of time, which cost nothing otherwise.
    expected = 10 if kind == "recipe-usage" else 11
    assert counts == [expected, expected], [query["sql"] for query in queries]


def test_the_ends_of_the_calendar_stand_for_no_bound(client: Client) -> None:
    create_run(SourceFactory(time_zone="America/New_York"), build_instant(1, 22), build_instant(3, 1))
    RecipeUsageFactory(source=SourceFactory(vendor="workato", time_zone="Asia/Tokyo"))
    create_source_days(rolled=ROLLED["yes"])
    starts = ("0001-01-01", "0001-01-01T00:00:00.000001Z", "9999-12-31")
    ends = ("0001-01-01", "0001-01-02T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59.999999Z")
    for first, end in product(starts, ends):
        is_unbounded = first.startswith("0001") and end.startswith("9999")
        for address, params in (
            ("environment-usage/", {"tz": "Etc/GMT+12"}),
            ("environment-usage/export-manifest/", {}),
            ("environment-usage/summary/", {"basis": "accrued", "tz": "America/New_York"}),
            ("recipe-usage/summary/", {"tz": "UTC"}),
            ("usage/summary/", {}),
        ):
            query = {"from": first, "to": end, **params}
            response = client.get(f"{API}/{address}", query)
            # Hours of zones that were not cut by hours then, and ranges that run backwards, are refused as ever.
            assert response.status_code in {200, 400}, (address, query, response.content)
            if is_unbounded and "recipe" not in address and not address.startswith("usage/"):
                body = response.json()
                assert len(body.get("results", ())) == 1 or body["rows"] == 1, (address, query, body)


def test_grouped_by_unit_the_rows_and_totals_are_by_unit_alone(client: Client) -> None:
    source = SourceFactory()
    for metric, unit, quantity in (("vm", "minutes", 5), ("ip", "minutes", 7), ("traffic", "bytes", 10**9)):
        ResourceUsageFactory(
            source=source, billing_metric=metric, consumed_unit=unit, consumed_quantity=Decimal(quantity)
        )

    summary = get(client, "resource-usage/summary/", group_by="consumed_unit")

    sums = [{"consumed_unit": "bytes", "n": 10**9}, {"consumed_unit": "minutes", "n": 12}]
    for rows in (summary["totals"], summary["results"]):
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
    for position, name in enumerate(("instance", "volume", "egress_traffic", "inference", "something_new")):
        ResourceUsageFactory(source=source, resource_type=name, consumed_quantity=Decimal(position + 1))

    rows = get(client, "resource-usage/summary/", group_by="category")["results"]

    assert {row["category"]: row["records"] for row in rows} == dict.fromkeys(
        ("compute", "storage", "network", "ai", "other"), 1
    )
    filtered_rows = get(client, "resource-usage/summary/", group_by="resource_type", category="storage,other")[
        "results"
    ]
    assert {row["resource_type"] for row in filtered_rows} == {"volume", "something_new"}
