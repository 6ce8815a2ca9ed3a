"""Ranges, pages, tokens, and what is refused."""

from datetime import timedelta
from itertools import chain
from typing import Any

import httpx2
import msgspec
import pytest

from sync.vendors.ona.directory import MEMBERS, MEMBERSHIPS, PROJECTS, TEAM_MEMBERS
from sync.vendors.ona.sandbox import LIST, Sandbox
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import (
    END,
    KEY,
    NOW,
    START,
    build_filter,
    get_error,
    list_ids,
    list_pages,
    list_records,
    request_page,
)


def test_a_record_is_listed_by_when_it_stopped_with_the_end_left_out(client: httpx2.Client, ona: Sandbox):
    run = next(run for run in ona.list_runs(START, END) if run.stopped_digits == 9)
    exact = msgspec.json.decode(run.encode_json())["stoppedAt"]
    assert run.id in list_ids(list_records(client, start=exact))
    assert run.id not in list_ids(list_records(client, end=exact))


def test_two_halves_of_a_range_hold_what_the_whole_holds(client: httpx2.Client):
    middle = START + timedelta(hours=13, minutes=7, seconds=11)
    halves = list_ids(list_records(client, end=middle)) + list_ids(list_records(client, start=middle))
    assert sorted(halves) == sorted(list_ids(list_records(client)))


def test_a_range_of_several_days_holds_each_of_them(client: httpx2.Client):
    days = [START - timedelta(days=back) for back in range(4)]
    single = [list_ids(list_records(client, start=day, end=day + timedelta(days=1))) for day in days]
    assert sorted(list_ids(list_records(client, start=days[-1], end=END))) == sorted(chain.from_iterable(single))


def test_instants_may_be_written_with_an_offset(client: httpx2.Client):
    east = list_records(client, start="2026-11-16T02:00:00+02:00", end="2026-11-16T19:00:00.000000000-05:00")
    assert list_ids(east) == list_ids(list_records(client))


def test_an_empty_range_holds_nothing(client: httpx2.Client):
    assert list_pages(client, end=START) == [[]]


def test_history_reaches_back_no_further_than_its_days(client: httpx2.Client):
    first = NOW.replace(hour=0) - timedelta(days=30)
    assert list_records(client, start=first, end=first + timedelta(days=1))
    assert list_records(client, start=first - timedelta(days=300), end=first) == []


def test_without_a_page_size_a_page_has_25_records(client: httpx2.Client):
    assert len(client.post(LIST, json={"filter": build_filter()}).json()["records"]) == 25
    assert len(request_page(client, size=0).json()["records"]) == 25


def test_a_page_size_may_be_written_as_a_string(client: httpx2.Client):
    assert (
        len(client.post(LIST, json={"filter": build_filter(), "pagination": {"pageSize": "3"}}).json()["records"]) == 3
    )


def test_the_querys_token_and_page_size_win_over_the_bodys(client: httpx2.Client):
    first = request_page(client, size=10).json()
    token = first["pagination"]["nextToken"]
    body = {"filter": build_filter(), "pagination": {"pageSize": 10}}
    second = client.post(LIST, json=body, params={"token": token, "pageSize": 4}).json()
    assert list_ids(second["records"]) == list_ids(request_page(client, size=4, token=token).json()["records"])
    assert not set(list_ids(second["records"])) & set(list_ids(first["records"]))


def test_the_last_page_has_no_token_whether_it_is_said_or_not(client: httpx2.Client):
    ends = set()
    for hours in range(1, 20):
        response = request_page(client, end=START + timedelta(hours=hours / 4)).json()
        ends.add(str(response["pagination"]) if not response["pagination"].get("nextToken") else "more")
    assert {"{}", "{'nextToken': ''}"} <= ends


def test_a_last_page_that_is_full_has_pagination_without_a_token(client: httpx2.Client, ona: Sandbox):
    end = START + timedelta(hours=6)
    runs = ona.list_runs(START, end)
    for number in (len(runs), len(runs) + 1):
        response = request_page(client, size=number, end=end).json()
        assert len(response["records"]) == len(runs) <= 99
        assert not response["pagination"].get("nextToken")


def test_pages_are_full_until_the_last_even_where_the_filter_passes_few(client: httpx2.Client, ona: Sandbox):
    project = ona.list_runs(START, END)[5].environment.project_id
    pages = list_pages(client, size=3, projectId=project)
    assert {len(page) for page in pages[:-1]} == {3}
    assert list_ids(list(chain.from_iterable(pages))) == [run.id for run in ona.list_runs(START, END, project)]
    assert all(record["projectId"] == project for page in pages for record in page)


def test_the_order_is_stable_but_not_by_time(client: httpx2.Client):
    stops = [record["stoppedAt"] for record in list_records(client)]
    assert stops == [record["stoppedAt"] for record in list_records(client)]
    assert stops not in (sorted(stops), sorted(stops, reverse=True))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"filter": {"dateRange": {"startTime": "2026-11-16T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": "yesterday", "endTime": "2026-11-16T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": "2026-11-16", "endTime": "2026-11-17"}}},
        {"filter": {"dateRange": {"startTime": "2026-02-30T00:00:00Z", "endTime": "2026-03-30T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": 1, "endTime": 2}}},
        {"filter": build_filter(END, START)},
        {"filter": build_filter(projectId=7)},
        {"filter": build_filter(), "pagination": {"pageSize": -1}},
        {"filter": build_filter(), "pagination": {"pageSize": 101}},
        {"filter": build_filter(), "pagination": {"pageSize": 2.5}},
        {"filter": build_filter(), "pagination": {"pageSize": True}},
        {"filter": build_filter(), "pagination": {"token": "made-up"}},
        {"filter": build_filter(), "pagination": {"token": "NzM5OTQwLjEwMC4wMDAw"}},
        {"filter": "all"},
        [],
    ],
    ids=str,
)
def test_a_request_that_breaks_the_contract_is_an_invalid_argument(client: httpx2.Client, body: Any):
    assert get_error(client.post(LIST, json=body)) == (400, "invalid_argument")


def test_a_body_that_is_not_json_is_an_invalid_argument(client: httpx2.Client):
    headers = {"Content-Type": "application/json"}
    assert get_error(client.post(LIST, content=b"{", headers=headers)) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\x7f", b"\x12\x02\x0a", b"\x08\x01", b"\x0b", b"\x12\x04\x12\x02\x08\x01"]
)
def test_a_body_that_is_not_the_message_is_an_invalid_argument(client: httpx2.Client, body: bytes):
    headers = {"Content-Type": "application/proto"}
    assert get_error(client.post(LIST, content=body, headers=headers)) == (400, "invalid_argument")


def test_a_token_belongs_to_the_filter_it_was_given_for(client: httpx2.Client):
    token = request_page(client).json()["pagination"]["nextToken"]
    assert get_error(request_page(client, token=token, end=END + timedelta(hours=1))) == (400, "invalid_argument")
    assert request_page(client, token=token, size=5).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"APIKey {KEY}", KEY])
def test_a_request_without_the_right_credential_is_unauthenticated(sandbox: SandboxServer, header: str | None):
    headers = {} if header is None else {"Authorization": header}
    response = httpx2.post(f"{sandbox.url}/ona{LIST}", json={"filter": build_filter()}, headers=headers)
    assert get_error(response) == (401, "unauthenticated")


def test_other_paths_methods_and_content_types_are_refused(client: httpx2.Client):
    assert get_error(client.post("/api/gitpod.v1.UsageService/Other", json={})) == (404, "not_found")
    assert client.get(LIST).status_code == 405
    assert client.post(LIST, content=b"a=1", headers={"Content-Type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (MEMBERS, {"organizationId": "another"}, "permission_denied"),
        (TEAM_MEMBERS, {"teamId": "another"}, "not_found"),
        (MEMBERSHIPS, {"groupId": "another"}, "not_found"),
        (PROJECTS, {"pagination": {"pageSize": 101}}, "invalid_argument"),
        (PROJECTS, {"pagination": {"pageSize": -1}}, "invalid_argument"),
        (PROJECTS, {"pagination": {"token": "made-up"}}, "invalid_argument"),
    ],
)
def test_names_of_what_is_not_there_and_pages_of_any_size_are_refused(
    client: httpx2.Client, path: str, body: dict[str, Any], code: str
):
    assert get_error(client.post(f"/api{path}", json=body))[1] == code
