"""Workato's mirror returns for the same request the same rows as the vendor."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.sandbox.world import World
from sync.vendors.workato.schema import USAGE, WORKSPACES
from tests.support.mirrored_portal import (
    FIRST,
    NOW,
    ZONES,
    Pair,
    create_mirror_key,
    format_instant,
    read_all,
    read_once,
)
from tests.support.sandbox_server import SandboxServer
from usage.days import midnight
from usage.models import RecipeUsage

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 4
END = FIRST + timedelta(days=DAYS)
BERLIN_MIDNIGHT = -1  # hours from the one of UTC, in November
by_hypothesis = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def still() -> Any:
    """A sandbox whose clock stands still, with recipes that were deleted."""
    with SandboxServer(World(days=30, now=lambda: NOW)) as server:
        yield server


@pytest.fixture
def pair(still: Any, transactional_db: None) -> Pair:
    return Pair(still, read_once(still, "workato", end=END))


def parse_data(response: Any) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)["data"]


def list_values(*names: str) -> list[Any]:
    return sorted(set(RecipeUsage.objects.exclude(recipe_id=None).values_list(*names, flat=True)))


def hours() -> st.SearchStrategy[dict[str, Any]]:
    """Ranges of whole hours within the synced days."""
    max_hours = 24 * DAYS
    bounds_of_hours = st.tuples(st.integers(0, max_hours - 1), st.integers(1, max_hours)).map(
        lambda bounds: (bounds[0], max(bounds[1], bounds[0] + 1))
    )
    return bounds_of_hours.map(
        lambda bounds: dict(
            zip(("from", "to"), (format_instant(FIRST, BERLIN_MIDNIGHT + at) for at in bounds), strict=True)
        )
    )


def scopes() -> st.SearchStrategy[dict[str, Any]]:
    ids = [*list_values("workspace_id"), 1]
    externals = [*filter(None, list_values("external_id")), "nobody"]
    return st.fixed_dictionaries({"workspace_ids": st.lists(st.sampled_from(ids), min_size=1, max_size=6)}) | (
        st.fixed_dictionaries({"external_ids": st.lists(st.sampled_from(externals), min_size=1, max_size=6)})
    )


def filters() -> st.SearchStrategy[dict[str, Any]]:
    recipes, folders = list_values("recipe_id"), list_values("folder_id")
    names, folder_names = list_values("recipe_name"), list_values("folder_name")
    part = st.integers(0, 4)
    recipe_filters = st.fixed_dictionaries({"recipe_ids": st.lists(st.sampled_from(recipes), max_size=9)}) | (
        st.builds(
            lambda name, at: {"recipe_name_pattern": name[at : at + 5] if len(name) > at + 3 else name},
            st.sampled_from(names),
            part,
        )
    )
    folder_filters = st.fixed_dictionaries({"folder_ids": st.lists(st.sampled_from(folders), max_size=9)}) | (
        st.builds(
            lambda name: {"folder_name_pattern": name[:4]}, st.sampled_from([n for n in folder_names if len(n) > 3])
        )
    )
    no_filter: st.SearchStrategy[dict[str, Any]] = st.just({})
    grouped = st.sampled_from([{}, {"group_by": "recipe"}, {"group_by": "workspace"}])
    return st.builds(
        lambda *parts: {n: v for part in parts for n, v in part.items()},
        no_filter | recipe_filters,
        no_filter | folder_filters,
        grouped,
    )


def test_every_question_gets_the_vendors_answer(pair: Pair) -> None:
    intervals = st.sampled_from(["none", "year", "month", "week", "day", "hour"])

    @by_hypothesis
    @given(hours(), scopes(), filters(), intervals)
    def compare(range_: dict[str, Any], scope: dict[str, Any], more: dict[str, Any], interval: str) -> None:
        body = range_ | scope | more | {"interval": interval}
        mirror, vendor = (parse_data(send(USAGE, body)) for send in (pair.mirror, pair.vendor))
        if "group_by" not in more and not more:
            # For recipes deleted since, the portal knows how many there were in an hour, not which.
            for row in [*(mirror or []), *(vendor or [])]:
                del row["recipe_count"]
        assert mirror == vendor

    compare()


@pytest.mark.parametrize("changes", [date(2026, 3, 29), date(2026, 10, 25)])
def test_days_of_23_and_25_hours_get_the_vendors_answer(changes: date, transactional_db: None) -> None:
    now = datetime(changes.year, changes.month, changes.day, 15, tzinfo=UTC) + timedelta(days=9)
    ends = changes - timedelta(days=1), changes + timedelta(days=2)
    start, end = (midnight(on, ZoneInfo(ZONES["workato"])).astimezone(UTC) for on in ends)
    with SandboxServer(World(days=30, now=lambda: now)) as server:
        pair = Pair(server, read_all(server, "workato", *ends))
        for start_offset, end_offset in ((0, 0), (5, 20), (25, 0), (26, 22)):
            body = {
                "from": (start + timedelta(hours=start_offset)).isoformat(timespec="milliseconds"),
                "to": (end - timedelta(hours=end_offset)).isoformat(timespec="milliseconds"),
                "workspace_ids": list_values("workspace_id"),
                "group_by": "recipe",
            }
            for interval in ("none", "year", "month", "week", "day", "hour"):
                mirror, vendor = (
                    parse_data(send(USAGE, body | {"interval": interval})) for send in (pair.mirror, pair.vendor)
                )
                assert mirror == vendor
                assert mirror


def test_hours_of_deleted_recipes_are_in_the_bare_answer_only(pair: Pair) -> None:
    assert RecipeUsage.objects.filter(recipe_id=None).exists()
    body = {
        "from": format_instant(FIRST, BERLIN_MIDNIGHT),
        "to": format_instant(END, BERLIN_MIDNIGHT),
        "workspace_ids": list_values("workspace_id"),
    }
    ungrouped, grouped = (parse_data(pair.mirror(USAGE, body | more)) for more in ({}, {"group_by": "workspace"}))
    assert sum(row["task_count"] for row in ungrouped) > sum(row["task_count"] for row in grouped)
    assert ungrouped == parse_data(pair.vendor(USAGE, body)) or [row["task_count"] for row in ungrouped] == [
        row["task_count"] for row in parse_data(pair.vendor(USAGE, body))
    ]


def test_an_hour_has_exactly_the_vendors_recipe_count(pair: Pair) -> None:
    body = {
        "from": format_instant(FIRST, BERLIN_MIDNIGHT),
        "to": format_instant(END, BERLIN_MIDNIGHT),
        "workspace_ids": list_values("workspace_id"),
        "interval": "hour",
    }
    assert parse_data(pair.mirror(USAGE, body)) == parse_data(pair.vendor(USAGE, body))


def test_nothing_is_null(pair: Pair) -> None:
    assert (
        parse_data(pair.mirror(USAGE, {"from": format_instant(FIRST), "to": format_instant(END), "workspace_ids": [1]}))
        is None
    )


def test_the_query_may_say_what_the_body_says(pair: Pair) -> None:
    ids = list_values("workspace_id")[:2]
    body = {"from": format_instant(FIRST), "to": format_instant(END), "workspace_ids": ids}
    params: dict[str, Any] = {
        "from": [body["from"]],
        "to": [body["to"]],
        "workspace_ids": [",".join(map(str, ids))],
    }
    by_query = pair.mirror(USAGE, **params)
    assert parse_data(by_query) == parse_data(pair.mirror(USAGE, body))


@pytest.mark.parametrize(
    "overrides",
    [
        {"from": None},
        {"workspace_ids": None},
        {"interval": "minute"},
        {"recipe_name_pattern": "ab"},
        {"recipe_name_pattern": "abc", "recipe_ids": [1]},
        {"to": "yesterday"},
        {"workspace_ids": ["x"]},
    ],
)
def test_what_the_vendor_refuses_is_refused_in_its_words(pair: Pair, overrides: dict[str, Any]) -> None:
    body = {"from": format_instant(FIRST), "to": format_instant(END), "workspace_ids": [1], **overrides}
    mirror, vendor = pair.mirror(USAGE, body), pair.vendor(USAGE, body)
    assert (mirror.status, json.loads(mirror.body)) == (vendor.status, json.loads(vendor.body))
    assert mirror.status in (400, 422)


def test_workspaces_can_be_discovered_over_http(pair: Pair, live_server: Any) -> None:
    headers = {"Authorization": f"Bearer {create_mirror_key(pair.source)}"}
    with httpx2.Client(base_url=f"{live_server.url}/mirror/workato-main", headers=headers) as client:
        pages = [client.get(WORKSPACES, params={"page": page, "per_page": 2}).json()["result"] for page in (1, 2)]
        assert client.get(WORKSPACES, params={"page": 0}).status_code == 400
    stored = set(RecipeUsage.objects.values_list("workspace_id", "external_id", "workspace_name"))
    workspaces = [
        (workspace["id"], workspace["external_id"] or "", workspace["name"]) for page in pages for workspace in page
    ]
    assert set(workspaces) <= stored
    assert len(workspaces) == len(set(workspaces)) == min(4, len(list_values("workspace_id")))
