"""Requesting another sync of days over the API."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Scope, create_token
from sync.engine.cancel import cancel
from sync.models import SyncRun, Trigger
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import SourceFactory
from tests.support.scripted_vendor import Listing, build_run, make_source, read_day
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
DAYS = {"from": "2026-01-02", "to": "2026-01-05"}


@pytest.fixture
def client() -> Client:
    """A program that may request runs and read them."""
    return create_api_client(Scope.SYNC_RUN, Scope.SYNC_READ, Scope.USAGE_READ)


@pytest.fixture
def source() -> Source:
    source: Source = SourceFactory(slug="a")
    return source


def post_sync(client: Client, body: Any = None, slug: str = "a") -> Any:
    return client.post(f"{API}/sources/{slug}/sync/", body or DAYS, content_type="application/json")


def test_a_range_is_queued_and_the_answer_says_where_to_look(client: Client, source: Source) -> None:
    response = post_sync(client)
    assert response.status_code == 202
    run = SyncRun.objects.get()
    assert response["Location"] == f"http://testserver{API}/sync-runs/{run.pk}/"
    assert client.get(response["Location"]).json() == response.json()
    assert response.json()["from_day"] == "2026-01-02"
    assert response.json()["days_total"] == 3
    assert run.trigger == Trigger.API
    assert run.requested_by.startswith("token test (up_")
    due_days = SourceDay.objects.filter(source=source, state=DayState.DUE).order_by("day")
    assert [str(day.day) for day in due_days] == ["2026-01-02", "2026-01-03", "2026-01-04"]


def test_a_token_of_the_longest_name_requests_a_run_under_a_part_of_it(source: Source) -> None:
    token, secret = create_token("n" * 200, [Scope.SYNC_RUN])
    response = post_sync(Client(headers={"Authorization": f"Bearer {secret}"}))
    assert response.status_code == 202
    requested_by = SyncRun.objects.get().requested_by
    assert requested_by.startswith("token nnn")
    assert requested_by.endswith(f"n… ({token.prefix}…)")


def test_a_second_request_for_the_same_range_joins_the_first(client: Client, source: Source) -> None:
    first, second = post_sync(client), post_sync(client)
    assert first.json() == second.json()
    assert SyncRun.objects.count() == 1


def test_everything_that_is_wrong_with_a_request_is_named_at_once(client: Client, source: Source) -> None:
    assert set(get_problem_details(post_sync(client, {"form": "2026-01-01", "to": None}))) == {"", "form", "from", "to"}


def test_a_run_that_was_cancelled_says_so_and_is_joined_by_nobody(client: Client, source: Source) -> None:
    first = post_sync(client).json()
    cancel(SyncRun.objects.get(), "Ada")
    body = client.get(f"{API}/sync-runs/{first['id']}/").json()
    assert body["cancelled_at"] is not None
    assert body["error"] == "Cancelled by Ada; 3 days went back unread."
    second = post_sync(client).json()
    assert (second["id"] != first["id"], second["cancelled_at"]) == (True, None)
    for cancelled, run in (("true", first), ("false", second)):
        assert [listed_run["id"] for listed_run in get(client, "sync-runs/", cancelled=cancelled)["results"]] == [
            run["id"]
        ]


@pytest.mark.parametrize(
    ("body", "parameter", "message"),
    [
        ({"from": "2026-01-05", "to": "2026-01-05"}, "to", "empty"),
        ({"from": "2026-01-05", "to": "2026-01-01"}, "to", "empty"),
        ({"from": "2026-01-05", "to": "2100-03-01"}, "to", "future"),
        ({"from": "1990-01-05", "to": "2026-01-01"}, "to", "too long"),
        ({"from": "1989-12-31", "to": "2026-01-01"}, "from", "too early"),
        ({**DAYS, "force": True}, "force", "Unknown member; allowed are: from, to."),
        ({**DAYS, "\ud800": True}, "\\ud800", "Unknown member; allowed are: from, to."),
        ({"from": "yesterday", "to": "2026-01-01"}, "from", "YYYY-MM-DD"),
    ],
)
@time_machine.travel(datetime(2026, 2, 1, tzinfo=UTC), tick=False)
def test_a_range_that_cannot_be_read_is_refused_with_the_reason(
    client: Client, source: Source, body: Any, parameter: str, message: str
) -> None:
    assert message in get_problem_details(post_sync(client, body))[parameter][0]
    assert not SyncRun.objects.exists()


def test_a_source_that_is_not_read_is_a_conflict_that_says_why(client: Client, source: Source) -> None:
    Source.objects.update(enabled=False)
    assert "switched off" in get_problem_details(post_sync(client), 409)[""][0]
    Source.objects.update(enabled=True, halted_at=timezone.now(), halt_reason="The key was refused.")
    assert "The key was refused." in get_problem_details(post_sync(client), 409)[""][0]
    assert not SyncRun.objects.exists()


def test_parameters_in_the_address_are_not_taken_for_the_body(client: Client, source: Source) -> None:
    for query, names in (("from=2026-01-01", {"from"}), ("fields=id", {"fields"})):
        response = client.post(f"{API}/sources/a/sync/?{query}", DAYS, content_type="application/json")
        assert set(get_problem_details(response)) == {"", *names}
        assert {fault["parameter"] for fault in response.json()["errors"]} == names
    assert not SyncRun.objects.exists()


def test_a_program_can_keep_a_final_day_of_which_the_vendor_forgot_records(client: Client, listing: Listing) -> None:
    day = date(2025, 11, 3)
    source = make_source("a", backfill_from=day, look_back_days=1)
    listing.records[day] = [build_run(n, on=day) for n in range(30)]
    read_day(source, day)
    del listing.records[day][:20]
    read_day(source, day)
    assert get(client, "sources/a/days/2025-11-03/")["state"] == "suspect"

    body, address = {"reason": "The vendor lost them."}, f"{API}/sources/a/days/2025-11-03/accept/"
    response = client.post(address, body, content_type="application/json").json()

    assert (response["state"], response["final"], response["records"]) == ("loaded", True, 30)
    assert response["accepted"]["reason"] == "The vendor lost them."
    meta = get(client, "environment-usage/summary/", **{"from": "2025-11-03", "to": "2025-11-04"})["meta"]
    (unverified_day,) = meta["unverified_days"]["days"]
    assert unverified_day["accepted"]["reason"] == "The vendor lost them."
    assert (meta["complete"], meta["suspect_days"]["total"], meta["provisional_from"]) == (True, 0, None)
