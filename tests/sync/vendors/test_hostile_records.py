"""One bad record costs one record, and a bad name costs nothing: records that no database would take, of every vendor."""

import json
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from portal.accounts.models import Scope, create_token
from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.vendors.decoding import PAYLOAD_BYTES, decode_record
from sync.vendors.gcore.mapping import build_keyless_row
from sync.vendors.gcore.schema import USAGE_REPORT
from sync.vendors.large_records import MAX_UNCUT_BYTES, RECORD_BYTES, split_entries, split_fields
from sync.vendors.ona.connect import LIST
from sync.vendors.record_limits import ALTERATIONS_KEY, JSON_BYTES, TAGS_KEPT, InvalidRecord
from sync.vendors.workato.schema import UNCUT_FIELDS, USAGE
from tests.support.gcore_reports import TOTAL, VOLUME
from tests.support.ona_reader import RECORD
from tests.support.users import sign_in_as
from tests.support.workato_reports import RECIPE_HOUR, WORKSPACE_HOUR
from usage.models import EnvironmentUsage, RecipeUsage, RejectedRecord, ResourceUsage, Source, SourceDay, UsageRecord

ON = date(2026, 10, 14)
DEEP = b"[" * 500 + b"]" * 500
TOO_DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture(autouse=True)
def _local(settings: Any) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*", "localhost:*"]


def build_volume(number: int, **changes: Any) -> dict[str, Any]:
    return VOLUME | {"uuid": f"volume-{number}"} | changes


def build_run(number: int, **changes: Any) -> dict[str, Any]:
    times = {"createdAt": f"{ON}T10:00:00Z", "stoppedAt": f"{ON}T12:00:00Z"}
    return RECORD | times | {"id": f"run-{number}"} | changes


def make_source(httpserver: HTTPServer, vendor: str) -> Source:
    """Return a source of a vendor whose address is that of this test's server."""
    base = {"ona": "/api"}.get(vendor, "")
    return Source.objects.create(
        slug=vendor,
        vendor=vendor,
        base_url=httpserver.url_for(base).rstrip("/"),
        credential="key",
        time_zone="Europe/Berlin" if vendor == "workato" else "UTC",
        options={"workspace_ids": "7"} if vendor == "workato" else {},
        backfill_from=ON,
    )


def read(httpserver: HTTPServer, vendor: str, *records: Any, total: int | None = None) -> SourceDay:
    """Let a vendor report these records (JSON values, or bytes) of one day, and load it through the engine."""
    content = b",".join(record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)

    def respond(request: Request) -> Response:
        if vendor == "gcore":
            value = total if total is not None else 14400 * len(records)
            totals = json.dumps([TOTAL | {"billing_value": value}]).encode()
            body = b'{"count":%d,"resources":[%b],"totals":%b}' % (len(records), content, totals)
        elif vendor == "ona":
            body = b'{"records":[%b],"pagination":{}}' % content
        elif "group_by" in json.loads(request.data):
            body = b'{"data":[%b]}' % content
        else:
            body = json.dumps({"data": [WORKSPACE_HOUR]}).encode()
        return Response(body, content_type="application/json")

    path = {"gcore": USAGE_REPORT, "ona": f"/api{LIST}", "workato": USAGE}[vendor]
    httpserver.expect_request(path).respond_with_handler(respond)
    source = Source.objects.filter(slug=vendor).first() or make_source(httpserver, vendor)
    ensure_days(source, ON, ON + timedelta(days=1))
    SourceDay.objects.update(state="due", due_at=datetime(2020, 1, 1, tzinfo=UTC))
    load_next(source.pk)
    return SourceDay.objects.get(source=source)


def get_mark(kind: type[UsageRecord], **where: Any) -> Any:
    return kind.objects.get(**where).extra.get(ALTERATIONS_KEY)


# A bad name costs nothing.


@pytest.mark.django_db
def test_a_bad_name_of_a_resource_costs_nothing_and_is_marked(httpserver: HTTPServer) -> None:
    cut_off = json.dumps(build_volume(3)).encode().replace(b"web-prod-55", b"web\xff\xed\xa0\x80")
    day = read(
        httpserver,
        "gcore",
        build_volume(0),
        build_volume(1, last_name="a\ud800b"),
        build_volume(2, last_name="n" * 6000),
        cut_off,
    )

    assert (day.state, day.records, day.verification) == ("loaded", 4, "verified")
    names = dict(ResourceUsage.objects.values_list("resource_id", "resource_name"))
    assert names["volume-1"] == "a\ufffdb"
    assert names["volume-2"] == "n" * 1000
    assert names["volume-3"].startswith("web\ufffd")
    assert get_mark(ResourceUsage, resource_id="volume-0") is None
    assert get_mark(ResourceUsage, resource_id="volume-1") == {"replaced": ["last_name"]}
    assert get_mark(ResourceUsage, resource_id="volume-2") == {"cut": {"last_name": 6000}}


@pytest.mark.django_db
def test_bad_names_of_a_recipe_cost_nothing_and_are_marked(httpserver: HTTPServer) -> None:
    day = read(
        httpserver,
        "workato",
        RECIPE_HOUR | {"recipe_name": "a\ud800", "folder_name": "\0", "workspace_name": "é" * 900},
    )

    assert (day.state, day.verification) == ("loaded", "verified")
    stored = RecipeUsage.objects.get(recipe_id=70)
    assert (stored.recipe_name, stored.folder_name, stored.workspace_name) == ("a\ufffd", "\ufffd", "é" * 500)
    assert stored.extra == {
        ALTERATIONS_KEY: {"cut": {"workspace_name": 1800}, "replaced": ["folder_name", "recipe_name"]}
    }


@pytest.mark.django_db
def test_a_bad_text_in_a_field_without_a_column_costs_nothing_and_is_marked(httpserver: HTTPServer) -> None:
    day = read(
        httpserver,
        "ona",
        build_run(1, note="\udc00!", **{"a\0b": 1}),
        build_run(2, note="x" * 3_000_000, **{ALTERATIONS_KEY: "own"}),
    )

    assert (day.state, day.records) == ("loaded", 2)
    first, second = EnvironmentUsage.objects.order_by("record_id")
    assert first.extra == {"note": "\ufffd!", "a\ufffdb": 1, ALTERATIONS_KEY: {"replaced": ["a\ufffdb", "note"]}}
    assert second.extra[ALTERATIONS_KEY] == {"cut": {"note": 3_000_000}}
    assert second.extra["note"] == "x" * 1000


def test_bad_texts_within_objects_are_replaced_and_keys_that_become_one_are_counted() -> None:
    note = {"x\ud800": 1} | {"x\ufffd": 2, "inner": {"y": ["a\ud800", True, None]}}
    row = build_keyless_row(decode_record(json.dumps(build_volume(1, note=note)).encode()))

    assert json.loads(row.extra or "") == {
        "note": {"x\ufffd": 1, "inner": {"y": ["a\ufffd", True, None]}},
        ALTERATIONS_KEY: {"dropped": {"note": 1}, "replaced": ["note"]},
    }


def test_a_record_whose_fault_is_in_a_field_that_comes_again_is_rejected_with_the_fault_alone() -> None:
    with pytest.raises(InvalidRecord, match=r"^(x: )?[Aa] number with too many digits"):
        decode_record(b'{"x": 1e999999, "x": 1}')


def test_a_vendors_own_field_of_the_marks_name_is_left_out_and_counted() -> None:
    row = build_keyless_row(decode_record(json.dumps(build_volume(1, **{ALTERATIONS_KEY: {"cut": "own"}})).encode()))

    assert json.loads(row.extra or "") == {ALTERATIONS_KEY: {"dropped": {ALTERATIONS_KEY: 1}}}


@pytest.mark.django_db
def test_what_was_changed_stays_the_same_from_read_to_read(httpserver: HTTPServer) -> None:
    bad = build_volume(
        1, last_name="a\ud800", tags=[{f"k{number}": "v" * 2000} for number in range(300)], note=["x"] * 90_000
    )
    read(httpserver, "gcore", bad)

    day = read(httpserver, "gcore", bad)

    assert day.restated_at is None
    assert ResourceUsage.objects.get().revision == 1


# One bad record costs one record.


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("vendor", "bad", "reason"),
    [
        ("gcore", build_volume(1, uuid="u" * 6000), "uuid: 6,000 bytes long, where 2,692 can be stored"),
        ("gcore", build_volume(1, billing_metric_name="m" * 3000), "billing_metric_name: 3,000 bytes long"),
        ("gcore", build_volume(1, uuid="\ud800"), "uuid: text with a NUL character, or with half of a character"),
        ("gcore", build_volume(1, project_id=2**63), "project_id: expected int <= 9223372036854775807"),
        ("gcore", build_volume(1, billing_value="1e100000"), "billing_value: a number with too many digits"),
        ("gcore", build_volume(1, last_seen="9999-12-31T23:59:59Z"), "last_seen: a time outside of the calendar"),
        ("gcore", json.dumps(build_volume(1)).encode()[:-1] + b',"x":' + DEEP + b"}", "x: nested more than 64 deep"),
        (
            "gcore",
            json.dumps(build_volume(1, billing_value=0)).encode()[:-1] + b',"x":1%b}' % (b"0" * 5000),
            "x: integer",
        ),
        (
            "ona",
            build_run(1, **dict.fromkeys(("projectId", "userId", "runnerId"), "😀" * 750)),
            "projectId: 3,000 bytes long",
        ),
        ("ona", build_run(1, userId="\ud800"), "userId: text with a NUL character"),
        ("ona", json.dumps(build_run(1)).encode()[:-1] + b',"x":' + DEEP + b"}", "x: nested more than 64 deep"),
        (
            "ona",
            json.dumps(build_run(1, id=None)).encode()[:-1] + b',"x":1e999999}',
            "x: a number with too many digits",
        ),
        ("workato", RECIPE_HOUR | {"external_id": "e" * 5000}, "external_id: 5,000 bytes long"),
        ("workato", RECIPE_HOUR | {"task_count": 2**64}, "task_count: expected int <= 9223372036854775807"),
        ("workato", RECIPE_HOUR | {"from": "0001-01-01T00:00:00Z"}, "from: a time outside of the calendar"),
    ],
)
def test_a_record_that_no_database_takes_is_rejected_alone_with_its_field(
    httpserver: HTTPServer, vendor: str, bad: Any, reason: str
) -> None:
    good = {"gcore": build_volume(0), "ona": build_run(0), "workato": RECIPE_HOUR | {"recipe_id": 71}}[vendor]
    day = read(httpserver, vendor, good, bad)

    assert (day.state, day.records, day.rejected) == ("partial", 1, 1), day.error
    assert reason in RejectedRecord.objects.get().reason


@pytest.mark.django_db
def test_a_rejected_payload_is_kept_up_to_a_bound_and_told_apart_by_all_of_it(httpserver: HTTPServer) -> None:
    long = [build_volume(1, uuid="u" * 6000, note="x" * 100_000 + str(number)) for number in range(2)]
    read(httpserver, "gcore", *long)

    first, second = RejectedRecord.objects.all()
    assert first.payload == second.payload
    assert first.payload_digest != second.payload_digest
    assert first.payload.endswith(f"… [cut by the portal: {len(json.dumps(long[0])):,} bytes in all]")
    assert len(first.payload) < PAYLOAD_BYTES + 100
    page = sign_in_as("viewer").get(f"/admin/usage/rejectedrecord/{first.pk}/change/")
    assert "cut by the portal" in page.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("vendor", ["gcore", "ona", "workato"])
def test_an_answer_nested_too_deeply_to_decode_fails_the_day_with_that_reason(
    httpserver: HTTPServer, vendor: str
) -> None:
    day = read(httpserver, vendor, TOO_DEEP)

    assert day.state == "failed"
    assert "nested too deeply to decode" in day.error


# Bounds on memory.


def test_a_hundred_thousand_tags_take_little_more_memory_than_their_text() -> None:
    raw = json.dumps(build_volume(1, tags=[{f"k{number}": "v"} for number in range(100_000)])).encode()
    tracemalloc.start()
    row = build_keyless_row(decode_record(raw))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * len(raw)
    assert len(json.loads(row.tags or "")) == TAGS_KEPT
    assert json.loads(row.extra or "")[ALTERATIONS_KEY] == {"dropped": {"tags": 100_000 - TAGS_KEPT}}


def test_long_tags_are_cut_and_those_that_do_not_fit_are_counted() -> None:
    row = build_keyless_row(
        decode_record(json.dumps(build_volume(1, tags=[{f"k{n}": "é" * 900} for n in range(50)])).encode())
    )

    mark = json.loads(row.extra or "")[ALTERATIONS_KEY]
    assert mark["cut"]["tags.k0"] == 1800
    assert len(json.loads(row.tags or "")) + mark["dropped"]["tags"] == 50
    assert len((row.tags or "").encode()) <= JSON_BYTES


@pytest.mark.parametrize("column", ["details", "extra"])
def test_megabytes_in_fields_without_a_column_are_bounded_and_counted(column: str) -> None:
    kind = {"type": "unheard_of"} if column == "details" else {}
    unknown_fields = {f"f{number}": "x" * 900 for number in range(500)} | {"list": ["y" * 50] * 50_000}
    row = build_keyless_row(decode_record(json.dumps(build_volume(1, **kind, **unknown_fields)).encode()))

    assert len(getattr(row, column)) < JSON_BYTES + 500
    assert json.loads(row.extra or "")[ALTERATIONS_KEY]["dropped"][column] > 400


def test_a_record_of_a_million_fields_is_rejected() -> None:
    raw = b"{" + b",".join(b'"f%d":1' % number for number in range(20_000)) + b"}"
    with pytest.raises(InvalidRecord, match="more than 1,000 fields"):
        decode_record(raw)


@pytest.mark.parametrize("length", [RECORD_BYTES, MAX_UNCUT_BYTES])
def test_usage_within_a_large_record_is_read_whole_or_rejects_the_record(length: int) -> None:
    name = next(iter(UNCUT_FIELDS))
    hours = [{"note": "x" * 1000}] * (length // 1000)
    raw = json.dumps({"list": ["y" * 1000] * 100, name: hours}).encode()

    if length < MAX_UNCUT_BYTES:
        fields = decode_record(raw, UNCUT_FIELDS)
        assert fields[name] == hours
        assert fields[ALTERATIONS_KEY] == {"list": 100 - len(fields["list"])}
    else:
        with pytest.raises(InvalidRecord, match=rf"^{name}: 26\d,\d{{3}} bytes long, where 262,144 can be read$"):
            decode_record(raw, UNCUT_FIELDS)


@pytest.mark.parametrize(
    "value",
    [[], [1], ["a,b", "]", '\\"[', {"x": [1, {"y": "}"}]}, [[], [[]]], None], [{"a": 1}, {"b": [2, 3]}, "é"]],
)
def test_a_list_is_taken_apart_entry_by_entry(value: list[Any]) -> None:
    assert [json.loads(entry) for entry in split_entries(json.dumps(value).encode())] == value
    fields = {str(number): entry for number, entry in enumerate(value)}
    assert {name: json.loads(field) for name, field in split_fields(json.dumps(fields).encode())} == fields


# What the mark is not.


@pytest.mark.django_db
def test_mirrors_do_not_hand_the_mark_out_as_the_vendors_field(httpserver: HTTPServer) -> None:
    read(httpserver, "gcore", build_volume(1, last_name="a\ud800"))
    read(httpserver, "ona", build_run(1, note="a\ud800"))
    secret = create_token("mirror", [Scope.MIRROR_READ])[1]
    span = {"time_from": f"{ON}T00:00:00Z", "time_to": f"{ON + timedelta(days=1)}T00:00:00Z", "limit": 10}
    dates = {"startTime": f"{ON}T00:00:00Z", "endTime": f"{ON + timedelta(days=1)}T00:00:00Z"}

    def ask(path: str, body: Any, scheme: str) -> Any:
        headers = {"Authorization": f"{scheme} {secret}"}
        return Client(headers=headers).post(path, json.dumps(body), content_type="application/json")

    gcore = ask(f"/mirror/gcore{USAGE_REPORT}", span, "APIKey")
    ona = ask(f"/mirror/ona/api{LIST}", {"filter": {"dateRange": dates}}, "Bearer")

    assert gcore.json()["resources"][0]["last_name"] == "a\ufffd"
    assert ona.json()["records"][0]["note"] == "a\ufffd"
    assert ALTERATIONS_KEY not in gcore.content.decode() + ona.content.decode()
