"""One resource of Gcore: its fields and its digits, what rejects it, and the key that identifies it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from sync.vendors.base import VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.gcore.mapping import KeyBuilder, build_identity, build_keyless_row, list_tags, merge_tags
from sync.vendors.record_limits import InvalidRecord
from tests.support.gcore_reports import DAY, VOLUME, build_report, build_row, build_volume, encode_json, serve_reports
from tests.support.gcore_reports import scripted_reader as scripted_reader
from tests.support.vendor_readers import list_rows, read_pages
from usage.models import ResourceRow, Verification


def build_key(**changes: Any) -> UUID:
    """Return the key of the usual volume with some fields changed; `...` takes a field out."""
    fields = {name: value for name, value in (VOLUME | changes).items() if value is not ...}
    return KeyBuilder().build_key(build_identity(build_keyless_row(fields), fields), b"")


# One resource.


def test_a_resource_becomes_a_row_with_every_documented_field_in_its_place():
    resource = build_row()
    assert resource == ResourceRow(
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
    raw = encode_json(VOLUME).replace(b"14400", b"12345678901234567890.123456789012345678")
    assert build_keyless_row(decode_record(msgspec.Raw(raw))).consumed_quantity == Decimal(
        "12345678901234567890.123456789012345678"
    )


def test_numbers_beyond_the_columns_are_kept_to_their_last_digit():
    resource = build_row(last_size=Decimal("1.100000000000000000001"), price=Decimal("0.10"))
    assert '"last_size":1.100000000000000000001' in (resource.details or "")
    assert resource.extra == '{"price":0.10}'


def test_a_repeated_tag_keeps_all_its_values_in_order_and_the_vendors_own_list():
    tags = [{"team": "web"}, {"env": "prod"}, {"team": "ml"}]
    resource = build_row(tags=tags)
    assert resource.tags == '{"env":"prod","team":["web","ml"]}'
    assert json.loads(resource.extra or "")["tags"] == tags


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), TEXT, min_size=1, max_size=1), max_size=6))
def test_tags_can_be_given_back_as_the_vendor_listed_them(tags: list[dict[str, str]]):
    resource = build_row(tags=tags)
    extra, stored_tags = json.loads(resource.extra or "{}"), json.loads(resource.tags or "{}")
    assert extra.get("tags", list_tags(stored_tags)) == tags
    assert ("tags" in extra) == (list_tags(merge_tags(tags)) != tags)


def test_unknown_fields_of_a_known_type_are_kept_in_extra():
    resource = build_row(flavor="g1", cost={"eur": 3})
    assert json.loads(resource.extra or "") == {"flavor": "g1", "cost": {"eur": 3}}
    assert "flavor" not in (resource.details or "")


def test_an_unknown_type_is_stored_with_its_own_fields_as_details():
    resource = build_row(type="inference_public_models", model="llama", uuid=..., tokens=12)
    assert resource.resource_type == "inference_public_models"
    assert json.loads(resource.details or "")["model"] == "llama"
    assert resource.extra is None


def test_null_and_missing_stay_apart():
    log = {"type": "log_index", "attached_to_vm": ..., "volume_type": ...}
    null, missing = build_row(**log, uuid=None), build_row(**log, uuid=...)
    assert null.resource_id == missing.resource_id == ""
    assert (null.extra, missing.extra) == ('{"uuid":null}', None)


def test_a_region_that_contradicts_its_id_is_kept():
    assert build_row(region=77).region_id == 76
    assert build_row(region=77).extra == '{"region":77}'
    assert build_row(region_id=...).region_id == 76


def test_instants_are_cut_to_microseconds_and_kept_whole_beside():
    resource = build_row(first_seen="2026-11-03T10:00:00.123456789Z", last_seen="2026-11-03T12:00:00.5000000+01:00")
    assert resource.first_seen == datetime(2026, 11, 3, 10, 0, 0, 123456, tzinfo=UTC)
    assert resource.last_seen == datetime(2026, 11, 3, 11, 0, 0, 500000, tzinfo=UTC)
    assert resource.extra == '{"first_seen":"2026-11-03T10:00:00.123456789Z"}'


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
    with pytest.raises(InvalidRecord) as exc_info:
        build_row(**change)
    assert str(exc_info.value) == reason


@pytest.mark.parametrize("name", ["type", "billing_value", "billing_value_unit"])
def test_a_record_without_what_makes_it_usage_is_rejected(name: str):
    with pytest.raises(InvalidRecord, match=f"^{name}: missing$"):
        build_row(**{name: ...})


@pytest.mark.parametrize("number", ["1e1001", "1e-1001", "1" + "0" * 400 + "." + "0" * 700])
def test_a_number_that_no_database_holds_is_rejected(number: str):
    with pytest.raises(InvalidRecord, match="too many digits"):
        decode_record(msgspec.Raw(encode_json(VOLUME).replace(b"14400", number.encode())))


def test_a_record_that_is_no_object_is_rejected_alone(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_reports(httpserver, build_report(build_volume(1), 7, None, [build_volume(2)], "text"))
    pages, comparison = read_pages(scripted_reader, DAY)
    assert len(list_rows(pages)) == 1
    assert [record.payload for record in pages[0].rejected][:2] == ["7", "null"]
    assert comparison.verification == Verification.UNVERIFIED


# Keys.


def test_a_key_outlives_whatever_changes_from_read_to_read():
    assert build_key() == build_key(
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
    assert build_key(**change) != build_key()


def test_resources_without_a_uuid_are_told_apart_by_their_own_ids():
    egress = {"type": "egress_traffic", "uuid": ..., "last_name": ..., "port_id": "p1", "vm_id": "v1"}
    assert (
        len({build_key(**egress), build_key(**egress | {"port_id": "p2"}), build_key(**egress | {"vm_id": "v2"})}) == 3
    )
    assert build_key(**egress) == build_key(**egress, instance_name="renamed")
    address = {"type": "external_ip", "uuid": ..., "last_name": ..., "port_id": "p1", "ip_address": "192.0.2.1"}
    assert len({build_key(**address), build_key(**address | {"ip_address": "192.0.2.2"})}) == 2
    assert build_key(**address) == build_key(**address, network_id="n2")
    log = {"type": "log_index", "uuid": None}
    assert build_key(**log) != build_key(**log, last_name="other")


def test_an_unknown_type_without_a_uuid_is_told_apart_by_every_text_of_its_own():
    tokens = {"type": "inference_public_models", "uuid": ..., "model": "a", "tokens": 5}
    assert build_key(**tokens) != build_key(**tokens | {"model": "b"})
    assert build_key(**tokens) == build_key(**tokens | {"tokens": 6})


def test_keys_are_the_same_in_every_process_and_version():
    assert build_key() == UUID("790ba456-8dd1-29a7-ca44-a814e6f4a3b7")
