"""Mirrors: authentication, the completeness headers, and the responses to invalid requests and failures."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from portal.accounts.models import Scope, create_token
from sync.engine.plan import ensure_days
from sync.vendors import mirrors, readers
from sync.vendors.gcore.schema import USAGE_REPORT
from sync.vendors.ona.connect import LIST
from sync.vendors.workato.schema import USAGE
from tests.support.factories import EnvironmentUsageFactory, SourceFactory
from tests.support.mirrored_portal import FIRST, ZONES, create_mirror_key, format_instant
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
END = FIRST + timedelta(days=2)
REQUESTS: dict[str, tuple[str, Any]] = {
    "ona": (
        f"/api{LIST}",
        {"filter": {"dateRange": {"startTime": format_instant(FIRST), "endTime": format_instant(END)}}},
    ),
    "gcore": (USAGE_REPORT, {"time_from": format_instant(FIRST), "time_to": format_instant(END)}),
    "workato": (USAGE, {"from": format_instant(FIRST, -1), "to": format_instant(END, -1), "workspace_ids": [1]}),
}


def send_request(vendor: str, secret: str, slug: str = "", **more: Any) -> Any:
    """Send a vendor's request to a mirror, with the token in the vendor's own header."""
    path, body = REQUESTS[vendor]
    scheme = {"gcore": "APIKey", "workato": "Bearer", "ona": "Bearer"}[vendor]
    headers = {"Authorization": f"{scheme} {secret}", **more.pop("headers", {})}
    content = more.pop("content", json.dumps(body).encode())
    return Client().post(f"/mirror/{slug or vendor}{path}", content, content_type="application/json", headers=headers)


def create_source(vendor: str, **values: Any) -> Source:
    source: Source = SourceFactory(
        slug=vendor, vendor=vendor, time_zone=ZONES.get(vendor, "UTC"), backfill_from=FIRST, **values
    )
    ensure_days(source, FIRST, END)
    SourceDay.objects.update(state="loaded", complete=True, loaded_at="2026-11-20T00:00:00Z")
    return source


def test_every_vendor_has_a_mirror() -> None:
    assert mirrors().keys() == readers().keys()


@pytest.mark.parametrize("vendor", REQUESTS)
def test_a_token_travels_in_the_vendors_own_header(vendor: str) -> None:
    create_source(vendor)
    response = send_request(vendor, create_mirror_key())
    assert response.status_code == 200, response.content
    assert response["Portal-Complete"] == "true"
    assert response["Portal-Complete-Through"] == str(END - timedelta(days=1))


@pytest.mark.parametrize("vendor", REQUESTS)
def test_days_that_are_not_held_completely_are_told_of(vendor: str) -> None:
    source = create_source(vendor)
    SourceDay.objects.filter(source=source, day=END - timedelta(days=1)).update(complete=False)
    response = send_request(vendor, create_mirror_key())
    assert (response.status_code, response["Portal-Complete"]) == (200, "false")
    assert response["Portal-Complete-Through"] == str(FIRST)


@pytest.mark.parametrize("vendor", REQUESTS)
def test_a_source_can_be_told_to_answer_gaps_with_the_vendors_503(vendor: str) -> None:
    source = create_source(vendor, mirror_refuses_gaps=True)
    assert send_request(vendor, create_mirror_key()).status_code == 200
    SourceDay.objects.filter(source=source, day=FIRST).update(complete=False)
    response = send_request(vendor, create_mirror_key())
    assert response.status_code == 503
    assert json.loads(response.content)["message"] == "The portal does not hold all of these days completely."


@pytest.mark.parametrize("vendor", REQUESTS)
def test_a_source_that_is_read_no_more_still_answers(vendor: str) -> None:
    create_source(vendor, enabled=False)
    response = send_request(vendor, create_mirror_key())
    assert (response.status_code, response["Portal-Complete"]) == (200, "true")


@pytest.mark.parametrize("vendor", REQUESTS)
@pytest.mark.parametrize("slug", ["there", "not-there"])
def test_strangers_learn_nothing_of_which_sources_there_are(vendor: str, slug: str) -> None:
    source = create_source(vendor)
    Source.objects.filter(pk=source.pk).update(slug="there")
    wrong_scope = create_token("t", [Scope.USAGE_READ])[1]
    elsewhere = create_mirror_key(SourceFactory())
    responses = {
        status: send_request(vendor, secret, slug)
        for status, secret in ((401, "up_x"), (403, wrong_scope), (404, elsewhere))
    }
    for status, response in responses.items():
        body = json.loads(response.content)
        assert response.status_code == status
        assert slug not in body["message"].replace(f"source {slug} ", "")
        assert "There is no source" in body["message"] or status != 404


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        ("ona", {"filter": {"dateRange": {"startTime": "0001-01-01T00:00:00Z", "endTime": "9999-12-31T23:59:59Z"}}}),
        ("gcore", {"time_from": "0001-01-01T00:00:00Z", "time_to": "9999-12-31T23:59:59Z"}),
    ],
)
def test_a_range_over_the_calendar_is_answered(vendor: str, body: dict[str, Any]) -> None:
    create_source(vendor)
    response = send_request(vendor, create_mirror_key(), content=json.dumps(body).encode())
    assert (response.status_code, response["Portal-Complete"]) == (200, "false")


def test_a_source_of_another_vendor_is_not_there() -> None:
    create_source("ona")
    assert send_request("gcore", create_mirror_key(), "ona").status_code == 404


def test_a_path_that_no_vendor_has_is_not_there() -> None:
    response = Client().post("/mirror/ona/api/v1/everything")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("vendor", "status", "allow"), [("gcore", 405, "POST"), ("ona", 405, "POST"), ("workato", 404, "")]
)
def test_a_method_that_the_vendor_does_not_take_is_refused(vendor: str, status: int, allow: str) -> None:
    create_source(vendor)
    response = Client(headers={"Authorization": f"Bearer {create_mirror_key()}"}).delete(
        f"/mirror/{vendor}{REQUESTS[vendor][0]}"
    )
    assert (response.status_code, response.get("Allow", "")) == (status, allow)


def test_a_body_that_is_neither_json_nor_protobuf_is_refused_with_what_is_taken() -> None:
    create_source("ona")
    response = send_request("ona", create_mirror_key(), headers={"Content-Type": "text/plain"})
    assert (response.status_code, response["Accept-Post"]) == (415, "application/json, application/proto")


def test_a_source_whose_time_zone_is_unknown_is_answered_with_the_vendors_503() -> None:
    SourceFactory(slug="gcore", vendor="gcore", time_zone="Mars/Olympus")
    response = send_request("gcore", create_mirror_key())
    assert response.status_code == 503
    assert (
        json.loads(response.content)["message"] == "The time zone of gcore is unknown here, so its days have no bounds."
    )


def test_a_page_looks_behind_records_that_only_the_nanoseconds_leave_out() -> None:
    source = create_source("ona")
    start = f"{FIRST}T12:00:00"
    for number in range(100, 106):
        EnvironmentUsageFactory(
            source=source,
            record_id=f"run-{number}",
            stopped_at=datetime.fromisoformat(f"{start}.000001Z"),
            extra={"stoppedAt": f"{start}.000001{number}Z"},
        )
    dates = {"startTime": f"{start}.000001104Z", "endTime": f"{start}.000002Z"}
    body = {"filter": {"dateRange": dates}, "pagination": {"pageSize": 1}}
    response = send_request("ona", create_mirror_key(), content=json.dumps(body).encode())
    assert [record["id"] for record in json.loads(response.content)["records"]] == ["run-104"]


def test_bodies_may_be_gzip_and_bombs_are_refused() -> None:
    create_source("gcore")
    plain = json.dumps(REQUESTS["gcore"][1]).encode()
    gzip_headers = {"Content-Encoding": "gzip"}
    assert (
        send_request("gcore", create_mirror_key(), content=gzip.compress(plain), headers=gzip_headers).status_code
        == 200
    )
    assert (
        send_request(
            "gcore", create_mirror_key(), content=gzip.compress(b" " * 2**24), headers=gzip_headers
        ).status_code
        == 413
    )
    assert send_request("gcore", create_mirror_key(), content=b"no gzip", headers=gzip_headers).status_code == 400
    assert (
        send_request("gcore", create_mirror_key(), content=gzip.compress(plain)[:-9], headers=gzip_headers).status_code
        == 400
    )
    assert (
        send_request("gcore", create_mirror_key(), content=plain, headers={"Content-Encoding": "br"}).status_code == 415
    )


@pytest.mark.parametrize("vendor", REQUESTS)
def test_a_token_that_asks_too_often_gets_the_vendors_429(vendor: str, redis_client: object) -> None:
    create_source(vendor)
    token, secret = create_token("often", [Scope.MIRROR_READ])
    token.rate = "2/hour"
    token.save()
    responses = [send_request(vendor, secret) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 0 < int(responses[2]["Retry-After"]) <= 3600
    assert "RateLimit" in responses[0]
    assert "message" in json.loads(responses[2].content)


@pytest.mark.parametrize(
    ("vendor", "overrides"),
    [
        ("ona", {"filter": {**REQUESTS["ona"][1]["filter"], "projectId": "a\0"}}),
        ("gcore", {"schema_filter": {"type": "instance", "field": "uuid", "values": ["a\0"]}}),
        ("gcore", {"tags": {"conditions": [{"key": "a\0"}]}}),
        ("gcore", {"tags": {"conditions": [{"value": "a\0"}]}}),
        ("workato", {"external_ids": ["a\0"]}),
        ("workato", {"folder_name_pattern": "abc\0"}),
    ],
)
def test_a_text_that_no_database_holds_is_wrong_input(vendor: str, overrides: dict[str, Any]) -> None:
    create_source(vendor)
    response = send_request(vendor, create_mirror_key(), content=json.dumps(REQUESTS[vendor][1] | overrides).encode())
    assert response.status_code in (400, 422)
    assert "NUL" in json.loads(response.content)["message"]


@pytest.mark.parametrize("vendor", REQUESTS)
@pytest.mark.parametrize("body", [b"", b"null", b"[", b"\xff", b'{"a":' * 9000, b"[" * 9000])
def test_a_body_that_is_no_question_is_wrong_input(vendor: str, body: bytes) -> None:
    create_source(vendor)
    headers = {"Content-Type": "application/json"}  # the client leaves it out of an empty request
    response = send_request(vendor, create_mirror_key(), content=body, headers=headers)
    assert response.status_code == 400
    assert json.loads(response.content)["message"]


@pytest.mark.parametrize(("vendor", "name"), [("ona", "code"), ("gcore", "exception_class"), ("workato", "id")])
def test_a_failure_that_nobody_expected_has_the_vendors_shape(vendor: str, name: str) -> None:
    create_source(vendor)
    secret = create_mirror_key()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {readers()[vendor].kind._meta.db_table} RENAME TO secretly_renamed")
    path, body = REQUESTS[vendor]
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"})
    response = client.post(f"/mirror/{vendor}{path}", body, content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (500, "application/json")
    assert name in response.json()
    assert b"secretly_renamed" not in response.content
    bad_request = client.post(f"/mirror/{vendor}{path}", headers={"Host": "evil.example"})
    assert (bad_request.status_code, bad_request["Content-Type"]) == (400, "application/json")
    connection.set_rollback(True)  # the query that failed has ended the test's own transaction


def test_an_answer_is_not_kept_by_anybody_on_the_way() -> None:
    create_source("gcore")
    assert send_request("gcore", create_mirror_key())["Cache-Control"] == "private, no-store"


@pytest.mark.django_db(transaction=True)
def test_a_day_that_is_loaded_while_a_mirror_answers_is_not_called_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    source = create_source("gcore")
    SourceDay.objects.filter(source=source, day=FIRST).update(complete=False)
    mirror = mirrors()["gcore"]
    respond = mirror.respond

    def respond_while_loading(self: Any, request: Any) -> Any:
        response = respond(self, request)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(complete).result(30)
        return response

    def complete() -> None:
        SourceDay.objects.filter(source=source).update(complete=True)
        connection.close()

    monkeypatch.setattr(mirror, "respond", respond_while_loading)
    assert send_request("gcore", create_mirror_key())["Portal-Complete"] == "false"
    assert SourceDay.objects.get(source=source, day=FIRST).complete
