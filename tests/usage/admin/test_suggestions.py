"""What the filters of the usage lists suggest: stored values, by a part of them or their name, within the scope."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.admin.lists import suggestions
from usage.api.filters.values import DETAIL_NUMBERS, DETAIL_TEXTS
from usage.models import KINDS, EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    return sign_in_as("viewer")


def fetch_suggestions(staff: Client, kind: type[UsageRecord], parameter: str, part: str = "", **form: str) -> list[Any]:
    """Return the (value, label) pairs of the suggestions."""
    address = f"/admin/usage/{kind._meta.model_name}/suggest/{parameter}/"
    response = staff.get(address, {"part": part, **{name.rstrip("_"): value for name, value in form.items()}})
    assert response.status_code == 200, response.content
    return [(option["value"], option["label"]) for option in response.json()["options"]]


def list_suggested_values(
    staff: Client, kind: type[UsageRecord], parameter: str, part: str = "", **form: str
) -> list[str]:
    return [value for value, _ in fetch_suggestions(staff, kind, parameter, part, **form)]


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_parameter_with_suggestions_has_some(staff: Client, kind: type[UsageRecord]) -> None:
    EnvironmentUsageFactory()
    fields = (*DETAIL_TEXTS, *DETAIL_NUMBERS)
    ResourceUsageFactory(details={field: f"a {field}" for field in fields}, tags={"team": "data"})
    RecipeUsageFactory()
    create_source_days(rolled=True)

    for parameter in suggestions.get_suggested_params(kind):
        assert fetch_suggestions(staff, kind, parameter), parameter


def test_what_begins_with_the_part_comes_before_what_only_has_it(staff: Client) -> None:
    for project in ("alpha", "beta", "ALPINE", "gamma-alpha", "50%", "a_b", "axb"):
        EnvironmentUsageFactory(project_id=project)
    create_source_days(rolled=True)

    assert list_suggested_values(staff, EnvironmentUsage, "project_id", "alp") == [
        "ALPINE",
        "alpha",
        "gamma-alpha",
    ] or list_suggested_values(staff, EnvironmentUsage, "project_id", "alp") == ["alpha", "ALPINE", "gamma-alpha"]
    assert list_suggested_values(staff, EnvironmentUsage, "project_id", "%") == ["50%"]
    assert list_suggested_values(staff, EnvironmentUsage, "project_id", "a_b") == ["a_b"]
    assert list_suggested_values(staff, EnvironmentUsage, "project_id", "nothing") == []


def test_a_name_is_suggested_in_either_normal_form(staff: Client) -> None:
    for project in ("\u00e9quipe", "e\u0301quipe"):
        EnvironmentUsageFactory(project_id=project)
    create_source_days(rolled=True)

    for part in ("\u00e9qui", "e\u0301qui", "\u00c9QUI"):
        assert sorted(list_suggested_values(staff, EnvironmentUsage, "project_id", part)) == [
            "e\u0301quipe",
            "\u00e9quipe",
        ]


def test_recipes_folders_and_workspaces_are_found_by_their_names_and_told_by_their_latest(staff: Client) -> None:
    source = SourceFactory()
    common = {"source": source, "workspace_id": 501, "folder_id": 31}
    RecipeUsageFactory(**common, recipe_id=9001, recipe_name="Old name", starts_at=FIRST)
    RecipeUsageFactory(**common, recipe_id=9001, recipe_name="Sync orders", starts_at=FIRST + timedelta(hours=5))
    RecipeUsageFactory(**common, recipe_id=None, recipe_name="", starts_at=FIRST)
    create_source_days(rolled=True)

    assert fetch_suggestions(staff, RecipeUsage, "recipe_id", "orders") == [("9001", "Sync orders")]
    assert fetch_suggestions(staff, RecipeUsage, "recipe_id", "90") == [("9001", "Sync orders")]
    assert fetch_suggestions(staff, RecipeUsage, "recipe_id", "Old") == []
    assert fetch_suggestions(staff, RecipeUsage, "folder_id", "ord") == [("31", "Orders")]
    assert fetch_suggestions(staff, RecipeUsage, "workspace_id", "customer") == [("501", "Customer 501")]


def test_tags_are_suggested_as_pairs_each_value_of_a_repeated_key_by_itself(staff: Client) -> None:
    ResourceUsageFactory(tags={"team": ["data", "web"], "env": "dev"})
    ResourceUsageFactory(tags={"team": "data", "note": "a:b,c"})

    assert list_suggested_values(staff, ResourceUsage, "tag", "team") == ["team:data", "team:web"]
    assert list_suggested_values(staff, ResourceUsage, "tag", "dat") == ["team:data"]
    assert list_suggested_values(staff, ResourceUsage, "tag", "a:b") == ["note:a:b,c"]
    assert list_suggested_values(staff, ResourceUsage, "tag_key") == ["env", "note", "team"]


def test_suggestions_are_of_the_chosen_source_and_range(staff: Client) -> None:
    for slug, project, day in (("a", "first", 0), ("a", "later", 40), ("b", "elsewhere", 0)):
        source = SourceFactory(slug=slug) if project != "later" else EnvironmentUsage.objects.get().source
        EnvironmentUsageFactory(source=source, project_id=project, stopped_at=FIRST + timedelta(days=day, hours=1))
    create_source_days(rolled=True)

    def list_projects(**form: str) -> set[str]:
        return set(list_suggested_values(staff, EnvironmentUsage, "project_id", **form))

    assert list_projects() == {"first", "later", "elsewhere"}
    assert list_projects(source="a") == {"first", "later"}
    assert list_projects(source="a", to="2026-01-10") == {"first"}
    assert list_projects(source="a", from_="2026-02-01") == {"later"}
    assert list_projects(source="nowhere", from_="never") == {"first", "later", "elsewhere"}
    assert set(list_suggested_values(staff, EnvironmentUsage, "environment_id", source="b")) == {
        EnvironmentUsage.objects.get(project_id="elsewhere").environment_id
    }


def test_the_ends_of_the_calendar_narrow_nothing(staff: Client) -> None:
    ResourceUsageFactory(project_id=7)
    create_source_days(rolled=True)

    assert list_suggested_values(staff, ResourceUsage, "project_id", from_="0001-01-01", to="9999-12-31") == ["7"]


def test_nobody_is_suggested_what_is_of_a_source_beyond_their_own() -> None:
    own_source, other_source = SourceFactory(slug="mine"), SourceFactory(slug="other")
    for source, word in ((own_source, "seen"), (other_source, "secret")):
        EnvironmentUsageFactory(source=source, project_id=word, environment_id=word)
        ResourceUsageFactory(source=source, resource_type=word, tags={word: word}, resource_name=word)
        RecipeUsageFactory(source=source, recipe_id=9001, recipe_name=word, workspace_name=word)
    create_source_days(rolled=True)
    staff = sign_in_as("viewer", sources=[own_source])

    for kind in KINDS.values():
        for parameter in suggestions.get_suggested_params(kind):
            if parameter != "tz":
                for form in ({}, {"source": "other"}):
                    text = str(fetch_suggestions(staff, kind, parameter, **form))
                    assert "secret" not in text, parameter
    assert fetch_suggestions(staff, RecipeUsage, "recipe_id", "seen") == [("9001", "seen")]
    assert fetch_suggestions(sign_in_as("viewer", sources=[]), EnvironmentUsage, "project_id") == []


def test_a_long_answer_ends_and_says_that_there_is_more(staff: Client) -> None:
    source = SourceFactory()
    for number in range(30):
        EnvironmentUsageFactory(source=source, environment_id=f"env-{number:02}")
    body = staff.get("/admin/usage/environmentusage/suggest/environment_id/", {"part": "env"}).json()

    assert len(body["options"]) == suggestions.MOST
    assert body["more"] is True


def test_time_zones_are_suggested(staff: Client) -> None:
    assert list_suggested_values(staff, EnvironmentUsage, "tz", "berl") == ["Europe/Berlin"]
    assert "America/New_York" in list_suggested_values(staff, EnvironmentUsage, "tz", "new york")


@pytest.mark.parametrize("parameter", ["task_count__gte", "source", "colour", "__class__"])
def test_nothing_else_is_suggested(staff: Client, parameter: str) -> None:
    assert staff.get(f"/admin/usage/recipeusage/suggest/{parameter}/").status_code == 404


def test_a_look_that_takes_too_long_is_given_up_with_a_sentence(staff: Client, monkeypatch) -> None:
    monkeypatch.setattr(suggestions, "SECONDS", 0.001)
    EnvironmentUsageFactory.create_batch(2)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_environmentusage (source_id, day, record_id, environment_id, stopped_at)"
            " SELECT source_id, day, 'x' || g, 'e' || g, stopped_at + g * interval '1 second'"
            " FROM usage_environmentusage, generate_series(1, 15000) AS g"
        )

    body = staff.get("/admin/usage/environmentusage/suggest/environment_id/", {"part": "5"}).json()

    assert body == {"options": [], "more": False, "words": "Too many to suggest from; type the whole of it."}
