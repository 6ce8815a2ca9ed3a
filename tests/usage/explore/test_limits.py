"""Explore: who sees what, and a bounded cost of a page."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.explore import JANUARY, PAGE, list_rows, open_explore, store_some_of_each
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.filled_portal import fill_portal
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db


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
    assert open_explore(client, "kind=environment-usage", 400).context["form"].errors
    assert open_explore(client, "kind=usage", 400).context["form"].errors
    assert client.get(f"{PAGE}export/?kind=environment-usage&format=csv").status_code == 400
    user.user_permissions.set(Permission.objects.filter(codename="view_source"))
    assert client.get(PAGE).status_code == 403


def test_who_is_limited_to_a_source_learns_of_no_other() -> None:
    own_source, other_source = SourceFactory(slug="mine", vendor="gcore"), SourceFactory(slug="zebra", vendor="gcore")
    ResourceUsageFactory(source=own_source, consumed_quantity=Decimal(5))
    ResourceUsageFactory(source=other_source, consumed_quantity=Decimal(7), resource_type="zebra-type")
    create_source_days(rolled=True)
    client = sign_in_as("viewer", sources=[own_source])
    for query in (
        f"kind=resource-usage&{JANUARY}&group_by=source,resource_type,day",
        f"kind=usage&{JANUARY}&interval=day",
        "kind=resource-usage&group_by=resource_type",
    ):
        page = open_explore(client, query)
        assert b"zebra" not in page.content
        assert any(cell.endswith("5 minutes") for cell in list_rows(page)[-1])
        for ending in ("csv", "xlsx"):
            assert b"zebra" not in client.get(f"{PAGE}export/?{query}&format={ending}").getvalue()
    error_page = open_explore(client, "kind=resource-usage&source=zebra", 400).content.decode()
    assert "There is no “zebra”; there are: mine." in error_page.replace("&quot;", '"')


def test_a_stranger_is_sent_to_sign_in() -> None:
    for address in ("", "export/?kind=usage&format=csv"):
        response = Client().get(PAGE + address)
        assert response.status_code == 302
        assert "login" in response["Location"]


# A filter by an id costs two more, whose name its chip has, and a comparison those of the other period.
@pytest.mark.parametrize(("extra_params", "max_queries"), [("", 20), ("&project_id=project-1&compare=last_month", 30)])
def test_a_page_costs_the_same_few_queries_however_much_there_is(extra_params: str, max_queries: int) -> None:
    client = sign_in_as("viewer")
    query = f"kind=environment-usage&{JANUARY}&group_by=project_id,day{extra_params}"
    counts = []
    for _ in range(2):
        EnvironmentUsageFactory.create_batch(10)
        create_source_days(rolled=True)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{PAGE}?{query}").status_code == 200
        counts.append(len(queries))
        record_queries = [entry["sql"] for entry in queries if 'FROM "usage_environmentusage"' in entry["sql"]]
        assert record_queries == [], "the rollups hold these days"
    assert counts[0] == counts[1]
    assert counts[0] <= max_queries, [entry["sql"] for entry in queries]


@pytest.mark.parametrize("kind", ["environment-usage", "resource-usage", "recipe-usage"])
def test_the_page_that_opens_first_reads_no_record(kind: str) -> None:
    source = SourceFactory(time_zone="Europe/Berlin" if kind == "recipe-usage" else "UTC")
    factory: Any = {
        "environment-usage": EnvironmentUsageFactory,
        "resource-usage": ResourceUsageFactory,
        "recipe-usage": RecipeUsageFactory,
    }[kind]
    factory(source=source)
    create_source_days(rolled=True)
    with time_machine.travel(datetime(2026, 1, 12, tzinfo=UTC), tick=False):
        client = sign_in_as("viewer")
        address = client.get(PAGE)["Location"]
        assert f"kind={kind}" in address
        with CaptureQueriesContext(connection) as queries:
            page = client.get(address)
    assert page.context["table"].rows
    records = f'"usage_{kind.replace("-", "")}"'
    assert [entry["sql"] for entry in queries if records in entry["sql"]] == []


def test_only_as_many_charts_are_sent_as_a_browser_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    from usage.explore import charts

    monkeypatch.setattr(charts, "MAX_VALUES", 31 * 8)
    store_some_of_each()
    page = open_explore(sign_in_as("viewer"), f"kind=resource-usage&{JANUARY}&group_by=day")
    assert (len(page.context["charts"]["panels"]), page.context["charts"]["left_out"]) == (1, 3)
    assert "3 more, of fewer records" in page.content.decode()


def test_a_long_answer_is_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    from usage.explore import pages

    monkeypatch.setattr(pages, "ROWS", 2)
    source = SourceFactory()
    for number in range(5):
        ResourceUsageFactory(source=source, project_id=number, consumed_quantity=number + 1)
    client = sign_in_as("viewer")
    query = "kind=resource-usage&group_by=project_id&measures=consumed_quantity"
    first = open_explore(client, query)
    assert [row[0] for row in list_rows(first)] == ["4", "3", "Total"]
    assert "Rows 1–2 of 5; the files have all of them." in first.content.decode()
    assert [(link.label, link.url) for link in first.context["page_links"]] == [
        ("First", ""),
        ("Previous", ""),
        ("Next", f"?{query}&page=2"),
        ("Last", f"?{query}&page=3"),
    ]
    last = open_explore(client, f"{query}&page=3")
    assert [row[0] for row in list_rows(last)] == ["0", "Total"]
    assert list_rows(last)[0][-1] == list_rows(open_explore(client, f"{query}&page=99"))[0][-1]
    assert first.context["charts"]["panels"][0]["labels"] == ["4", "3", "2", "1", "0"]
    assert "page=" not in last.context["table"].heads[0].query
    assert open_explore(client, "kind=resource-usage&group_by=project_id").context["page"].paginator.count == 5
    for value in ("0", "x", "-1", "1e3", "999999999"):
        assert (
            f"Page: “{value}” is not a whole number"
            in open_explore(client, f"{query}&page={value}", 400).content.decode()
        )
    assert client.get(f"{PAGE}export/?{query}&page=2&format=csv").getvalue().count(b"result,") == 5


def test_an_empty_portal_says_so() -> None:
    client = sign_in_as("viewer")
    page = client.get(PAGE, follow=True)
    assert "There is no source of this usage yet." in page.content.decode()
    SourceFactory(vendor="ona")
    assert "Nothing was used." in client.get(PAGE, follow=True).content.decode()


def test_the_page_of_a_filled_portal_says_how_far_its_numbers_can_be_trusted() -> None:
    fill_portal()
    page = open_explore(sign_in_as("viewer"), "kind=resource-usage&from=2026-11-01&to=2026-11-19&group_by=day")
    text = page.context["quality"].text
    assert "Not complete: 3 days not read completely (gcore-main 12 Nov 2026" in text
    assert "Complete through 11 Nov 2026." in text
    assert "From 12 Nov 2026 on, numbers may still change." in text
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
    fill_portal()
    # The Monday and Tuesday of its last week; from Thursday on, days of it are missing.
    page = open_explore(sign_in_as("viewer"), "kind=resource-usage&from=2026-11-02&to=2026-11-11&group_by=week")
    assert [day and day["missing"] for day in page.context["charts"]["panels"][0]["days"]] == [None, None]


def test_a_chart_is_marked_by_the_days_of_its_own_vendor_only() -> None:
    fill_portal()
    page = open_explore(sign_in_as("viewer"), "kind=usage&from=2026-11-01&to=2026-11-18&interval=day")
    missing = {
        panel["title"].split(": ")[1].split(", ")[0]: [
            index for index, day in enumerate(panel["days"]) if day and day["missing"]
        ]
        for panel in page.context["charts"]["panels"]
    }
    assert missing == {"gcore": [11, 12, 13], "ona": [], "workato": []}


def test_a_range_longer_than_its_usage_is_drawn_whole() -> None:
    source = SourceFactory(backfill_from=date(2026, 1, 3))
    ResourceUsageFactory(source=source, day=date(2026, 1, 4))
    page = open_explore(sign_in_as("viewer"), "kind=resource-usage&from=2026-01-01&to=2026-01-06&group_by=day")
    charts = page.context["charts"]
    assert [label[:10] for label in charts["labels"]] == [str(date(2026, 1, 1) + timedelta(days=n)) for n in range(5)]
    assert charts["panels"][0]["series"][0]["values"] == [None, None, None, "1440", None]
    assert charts["panels"][0]["days"][0]["words"] == [f"{source.slug}: 1 before the first day of this source"]
    assert charts["panels"][0]["days"][0]["missing"]
