"""Keyset pagination: every row exactly once, both ways, also during inserts; every page costs the same."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_clients import API, get, get_problem_details, iterate_pages
from tests.support.api_clients import client as client
from tests.support.factories import SourceFactory
from usage.api.pagination import Cursor, Ordering
from usage.api.views import EnvironmentUsageViewSet
from usage.models import EnvironmentUsage, Source

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)
ORDERINGS = sorted(EnvironmentUsageViewSet.orderings)


@pytest.fixture
def source() -> Source:
    created: Source = SourceFactory(slug="a")
    return created


def insert(source: Source, seconds: list[int], prefix: str = "r") -> None:
    """Insert a run for every given second after the start; equal seconds tie."""
    EnvironmentUsage.objects.bulk_create(
        EnvironmentUsage(
            source=source,
            day=date(2026, 1, 1),
            record_id=f"{prefix}{number}",
            project_id=f"p{second % 3}",
            user_id=f"u{second % 2}",
            stopped_at=START + timedelta(seconds=second),
        )
        for number, second in enumerate(seconds)
    )


def list_ids(pages: Iterator[list[Any]]) -> list[int]:
    return [row["id"] for row in chain.from_iterable(pages)]


def list_sorted_ids(ordering: str) -> list[int]:
    columns = EnvironmentUsageViewSet.orderings[ordering.removeprefix("-")]
    signed = [f"-{column}" if ordering.startswith("-") else column for column in columns]
    return list(EnvironmentUsage.objects.order_by(*signed).values_list("id", flat=True))


several = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(
    seconds=st.lists(st.integers(0, 4), max_size=60),
    page_size=st.integers(1, 25),
    ordering=st.sampled_from([sign + name for name in ORDERINGS for sign in ("", "-")]),
)
def test_a_walk_returns_every_row_once_in_order_forwards_and_backwards(
    client: Client, source: Source, seconds: list[int], page_size: int, ordering: str
) -> None:
    EnvironmentUsage.objects.all().delete()
    insert(source, seconds)
    params = {"page_size": str(page_size), "ordering": ordering}
    forwards = list(iterate_pages(client, "environment-usage/", **params))
    assert list_ids(iter(forwards)) == list_sorted_ids(ordering)
    assert all(len(page) == page_size for page in forwards[:-1])

    last = get(client, "environment-usage/", **params)
    while last["next_cursor"]:
        last = get(client, "environment-usage/", **params, cursor=last["next_cursor"])
    start = last["previous_cursor"]
    backwards = (
        list(iterate_pages(client, "environment-usage/", way="previous", start=start, **params)) if start else []
    )
    assert list_ids(reversed([*[last["results"]], *backwards])) == list_sorted_ids(ordering)


def test_a_walk_ends_though_thousands_of_rows_share_the_first_value_of_the_ordering(
    client: Client, source: Source
) -> None:
    insert(source, [7] * 2500 + [8] * 10)
    for ordering in ("stopped_at", "-stopped_at"):
        for size in ("1000", "333"):
            row_ids = list_ids(iterate_pages(client, "environment-usage/", ordering=ordering, page_size=size))
            assert row_ids == list_sorted_ids(ordering)


@several
@given(
    seconds=st.lists(st.integers(0, 5), min_size=5, max_size=40),
    inserts=st.lists(st.lists(st.integers(0, 5), max_size=10), max_size=8),
    page_size=st.integers(1, 10),
    ordering=st.sampled_from(["stopped_at", "-stopped_at", "project_id", "changed_at", "-user_id"]),
)
def test_rows_that_were_there_throughout_are_met_once_whatever_is_loaded_on_the_way(
    client: Client, source: Source, seconds: list[int], inserts: list[list[int]], page_size: int, ordering: str
) -> None:
    EnvironmentUsage.objects.all().delete()
    insert(source, seconds)
    stable_ids, withdrawn_id = set(list_sorted_ids(ordering)), min(list_sorted_ids(ordering))
    seen_ids: list[int] = []
    for number, page in enumerate(
        iterate_pages(client, "environment-usage/", ordering=ordering, page_size=str(page_size))
    ):
        seen_ids += [row["id"] for row in page]
        if number < len(inserts):
            insert(source, inserts[number], prefix=f"later-{number}-")
            EnvironmentUsage.objects.update(revision=F("revision") + 1, runner_id=str(number))
            EnvironmentUsage.objects.filter(pk=withdrawn_id).update(withdrawn_at=START)
    assert len(seen_ids) == len(set(seen_ids))
    assert stable_ids - {withdrawn_id} <= set(seen_ids)


def test_a_page_can_be_walked_to_and_back(client: Client, source: Source) -> None:
    insert(source, list(range(5)))
    first = get(client, "environment-usage/", page_size="2")
    assert first["previous"] is None
    second = client.get(first["next"]).json()
    assert client.get(second["previous"]).json() == {**first, "next": first["next"], "previous": None}
    assert get(client, "environment-usage/", page_size="4", cursor=first["next_cursor"])["next"] is None


def test_the_links_carry_the_question_along_and_do_not_count_again(client: Client, source: Source) -> None:
    insert(source, list(range(9)))
    first = get(client, "environment-usage/", page_size="2", project_id="p0", count="exact")
    assert first["count"] == 3
    assert first["next"].startswith("http://testserver/api/v1/environment-usage/?")
    second = client.get(first["next"]).json()
    assert "count" not in second
    assert [row["project_id"] for row in second["results"]] == ["p0"]
    assert second["next"] is None


@pytest.mark.parametrize("written", ["é,p0", "%C3%A9,p0", "p0,%C3%A9+", "p0&from=2026-01-01T00:00:00+00:00"])
def test_the_links_lead_on_however_the_question_was_written(client: Client, source: Source, written: str) -> None:
    insert(source, list(range(9)))
    first = client.get(f"{API}/environment-usage/?page_size=2&project_id={written}").json()
    assert len(first["results"]) == 2
    second = client.get(first["next"]).json()
    assert [row["project_id"] for row in second["results"]] == ["p0"]


@pytest.mark.parametrize(
    "changed",
    [{"project_id": "p1"}, {"from": "2026-01-01"}, {"ordering": "stopped_at"}, {"include_withdrawn": "true"}],
)
def test_a_cursor_belongs_to_its_filters_and_its_ordering(
    client: Client, source: Source, changed: dict[str, str]
) -> None:
    insert(source, list(range(5)))
    cursor = get(client, "environment-usage/", page_size="2")["next_cursor"]
    errors = get_problem_details(client.get(f"{API}/environment-usage/", {"cursor": cursor, **changed}))
    assert "other filters or another ordering" in errors["cursor"][0]


def test_a_cursor_belongs_to_its_list_and_cannot_be_made_up(client: Client, source: Source) -> None:
    insert(source, list(range(5)))
    cursor = get(client, "environment-usage/", page_size="2")["next_cursor"]
    assert get_problem_details(client.get(f"{API}/recipe-usage/", {"cursor": cursor}))["cursor"]
    for damaged_cursor in (cursor[:-1], "x" + cursor, cursor.partition(".")[0], ".", "..", "é"):
        assert get_problem_details(client.get(f"{API}/environment-usage/", {"cursor": damaged_cursor}))["cursor"]


def test_the_default_ordering_may_be_said_or_left_unsaid_on_the_way(client: Client, source: Source) -> None:
    insert(source, list(range(5)))
    cursor = get(client, "environment-usage/", page_size="2")["next_cursor"]
    page = get(client, "environment-usage/", ordering="-stopped_at", page_size="2", cursor=cursor)
    assert page["results"] == get(client, "environment-usage/", page_size="2", cursor=cursor)["results"]


def test_nothing_is_counted_unless_it_is_asked_for(client: Client, source: Source) -> None:
    insert(source, list(range(5)))
    with CaptureQueriesContext(connection) as queries:
        get(client, "environment-usage/", page_size="2")
    # A page counts its own rows; the table is counted by a statement of its own.
    assert not [query for query in queries if query["sql"].upper().startswith("SELECT COUNT(")]


def build_deep_cursor(client: Client, ordering: str, row: int) -> str:
    """Return the cursor of the position after so many rows."""
    columns = EnvironmentUsageViewSet.orderings[ordering.removeprefix("-")]
    order = Ordering(columns, ordering.startswith("-"))
    position = order.apply(EnvironmentUsage.objects.all()).values_list(*columns)[row]
    question = repr((f"{API}/environment-usage/", ordering, []))
    return Cursor(tuple(position), backwards=False).sign(question)


def test_a_cursor_made_for_a_page_is_the_one_that_the_page_gives(client: Client, source: Source) -> None:
    insert(source, list(range(5)))
    expected = get(client, "environment-usage/", page_size="2")["next_cursor"]
    assert build_deep_cursor(client, "-stopped_at", 1) == expected
