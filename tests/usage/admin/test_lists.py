"""The usage lists: paged by position, and filtered by the filters of the API."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from django.db import connection
from django.test import Client

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
    create_many_environments,
)
from tests.support.plans import analyze
from tests.support.usage_lists import ENVIRONMENTS, RECIPES, RESOURCES, build_list_url, get_errors
from tests.support.usage_lists import staff as staff
from tests.support.users import sign_in_as
from usage.admin.lists import base, pagination
from usage.admin.lists.environments import EnvironmentUsageAdmin
from usage.admin.lists.recipes import RecipeUsageAdmin
from usage.admin.lists.resources import ResourceUsageAdmin
from usage.api.filters.names import is_name_filter
from usage.models import KINDS, EnvironmentUsage, RecipeUsage, ResourceUsage, Source

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)
ADMINS = (EnvironmentUsageAdmin, ResourceUsageAdmin, RecipeUsageAdmin)


def list_rows(response: Any) -> list[Any]:
    assert response.status_code == 200, response.content
    return list(response.context["cl"].result_list)


def follow_pages(staff: Client, label: str, address: str, start: str) -> list[list[int]]:
    """Return the ids of the pages from `start` on, by following the links called `label`."""
    pages, query_string = [], start
    while True:
        response = staff.get(address + query_string)
        pages.append([row.pk for row in list_rows(response)])
        next_urls = [link.url for link in response.context["cl"].page_links if link.label == label]
        if not next_urls or not next_urls[0]:
            return pages
        query_string = next_urls[0]


def insert(source: Source, seconds: list[int]) -> None:
    EnvironmentUsage.objects.bulk_create(
        EnvironmentUsage(
            source=source,
            day=date(2026, 1, 1),
            record_id=f"r{number}",
            project_id=f"p{second % 3}",
            stopped_at=START + timedelta(seconds=second),
        )
        for number, second in enumerate(seconds)
    )


@pytest.mark.parametrize("ordering", ["-stopped_at", "stopped_at", "project_id", "-changed_at"])
def test_a_walk_meets_every_row_once_both_ways_though_several_pages_share_an_instant(
    staff: Client, ordering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EnvironmentUsageAdmin, "list_per_page", 10)
    insert(SourceFactory(slug="a"), [7] * 34 + [8] * 3 + [9] * 12)
    response = staff.get(build_list_url(EnvironmentUsage, ordering=ordering, source="a"))
    first, newer, older, last = [link.label for link in response.context["cl"].page_links]
    columns = EnvironmentUsageAdmin.viewset.orderings[ordering.removeprefix("-")]
    order_by = [f"-{column}" if ordering.startswith("-") else column for column in columns]
    expected = list(EnvironmentUsage.objects.order_by(*order_by).values_list("pk", flat=True))
    start = f"?{urlencode({'ordering': ordering, 'source': 'a'})}"

    older_pages = follow_pages(staff, older, ENVIRONMENTS, start)
    assert [pk for page in older_pages for pk in page] == expected
    assert [len(page) for page in older_pages] == [10, 10, 10, 10, 9]

    (end,) = [link.url for link in response.context["cl"].page_links if link.label == last]
    newer_pages = follow_pages(staff, newer, ENVIRONMENTS, end)
    assert [pk for page in reversed(newer_pages) for pk in page] == expected
    assert {first, newer, older, last} in (
        {"Newest", "Newer", "Older", "Oldest"},
        {"First", "Previous", "Next", "Last"},
    )


def test_the_ways_are_named_by_time_and_lead_nowhere_at_the_ends(staff: Client) -> None:
    insert(SourceFactory(slug="a"), list(range(120)))
    newest = staff.get(build_list_url(EnvironmentUsage)).context["cl"]

    assert [(link.label, bool(link.url)) for link in newest.page_links] == [
        ("Newest", False),
        ("Newer", False),
        ("Older", True),
        ("Oldest", True),
    ]
    middle = staff.get(ENVIRONMENTS + newest.page_links[2].url).context["cl"]
    assert all(link.url for link in middle.page_links)
    oldest = staff.get(ENVIRONMENTS + middle.page_links[3].url).context["cl"]
    assert [bool(link.url) for link in oldest.page_links] == [True, True, False, False]
    ascending = staff.get(build_list_url(EnvironmentUsage, ordering="stopped_at")).context["cl"]
    assert [link.label for link in ascending.page_links] == ["Oldest", "Older", "Newer", "Newest"]
    assert staff.get(build_list_url(EnvironmentUsage, to="2026-01-01T00:00:09Z")).context["cl"].page_links == ()


def test_rows_that_arrive_on_the_way_move_no_page(staff: Client) -> None:
    source = SourceFactory(slug="a")
    insert(source, list(range(120)))
    newest = staff.get(build_list_url(EnvironmentUsage)).context["cl"]
    first_ids = [row.pk for row in newest.result_list]
    EnvironmentUsageFactory.create_batch(30, source=source, stopped_at=START + timedelta(days=9))

    second = staff.get(ENVIRONMENTS + newest.page_links[2].url)

    assert not set(first_ids) & {row.pk for row in list_rows(second)}
    assert len(list_rows(second)) == 50


@pytest.mark.parametrize("changed", [{"source": "b"}, {"ordering": "changed_at"}, {"project_id": "p1"}])
def test_a_position_belongs_to_its_filters_and_its_order(staff: Client, changed: dict[str, str]) -> None:
    insert(SourceFactory(slug="a"), list(range(120)))
    SourceFactory(slug="b")
    cursor = parse_qs(urlsplit(staff.get(build_list_url(EnvironmentUsage)).context["cl"].page_links[2].url).query)[
        "cursor"
    ][0]
    assert list_rows(staff.get(build_list_url(EnvironmentUsage, cursor=cursor)))

    response = staff.get(build_list_url(EnvironmentUsage, cursor=cursor, **changed))

    (notice,) = [str(message) for message in response.context["messages"]]
    assert notice == "That page belongs to other filters or another order; the list begins anew."
    assert not response.context["cl"].page_links or not response.context["cl"].page_links[0].url
    assert response.context["cl"].list_query.page_params == {name: [value] for name, value in changed.items()}


@pytest.mark.parametrize("position", ["cursor=nonsense", "before=nonsense", "cursor=", "before=a.b", "cursor=end"])
def test_a_damaged_position_begins_the_list_anew(staff: Client, position: str) -> None:
    insert(SourceFactory(slug="a"), list(range(3)))

    assert len(list_rows(staff.get(f"{ENVIRONMENTS}?{position}"))) == 3


def test_a_short_list_is_counted_and_a_long_one_estimated_and_said_to_be(staff: Client, monkeypatch) -> None:
    create_many_environments(SourceFactory.create(), 120)
    assert "120 records" in staff.get(build_list_url(EnvironmentUsage)).content.decode()

    monkeypatch.setattr(pagination, "MAX_COUNTED", 100)
    create_many_environments(SourceFactory.create(), 2000)
    analyze("usage_environmentusage")
    page = staff.get(build_list_url(EnvironmentUsage)).content.decode()

    assert "about 2,100 records" in page
    assert "(estimated)" in page


@pytest.mark.parametrize("model_admin", ADMINS)
def test_every_filter_of_the_api_has_an_input_or_stays_when_the_form_is_sent(staff: Client, model_admin: Any) -> None:
    kind = next(kind for kind in KINDS.values() if kind._meta.model_name == model_admin.__name__.lower()[:-5])
    list_query = staff.get(build_list_url(kind)).context["cl"].list_query
    inputs = {field.name for field in list_query.form}

    for name, filter_ in model_admin.viewset.filterset_class.base_filters.items():
        covered = name == "details.flavor" or name.endswith(("__gt", "__lt")) or is_name_filter(filter_)
        assert name in inputs or covered, name
    if kind is ResourceUsage:
        response = staff.get(build_list_url(kind, consumed_quantity__gt="5"))
        assert '<input type="hidden" name="consumed_quantity__gt" value="5">' in response.content.decode()


@pytest.mark.parametrize(
    ("kind", "query", "projects"),
    [
        (EnvironmentUsage, {"project_id": "p"}, ["p"]),
        (EnvironmentUsage, {"project_id": "p,q"}, ["p", "q"]),
        (EnvironmentUsage, {"from_": "2026-01-03", "to": "2026-01-04"}, ["q"]),
        (EnvironmentUsage, {"from_": "2026-01-03", "to": "2026-01-04", "tz": "Pacific/Auckland"}, ["p"]),
        (EnvironmentUsage, {"include_withdrawn": "true"}, ["gone", "p", "q"]),
        (EnvironmentUsage, {"project_id": "", "user_id": " "}, ["p", "q"]),
    ],
)
def test_the_address_takes_the_parameters_of_the_api(
    staff: Client, kind: Any, query: dict[str, str], projects: list[str]
) -> None:
    EnvironmentUsageFactory(project_id="p", stopped_at=datetime(2026, 1, 2, 13, tzinfo=UTC))
    EnvironmentUsageFactory(project_id="q", stopped_at=datetime(2026, 1, 3, 23, 59, 59, 999_999, tzinfo=UTC))
    EnvironmentUsageFactory(project_id="gone", stopped_at=datetime(2026, 1, 8, tzinfo=UTC), withdrawn_at=START)

    assert sorted(row.project_id for row in list_rows(staff.get(build_list_url(kind, **query)))) == projects


def test_tags_are_asked_one_by_one_and_each_can_be_taken_back(staff: Client) -> None:
    ResourceUsageFactory(resource_name="both", tags={"team": "data", "env": ["dev", "test"]})
    ResourceUsageFactory(resource_name="one", tags={"team": "data"})
    response = staff.get(build_list_url(ResourceUsage, tag=["team:data", "env:dev", ""]))

    assert [row.resource_name for row in list_rows(response)] == ["both"]
    chips = response.context["cl"].list_query.chips
    assert [chip.label for chip in chips] == ["Tag: team:data", "Tag: env:dev"]
    assert {row.resource_name for row in list_rows(staff.get(RESOURCES + chips[1].remove_url))} == {
        "both",
        "one",
    }


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ({"from_": "2026-11-01", "to": "2026-12-01"}, "1 Nov 2026 – 30 Nov 2026"),
        ({"from_": "2026-11-01", "to": "2026-11-02"}, "1 Nov 2026"),
        ({"from_": "2026-11-01T08:00:00Z"}, "Since 2026-11-01T08:00:00Z"),
        ({"from_": "2026-11-01"}, "Since 1 Nov 2026"),
        ({"to": "2026-12-01"}, "Through 30 Nov 2026"),
        ({"to": "2026-12-01T08:00:00Z"}, "Until 2026-12-01T08:00:00Z"),
        ({}, "Any time"),
    ],
)
def test_a_range_is_said_with_its_last_day(staff: Client, query: dict[str, str], label: str) -> None:
    list_query = staff.get(build_list_url(RecipeUsage, **query)).context["cl"].list_query
    assert list_query.range.label == label
    assert list_query.chips == []


def test_the_periods_before_and_after_are_one_step_away(staff: Client) -> None:
    month = staff.get(build_list_url(RecipeUsage, from_="2026-11-01", to="2026-12-01", workspace_id="5")).context["cl"]
    assert month.list_query.range.earlier == "?from=2026-10-01&to=2026-11-01&workspace_id=5"
    assert month.list_query.range.later == "?from=2026-12-01&to=2027-01-01&workspace_id=5"
    week = staff.get(build_list_url(RecipeUsage, from_="2026-11-03", to="2026-11-10")).context["cl"].list_query.range
    assert (week.earlier, week.later) == ("?from=2026-10-27&to=2026-11-03", "?from=2026-11-10&to=2026-11-17")
    assert staff.get(build_list_url(RecipeUsage)).context["cl"].list_query.range.earlier == ""
    first = staff.get(build_list_url(RecipeUsage, from_="0001-01-01", to="0001-02-01")).context["cl"].list_query.range
    assert first.earlier == ""


@time_machine.travel(datetime(2026, 11, 17, 12, tzinfo=UTC), tick=False)
def test_a_list_opens_with_this_month_and_any_time_is_one_step_away(staff: Client) -> None:
    EnvironmentUsageFactory(stopped_at=datetime(2026, 11, 2, tzinfo=UTC))
    EnvironmentUsageFactory.create_batch(2, stopped_at=datetime(2026, 10, 2, tzinfo=UTC))
    response = staff.get(ENVIRONMENTS, follow=True)
    assert response.redirect_chain == [(f"{ENVIRONMENTS}?from=2026-11-01&to=2026-12-01", 302)]
    assert len(list_rows(response)) == 1
    (any_time,) = [
        shortcut.url for shortcut in response.context["cl"].list_query.range.shortcuts if shortcut.label == "Any time"
    ]
    assert len(list_rows(staff.get(ENVIRONMENTS + any_time))) == 3


def test_headers_order_by_what_an_index_allows(staff: Client) -> None:
    EnvironmentUsageFactory(project_id="p")
    page = staff.get(build_list_url(EnvironmentUsage, project_id="p")).content.decode()
    assert '<a href="?project_id=p&amp;ordering=stopped_at">Stopped (UTC)' in page
    assert '<a href="?project_id=p&amp;ordering=project_id">Project' in page
    assert page.count("&amp;ordering=") == 4
    assert 'aria-sort="descending"><a href="?project_id=p&amp;ordering=stopped_at">' in page
    ascending_page = staff.get(build_list_url(EnvironmentUsage, ordering="project_id")).content.decode()
    assert 'aria-sort="ascending"><a href="?ordering=-project_id">Project' in ascending_page


def test_the_form_leaves_the_usual_order_out_of_the_address(staff: Client) -> None:
    page = staff.get(build_list_url(EnvironmentUsage)).content.decode()
    assert '<option value="" selected>Stopped at, newest</option>' in page
    assert '<option value="stopped_at">Stopped at, oldest</option>' in page


def test_a_pasted_id_leads_to_its_records_whatever_it_is_the_id_of(staff: Client) -> None:
    EnvironmentUsageFactory(environment_id="e,1", user_id="u1", record_id="r1")
    RecipeUsageFactory(recipe_id=77, folder_id=88)
    for kind, pasted, column in (
        (EnvironmentUsage, " e,1 ", "environment_id"),
        (EnvironmentUsage, "u1", "user_id"),
        (EnvironmentUsage, "r1", "record_id"),
        (RecipeUsage, "88", "folder_id"),
    ):
        response = staff.get(f"/admin/usage/{kind._meta.model_name}/find/", {"id": pasted}, follow=True)
        assert list(response.context["cl"].list_query.filters) == [column]
        assert len(list_rows(response)) == 1
    for pasted in ("nobody", "abc\x00", ""):
        page = staff.get(f"{RECIPES}find/", {"id": pasted}, follow=True)
        assert page.status_code == 200
        assert ("No record of this list has the id" in page.content.decode()) == bool(pasted)


def test_a_search_for_an_id_that_takes_too_long_is_given_up(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        return ""

    monkeypatch.setattr(base, "PAGE_SECONDS", 0.05)
    monkeypatch.setattr(base.UsageAdmin, "find_column", search)
    page = staff.get(f"{RECIPES}find/", {"id": "77"}, follow=True)
    assert "took too long" in page.content.decode()


def test_an_id_of_another_source_is_not_found() -> None:
    own_source, other_source = SourceFactory(slug="mine", vendor="ona"), SourceFactory(slug="other", vendor="ona")
    EnvironmentUsageFactory(source=other_source, environment_id="secret")
    response = sign_in_as("viewer", sources=[own_source]).get(f"{ENVIRONMENTS}find/", {"id": "secret"})
    assert "secret" not in response["Location"]


def test_the_form_asks_for_the_last_day_and_the_address_says_the_end_as_the_api_does(staff: Client) -> None:
    form_url = build_list_url(RecipeUsage, from_="2026-11-01", _through="2026-11-30", workspace_id="")
    assert staff.get(form_url)["Location"] == build_list_url(RecipeUsage, from_="2026-11-01", to="2026-12-01")
    page = staff.get(build_list_url(RecipeUsage, from_="2026-11-01", to="2026-12-01"))
    (through,) = [field for field in page.context["cl"].list_query.form.common if field.name == "to"]
    assert (through.label, through.value()) == ("Through", "2026-12-01")
    assert '<input type="date" name="_through" value="2026-11-30"' in str(through)

    instants = staff.get(build_list_url(RecipeUsage, to="2026-11-30T12:00:00Z")).context["cl"].list_query.form.common
    (end,) = [field for field in instants if field.name == "to"]
    assert end.label == "To, not included"
    assert '<input type="text" name="to" value="2026-11-30T12:00:00Z"' in str(end)

    response = staff.get(build_list_url(RecipeUsage, _through="yesterday"), follow=True)
    assert set(get_errors(response)) == {"to"}
    assert staff.get(build_list_url(RecipeUsage, _through="9999-12-31"), follow=True).status_code == 200
