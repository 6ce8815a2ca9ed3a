"""Rejected records: found by source, day, reason and status, laid out on a page, and tried again by the day."""

from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sync.models import SyncRun
from sync.vendors.base import Rejection
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.plans import analyze
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from tests.support.users import sign_in_as
from usage.models import DayState, RejectedRecord, Source, SourceDay

pytestmark = pytest.mark.django_db
LIST = "/admin/usage/rejectedrecord/"


def create_rejected(day: SourceDay, number: int = 0, **values: Any) -> RejectedRecord:
    fields = {"reason": f"field_{number}: missing", "payload": '{"a": 1.10}', "attempt": 1, **values}
    return RejectedRecord.objects.create(source_day=day, payload_digest=f"{number:032}", **fields)


def list_shown(client: Client, **params: str) -> list[RejectedRecord]:
    response = client.get(LIST, params, follow=True)
    return list(response.context["cl"].result_list)


@pytest.fixture
def days() -> list[SourceDay]:
    """Two days of one source and one of another."""
    first, second = SourceFactory(slug="first"), SourceFactory(slug="second")
    return [
        SourceDayFactory(source=first, day=date(2026, 1, 1)),
        SourceDayFactory(source=first, day=date(2026, 1, 2)),
        SourceDayFactory(source=second, day=date(2026, 1, 3)),
    ]


def test_the_database_writes_down_source_and_day(days: list[SourceDay]) -> None:
    record = create_rejected(days[0])
    record.refresh_from_db()
    assert (record.source, record.day) == (days[0].source, date(2026, 1, 1))

    RejectedRecord.objects.update(source=days[2].source, day=date(2020, 1, 1))

    record.refresh_from_db()
    assert (record.source, record.day) == (days[0].source, date(2026, 1, 1))


def test_the_list_is_filtered_by_source_day_reason_and_status(days: list[SourceDay]) -> None:
    client = sign_in_as("viewer")
    first, second, third = (
        create_rejected(days[0], 1),
        create_rejected(days[1], 2, resolved_at=timezone.now()),
        create_rejected(days[2], 3),
    )

    assert list_shown(client) == [third, second, first]
    assert list_shown(client, source="first") == [second, first]
    assert list_shown(client, status="open") == [third, first]
    assert list_shown(client, status="resolved") == [second]
    assert list_shown(client, reason="FIELD_2") == [second]
    assert list_shown(client, day__range__gte="2026-01-02", day__range__lte="2026-01-02") == [second]
    assert list_shown(client, source="first", status="open", reason="missing", day__range__lte="2026-01-01") == [first]


def test_a_reason_is_found_in_either_normal_form(days: list[SourceDay]) -> None:
    records = [create_rejected(days[0], 1), create_rejected(days[1], 2)]
    for record, reason in zip(records, ("\u00e9quipe is missing", "e\u0301quipe is missing"), strict=True):
        RejectedRecord.objects.filter(pk=record.pk).update(reason=reason)
    for text in ("\u00e9quipe", "e\u0301quipe", "\u00c9QUIPE"):
        assert list_shown(sign_in_as("viewer"), reason=text) == records[::-1]
        results = get(create_api_client(), "rejected-records/", reason__contains=text)["results"]
        assert [record["id"] for record in results] == [record.pk for record in records[::-1]]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"status": "lost"}, "“lost” is not one of: open, resolved."),
        ({"reason": "ab"}, "Give at least 3 characters of the reason."),
        ({"source": "nowhere"}, "There is no source “nowhere”."),
        ({"day__range__gte": "soon"}, "takes dates such as"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused_in_words(params: dict[str, str], expected: str) -> None:
    page = sign_in_as("viewer").get(LIST, params, follow=True)

    assert expected in " ".join(str(message) for message in page.context["messages"])


def test_the_api_filters_them_likewise(days: list[SourceDay]) -> None:
    client = create_api_client()
    first, second, third = (
        create_rejected(days[0], 1),
        create_rejected(days[1], 2, resolved_at=timezone.now()),
        create_rejected(days[2], 3),
    )

    def list_ids(**query: str) -> list[int]:
        return [record["id"] for record in get(client, "rejected-records/", **query)["results"]]

    assert list_ids() == [third.pk, second.pk, first.pk]
    assert list_ids(source="first", ordering="day") == [first.pk, second.pk]
    assert list_ids(resolved="false") == [third.pk, first.pk]
    assert list_ids(reason__contains="FIELD_2") == [second.pk]
    assert list_ids(from_="2026-01-02", to="2026-01-03") == [second.pk]
    errors = get_problem_details(client.get(f"{API}/rejected-records/", {"reason__contains": "ab"}))
    assert errors["reason__contains"] == ["Give at least 3 characters."]


@pytest.mark.parametrize("query", [{}, {"source": "first"}, {"source": "first", "resolved": "false"}])
def test_a_page_of_the_api_is_read_off_an_index_however_many_there_are(
    days: list[SourceDay], query: dict[str, str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO usage_rejectedrecord (source_day_id, payload, payload_digest, reason, attempt, resolved_at)
            SELECT %s, '{}', n, 'missing', 1, CASE WHEN n %% 9 > 0 THEN now() END FROM generate_series(1, 5000) AS n
            """,
            [days[2].pk],
        )
    analyze("usage_rejectedrecord")
    create_rejected(days[0], 1)
    client = create_api_client()
    get(client, "rejected-records/")
    with CaptureQueriesContext(connection) as queries:
        get(client, "rejected-records/", **query)
    (sql,) = [captured["sql"] for captured in queries if "row_to_json" in captured["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan" in plan
    assert "Sort" not in plan
    assert "Seq Scan on usage_rejectedrecord" not in plan


def test_someone_limited_to_a_source_sees_its_records_alone(days: list[SourceDay]) -> None:
    mine, other_record = create_rejected(days[0], 1), create_rejected(days[2], 2)
    client = sign_in_as("operator", sources=[days[0].source])

    assert list_shown(client) == [mine]
    assert "second" not in client.get(LIST).content.decode()
    assert client.get(f"{LIST}{other_record.pk}/change/").status_code == 404
    assert client.post(f"{LIST}{other_record.pk}/do/read-again/").status_code == 404
    client.post(LIST, {"action": "read_again", "_selected_action": [other_record.pk]})
    assert not SyncRun.objects.exists()


def test_the_page_lays_the_payload_out_with_every_digit_it_came_with(days: list[SourceDay]) -> None:
    record = create_rejected(days[0], payload='{"billing_value":1.10,"name":"<b>x</b>"}')

    page = sign_in_as("viewer").get(f"{LIST}{record.pk}/change/").content.decode()

    assert "{\n  &quot;billing_value&quot;: 1.10,\n  &quot;name&quot;: &quot;&lt;b&gt;x&lt;/b&gt;&quot;\n}" in page
    assert "field_0: missing" in page
    assert "1 day, 2026-01-01 of first" in page
    assert f"/admin/usage/sourceday/{days[0].pk}/change/" in page
    assert "/do/" not in page  # a viewer reads nothing again


def test_a_payload_that_is_no_json_is_shown_as_it_came(days: list[SourceDay]) -> None:
    record = create_rejected(days[0], payload='{"cut": ')

    assert "{&quot;cut&quot;: </pre>" in sign_in_as("viewer").get(f"{LIST}{record.pk}/change/").content.decode()


def test_many_are_tried_again_by_their_days_and_the_answer_says_how_many_those_are(days: list[SourceDay]) -> None:
    chosen_records = [create_rejected(days[0], 1), create_rejected(days[0], 2), create_rejected(days[1], 3)]

    response = sign_in_as("operator").post(
        LIST, {"action": "read_again", "_selected_action": [record.pk for record in chosen_records]}, follow=True
    )

    assert [str(message) for message in response.context["messages"]] == [
        "2 days of first will be synced, starting now."
    ]
    assert SyncRun.objects.get().days_total == 2
    assert SourceDay.objects.get(pk=days[2].pk).run_days.count() == 0


def test_a_record_that_is_kept_by_another_read_is_shown_as_resolved(listing: Listing) -> None:
    source = make_source()
    listing.rejected[DAY] = [Rejection('{"id": "run-1"}', "stoppedAt: missing")]
    read_day(source)
    record = RejectedRecord.objects.get()
    assert SourceDay.objects.get().state == DayState.PARTIAL
    client = sign_in_as("operator")
    assert client.post(f"{LIST}{record.pk}/do/read-again/").status_code == 302

    listing.rejected.clear()
    listing.records[DAY] = [build_run(1)]
    read_day(source)

    page = client.get(f"{LIST}{record.pk}/change/").content.decode()
    assert "Resolved: the sync of 2026-11-03 of scripted" in page
    assert list_shown(client, status="open") == []
    assert list_shown(client, status="resolved") == [record]


def test_a_rejected_record_of_any_characters_is_stored_and_shown(listing: Listing) -> None:
    listing.records[DAY] = [build_run(1)]
    listing.rejected[DAY] = [Rejection('{"id": "\ud800\0"}', "id: \ud800\0 is no id")]

    read_day(make_source())

    day, record = SourceDay.objects.get(), RejectedRecord.objects.get()
    assert (day.state, day.records, record.reason) == (DayState.PARTIAL, 1, "id: ?\\u0000 is no id")
    assert sign_in_as("viewer").get(f"{LIST}{record.pk}/change/").status_code == 200


def test_a_page_of_many_costs_the_same_queries_and_reads_no_more_than_it_shows(
    days: list[SourceDay], django_assert_num_queries
) -> None:
    create_many(days)
    client = sign_in_as("viewer")
    client.get(LIST)

    for params in ({}, {"source": "second"}, {"status": "open"}, {"source": "second", "status": "open"}):
        with django_assert_num_queries(17 + ("source" in params)):
            page = client.get(LIST, params)
        assert len(page.context["cl"].result_list) == 50
        plan = page.context["cl"].queryset[:51].explain()
        assert "Sort" not in plan, (params, plan)
        assert "Seq Scan on usage_rejectedrecord" not in plan, (params, plan)


def test_a_rare_reason_among_many_is_found_by_its_index(days: list[SourceDay]) -> None:
    create_many(days)
    rare = create_rejected(days[0], 999_999, reason="tags: not a list of objects")

    change_list = sign_in_as("viewer").get(LIST, {"reason": "list of objects"}).context["cl"]

    assert list(change_list.result_list) == [rare]
    assert "rejectedrecord_reason" in change_list.queryset[:51].explain()


def create_many(days: list[SourceDay]) -> None:
    """Reject 30,000 records, a third of them resolved."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_rejectedrecord (source_day_id, payload, payload_digest, reason, attempt, resolved_at)"
            " SELECT (%s::bigint[])[1 + n %% 3], '{}', lpad(n::text, 32, '0'), 'field_' || n %% 7 || ': missing', 1,"
            " CASE WHEN n %% 3 = 1 THEN now() END FROM generate_series(1, 30000) AS n",
            [[day.pk for day in days]],
        )
    analyze("usage_rejectedrecord")


def test_a_source_switched_off_is_not_read_and_the_page_says_so(days: list[SourceDay]) -> None:
    record = create_rejected(days[0])
    Source.objects.update(enabled=False)

    response = sign_in_as("operator").post(f"{LIST}{record.pk}/do/read-again/", follow=True)

    assert [str(message) for message in response.context["messages"]] == ["first is switched off; enable it first."]
    assert not SyncRun.objects.exists()
