"""Gcore's reader: a UTC day of resources over real HTTP, held against the vendor's own count and totals."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.errors import CredentialError, InvalidResponse, ListingChanged, SyncError
from sync.sandbox.server import SandboxServer
from sync.sandbox.world import Edit, World
from sync.vendors.base import Comparison, VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.gcore.mapping import KeyBuilder, build_identity, build_keyless_row, list_tags, merge_tags
from sync.vendors.gcore.schema import OWN_FIELDS, USAGE_REPORT
from sync.vendors.gcore.totals import RowSums
from sync.vendors.record_limits import InvalidRecord
from tests.support.read_day import connected, everything, rows
from usage.days import Day
from usage.models import DayState, ResourceRow, ResourceUsage, Source, SourceDay, Verification

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
DAY = Day.of(date(2026, 11, 3), "UTC")
WIDE = Context(prec=200)
EXACT = msgspec.json.Encoder(decimal_format="number")
VOLUME = {
    "type": "volume",
    "billing_metric_name": "volume_standard",
    "billing_value": 14400,
    "billing_value_unit": "gbminutes",
    "first_seen": "2026-11-03T00:00:00Z",
    "last_seen": "2026-11-03T23:59:59Z",
    "project_id": 4101,
    "region": 76,
    "region_id": 76,
    "uuid": "02397d4a-e64b-4849-a207-0882ef0d82ae",
    "last_name": "web-prod-55",
    "tags": [{"env": "prod"}, {"team": "web"}],
    "attached_to_vm": None,
    "last_size": 10,
    "size_unit": "GiB",
    "volume_type": "standard",
}
TOTAL = {
    "type": "volume",
    "billing_metric_name": "volume_standard",
    "billing_value": 14400,
    "billing_value_unit": "gbminutes",
    "region": 76,
    "region_id": 76,
    "volume_type": "standard",
}


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, records_per_day=950)) as server:
        yield server


@pytest.fixture
def gcore(sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connected("gcore", f"{sandbox.url}/gcore", page_size=200) as reader:
        yield reader


def text(value: Any) -> bytes:
    """Return JSON; a Decimal is written as a number with all its digits."""
    return EXACT.encode(value)


def row(**changes: Any) -> ResourceRow:
    """Return the row of the usual volume with some fields changed; `...` takes a field out."""
    fields = {name: value for name, value in (VOLUME | changes).items() if value is not ...}
    return build_keyless_row(decode_record(msgspec.Raw(text(fields))))


def key(**changes: Any) -> UUID:
    """Return the key of the usual volume with some fields changed; `...` takes a field out."""
    fields = {name: value for name, value in (VOLUME | changes).items() if value is not ...}
    return KeyBuilder().build_key(build_identity(build_keyless_row(fields), fields), b"")


def answering(server: HTTPServer, *reports: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """Let a server give one report after the other; returns the list that gets the requests."""
    left, asked = list(reports), []

    def answer(request: Request) -> Response:
        asked.append(json.loads(request.data))
        report = left.pop(0)
        return Response(report if isinstance(report, bytes) else text(report), content_type="application/json")

    server.expect_request(USAGE_REPORT, method="POST").respond_with_handler(answer)
    return asked


def report(*resources: Any, count: int | None = None, totals: Any = ()) -> dict[str, Any]:
    """Return an answer with these resources."""
    return {
        "count": len(resources) if count is None else count,
        "resources": list(resources),
        "totals": list(totals),
    }


def volume(number: int, **changes: Any) -> dict[str, Any]:
    """Return the volume with the uuid `number`."""
    return VOLUME | {"uuid": f"volume-{number}"} | changes


@pytest.fixture
def scripted(httpserver: HTTPServer) -> Iterator[VendorReader]:
    with connected("gcore", httpserver.url_for("").rstrip("/")) as reader:
        yield reader


# A whole day, over HTTP.


def test_every_resource_type_of_a_day_is_held_and_agrees_with_the_totals(gcore: VendorReader):
    pages, checked = everything(gcore, DAY)
    held = rows(pages)
    assert len(held) == 950
    assert {row.resource_type for row in held} >= OWN_FIELDS.keys()
    assert len({row.resource_key for row in held}) == 950
    assert checked == Comparison(Verification.VERIFIED)


def test_paging_asks_with_a_limit_and_one_order_until_count_is_held(sandbox: SandboxServer, gcore: VendorReader):
    pages, _ = everything(gcore, DAY)
    asked = [json.loads(seen.body) for seen in sandbox.stats.requests]
    assert [len(page.rows) for page in pages] == [200] * 4 + [150]
    assert [one["offset"] for one in asked] == [0, 200, 400, 600, 800]
    assert {one["limit"] for one in asked} == {200}
    assert len({tuple(one["order_by"]) for one in asked}) == 1
    assert {(one["time_from"], one["time_to"]) for one in asked} == {("2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z")}


def test_a_larger_page_holds_the_same_rows(sandbox: SandboxServer, gcore: VendorReader):
    with connected("gcore", f"{sandbox.url}/gcore") as at_once:
        assert sorted(rows(everything(at_once, DAY)[0])) == sorted(rows(everything(gcore, DAY)[0]))


def test_today_is_read_as_far_as_the_vendor_knows_it(gcore: VendorReader):
    pages, checked = everything(gcore, Day.of(NOW.date(), "UTC"))
    assert rows(pages)
    assert checked.verification == Verification.VERIFIED


@pytest.mark.parametrize("edit", [Edit(restated=0.3), Edit(vanished=0.3), Edit(late=0.3), Edit(emptied=True)])
def test_a_day_that_the_vendor_has_changed_is_read_as_it_is_now(
    sandbox: SandboxServer, gcore: VendorReader, edit: Edit
):
    before = {row.resource_key: row for row in rows(everything(gcore, DAY)[0])}
    sandbox.world.edits["gcore", DAY.date] = edit
    pages, checked = everything(gcore, DAY)
    after = {row.resource_key: row for row in rows(pages)}
    assert checked.verification == Verification.VERIFIED
    assert after != before
    if edit.restated:
        assert after.keys() == before.keys()
    if edit.vanished or edit.emptied:
        assert after.keys() < before.keys()
        assert all(before[one] == row for one, row in after.items())


def test_bad_records_are_rejected_by_name_and_leave_the_day_unverified(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.world.edits["gcore", DAY.date] = Edit(bad=0.05)
    pages, checked = everything(gcore, DAY)
    rejected = [one for page in pages for one in page.rejected]
    assert rejected
    assert len(rows(pages)) + len(rejected) == 950
    assert {one.reason.partition(":")[0] for one in rejected} <= {"billing_value", "first_seen", "type"}
    assert all(json.loads(one.payload)["billing_metric_name"] for one in rejected)
    assert checked.verification == Verification.UNVERIFIED
    assert checked.differences[0] == {
        "what": "count",
        "vendor": "950",
        "portal": str(950 - len(rejected)),
        "rejected": len(rejected),
    }


def test_a_row_that_comes_again_on_a_later_page_starts_the_read_over(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.faults.next("gcore.duplicate")
    with pytest.raises(ListingChanged, match="came again"):
        everything(gcore, DAY)
    assert everything(gcore, DAY)[1].verification == Verification.VERIFIED


def test_a_report_that_grows_while_it_is_paged_starts_the_read_over(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.faults.next("gcore.growth", after=1)
    with pytest.raises(ListingChanged, match="950 rows, then 951"):
        everything(gcore, DAY)


def test_a_refused_key_stops_the_read(sandbox: SandboxServer):
    with (
        connected("gcore", f"{sandbox.url}/gcore", credential="wrong") as reader,
        pytest.raises(CredentialError),
    ):
        everything(reader, DAY)


def test_the_probe_is_one_request_for_one_row(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.world.set_clock(datetime.now(UTC))
    assert "950 rows of usage" in gcore.probe()
    assert [json.loads(seen.body)["limit"] for seen in sandbox.stats.requests] == [1]


# Into the database.


@pytest.mark.django_db(transaction=True)
def test_a_day_reaches_the_database_exactly_and_a_second_read_changes_nothing(sandbox: SandboxServer, settings: Any):
    source = stored_source(sandbox, settings)
    assert read_into(source) == "loaded"
    day = SourceDay.objects.get(source=source)
    assert (day.records, day.verification) == (950, Verification.VERIFIED)
    with connected("gcore", f"{sandbox.url}/gcore") as reader:
        said = {row.resource_key: row for row in rows(everything(reader, DAY)[0])}
    for one in ResourceUsage.objects.all():
        row = said[one.resource_key]
        assert one.consumed_quantity == row.consumed_quantity
        assert one.details == json.loads(row.details or "{}")
        assert (one.first_seen, one.last_seen) == (row.first_seen, row.last_seen)
    assert read_into(source) == "unchanged"


@pytest.mark.django_db(transaction=True)
def test_faults_of_a_listing_are_read_over_and_leave_nothing_behind(sandbox: SandboxServer, settings: Any):
    source = stored_source(sandbox, settings, page_size=100)
    sandbox.faults.next("gcore.duplicate", after=2)
    sandbox.faults.next("gcore.growth", after=6)
    assert read_into(source) == "loaded"
    day = SourceDay.objects.get(source=source)
    assert day.verification == Verification.VERIFIED
    assert day.records == ResourceUsage.objects.current().count() == 951


@pytest.mark.django_db(transaction=True)
def test_a_bad_record_leaves_the_day_partial_and_its_difference_on_record(sandbox: SandboxServer, settings: Any):
    source = stored_source(sandbox, settings)
    sandbox.world.edits["gcore", DAY.date] = Edit(bad=0.01)
    assert read_into(source) == "partial"
    day = SourceDay.objects.get(source=source)
    assert (day.state, day.verification) == (DayState.PARTIAL, Verification.UNVERIFIED)
    assert day.records + day.rejected == 950
    assert day.differences[0]["rejected"] == day.rejected == day.rejected_records.count()


def stored_source(sandbox: SandboxServer, settings: Any, **options: Any) -> Source:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    return Source.objects.create(
        slug="gcore",
        vendor="gcore",
        base_url=f"{sandbox.url}/gcore",
        credential="sandbox-key",
        backfill_from=DAY.date,
        options=options,
    )


def read_into(source: Source) -> str:
    """Load DAY now; returns how the attempt ended."""
    ensure_days(source, DAY.date, date(2026, 11, 4))
    SourceDay.objects.filter(source=source).update(state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC))
    attempt = load_next(source.pk)
    assert attempt is not None
    return attempt.outcome


# What an answer must be.


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b"<html>",
        b"{}",
        b'{"count": 1}',
        b'{"count": "1", "resources": [], "totals": []}',
        b'{"count": -1, "resources": [], "totals": []}',
        b'{"count": 0, "resources": null, "totals": []}',
        b'{"count": 0, "resources": []}',
        b'{"count": 0, "resources": [], "totals": [{"type": "volume"}]}',
        b'{"count": 0, "resources": [], "totals": [7]}',
        b'{"count": 0, "resources": [], "totals": [{"type": "a", "billing_value": "NaN", "billing_value_unit": "b"}]}',
    ],
)
def test_an_answer_that_is_no_report_fails_the_load_and_is_kept(
    httpserver: HTTPServer, scripted: VendorReader, answer: bytes
):
    answering(httpserver, answer)
    with pytest.raises(InvalidResponse, match="Not a usage report") as raised:
        everything(scripted, DAY)
    assert raised.value.payload == answer.decode()


def test_fewer_rows_than_count_fail_the_load(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, report(volume(1), count=3), report(volume(2), count=3), report(count=3))
    with pytest.raises(InvalidResponse, match="promised 3 rows and gave only 2"):
        everything(scripted, DAY)


def test_more_rows_than_count_fail_the_load(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, report(volume(1), volume(2), count=1))
    with pytest.raises(InvalidResponse, match="promised 1 rows and gave 2"):
        everything(scripted, DAY)


def test_a_vendor_that_gives_less_than_the_limit_is_paged_by_what_it_gives(
    httpserver: HTTPServer, scripted: VendorReader
):
    asked = answering(httpserver, *(report(volume(number), count=3) for number in range(3)))
    pages, _ = everything(scripted, DAY)
    assert len(rows(pages)) == 3
    assert [one["offset"] for one in asked] == [0, 1, 2]


def test_a_bad_record_that_comes_again_starts_the_read_over(httpserver: HTTPServer, scripted: VendorReader):
    bad = volume(1, billing_value="n/a")
    answering(httpserver, report(volume(0), bad, count=4), report(bad, volume(2), count=4))
    with pytest.raises(ListingChanged):
        everything(scripted, DAY)


def test_rows_of_one_resource_that_differ_are_all_kept(httpserver: HTTPServer, scripted: VendorReader):
    twins = [volume(1, billing_value=value) for value in (1, 2, 3)]
    answering(httpserver, report(*twins[:2], count=3), report(twins[2], count=3))
    held = rows(everything(scripted, DAY)[0])
    assert len({row.resource_key for row in held}) == 3
    assert sum(row.consumed_quantity for row in held) == 6


def test_equal_rows_of_one_page_are_all_kept(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, report(VOLUME, VOLUME, totals=[TOTAL | {"billing_value": 28800}]))
    pages, checked = everything(scripted, DAY)
    assert len({row.resource_key for row in rows(pages)}) == 2
    assert checked.verification == Verification.VERIFIED


@pytest.mark.parametrize("options", [{"page_size": 0}, {"page_size": "many"}, {"pagesize": 10}])
def test_options_that_are_not_allowed_are_refused_by_name(options: dict[str, Any]):
    with (
        pytest.raises(SyncError, match=r"Options of Gcore: .*page"),
        connected("gcore", "http://127.0.0.1:1", **options),
    ):
        pass


# One resource.


def test_a_resource_becomes_a_row_with_every_documented_field_in_its_place():
    made = row()
    assert made == ResourceRow(
        resource_key=UUID(int=0),
        resource_type="volume",
        billing_metric="volume_standard",
        consumed_quantity=Decimal(14400),
        consumed_unit="gbminutes",
        project_id=4101,
        region_id=76,
        resource_id="02397d4a-e64b-4849-a207-0882ef0d82ae",
        resource_name="web-prod-55",
        first_seen=datetime(2026, 11, 3, tzinfo=UTC),
        last_seen=datetime(2026, 11, 3, 23, 59, 59, tzinfo=UTC),
        details='{"attached_to_vm":null,"last_size":10,"size_unit":"GiB","volume_type":"standard"}',
        tags='{"env":"prod","team":"web"}',
        extra=None,
    )


def test_a_quantity_is_kept_to_its_last_digit():
    raw = text(VOLUME).replace(b"14400", b"12345678901234567890.123456789012345678")
    assert build_keyless_row(decode_record(msgspec.Raw(raw))).consumed_quantity == Decimal(
        "12345678901234567890.123456789012345678"
    )


def test_numbers_beyond_the_columns_are_kept_to_their_last_digit():
    made = row(last_size=Decimal("1.100000000000000000001"), price=Decimal("0.10"))
    assert '"last_size":1.100000000000000000001' in (made.details or "")
    assert made.extra == '{"price":0.10}'


def test_a_repeated_tag_keeps_all_its_values_in_order_and_the_vendors_own_list():
    given = [{"team": "web"}, {"env": "prod"}, {"team": "ml"}]
    made = row(tags=given)
    assert made.tags == '{"env":"prod","team":["web","ml"]}'
    assert json.loads(made.extra or "")["tags"] == given


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), TEXT, min_size=1, max_size=1), max_size=6))
def test_tags_can_be_given_back_as_the_vendor_listed_them(given: list[dict[str, str]]):
    made = row(tags=given)
    extra, held = json.loads(made.extra or "{}"), json.loads(made.tags or "{}")
    assert extra.get("tags", list_tags(held)) == given
    assert ("tags" in extra) == (list_tags(merge_tags(given)) != given)


def test_unknown_fields_of_a_known_type_are_kept_in_extra():
    made = row(flavor="g1", cost={"eur": 3})
    assert json.loads(made.extra or "") == {"flavor": "g1", "cost": {"eur": 3}}
    assert "flavor" not in (made.details or "")


def test_an_unknown_type_is_stored_with_its_own_fields_as_details():
    made = row(type="inference_public_models", model="llama", uuid=..., tokens=12)
    assert made.resource_type == "inference_public_models"
    assert json.loads(made.details or "")["model"] == "llama"
    assert made.extra is None


def test_null_and_missing_stay_apart():
    log = {"type": "log_index", "attached_to_vm": ..., "volume_type": ...}
    null, missing = row(**log, uuid=None), row(**log, uuid=...)
    assert null.resource_id == missing.resource_id == ""
    assert (null.extra, missing.extra) == ('{"uuid":null}', None)


def test_a_region_that_contradicts_its_id_is_kept():
    assert row(region=77).region_id == 76
    assert row(region=77).extra == '{"region":77}'
    assert row(region_id=...).region_id == 76


def test_instants_are_cut_to_microseconds_and_kept_whole_beside():
    made = row(first_seen="2026-11-03T10:00:00.123456789Z", last_seen="2026-11-03T12:00:00.5000000+01:00")
    assert made.first_seen == datetime(2026, 11, 3, 10, 0, 0, 123456, tzinfo=UTC)
    assert made.last_seen == datetime(2026, 11, 3, 11, 0, 0, 500000, tzinfo=UTC)
    assert made.extra == '{"first_seen":"2026-11-03T10:00:00.123456789Z"}'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"billing_value": None}, "billing_value: expected decimal, got null"),
        ({"billing_value": "n/a"}, "billing_value: invalid decimal string"),
        ({"billing_value": "NaN"}, "billing_value: not a number"),
        ({"type": ""}, "type: expected str of length >= 1"),
        ({"project_id": "one"}, "project_id: expected int | null, got str"),
        ({"project_id": 2**63}, "project_id: expected int <= 9223372036854775807"),
        ({"first_seen": "yesterday"}, "first_seen: not a date and time: 'yesterday'"),
        ({"last_seen": 5}, "last_seen: expected str | null, got int"),
        ({"tags": {"a": "b"}}, "tags: expected array | null, got object"),
        ({"uuid": "a\0b"}, "uuid: text with a NUL character, or with half of a character"),
        ({"uuid": "a" * 2693}, "uuid: 2,693 bytes long, where 2,692 can be stored"),
        ({"billing_metric_name": "é" * 443}, "billing_metric_name: 886 bytes long, where 884 can be stored"),
        ({"billing_value": "1e99999"}, "billing_value: a number with too many digits"),
        ({"billing_value": 10**1500}, "billing_value: a number with too many digits"),
        ({"first_seen": "0001-01-01T00:00:00Z"}, "first_seen: a time outside of the calendar: '0001-01-01T00:00:00Z'"),
        ({"first_seen": "9999-12-31T23:00:00Z"}, "first_seen: a time outside of the calendar: '9999-12-31T23:00:00Z'"),
    ],
)
def test_a_bad_record_is_rejected_with_the_field_in_its_reason(change: dict[str, Any], reason: str):
    with pytest.raises(InvalidRecord) as raised:
        row(**change)
    assert str(raised.value) == reason


@pytest.mark.parametrize("name", ["type", "billing_value", "billing_value_unit"])
def test_a_record_without_what_makes_it_usage_is_rejected(name: str):
    with pytest.raises(InvalidRecord, match=f"^{name}: missing$"):
        row(**{name: ...})


@pytest.mark.parametrize("number", ["1e1001", "1e-1001", "1" + "0" * 400 + "." + "0" * 700])
def test_a_number_that_no_database_holds_is_rejected(number: str):
    with pytest.raises(InvalidRecord, match="too many digits"):
        decode_record(msgspec.Raw(text(VOLUME).replace(b"14400", number.encode())))


def test_a_record_that_is_no_object_is_rejected_alone(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, report(volume(1), 7, None, [volume(2)], "text"))
    pages, checked = everything(scripted, DAY)
    assert len(rows(pages)) == 1
    assert [one.payload for one in pages[0].rejected][:2] == ["7", "null"]
    assert checked.verification == Verification.UNVERIFIED


# Keys.


def test_a_key_outlives_whatever_changes_from_read_to_read():
    assert key() == key(
        billing_value=1,
        first_seen="2026-11-03T05:00:00Z",
        last_seen="2026-11-03T09:00:00Z",
        last_name="renamed",
        last_size=99,
        tags=[],
        attached_to_vm="vm",
        price=5,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"type": "snapshot"},
        {"billing_metric_name": "other"},
        {"billing_value_unit": "minutes"},
        {"project_id": 1},
        {"region": 1, "region_id": 1},
        {"volume_type": "ssd_hiiops"},
        {"uuid": "other"},
    ],
)
def test_what_identifies_a_resource_makes_another_key(change: dict[str, Any]):
    assert key(**change) != key()


def test_resources_without_a_uuid_are_told_apart_by_their_own_ids():
    egress = {"type": "egress_traffic", "uuid": ..., "last_name": ..., "port_id": "p1", "vm_id": "v1"}
    assert len({key(**egress), key(**egress | {"port_id": "p2"}), key(**egress | {"vm_id": "v2"})}) == 3
    assert key(**egress) == key(**egress, instance_name="renamed")
    address = {"type": "external_ip", "uuid": ..., "last_name": ..., "port_id": "p1", "ip_address": "192.0.2.1"}
    assert len({key(**address), key(**address | {"ip_address": "192.0.2.2"})}) == 2
    assert key(**address) == key(**address, network_id="n2")
    log = {"type": "log_index", "uuid": None}
    assert key(**log) != key(**log, last_name="other")


def test_an_unknown_type_without_a_uuid_is_told_apart_by_every_text_of_its_own():
    tokens = {"type": "inference_public_models", "uuid": ..., "model": "a", "tokens": 5}
    assert key(**tokens) != key(**tokens | {"model": "b"})
    assert key(**tokens) == key(**tokens | {"tokens": 6})


def test_keys_are_the_same_in_every_process_and_version():
    assert key() == UUID("790ba456-8dd1-29a7-ca44-a814e6f4a3b7")


# Sums.


def summed(*resources: dict[str, Any], totals: Any, count: int | None = None) -> Comparison:
    sums = RowSums(totals)
    for fields in resources:
        sums.add(build_keyless_row(fields), fields)
    return Comparison.from_differences(sums.find_differences(len(resources) if count is None else count, totals))


def test_a_total_that_is_not_the_sum_is_told_with_both_numbers():
    checked = summed(VOLUME, totals=[TOTAL | {"billing_value": Decimal("14400.5")}])
    assert checked == Comparison(
        Verification.UNVERIFIED,
        [
            {
                "what": "total",
                "vendor": "14400.5",
                "portal": "14400",
                "type": "volume",
                "billing_metric_name": "volume_standard",
                "billing_value_unit": "gbminutes",
                "region_id": 76,
                "volume_type": "standard",
            }
        ],
    )


def test_a_type_that_should_have_totals_and_has_none_is_a_difference():
    assert [one["vendor"] for one in summed(VOLUME, totals=[]).differences] == [None]


def test_backups_have_no_totals_and_are_none_the_worse():
    assert summed(VOLUME | {"type": "backup"}, totals=[]).verification == Verification.VERIFIED


def test_inference_is_totalled_over_all_flavors():
    total = {name: value for name, value in TOTAL.items() if name != "volume_type"} | {
        "type": "inference",
        "billing_value": 28800,
    }
    rows = [VOLUME | {"type": "inference", "flavor": flavor} for flavor in ("a", "b")]
    assert summed(*rows, totals=[total]).verification == Verification.VERIFIED


def test_an_unknown_type_is_compared_the_way_the_vendor_totals_it():
    models = [VOLUME | {"type": "tokens", "model": model} for model in ("a", "a", "b")]
    plain = {name: value for name, value in TOTAL.items() if name != "volume_type"} | {"type": "tokens"}
    totals = [plain | {"model": "a", "billing_value": 28800}, plain | {"model": "b"}]
    assert summed(*models, totals=totals).verification == Verification.VERIFIED
    assert summed(*models, totals=totals[:1]).verification == Verification.UNVERIFIED
    assert summed(*models, totals=[]).verification == Verification.VERIFIED


def test_many_differences_are_counted_and_a_hundred_kept():
    totals = [TOTAL | {"volume_type": f"type-{number}"} for number in range(130)]
    checked = summed(totals=totals)
    assert len(checked.differences) == 101
    assert checked.differences[-1]["count"] == 30


QUANTITY = st.decimals(min_value=0, max_value=10**20, places=25, allow_nan=False)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["volume", "instance", "inference", "backup", "tokens"]),
                "billing_value": QUANTITY | st.integers(0, 10**25),
                "region_id": st.integers(1, 3),
                "volume_type": st.sampled_from(["a", "b"]),
                "flavor": st.sampled_from(["a", "b"]),
            }
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_sums_agree_with_totals_made_by_plain_addition_and_notice_one_last_digit(
    resources: list[dict[str, Any]], wrong: bool
):
    own = {"volume": "volume_type", "instance": "flavor", "tokens": "flavor"}
    totals: dict[tuple[Any, ...], list[Any]] = {}
    for fields in resources:
        if fields["type"] != "backup":
            name = own.get(fields["type"])
            group = (fields["type"], fields["region_id"], name, fields.get(name or ""))
            totals.setdefault(group, []).append(fields["billing_value"])
    listed = [
        {
            "type": type_,
            "billing_metric_name": "metric",
            "billing_value": plain_sum(values),
            "billing_value_unit": "unit",
            "region_id": region,
            **({name: value} if name else {}),
        }
        for (type_, region, name, value), values in totals.items()
    ]
    if wrong and listed:
        listed[-1]["billing_value"] = plain_sum([listed[-1]["billing_value"], Decimal("1e-25")])
    rows = [{"billing_metric_name": "metric", "billing_value_unit": "unit", **fields} for fields in resources]
    assert len(summed(*rows, totals=listed).differences) == (1 if wrong and listed else 0)


def plain_sum(values: list[Any]) -> Decimal:
    """Add up in whole numbers of 10^-25, without any Decimal arithmetic."""
    whole = sum(int(Decimal(value).scaleb(25, context=WIDE)) for value in values)
    return Decimal(whole).scaleb(-25, context=WIDE)
