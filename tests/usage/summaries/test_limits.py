"""The limits of a summary: the number of its rows, the time of its queries, and a slot where it is large."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import EnvironmentUsageFactory
from tests.support.source_days import create_source_days
from usage.datetimes import UTC_ZONE
from usage.slots import count_under_way, hold_slot, take_slot_if_large
from usage.summaries import intervals, result, sql, views
from usage.timeouts import detect_timeouts

pytestmark = pytest.mark.django_db
SUMMARY = f"{API}/environment-usage/summary/"
API_DOCUMENT = Path(__file__).parents[3] / "docs/api.md"


@pytest.fixture
def client() -> Client:
    """A program that may read everything: six runs of six environments in an hour."""
    EnvironmentUsageFactory.create_batch(6)
    create_source_days(rolled=False)
    return create_api_client()


def set_max_rows(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    for module in (sql, result):
        monkeypatch.setattr(module, "MAX_ROWS", number)


def test_more_rows_than_an_answer_has_are_refused_with_what_to_do(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_max_rows(monkeypatch, 5)
    errors = get_problem_details(client.get(SUMMARY, {"group_by": "environment_id"}))
    assert "More than 5 groups; group by less or by a longer interval" in errors["group_by"][0]
    assert "take an export" in errors["group_by"][0]
    assert len(get(client, "environment-usage/summary/", group_by="user_id")["results"]) == 5


def test_a_limit_chooses_from_more_groups_than_an_answer_has_rows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_max_rows(monkeypatch, 3)
    summary = get(client, "environment-usage/summary/", group_by="environment_id", limit=2)
    assert (len(summary["results"]), summary["others"]["groups"]) == (2, 4)
    errors = get_problem_details(client.get(SUMMARY, {"group_by": "environment_id", "limit": "4"}))
    assert "more than 3 rows" in errors["limit"][0]


def test_filled_and_compared_rows_count_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_max_rows(monkeypatch, 7)
    january = {"from": "2026-01-01", "to": "2026-01-03"}
    errors = get_problem_details(client.get(SUMMARY, {**january, "group_by": "environment_id,day", "fill": "zero"}))
    assert "More than 7 rows; ask without fill" in errors["fill"][0]
    EnvironmentUsageFactory.create_batch(6, environment_id="later", project_id="before")
    later = {"from": "2026-01-02", "to": "2026-01-03", "group_by": "environment_id", "compare": "previous"}
    set_max_rows(monkeypatch, 6)
    errors = get_problem_details(client.get(SUMMARY, later))
    assert "group_by" in errors


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
def test_far_too_many_intervals_are_refused_without_counting_them(
    client: Client, monkeypatch: pytest.MonkeyPatch, interval: str
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("an interval was counted")

    for name in ("get_next_hour", "get_next_date"):
        monkeypatch.setattr(intervals, name, fail)
    errors = get_problem_details(client.get(SUMMARY, {"group_by": interval, "from": "0002-01-01", "to": "9999-01-01"}))
    assert "More than 20000 intervals" in errors["group_by"][0]


def test_as_many_intervals_as_an_answer_has_are_cut_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MAX_INTERVALS", 24)
    start = datetime(2026, 1, 1, tzinfo=UTC)

    bounds = intervals.cut_intervals("hour", UTC_ZONE, start, start + timedelta(hours=23))
    assert (bounds[0], bounds[-1], len(bounds)) == (start, start + timedelta(hours=23), 24)
    with pytest.raises(intervals.TooManyIntervals):
        intervals.cut_intervals("hour", UTC_ZONE, start, start + timedelta(hours=25))


def test_what_is_no_timeout_is_no_answer_that_took_too_long() -> None:
    with pytest.raises(OperationalError, match="closed the connection"), detect_timeouts():
        raise OperationalError("The server closed the connection.")


def test_an_answer_takes_one_slot_however_often_it_turns_out_to_be_large() -> None:
    with take_slot_if_large() as take_slot:
        before = count_under_way()
        take_slot()
        take_slot()
        assert count_under_way() == before + 1
    assert count_under_way() == before


def test_a_query_that_takes_too_long_is_stopped_and_the_answer_says_what_is_faster(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(views, "SUMMARY_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(views, "summarize", sleep)
        patch.setattr(views, "summarize_all", sleep)
        for address in (SUMMARY, f"{API}/usage/summary/"):
            response = client.get(address)
            assert "takes longer than 30 seconds and was stopped" in get_problem_details(response, 503)[""][0]
            assert response["Retry-After"] == "10"
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


@pytest.mark.parametrize("query", [{"group_by": "environment_id"}, {"from": "2026-01-01", "to": "2026-01-02",
                                                                    "group_by": "hour", "fill": "zero"}])  # fmt: skip
def test_a_large_answer_takes_a_slot_and_a_small_one_none(
    client: Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    monkeypatch.setattr(sql, "LARGE_ANSWER", 4)
    monkeypatch.setattr(result, "LARGE_ANSWER", 4)
    assert client.get(SUMMARY, query).status_code == 200
    with hold_slot():  # the request has released its slot
        response = client.get(SUMMARY, query)
        assert "as the portal makes at once" in get_problem_details(response, 503)[""][0]
        assert response["Retry-After"] == "10"
        assert client.get(SUMMARY, {"group_by": "project_id"}).status_code == 200
    assert (
        client.get(SUMMARY, {**query, "compare": "previous", "from": "2026-01-01", "to": "2026-01-02"}).status_code
        == 200
    )


def test_the_documentation_has_the_limits_of_the_code() -> None:
    text = API_DOCUMENT.read_text()
    for number in (sql.MAX_ROWS, sql.MAX_GROUPS, sql.LARGE_ANSWER):
        assert f"{number:,}" in text
    assert f"{views.SUMMARY_SECONDS:.0f} seconds" in text
