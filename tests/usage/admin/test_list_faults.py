"""The usage lists: named ranges, and every error beside its input."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.http import QueryDict
from django.test import Client

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    SourceFactory,
    create_many_environments,
)
from tests.support.usage_lists import RECIPES, build_list_url, get_errors
from tests.support.usage_lists import staff as staff
from tests.support.users import sign_in_as
from usage.admin.filter_form import clean_params
from usage.admin.lists import pagination
from usage.api.filters.widgets import HoursInput
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source

pytestmark = pytest.mark.django_db


# On the first of December, the last 30 days are last month.
@time_machine.travel(datetime(2026, 11, 17, 12, tzinfo=UTC), tick=False)
def test_ranges_with_a_name_keep_the_other_filters(staff: Client) -> None:
    SourceFactory(slug="a")
    list_query = staff.get(build_list_url(RecipeUsage, workspace_id="501", to="2026-01-01")).context["cl"].list_query
    for shortcut in list_query.range.shortcuts:
        response = staff.get(RECIPES + shortcut.url)
        new_query = response.context["cl"].list_query
        assert new_query.params["workspace_id"] == "501"
        assert [link.label for link in new_query.range.shortcuts if link.is_current] == [shortcut.label]


@pytest.mark.parametrize(
    ("kind", "query", "name", "message"),
    [
        (RecipeUsage, {"workspace_id": "abc"}, "workspace_id", "“abc”: Give a whole number"),
        (RecipeUsage, {"from_": "2026-13-40"}, "from", "is not a date (2026-01-31) or an RFC 3339 instant"),
        (RecipeUsage, {"from_": "2026-02-01", "to": "2026-01-01"}, "from", "runs backwards"),
        (RecipeUsage, {"tz": "Mars"}, "tz", "“Mars” is not an IANA time zone"),
        (RecipeUsage, {"source": "nowhere"}, "source", "There is no “nowhere”"),
        (RecipeUsage, {"recipe_name__contains": "ab"}, "recipe_name__contains", "at least 3 characters"),
        (RecipeUsage, {"include_withdrawn": "perhaps"}, "include_withdrawn", "is not one of: true, false"),
        (RecipeUsage, {"ordering": "task_count"}, "ordering", "“task_count” is not one of: starts_at"),
        (ResourceUsage, {"tag": "team"}, "tag", "is not a key and a value"),
        (ResourceUsage, {"consumed_quantity__gte": "1e5"}, "consumed_quantity__gte", "is not a number"),
        (EnvironmentUsage, {"tz": ["UTC", "Asia/Tokyo"]}, "tz", "Given more than once"),
        (EnvironmentUsage, {"extra__said": "1"}, "extra__said", "Unknown parameter"),
        (EnvironmentUsage, {"source__credential__startswith": "a"}, "source__credential__startswith", "Unknown"),
    ],
)
def test_what_is_not_understood_is_named_beside_its_input_and_no_record_is_shown(
    staff: Client, kind: Any, query: dict[str, Any], name: str, message: str
) -> None:
    EnvironmentUsageFactory(user_id="shown-nowhere")
    RecipeUsageFactory(workspace_name="shown-nowhere")
    response = staff.get(build_list_url(kind, **query))
    page = response.content.decode()

    assert set(get_errors(response)) == {name}
    assert message in get_errors(response)[name][0]
    assert "shown-nowhere" not in page
    if "Unknown" not in message:
        assert 'aria-invalid="true"' in page


def test_all_that_is_wrong_is_told_at_once_and_what_was_typed_stays(staff: Client) -> None:
    response = staff.get(build_list_url(RecipeUsage, workspace_id="abc", task_count__gte="<b>", recipe_id="9"))
    page = response.content.decode()

    assert set(get_errors(response)) == {"workspace_id", "task_count__gte"}
    assert 'value="abc"' in page
    assert 'value="9"' in page
    assert "<b>" not in page.split("</header>")[-1]
    assert '<details class="further" open>' in page


def test_nobody_learns_of_sources_beyond_their_own() -> None:
    own_source, other_source = SourceFactory(slug="mine"), SourceFactory(slug="payroll", vendor="globex")
    EnvironmentUsageFactory(source=own_source)
    EnvironmentUsageFactory(source=other_source, project_id="secret-project")
    staff = sign_in_as("viewer", sources=[own_source])
    page = staff.get(build_list_url(EnvironmentUsage, include_withdrawn="true")).content.decode()

    for text in ("payroll", "globex", "secret-project"):
        assert text not in page, text
    hidden_response = staff.get(build_list_url(EnvironmentUsage, source="payroll"))
    missing_response = staff.get(build_list_url(EnvironmentUsage, source="nothing"))
    assert (
        get_errors(hidden_response)["source"][0].replace("payroll", "nothing")
        == get_errors(missing_response)["source"][0]
    )


def test_a_filter_that_takes_too_long_is_cut_off_with_a_sentence(staff: Client, monkeypatch) -> None:
    monkeypatch.setattr(pagination, "PAGE_SECONDS", 0.001)
    source: Source = SourceFactory(slug="a")
    create_many_environments(source, 20_000)

    page = staff.get(build_list_url(EnvironmentUsage, runtime_seconds__lt="1", include_withdrawn="true"))

    assert "was given up. Add a range, a source or an id." in page.content.decode()
    assert "Nothing to show" not in page.content.decode()
    with connection.cursor() as cursor:  # and nothing else is limited afterwards
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "0"


@pytest.mark.parametrize(
    ("typed", "seconds"), [("2", "7200"), ("0.5", "1800"), ("1.25", "4500"), ("abc", "abc"), ("0", "0")]
)
def test_runtime_is_asked_for_in_hours_and_kept_in_seconds(typed: str, seconds: str) -> None:
    params = clean_params(QueryDict(f"runtime_seconds__gte__hours={typed}&from=2026-01-01"))
    assert params.dict() == {"runtime_seconds__gte": seconds, "from": "2026-01-01"}


def test_the_input_of_runtime_shows_hours_of_the_address_and_exact_seconds_where_they_are_no_round_hours(
    staff: Client,
) -> None:
    EnvironmentUsageFactory()
    page = staff.get(
        build_list_url(EnvironmentUsage, runtime_seconds__gte="5400", runtime_seconds__lt="7")
    ).content.decode()
    assert re.search(r'name="runtime_seconds__gte__hours" value="1.5"', page)
    assert re.search(r'name="runtime_seconds__lt" value="7"', page)
    response = staff.get(build_list_url(EnvironmentUsage), {"runtime_seconds__gte__hours": "0.5"}, follow=True)
    assert response.context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        ("5400", 'name="runtime__hours" value="1.5"'),
        ("7", 'name="runtime" value="7"'),
        ("an hour", 'name="runtime" value="an hour"'),
        ("", 'name="runtime__hours"'),
    ],
)
def test_an_input_of_hours_sends_what_is_no_short_number_of_hours_as_it_is(value: str, attributes: str) -> None:
    assert HoursInput().render("runtime", value) == f'<input type="text" {attributes}>'
