"""Sources over the API: the health of each, how fresh it is, and which days of it are stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sync.health import Health
from tests.support.api_clients import API, get, get_problem_details
from tests.support.api_clients import client as client
from tests.support.factories import FIRST_DAY, SourceDayFactory, SourceFactory
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _noon() -> Any:
    with time_machine.travel(NOON, tick=False):
        yield


def read_source(slug: str = "a", days: int = 3, **fields: Any) -> Source:
    """Return a source whose first days are complete, the latest read ten minutes ago."""
    source: Source = SourceFactory(slug=slug, **fields)
    for number in range(days):
        SourceDayFactory(
            source=source,
            day=FIRST_DAY + timedelta(days=number),
            state=DayState.LOADED,
            complete=True,
            loaded_at=NOON - timedelta(minutes=10),
            records=5,
        )
    return source


def get_health(client: Client) -> tuple[str, str]:
    body = get(client, "sources/a/")
    return body["health"], body["health_detail"]


def test_a_source_tells_how_far_and_how_lately_it_was_read(client: Client) -> None:
    SourceDayFactory(source=read_source(), day=FIRST_DAY.replace(day=4), state=DayState.DUE)
    body = get(client, "sources/a/")
    assert body["health"] == "ok"
    assert body["health_detail"] == "Complete through 3 Jan 2026; 3 days provisional; 1 day waiting to be read."
    assert body["latest_read"] == "2026-01-04T11:50:00Z"
    assert body["complete_through"] == "2026-01-03"
    assert body["lag_seconds"] == 12 * 3600
    assert body["coverage"] == {
        "days": 4,
        "held": 3,
        "provisional": 3,
        "awaits_close": 0,
        "waiting": 1,
        "loading": 0,
        "failed": 0,
        "suspect": 0,
        "partial": 0,
        "unverified": 0,
        "mismatched": 0,
        "accepted": 0,
        "pruned": 0,
        "archived": 0,
        "records_held": 15,
    }
    assert get(client, "sources/")["results"] == [body]


@pytest.mark.parametrize(
    ("fields", "health_word", "sentence"),
    [
        ({"enabled": False, "halted_at": NOON, "halt_reason": "No key."}, "disabled", "Switched off"),
        ({"halted_at": NOON, "halt_reason": "The key was refused."}, "halted", "The key was refused."),
        ({"paused_until": NOON + timedelta(hours=1)}, "paused", "Paused until 2026-01-04 13:00 UTC"),
        ({"failures": 2}, "failing", "Failing"),
        ({"interval_minutes": 4}, "behind", "Behind"),
        ({}, "ok", "Complete through 3 Jan 2026"),
    ],
)
def test_the_most_pressing_word_is_said_with_its_reason(
    client: Client, fields: Any, health_word: str, sentence: str
) -> None:
    read_source(**fields)
    health = get_health(client)
    assert health[0] == health_word
    assert sentence in health[1]


def test_a_source_of_which_nothing_was_read_says_so(client: Client) -> None:
    SourceFactory(slug="a")
    assert get_health(client) == ("never_read", "Nothing read yet.")


def test_a_source_whose_ended_days_are_not_complete_is_behind(client: Client) -> None:
    read_source(days=1)
    assert get_health(client)[0] == Health.BEHIND
    assert get(client, "sources/a/")["lag_seconds"] == int(timedelta(days=2, hours=12).total_seconds())


def test_a_failed_day_makes_its_source_failing(client: Client) -> None:
    SourceDayFactory(source=read_source(), day=FIRST_DAY.replace(day=4), state=DayState.FAILED)
    assert get_health(client)[0] == Health.FAILING


def test_the_number_of_queries_does_not_grow_with_the_number_of_sources(client: Client) -> None:
    counts = []
    for number in range(2):
        for _ in range(1 + 8 * number):
            read_source(f"source-{Source.objects.count()}")
        client.get(f"{API}/sources/")
        with CaptureQueriesContext(connection) as queries:
            get(client, "sources/")
        counts.append(len(queries))
    # The token, the page with its sources, and two for their coverage.
    assert counts == [4, 4]
    with CaptureQueriesContext(connection) as queries:
        get(client, "sources/source-1/")
    assert len(queries) == 4


def test_chosen_members_come_alone_and_others_are_named(client: Client) -> None:
    read_source()
    assert get(client, "sources/", fields="health,slug")["results"] == [{"health": "ok", "slug": "a"}]
    assert get(client, "sources/a/", fields="lag_seconds") == {"lag_seconds": 12 * 3600}
    for address in ("sources/", "sources/a/"):
        assert (
            "There is no “credential”"
            in get_problem_details(client.get(f"{API}/{address}?fields=credential"))["fields"][0]
        )


def test_sources_are_asked_by_whether_they_are_read(client: Client) -> None:
    read_source("on")
    read_source("off", enabled=False)
    read_source("stopped", halted_at=NOON, halt_reason="x")

    def list_slugs(**query: str) -> list[str]:
        return [source["slug"] for source in get(client, "sources/", **query)["results"]]

    assert list_slugs(enabled="true") == ["on", "stopped"]
    assert list_slugs(enabled="false") == ["off"]
    assert list_slugs(halted="true") == ["stopped"]
    assert list_slugs(halted="false") == ["off", "on"]


def test_head_answers_as_get_without_the_body_and_options_names_the_methods(client: Client) -> None:
    read_source()
    for address in ("sources/", "sources/a/", "sources/a/days/", "sync-runs/", "environment-usage/"):
        head = client.head(f"{API}/{address}")
        assert (head.status_code, head.content) == (200, b"")
        options = client.options(f"{API}/{address}")
        assert options.status_code == 204
        assert "GET" in options["Allow"]


DOUBTS: dict[str, dict[str, Any]] = {
    "mismatched": {"mismatch": [{"code": "records"}]},
    "suspect": {"state": DayState.SUSPECT, "suspicion": {"held": 5, "reported": 1}},
    "unverified": {"verification": "unverified", "findings": "f" * 32},
    "partial": {"state": DayState.PARTIAL, "complete": False, "rejected": 1, "findings": "f" * 32},
}
ACCEPTED = {"accepted_at": NOON, "accepted_by": "alex", "accepted_reason": "Known."}


def add_finding(day: int, health_word: str, **fields: Any) -> None:
    """Store a finding against one of the source's days."""
    SourceDay.objects.filter(source__slug="a", day=FIRST_DAY.replace(day=day)).update(**DOUBTS[health_word], **fields)


@pytest.mark.parametrize("health_word", DOUBTS)
def test_a_doubt_about_a_day_counts_against_its_source_a_day_after_the_days_end(
    client: Client, health_word: str
) -> None:
    read_source(look_back_days=3, interval_minutes=60)
    add_finding(3, health_word)  # it ended twelve hours ago
    assert get_health(client)[0] in {"ok", "behind"}
    read_on = SourceDay.objects.get(day=FIRST_DAY.replace(day=3))
    with time_machine.travel(read_on.ends_at + timedelta(hours=24), tick=False):
        SourceDay.objects.update(loaded_at=timezone.now())
        health = get_health(client)
    assert health[0] == health_word
    assert "3 Jan 2026" in health[1].partition(".")[0]


@pytest.mark.parametrize("health_word", ["unverified", "partial"])
def test_what_a_person_accepted_counts_against_no_source(client: Client, health_word: str) -> None:
    read_source()
    add_finding(1, health_word)
    assert get_health(client)[0] == health_word
    add_finding(1, health_word, **ACCEPTED)
    health = get_health(client)
    assert health[0] == "ok"
    assert "1 day with findings that a person accepted" in health[1]
    # The day stays as it is: a partial one is not complete.
    assert get(client, "sources/a/")["complete_through"] == ("2026-01-03" if health_word == "unverified" else None)


@pytest.mark.parametrize("health_word", ["suspect", "mismatched"])
def test_an_acceptance_hides_no_later_doubt(client: Client, health_word: str) -> None:
    read_source()
    add_finding(1, health_word, findings="f" * 32, **ACCEPTED)
    assert get_health(client)[0] == health_word


def test_many_days_are_named_in_part(client: Client) -> None:
    with time_machine.travel(NOON + timedelta(days=9), tick=False):
        read_source(days=12)
        for day in range(1, 9):
            add_finding(day, "unverified")
        SourceDay.objects.update(loaded_at=timezone.now())
        assert (
            "4 Jan 2026, 5 Jan 2026, 6 Jan 2026, 7 Jan 2026, 8 Jan 2026 and 3 earlier days do" in get_health(client)[1]
        )


def test_days_that_wait_for_the_close_of_their_month_are_told_apart_from_provisional_ones(client: Client) -> None:
    read_source(look_back_days=1)
    body = get(client, "sources/a/")
    assert (body["coverage"]["provisional"], body["coverage"]["awaits_close"]) == (3, 2)
    sentence = "Complete through 3 Jan 2026; 1 day provisional; 2 days waiting for their month's close."
    assert body["health_detail"] == sentence
