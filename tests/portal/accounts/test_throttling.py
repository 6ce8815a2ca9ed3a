"""Throttling: how many requests a token, a person or an address may make, and how they are told."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.test import Client

from portal.accounts import throttling
from portal.accounts.models import Scope, create_token
from portal.accounts.throttling import RequestsUnderWay, TooManyAtOnce, count, get_client_address
from portal.cache import get_redis
from tests.support.api_clients import API, READ, create_api_client, get_problem_details
from tests.support.factories import SourceFactory
from tests.support.processes import wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]
LIST = f"{API}/environment-usage/"
NOBODY = "redis://127.0.0.1:1/0"


def get_remaining(response: Any) -> int:
    """Return what the RateLimit field says is left, having checked its form."""
    match = re.fullmatch(r'"default";r=(\d+);t=(\d+)', response["RateLimit"])
    assert match, response["RateLimit"]
    assert 1 <= int(match[2]) <= 60
    b"".join(response)  # an export that nobody reads would hold its snapshot
    return int(match[1])


def create_limited_client(rate: str, *scopes: str) -> Client:
    _, secret = create_token("busy", scopes or READ, rate=rate)
    return Client(headers={"Authorization": f"Bearer {secret}"})


def test_every_answer_says_how_much_is_left_and_the_next_one_is_a_429(settings: Any) -> None:
    settings.PORTAL_API_RATE = "3/min"
    client = create_api_client()
    responses = [client.get(LIST) for _ in range(3)]
    assert [get_remaining(response) for response in responses] == [2, 1, 0]
    assert {response["RateLimit-Policy"] for response in responses} == {'"default";q=3;w=60'}
    assert {response.status_code for response in responses} == {200}
    late = client.get(LIST)
    assert "More than 3 requests in 60 seconds" in get_problem_details(late, 429)[""][0]
    assert get_remaining(late) == 0
    assert 1 <= int(late["Retry-After"]) <= 60
    assert f"again in {late['Retry-After']} seconds" in late.json()["detail"]


def test_one_tokens_quota_is_not_anothers(settings: Any) -> None:
    settings.PORTAL_API_RATE = "1/min"
    first, second = create_api_client(), create_api_client()
    assert [client.get(LIST).status_code for client in (first, first, second)] == [200, 429, 200]


def test_a_token_may_have_a_rate_of_its_own() -> None:
    client = create_limited_client("2/hour")
    assert client.get(LIST)["RateLimit-Policy"] == '"default";q=2;w=3600'
    assert [client.get(LIST).status_code for _ in range(2)] == [200, 429]
    with pytest.raises(ValidationError, match="600/min"):
        create_token("x", READ, rate="often")


def test_a_window_that_has_passed_gives_all_of_the_quota_again() -> None:
    client = create_limited_client("1/s")
    assert client.get(LIST).status_code == 200
    deadline = time.monotonic() + 10
    while client.get(LIST).status_code == 429 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert time.monotonic() < deadline


@pytest.mark.parametrize("query", ["?format=csv", "?format=ndjson", "?nonsense=1", "?format=bogus"])
def test_exports_and_refusals_carry_the_standing_too(query: str) -> None:
    assert get_remaining(create_limited_client("5/min").get(LIST + query)) == 4


def test_an_answer_that_has_not_changed_carries_the_standing_too() -> None:
    client = create_limited_client("5/min")
    etag = client.get(LIST)["ETag"]
    second_response = client.get(LIST, headers={"If-None-Match": etag})
    assert second_response.status_code == 304
    assert get_remaining(second_response) == 3


def test_a_post_is_counted_like_any_other_request() -> None:
    SourceFactory(slug="a")
    client = create_limited_client("1/min", Scope.SYNC_RUN)
    body = {"from": "2026-01-02", "to": "2026-01-05"}
    responses = [client.post(f"{API}/sources/a/sync/", body, content_type="application/json") for _ in range(2)]
    assert [response.status_code for response in responses] == [202, 429]


def test_staff_are_counted_by_person(settings: Any) -> None:
    settings.PORTAL_API_RATE = "1/min"
    clients = []
    for name in ("alex", "sam"):
        client = Client()
        client.force_login(User.objects.create_superuser(name))
        clients.append(client)
    alex, sam = clients
    assert [client.get(LIST).status_code for client in (alex, alex, sam)] == [200, 429, 200]


def test_pages_and_files_of_staff_count_with_the_api_and_are_refused_by_a_page(settings: Any) -> None:
    settings.PORTAL_API_RATE = "4/min"
    client = Client()
    client.force_login(User.objects.create_superuser("alex"))
    pages = ["/admin/", "/admin/explore/export/?kind=usage&format=csv", "/admin/usage/sourceday/export/"]
    for remaining, address in enumerate(reversed((*pages, LIST))):
        assert get_remaining(client.get(address)) == 3 - remaining
    refusal = client.get("/admin/")
    assert (refusal.status_code, get_remaining(refusal)) == (429, 0)
    assert 1 <= int(refusal["Retry-After"]) <= 60
    assert "More than 4 requests in 60 seconds came" in refusal.content.decode()
    assert Client().get("/admin/").status_code == 302


def test_one_caller_has_so_many_requests_answered_at_once_and_as_many_more_wait(settings: Any) -> None:
    settings.PORTAL_REQUESTS_AT_ONCE = 2
    requests = RequestsUnderWay()
    for _ in range(2):
        requests.enter("alex")
    requests.enter("sam")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(requests.enter, "alex") for _ in range(2)]
        wait_for(lambda: requests.waiting["alex"] == 2, "two to wait")
        with pytest.raises(TooManyAtOnce, match="2 requests of yours are under way"):
            requests.enter("alex")
        assert not any(future.done() for future in waiting)
        for _ in range(2):
            requests.leave("alex")
        assert [future.result(timeout=30) for future in waiting] == [None, None]
    for caller in ("alex", "alex", "sam"):
        requests.leave(caller)
    assert not requests.answered
    assert not requests.waiting


def test_a_request_that_waits_in_vain_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "WAIT_SECONDS", 0.05)
    settings.PORTAL_REQUESTS_AT_ONCE = 1
    requests = RequestsUnderWay()
    requests.enter("alex")
    with pytest.raises(TooManyAtOnce):
        requests.enter("alex")
    requests.leave("alex")
    requests.enter("alex")


def test_a_request_that_is_counted_twice_is_under_way_once(settings: Any) -> None:
    settings.PORTAL_REQUESTS_AT_ONCE = 1
    request = HttpRequest()
    for _ in range(2):
        throttling.count_request(request, "user:1")
    assert throttling.under_way.answered == {"user:1": 1}
    throttling.under_way.leave("user:1")


def test_a_request_that_fails_is_no_longer_under_way(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PORTAL_REQUESTS_AT_ONCE = 1
    client = create_api_client()
    client.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr("usage.api.views.UsageViewSet.list", lambda *_, **__: 1 / 0)
        assert [client.get(LIST).status_code for _ in range(2)] == [500, 500]
    assert client.get(LIST).status_code == 200
    assert not throttling.under_way.answered


def test_an_address_that_guesses_tokens_is_told_to_wait_while_good_tokens_go_on(settings: Any) -> None:
    settings.PORTAL_API_FAILURES_RATE = "2/min"
    client, guesser = create_api_client(), Client(headers={"Authorization": "Bearer up_guess"})
    responses = [guesser.get(LIST) for _ in range(3)]
    assert [response.status_code for response in responses] == [401, 401, 429]
    assert int(responses[-1]["Retry-After"]) >= 1
    assert client.get(LIST).status_code == 200


def test_behind_a_proxy_an_address_is_the_one_that_the_proxy_saw(settings: Any) -> None:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "6.6.6.6, 203.0.113.9"}
    assert get_client_address(request) == "10.0.0.1"
    settings.PORTAL_HTTPS = True
    assert get_client_address(request) == "203.0.113.9"
    forged = HttpRequest()
    forged.META = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "nonsense"}
    assert get_client_address(forged) == "10.0.0.1"


def test_no_count_is_lost_where_many_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: count("many", "50/min"), range(80)))
    assert sorted(status.used for status in statuses if status) == list(range(1, 81))
    assert sum(status.is_exceeded for status in statuses if status) == 30


def test_counting_is_one_round_trip_to_redis(settings: Any) -> None:
    count("warm", "5/min")
    connection = get_redis(settings.REDIS_URL).client.connection_pool.connection_class
    send = connection.send_packed_command
    with patch.object(connection, "send_packed_command", autospec=True, side_effect=send) as send_command:
        count("warm", "5/min")
    assert send_command.call_count == 1


def test_without_redis_the_api_answers_unlimited_and_says_so_once(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = NOBODY
    get_redis.cache_clear()
    client = create_limited_client("1/min")
    responses = [client.get(LIST) for _ in range(3)]
    assert {response.status_code for response in responses} == {200}
    assert not any(response.has_header("RateLimit") for response in responses)
    # Not structlog's capture_logs: a logger that was used before passes it by.
    events = [record.msg["event"] for record in caplog.records if record.name == "portal.cache"]
    assert events == ["redis_unavailable"]
    get_redis.cache_clear()
