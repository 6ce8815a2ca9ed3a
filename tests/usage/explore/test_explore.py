"""The Explore page: the API's own numbers, the question in the address, and mistakes beside their inputs."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.filled_portal import fill
from tests.support.source_days import hold_days
from tests.support.users import client_of
from usage.explore import query as explore_query
from usage.explore.form import INPUTS
from usage.explore.kinds import KINDS
from usage.explore.params import parse_form

pytestmark = pytest.mark.django_db
PAGE = "/admin/explore/"
JANUARY = "from=2026-01-01&to=2026-02-01"


def shown(client: Client, query: str, status: int = 200) -> Any:
    """Return the page of a question, after the days of the records were written down."""
    hold_days(rolled=False)
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == status, response.headers
    return response


def text_of(html: str) -> str:
    """Return what a person reads of HTML."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def rows_of(response: Any) -> list[list[str]]:
    """Return the table's cells as a person reads them, the totals and others last."""
    (table,) = re.findall(r'<table class="plain explore-table".*?</table>', response.content.decode(), re.DOTALL)
    _, *rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    return [[text_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def read_inputs(response: Any) -> list[tuple[str, str]]:
    """Return name and value of every input that a browser would send with the question."""
    (form,) = re.findall(r'<form [^>]*id="explore-form".*?</form>', response.content.decode(), re.DOTALL)
    found = []
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and ('type="checkbox"' not in tag or " checked" in tag):
            found.append((name[1], unescape(value[1]) if value else ""))
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        found += [(name, unescape(value)) for value in re.findall(r'<option value="([^"]*)" selected>', options)]
    return found


def some_of_each() -> None:
    """Store a little usage of every kind."""
    ona, gcore, workato = (SourceFactory(slug=name, vendor=name) for name in ("ona", "gcore", "workato"))
    EnvironmentUsageFactory.create_batch(7, source=ona)
    for number in range(9):
        ResourceUsageFactory(
            source=gcore,
            day=date(2026, 1, 1 + number % 4),
            project_id=number % 3,
            consumed_unit=("minutes", "bytes")[number % 2],
            consumed_quantity=Decimal("123456789012345678.000001") * (number + 1),
            tags={"team": "data"} if number else {},
        )
    RecipeUsageFactory.create_batch(5, source=workato)
    hold_days(rolled=True)


QUESTIONS = (
    "kind=environment-usage&group_by=project_id,day",
    f"kind=environment-usage&{JANUARY}&group_by=user_id&order_by=-records&limit=2",
    f"kind=environment-usage&{JANUARY}&group_by=day&basis=accrued&measures=runtime_seconds",
    f"kind=resource-usage&{JANUARY}&group_by=project_id,week&compare=previous",
    "kind=resource-usage&group_by=tag:team&project_id=1,2",
    "kind=resource-usage",
    f"kind=recipe-usage&{JANUARY}&group_by=recipe_name,hour&tz=UTC",
    f"kind=recipe-usage&{JANUARY}&group_by=day&fill=zero",
    f"kind=usage&{JANUARY}&interval=month",
    "kind=usage",
)


@pytest.mark.parametrize("query", QUESTIONS)
def test_the_page_has_the_numbers_of_the_api(query: str) -> None:
    some_of_each()
    client = client_of("viewer")
    page = shown(client, query)
    said = client.get(page.context["api"]).json()
    mine = page.context["answer"].summary
    assert {**mine, "meta": {**mine["meta"], "as_of": said["meta"]["as_of"]}} == said
    kind, _, rest = query.removeprefix("kind=").partition("&")
    assert page.context["api"] == f"/api/v1/{kind}/summary/?{rest}"
    assert len(page.context["table"].rows) in {len(said["results"]), 0}


def test_a_period_that_is_not_stored_is_compared_as_unknown() -> None:
    source = SourceFactory(vendor="gcore", backfill_from=date(2026, 1, 5))
    ResourceUsageFactory(source=source, day=date(2026, 1, 5), consumed_quantity=Decimal("30.5"))
    query = "kind=resource-usage&from=2026-01-05&to=2026-01-07&group_by=project_id&compare=previous&measures=consumed_quantity"
    page = shown(client_of("viewer"), query)
    assert rows_of(page)[0][-3:] == ["–", "–", "100.0 %"]
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
    client = client_of("viewer")
    query = "kind=resource-usage&from=2026-01-05&to=2026-01-07&group_by=project_id&compare=previous&order_by=project_id&measures=consumed_quantity"
    assert rows_of(shown(client, query)) == [
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
    (row,) = rows_of(shown(client_of("viewer"), "kind=environment-usage&measures=runtime_seconds"))
    assert row == ["Total", "1 h 3,600 s"]


def test_what_the_limit_leaves_out_is_one_more_row() -> None:
    source = SourceFactory()
    for number, quantity in enumerate((9, 5, 3, 1)):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=Decimal(quantity))
    query = "kind=resource-usage&group_by=project_id&limit=2&measures=consumed_quantity"
    page = shown(client_of("viewer"), query)
    assert [(row[0], row[-2]) for row in rows_of(page)] == [
        ("0", "0.15 h 9 minutes"),
        ("1", "0.083 h 5 minutes"),
        ("Others (2)", "0.067 h 4 minutes"),
        ("Total", "0.3 h 18 minutes"),
    ]
    (panel,) = page.context["charts"]["panels"]
    assert (panel["labels"], panel["values"]) == (["0", "1", "Others"], ["9", "5", "4"])
    ResourceUsageFactory(source=source, project_id=3, day=date(2026, 1, 2), consumed_quantity=Decimal(2))
    query += "&from=2026-01-02&to=2026-01-03&compare=previous"
    (panel,) = shown(client_of("viewer"), query).context["charts"]["panels"]
    assert (panel["labels"], panel["values"], panel["before"]) == (
        ["3", "0", "Others"],
        ["2", "0", "0"],
        ["1", "9", "8"],
    )
    (panel,) = shown(client_of("viewer"), query.replace("=project_id", "=project_id,day")).context["charts"]["panels"]
    assert panel["before"] == ["18"]


def test_different_units_are_never_drawn_on_one_axis() -> None:
    some_of_each()
    page = shown(
        client_of("viewer"), f"kind=resource-usage&{JANUARY}&group_by=project_id,day&measures=consumed_quantity"
    )
    assert {panel["unit"] for panel in page.context["charts"]["panels"]} == {"minutes", "bytes"}
    said = page.context["answer"].summary
    for panel in page.context["charts"]["panels"]:
        (total,) = [line for line in said["totals"] if line["consumed_unit"] == panel["unit"]]
        drawn = sum(Decimal(value) for series in panel["series"] for value in series["values"] if value)
        assert drawn == Decimal(total["consumed_quantity"])


def test_a_chart_of_many_groups_adds_up_the_small_ones() -> None:
    source = SourceFactory()
    for number in range(12):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=Decimal(number + 1))
    page = shown(client_of("viewer"), f"kind=resource-usage&{JANUARY}&group_by=project_id,day")
    series = page.context["charts"]["panels"][0]["series"]
    assert [one["name"] for one in series] == ["11", "10", "9", "8", "7", "6", "5", "4", "Others"]
    assert series[-1]["values"][0] == "10"


def test_a_header_orders_and_orders_the_other_way_round() -> None:
    some_of_each()
    client = client_of("viewer")
    heads = {
        head.name: head for head in shown(client, "kind=environment-usage&group_by=project_id").context["table"].heads
    }
    assert heads["project_id"].query.endswith("order_by=project_id")
    first = shown(client, heads["records"].query)
    head = next(head for head in first.context["table"].heads if head.name == "records")
    assert (head.sorted, head.query.split("order_by=")[1]) == ("descending", "records")
    assert b'aria-sort="descending"' in first.content


def test_a_value_leads_one_step_further_and_its_chip_back() -> None:
    ResourceUsageFactory(project_id=5, tags={"team": "a:b"})
    client = client_of("viewer")
    page = shown(client, "kind=resource-usage&group_by=project_id,tag:team,resource_type")
    (row,) = page.context["table"].rows
    assert [cell.query.removeprefix("kind=resource-usage&") for cell in row[:3]] == [
        "group_by=tag:team,resource_type&project_id=5",
        "group_by=project_id,resource_type&tag=team:a:b",
        "group_by=project_id,tag:team&resource_type=instance",
    ]
    for cell in row[:3]:
        narrowed = shown(client, cell.query)
        assert len(narrowed.context["table"].rows) == 1
        (chip,) = narrowed.context["chips"]
        assert chip.remove_url.startswith("?kind=resource-usage&group_by=")
        assert shown(client, chip.remove_url.removeprefix("?")).context["chips"] == []


def test_what_is_left_to_break_down_by_is_offered_and_the_next_is_taken() -> None:
    some_of_each()
    client = client_of("viewer")
    page = shown(client, f"kind=environment-usage&{JANUARY}&group_by=project_id&limit=5&order_by=-records,project_id")
    query = page.context["table"].rows[0][0].query
    assert re.fullmatch(
        rf"kind=environment-usage&{JANUARY}&group_by=user_id&limit=5&order_by=-records&project_id=\S+", query
    )
    offered = shown(client, query).context["by_dimension"]
    assert [(link.label, link.is_current) for link in offered][:2] == [("User", True), ("Class", False)]
    assert "Project" not in [link.label for link in offered]
    assert [link.label for link in page.context["limits"] if link.is_current] == ["Top 5 + others"]
    for link in (*offered, *page.context["by_interval"], *page.context["limits"]):
        assert shown(client, link.url.removeprefix("?"))


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
    client = client_of("viewer")
    page = shown(client, f"kind=recipe-usage&{JANUARY}&{query}")
    charts = page.context["charts"]
    at = next(
        place for place, value in enumerate(charts["panels"][0]["series"][0]["values"]) if value not in {None, "0"}
    )
    step = page.context["table"].rows[at if "fill" in query else 0][0].query
    assert step == f"kind=recipe-usage&{expected}"
    start, end = charts["bounds"][at]
    assert charts["step"].replace("{from}", start).replace("{to}", end) == step
    assert shown(client, step).context["answer"].summary["totals"][0]["records"] == 1


def test_an_interval_stays_within_the_range() -> None:
    ResourceUsageFactory(day=date(2026, 1, 1))
    page = shown(client_of("viewer"), "kind=resource-usage&from=2026-01-01&to=2026-01-03&group_by=week")
    assert page.context["charts"]["bounds"] == [("2026-01-01", "2026-01-03")]


def test_a_ranking_may_be_in_the_order_of_its_changes() -> None:
    source = SourceFactory()
    for project, before, now in ((1, 100, 110), (2, 10, 50)):
        ResourceUsageFactory(source=source, day=date(2026, 1, 5), project_id=project, consumed_quantity=before)
        ResourceUsageFactory(source=source, day=date(2026, 1, 6), project_id=project, consumed_quantity=now)
    client = client_of("viewer")
    question = "kind=resource-usage&from=2026-01-06&to=2026-01-07&group_by=project_id&compare=previous"
    page = shown(client, question)
    (change, _) = [head for head in page.context["table"].heads if head.label == "Change"]
    by_change = shown(client, change.query)
    assert change.query == f"{question}&order_by=-change_consumed_quantity"
    assert [str(row[0].text) for row in by_change.context["table"].rows] == ["2", "1"]
    assert by_change.context["charts"]["panels"][0]["labels"] == ["2", "1"]
    assert page.context["charts"]["panels"][0]["labels"] == ["1", "2"]
    assert by_change.context["charts"]["before"] == "5 Jan 2026"
    assert b'aria-sort="descending"' in by_change.content


def test_baselines_are_offered_with_their_dates() -> None:
    some_of_each()
    client = client_of("viewer")
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False):
        page = shown(client, "kind=resource-usage&from=2026-03-01&to=2026-03-08&group_by=project_id&compare=last_year")
    assert [(one.label, one.dates, one.is_current) for one in page.context["baselines"]] == [
        ("Period before", "22 Feb 2026 – 28 Feb 2026", False),
        ("Same days last month", "1 Feb 2026 – 7 Feb 2026", False),
        ("Same days last year", "1 Mar 2025 – 7 Mar 2025", True),
        ("Same weekdays before", "22 Feb 2026 – 28 Feb 2026", False),
    ]
    assert [chip.label for chip in page.context["chips"]] == ["Compared with 1 Mar 2025 – 7 Mar 2025"]
    for one in page.context["baselines"]:
        assert shown(client, one.url.removeprefix("?"))
    assert shown(client, "kind=resource-usage&from=2026-03-01&group_by=day").context["baselines"] == []


def test_this_month_against_the_last_is_one_link() -> None:
    some_of_each()
    client = client_of("viewer")
    with time_machine.travel(datetime(2026, 2, 10, 12, tzinfo=UTC), tick=False):
        link = shown(client, f"kind=environment-usage&{JANUARY}&group_by=day").context["month_link"]
        assert link.url == (
            "?kind=environment-usage&from=2026-02-01&to=2026-03-01&group_by=project_id&compare=last_month"
        )
        page = shown(client, link.url.removeprefix("?"))
    assert page.context["month_link"].is_current
    assert shown(client, "kind=usage").context["month_link"] is None


def test_nothing_asked_is_the_last_thirty_days_by_day() -> None:
    workato = SourceFactory(vendor="workato", time_zone="Europe/Berlin")
    RecipeUsageFactory(source=workato)
    with time_machine.travel(datetime(2026, 3, 10, 12, tzinfo=UTC), tick=False):
        response = client_of("viewer").get(PAGE)
    assert response.status_code == 302
    assert response["Location"] == (
        f"{PAGE}?kind=recipe-usage&from=2026-02-08&to=2026-03-10&tz=Europe%2FBerlin&group_by=day"
    )


def test_ranges_with_a_name_are_the_dates_they_stand_for() -> None:
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False):
        page = shown(client_of("viewer"), "kind=resource-usage&from=2026-04-01&to=2026-05-01&group_by=day")
    found = {
        one.label: re.sub(r".*from=(.*)&to=(\S{10}).*", r"\1 \2", one.url) for one in page.context["range"].shortcuts
    }
    assert found.pop("Any time") == "?kind=resource-usage&group_by=day"
    assert found == {
        "This month": "2026-05-01 2026-06-01",
        "Last month": "2026-04-01 2026-05-01",
        "Last 7 days": "2026-05-13 2026-05-20",
        "Last 30 days": "2026-04-20 2026-05-20",
        "Last 90 days": "2026-02-19 2026-05-20",
        "This quarter": "2026-04-01 2026-07-01",
        "Last quarter": "2026-01-01 2026-04-01",
        "This year": "2026-01-01 2027-01-01",
        "Last year": "2025-01-01 2026-01-01",
    }
    assert [one.label for one in page.context["range"].shortcuts if one.is_current] == ["Last month"]


def test_a_form_becomes_the_address_that_the_api_takes() -> None:
    SourceFactory(slug="a"), SourceFactory(slug="b")
    form = QueryDict(
        "_form=1&kind=resource-usage&from=2026-01-01&_through=2026-01-31&tz=UTC&_group=project_id&_group=&_tag=team"
        "&_interval=day&measures=records&measures=consumed_quantity&order_by=-records,user_id&limit=&compare=previous"
        "&source=a&source=b&project_id=&resource_type=+vm+&tag=team:x&tag=&region_id=7"
    )
    response = client_of("viewer").get(f"{PAGE}?{form.urlencode()}")
    assert response["Location"] == (
        f"{PAGE}?kind=resource-usage&from=2026-01-01&to=2026-02-01&group_by=project_id,tag:team,day&order_by=-records"
        "&compare=previous&source=a,b&resource_type=vm&region_id=7&tag=team:x"
    )


def test_the_form_of_an_address_asks_for_that_address_again() -> None:
    some_of_each()
    client = client_of("viewer")
    for query in QUESTIONS:
        page = shown(client, query)
        sent = QueryDict(mutable=True)
        for name, value in read_inputs(page):
            sent.appendlist(name, value)
        kind = page.context["kind"]
        again = dict([("kind", kind.name), *parse_form(sent, kind)])
        asked = {**QueryDict(query).dict()}
        asked.pop("tz", None)
        assert again == asked, query


def test_another_kind_keeps_the_range_and_drops_what_it_does_not_know() -> None:
    form = QueryDict(
        "from=2026-01-01&_through=2026-01-31&_group=user_id&_interval=hour&basis=accrued&user_id=u&project_id=1"
    )
    assert parse_form(form, KINDS["resource-usage"]) == [
        ("from", "2026-01-01"),
        ("to", "2026-02-01"),
        ("project_id", "1"),
    ]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=2026-02-30", "from"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("tz=Mars/Base", "tz"),
        ("group_by=hour", "group_by"),
        ("group_by=day,month", "group_by"),
        ("measures=euros", "measures"),
        ("limit=0", "limit"),
        ("compare=previous", "compare"),
        ("fill=zero", "fill"),
        ("project_id=x", "project_id"),
        ("source=nobody", "source"),
        ("tag=team", "tag"),
        ("consumed_quantity__gte=much", "consumed_quantity__gte"),
    ],
)
def test_a_mistake_stands_beside_its_input_in_the_words_of_the_api(query: str, parameter: str) -> None:
    ResourceUsageFactory()
    client = client_of("viewer")
    page = shown(client, f"kind=resource-usage&{query}", 400)
    said = client.get(f"/api/v1/resource-usage/summary/?{query}").json()["errors"]
    form = page.context["form"]
    found = {field.name: list(field.errors) for field in form if field.errors}
    assert found == {INPUTS.get(parameter, parameter): [one["detail"] for one in said if one["parameter"] == parameter]}
    assert form.errors == []
    assert b'<button type="submit"' in page.content


def test_what_nobody_understands_is_named() -> None:
    client = client_of("viewer")
    assert b"Colour: Unknown parameter" in shown(client, "kind=resource-usage&colour=red", 400).content
    assert b"is not one of: environment-usage" in shown(client, "kind=cost", 400).content
    assert shown(client, "from=2026-01-01", 400).context["form"].errors


def test_a_question_that_takes_too_long_is_stopped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(explore_query, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(explore_query, "summarize", slow)
    ResourceUsageFactory()
    client = client_of("viewer")
    page = shown(client, "kind=resource-usage&group_by=day")
    assert "so it was stopped" in page.content.decode()
    assert client.get(f"{PAGE}export/?kind=resource-usage&format=csv").status_code == 503


def test_who_may_see_some_kinds_is_offered_no_other() -> None:
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user("recipes-only", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_recipeusage"))
    RecipeUsageFactory()
    EnvironmentUsageFactory()
    client = Client()
    client.force_login(user)
    page = client.get(PAGE, follow=True)
    assert [kind.name for kind, *_ in page.context["kinds"]] == ["recipe-usage"]
    assert page.context["kind"].name == "recipe-usage"
    assert shown(client, "kind=environment-usage", 400).context["form"].errors
    assert shown(client, "kind=usage", 400).context["form"].errors
    assert client.get(f"{PAGE}export/?kind=environment-usage&format=csv").status_code == 400
    user.user_permissions.set(Permission.objects.filter(codename="view_source"))
    assert client.get(PAGE).status_code == 403


def test_who_is_limited_to_a_source_learns_of_no_other() -> None:
    mine, other = SourceFactory(slug="mine", vendor="gcore"), SourceFactory(slug="zebra", vendor="gcore")
    ResourceUsageFactory(source=mine, consumed_quantity=Decimal(5))
    ResourceUsageFactory(source=other, consumed_quantity=Decimal(7), resource_type="zebra-type")
    hold_days(rolled=True)
    client = client_of("viewer", sources=[mine])
    for query in (
        f"kind=resource-usage&{JANUARY}&group_by=source,resource_type,day",
        f"kind=usage&{JANUARY}&interval=day",
        "kind=resource-usage&group_by=resource_type",
    ):
        page = shown(client, query)
        assert b"zebra" not in page.content
        assert any(cell.endswith("5 minutes") for cell in rows_of(page)[-1])
        for ending in ("csv", "xlsx"):
            assert b"zebra" not in client.get(f"{PAGE}export/?{query}&format={ending}").getvalue()
    refused = shown(client, "kind=resource-usage&source=zebra", 400).content.decode()
    assert "There is no “zebra”; there are: mine." in refused.replace("&quot;", '"')


def test_a_stranger_is_sent_to_sign_in() -> None:
    for address in ("", "export/?kind=usage&format=csv"):
        response = Client().get(PAGE + address)
        assert response.status_code == 302
        assert "login" in response["Location"]


# A filter by an id costs two more, whose name its chip has, and a comparison those of the other period.
@pytest.mark.parametrize(("more", "most"), [("", 20), ("&project_id=project-1&compare=last_month", 30)])
def test_a_page_costs_the_same_few_queries_however_much_there_is(more: str, most: int) -> None:
    client = client_of("viewer")
    query = f"kind=environment-usage&{JANUARY}&group_by=project_id,day{more}"
    counts = []
    for _ in range(2):
        EnvironmentUsageFactory.create_batch(10)
        hold_days(rolled=True)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(f"{PAGE}?{query}").status_code == 200
        counts.append(len(asked))
        tables = [one["sql"] for one in asked if 'FROM "usage_environmentusage"' in one["sql"]]
        assert tables == [], "the rollups hold these days"
    assert counts[0] == counts[1]
    assert counts[0] <= most, [one["sql"] for one in asked]


@pytest.mark.parametrize("kind", ["environment-usage", "resource-usage", "recipe-usage"])
def test_the_page_that_opens_first_reads_no_record(kind: str) -> None:
    source = SourceFactory(time_zone="Europe/Berlin" if kind == "recipe-usage" else "UTC")
    factory: Any = {
        "environment-usage": EnvironmentUsageFactory,
        "resource-usage": ResourceUsageFactory,
        "recipe-usage": RecipeUsageFactory,
    }[kind]
    factory(source=source)
    hold_days(rolled=True)
    with time_machine.travel(datetime(2026, 1, 12, tzinfo=UTC), tick=False):
        client = client_of("viewer")
        address = client.get(PAGE)["Location"]
        assert f"kind={kind}" in address
        with CaptureQueriesContext(connection) as asked:
            page = client.get(address)
    assert page.context["table"].rows
    records = f'"usage_{kind.replace("-", "")}"'
    assert [one["sql"] for one in asked if records in one["sql"]] == []


def test_only_as_many_charts_are_sent_as_a_browser_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    from usage.explore import charts

    monkeypatch.setattr(charts, "MAX_VALUES", 31 * 8)
    some_of_each()
    page = shown(client_of("viewer"), f"kind=resource-usage&{JANUARY}&group_by=day")
    assert (len(page.context["charts"]["panels"]), page.context["charts"]["left_out"]) == (1, 3)
    assert "3 more, of fewer records" in page.content.decode()


def test_a_long_answer_is_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    from usage.explore import pages

    monkeypatch.setattr(pages, "ROWS", 2)
    source = SourceFactory()
    for number in range(5):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=number + 1)
    client = client_of("viewer")
    query = "kind=resource-usage&group_by=project_id&measures=consumed_quantity"
    first = shown(client, query)
    assert [row[0] for row in rows_of(first)] == ["4", "3", "Total"]
    assert "Rows 1–2 of 5; the files have all of them." in first.content.decode()
    assert [(link.label, link.url) for link in first.context["page"].links] == [
        ("First", ""),
        ("Previous", ""),
        ("Next", f"?{query}&page=2"),
        ("Last", f"?{query}&page=3"),
    ]
    last = shown(client, f"{query}&page=3")
    assert [row[0] for row in rows_of(last)] == ["0", "Total"]
    assert rows_of(last)[0][-1] == rows_of(shown(client, f"{query}&page=99"))[0][-1]
    assert first.context["charts"]["panels"][0]["labels"] == ["4", "3", "2", "1", "0"]
    assert "page=" not in last.context["table"].heads[0].query
    assert shown(client, "kind=resource-usage&group_by=project_id").context["page"].row_count == 5
    for wrong in ("0", "x", "-1", "1e3", "999999999"):
        assert f"Page: “{wrong}” is not a whole number" in shown(client, f"{query}&page={wrong}", 400).content.decode()
    assert client.get(f"{PAGE}export/?{query}&page=2&format=csv").getvalue().count(b"result,") == 5


def test_an_empty_portal_says_so() -> None:
    client = client_of("viewer")
    page = client.get(PAGE, follow=True)
    assert "There is no source of this usage yet." in page.content.decode()
    SourceFactory(vendor="ona")
    assert "Nothing was used." in client.get(PAGE, follow=True).content.decode()


def test_the_page_of_a_filled_portal_says_how_far_its_numbers_can_be_trusted() -> None:
    fill()
    page = shown(client_of("viewer"), "kind=resource-usage&from=2026-11-01&to=2026-11-19&group_by=day")
    said = page.context["quality"].text
    assert "Not complete: 3 days not read completely (gcore-main 12 Nov 2026" in said
    assert "Complete through 11 Nov 2026." in said
    assert "From 12 Nov 2026 on, numbers may still change." in said
    marks = dict(zip(page.context["charts"]["labels"], page.context["charts"]["panels"][0]["days"], strict=True))
    assert [label[:10] for label, mark in marks.items() if mark and mark["missing"]] == [
        "2026-11-12",
        "2026-11-13",
        "2026-11-14",
    ]
    assert [label[:10] for label, mark in marks.items() if mark and mark["restated"]] == ["2026-11-11"]
    assert marks["2026-11-18 Wed"]["words"] == ["gcore-main: 1 provisional"]
    assert marks["2026-11-05 Thu"] is None


def test_a_week_is_judged_by_the_days_of_it_that_were_asked_for() -> None:
    fill()
    # The Monday and Tuesday of its last week; from Thursday on, days of it are missing.
    page = shown(client_of("viewer"), "kind=resource-usage&from=2026-11-02&to=2026-11-11&group_by=week")
    assert [day and day["missing"] for day in page.context["charts"]["panels"][0]["days"]] == [None, None]


def test_a_chart_is_marked_by_the_days_of_its_own_vendor_only() -> None:
    fill()
    page = shown(client_of("viewer"), "kind=usage&from=2026-11-01&to=2026-11-18&interval=day")
    missing = {
        panel["title"].split(": ")[1].split(", ")[0]: [
            at for at, day in enumerate(panel["days"]) if day and day["missing"]
        ]
        for panel in page.context["charts"]["panels"]
    }
    assert missing == {"gcore": [11, 12, 13], "ona": [], "workato": []}


def test_a_range_longer_than_its_usage_is_drawn_whole() -> None:
    source = SourceFactory(backfill_from=date(2026, 1, 3))
    ResourceUsageFactory(source=source, day=date(2026, 1, 4))
    page = shown(client_of("viewer"), "kind=resource-usage&from=2026-01-01&to=2026-01-06&group_by=day")
    charts = page.context["charts"]
    assert [label[:10] for label in charts["labels"]] == [str(date(2026, 1, 1) + timedelta(days=n)) for n in range(5)]
    assert charts["panels"][0]["series"][0]["values"] == [None, None, None, "1440", None]
    assert charts["panels"][0]["days"][0]["words"] == [f"{source.slug}: 1 before the first day of this source"]
    assert charts["panels"][0]["days"][0]["missing"]
