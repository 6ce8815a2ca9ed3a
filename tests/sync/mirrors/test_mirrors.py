"""Mirrors: who is let in, how completeness is told, and what a wrong question or a failure gets."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
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
from tests.support.factories import SourceFactory
from tests.support.mirrored_portal import FIRST, ZONES, instant, key
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
END = FIRST + timedelta(days=2)
ASKED: dict[str, tuple[str, Any]] = {
    "ona": (f"/api{LIST}", {"filter": {"dateRange": {"startTime": instant(FIRST), "endTime": instant(END)}}}),
    "gcore": (USAGE_REPORT, {"time_from": instant(FIRST), "time_to": instant(END)}),
    "workato": (USAGE, {"from": instant(FIRST, -1), "to": instant(END, -1), "workspace_ids": [1]}),
}


def ask(vendor: str, secret: str, slug: str = "", **more: Any) -> Any:
    """Put a vendor's question to a mirror, in the vendor's own header."""
    path, body = ASKED[vendor]
    scheme = {"gcore": "APIKey", "workato": "Bearer", "ona": "Bearer"}[vendor]
    headers = {"Authorization": f"{scheme} {secret}", **more.pop("headers", {})}
    content = more.pop("content", json.dumps(body).encode())
    return Client().post(f"/mirror/{slug or vendor}{path}", content, content_type="application/json", headers=headers)


def made(vendor: str, **values: Any) -> Source:
    found: Source = SourceFactory(
        slug=vendor, vendor=vendor, time_zone=ZONES.get(vendor, "UTC"), backfill_from=FIRST, **values
    )
    ensure_days(found, FIRST, END)
    SourceDay.objects.update(state="loaded", complete=True, loaded_at="2026-11-20T00:00:00Z")
    return found


def test_every_vendor_has_a_mirror() -> None:
    assert mirrors().keys() == readers().keys()


@pytest.mark.parametrize("vendor", ASKED)
def test_a_token_travels_in_the_vendors_own_header(vendor: str) -> None:
    made(vendor)
    answer = ask(vendor, key())
    assert answer.status_code == 200, answer.content
    assert answer["Portal-Complete"] == "true"
    assert answer["Portal-Complete-Through"] == str(END - timedelta(days=1))


@pytest.mark.parametrize("vendor", ASKED)
def test_days_that_are_not_held_completely_are_told_of(vendor: str) -> None:
    source = made(vendor)
    SourceDay.objects.filter(source=source, day=END - timedelta(days=1)).update(complete=False)
    answer = ask(vendor, key())
    assert (answer.status_code, answer["Portal-Complete"]) == (200, "false")
    assert answer["Portal-Complete-Through"] == str(FIRST)


@pytest.mark.parametrize("vendor", ASKED)
def test_a_source_can_be_told_to_answer_gaps_with_the_vendors_503(vendor: str) -> None:
    source = made(vendor, mirror_refuses_gaps=True)
    assert ask(vendor, key()).status_code == 200
    SourceDay.objects.filter(source=source, day=FIRST).update(complete=False)
    answer = ask(vendor, key())
    assert answer.status_code == 503
    assert json.loads(answer.content)["message"] == "The portal does not hold all of these days completely."


@pytest.mark.parametrize("vendor", ASKED)
def test_a_source_that_is_read_no_more_still_answers(vendor: str) -> None:
    made(vendor, enabled=False)
    answer = ask(vendor, key())
    assert (answer.status_code, answer["Portal-Complete"]) == (200, "true")


@pytest.mark.parametrize("vendor", ASKED)
@pytest.mark.parametrize("slug", ["there", "not-there"])
def test_strangers_learn_nothing_of_which_sources_there_are(vendor: str, slug: str) -> None:
    source = made(vendor)
    Source.objects.filter(pk=source.pk).update(slug="there")
    wrong_scope = create_token("t", [Scope.USAGE_READ])[1]
    elsewhere = key(SourceFactory())
    said = {
        status: ask(vendor, secret, slug) for status, secret in ((401, "up_x"), (403, wrong_scope), (404, elsewhere))
    }
    for status, answer in said.items():
        body = json.loads(answer.content)
        assert answer.status_code == status
        assert slug not in body["message"].replace(f"source {slug} ", "")
        assert "There is no source" in body["message"] or status != 404


def test_a_source_of_another_vendor_is_not_there() -> None:
    made("ona")
    assert ask("gcore", key(), "ona").status_code == 404


def test_a_path_that_no_vendor_has_is_not_there() -> None:
    answer = Client().post("/mirror/ona/api/v1/everything")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_bodies_may_be_gzip_and_bombs_are_refused() -> None:
    made("gcore")
    plain = json.dumps(ASKED["gcore"][1]).encode()
    zipped = {"Content-Encoding": "gzip"}
    assert ask("gcore", key(), content=gzip.compress(plain), headers=zipped).status_code == 200
    assert ask("gcore", key(), content=gzip.compress(b" " * 2**24), headers=zipped).status_code == 413
    assert ask("gcore", key(), content=b"no gzip", headers=zipped).status_code == 400
    assert ask("gcore", key(), content=gzip.compress(plain)[:-9], headers=zipped).status_code == 400
    assert ask("gcore", key(), content=plain, headers={"Content-Encoding": "br"}).status_code == 415


@pytest.mark.parametrize("vendor", ASKED)
def test_a_token_that_asks_too_often_gets_the_vendors_429(vendor: str, redis_client: object) -> None:
    made(vendor)
    token, secret = create_token("often", [Scope.MIRROR_READ])
    token.rate = "2/hour"
    token.save()
    answers = [ask(vendor, secret) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2]["Retry-After"]) <= 3600
    assert "RateLimit" in answers[0]
    assert "message" in json.loads(answers[2].content)


@pytest.mark.parametrize(
    ("vendor", "wrong"),
    [
        ("ona", {"filter": {**ASKED["ona"][1]["filter"], "projectId": "a\0"}}),
        ("gcore", {"schema_filter": {"type": "instance", "field": "uuid", "values": ["a\0"]}}),
        ("gcore", {"tags": {"conditions": [{"key": "a\0"}]}}),
        ("gcore", {"tags": {"conditions": [{"value": "a\0"}]}}),
        ("workato", {"external_ids": ["a\0"]}),
        ("workato", {"folder_name_pattern": "abc\0"}),
    ],
)
def test_a_text_that_no_database_holds_is_wrong_input(vendor: str, wrong: dict[str, Any]) -> None:
    made(vendor)
    answer = ask(vendor, key(), content=json.dumps(ASKED[vendor][1] | wrong).encode())
    assert answer.status_code in (400, 422)
    assert "NUL" in json.loads(answer.content)["message"]


@pytest.mark.parametrize("vendor", ASKED)
@pytest.mark.parametrize("body", [b"", b"null", b"[", b"\xff", b'{"a":' * 9000, b"[" * 9000])
def test_a_body_that_is_no_question_is_wrong_input(vendor: str, body: bytes) -> None:
    made(vendor)
    headers = {"Content-Type": "application/json"}  # the client leaves it out of an empty request
    answer = ask(vendor, key(), content=body, headers=headers)
    assert answer.status_code == 400
    assert json.loads(answer.content)["message"]


@pytest.mark.parametrize(("vendor", "name"), [("ona", "code"), ("gcore", "exception_class"), ("workato", "id")])
def test_a_failure_that_nobody_expected_has_the_vendors_shape(vendor: str, name: str) -> None:
    made(vendor)
    secret = key()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {readers()[vendor].kind._meta.db_table} RENAME TO secretly_renamed")
    path, body = ASKED[vendor]
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"})
    answer = client.post(f"/mirror/{vendor}{path}", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/json")
    assert name in answer.json()
    assert b"secretly_renamed" not in answer.content
    refused = client.post(f"/mirror/{vendor}{path}", headers={"Host": "evil.example"})
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/json")
    connection.set_rollback(True)  # the query that failed has ended the test's own transaction


def test_an_answer_is_not_kept_by_anybody_on_the_way() -> None:
    made("gcore")
    assert ask("gcore", key())["Cache-Control"] == "private, no-store"


@pytest.mark.django_db(transaction=True)
def test_a_day_that_is_loaded_while_a_mirror_answers_is_not_called_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    source = made("gcore")
    SourceDay.objects.filter(source=source, day=FIRST).update(complete=False)
    mirror = mirrors()["gcore"]
    answer = mirror.respond

    def loaded_meanwhile(self: Any, asked: Any) -> Any:
        found = answer(self, asked)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(complete).result(30)
        return found

    def complete() -> None:
        SourceDay.objects.filter(source=source).update(complete=True)
        connection.close()

    monkeypatch.setattr(mirror, "respond", loaded_meanwhile)
    assert ask("gcore", key())["Portal-Complete"] == "false"
    assert SourceDay.objects.get(source=source, day=FIRST).complete
