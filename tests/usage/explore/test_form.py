"""The form of Explore: the query in the URL, and errors beside their inputs."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.http import QueryDict

from tests.support.explore import PAGE, QUESTIONS, open_explore, store_some_of_each
from tests.support.factories import (
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.users import sign_in_as
from usage.explore import query as explore_query
from usage.explore.form import INPUTS
from usage.explore.kinds import SUMMARY_KINDS
from usage.explore.params import parse_form

pytestmark = pytest.mark.django_db


def read_inputs(response: Any) -> list[tuple[str, str]]:
    """Return name and value of every input that a browser would send with the question."""
    (form,) = re.findall(r'<form [^>]*id="explore-form".*?</form>', response.content.decode(), re.DOTALL)
    inputs = []
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and ('type="checkbox"' not in tag or " checked" in tag):
            inputs.append((name[1], unescape(value[1]) if value else ""))
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        inputs += [(name, unescape(value)) for value in re.findall(r'<option value="([^"]*)" selected>', options)]
    return inputs


def test_nothing_asked_is_the_last_thirty_days_by_day() -> None:
    workato = SourceFactory(vendor="workato", time_zone="Europe/Berlin")
    RecipeUsageFactory(source=workato)
    with time_machine.travel(datetime(2026, 3, 10, 12, tzinfo=UTC), tick=False):
        response = sign_in_as("viewer").get(PAGE)
    assert response.status_code == 302
    assert response["Location"] == (
        f"{PAGE}?kind=recipe-usage&from=2026-02-08&to=2026-03-10&tz=Europe%2FBerlin&group_by=day"
    )


def test_ranges_with_a_name_are_the_dates_they_stand_for() -> None:
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False):
        page = open_explore(sign_in_as("viewer"), "kind=resource-usage&from=2026-04-01&to=2026-05-01&group_by=day")
    ranges = {
        shortcut.label: re.sub(r".*from=(.*)&to=(\S{10}).*", r"\1 \2", shortcut.url)
        for shortcut in page.context["range"].shortcuts
    }
    assert ranges.pop("Any time") == "?kind=resource-usage&group_by=day"
    assert ranges == {
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
    assert [shortcut.label for shortcut in page.context["range"].shortcuts if shortcut.is_current] == ["Last month"]


def test_a_form_becomes_the_address_that_the_api_takes() -> None:
    SourceFactory(slug="a"), SourceFactory(slug="b")
    form = QueryDict(
        "_form=1&kind=resource-usage&from=2026-01-01&_through=2026-01-31&tz=UTC&_group=project_id&_group=&_tag=team"
        "&_interval=day&measures=records&measures=consumed_quantity&order_by=-records,user_id&limit=&compare=previous"
        "&source=a&source=b&project_id=&resource_type=+vm+&tag=team:x&tag=&region_id=7"
    )
    response = sign_in_as("viewer").get(f"{PAGE}?{form.urlencode()}")
    assert response["Location"] == (
        f"{PAGE}?kind=resource-usage&from=2026-01-01&to=2026-02-01&group_by=project_id,tag:team,day&order_by=-records"
        "&compare=previous&source=a,b&resource_type=vm&region_id=7&tag=team:x"
    )


def test_the_form_of_an_address_asks_for_that_address_again() -> None:
    store_some_of_each()
    client = sign_in_as("viewer")
    for query in QUESTIONS:
        page = open_explore(client, query)
        form = QueryDict(mutable=True)
        for name, value in read_inputs(page):
            form.appendlist(name, value)
        kind = page.context["kind"]
        actual = dict([("kind", kind.name), *parse_form(form, kind)])
        expected = {**QueryDict(query).dict()}
        expected.pop("tz", None)
        assert actual == expected, query


def test_another_kind_keeps_the_range_and_drops_what_it_does_not_know() -> None:
    form = QueryDict(
        "from=2026-01-01&_through=2026-01-31&_group=user_id&_interval=hour&basis=accrued&user_id=u&project_id=1"
    )
    assert parse_form(form, SUMMARY_KINDS["resource-usage"]) == [
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
    client = sign_in_as("viewer")
    page = open_explore(client, f"kind=resource-usage&{query}", 400)
    api_errors = client.get(f"/api/v1/resource-usage/summary/?{query}").json()["errors"]
    form = page.context["form"]
    errors = {field.name: list(field.errors) for field in form if field.errors}
    assert errors == {
        INPUTS.get(parameter, parameter): [error["detail"] for error in api_errors if error["parameter"] == parameter]
    }
    assert form.errors == []
    assert b'<button type="submit"' in page.content


def test_what_nobody_understands_is_named() -> None:
    client = sign_in_as("viewer")
    assert b"Colour: Unknown parameter" in open_explore(client, "kind=resource-usage&colour=red", 400).content
    assert b"is not one of: environment-usage" in open_explore(client, "kind=cost", 400).content
    assert open_explore(client, "from=2026-01-01", 400).context["form"].errors


def test_a_question_that_takes_too_long_is_stopped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(explore_query, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(explore_query, "summarize", sleep)
    ResourceUsageFactory()
    client = sign_in_as("viewer")
    page = open_explore(client, "kind=resource-usage&group_by=day")
    assert "so it was stopped" in page.content.decode()
    assert client.get(f"{PAGE}export/?kind=resource-usage&format=csv").status_code == 503
