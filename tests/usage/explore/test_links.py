"""Links in the table of Explore filter by the exact value of their cell: with commas, or without a value."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.test import Client

from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db
PAGE = "/admin/explore/"


def find_links(page: Any) -> list[tuple[str, str]]:
    """Return text and address of every link in the rows of the table."""
    (body,) = re.findall(r"<tbody.*?</tbody>", page.content.decode(), re.DOTALL)[:1]
    return [(unescape(text), unescape(url)) for url, text in re.findall(r'<a href="([^"]+)">([^<]*)</a>', body)]


@pytest.fixture
def client() -> Client:
    """Store usage of values with commas and of none."""
    source = SourceFactory(slug="one")
    for project in ("a,b", "a", "b", ""):
        EnvironmentUsageFactory(source=source, project_id=project)
    for tags, details, region in (({"k": "a,b"}, {"flavor": "x,y"}, 7), ({}, {}, None)):
        ResourceUsageFactory(source=source, tags=tags, details=details, region_id=region)
    RecipeUsageFactory(source=source, recipe_id=None)
    RecipeUsageFactory(source=source, recipe_id=5)
    create_source_days(rolled=True)
    return sign_in_as("viewer")


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("kind=environment-usage&group_by=project_id", {"a,b", "a", "b", "none"}),
        ("kind=resource-usage&group_by=tag:k", {"a,b", "none"}),
        ("kind=resource-usage&group_by=flavor", {"x,y", "none"}),
        ("kind=resource-usage&group_by=region_id", {"7", "none"}),
        ("kind=recipe-usage&group_by=recipe_id", {"5", "none"}),
    ],
)
def test_every_link_leads_to_what_its_cell_is_of(client: Client, query: str, texts: set[str]) -> None:
    page = client.get(f"{PAGE}?{query}")
    links = [(text, url) for text, url in find_links(page) if text in texts]
    assert {text for text, _ in links} == texts
    for text, url in links:
        response = client.get(url)
        assert response.status_code == 200, url
        (chip,) = response.context["chips"]
        assert chip.label.endswith((f": {text}", rf"k:{text}".replace(",", r"\,").replace("none", "~none")))
        assert response.context["answer"].summary["totals"][0]["records"] == 1


@pytest.mark.parametrize("hour", [14, 15])
def test_the_link_of_an_hour_that_a_zone_makes_longer_has_all_of_it(client: Client, hour: int) -> None:
    stopped_at = datetime(2026, 4, 4, hour, 20, tzinfo=UTC)
    EnvironmentUsageFactory(source=SourceFactory(), stopped_at=stopped_at, day=stopped_at.date(), project_id="long")
    query = "kind=environment-usage&project_id=long&group_by=hour&tz=Australia/Lord_Howe&from=2026-04-05&to=2026-04-06"
    ((_, url),) = find_links(client.get(f"{PAGE}?{query}"))
    assert client.get(url).context["answer"].summary["totals"][0]["records"] == 1


def test_a_repeated_filter_is_one_input_and_a_link_replaces_all_of_it(client: Client) -> None:
    page = client.get(rf"{PAGE}?kind=environment-usage&group_by=project_id&project_id=a&project_id=a\,b")
    assert r'value="a,a\,b"' in page.content.decode()
    (url,) = [url for text, url in find_links(page) if text == "a"]
    assert url.count("project_id=") == 1
