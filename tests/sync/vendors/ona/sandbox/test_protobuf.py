"""The same listing in protobuf."""

import gzip
import json
from typing import Any

import httpx2
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.sandbox.world import Edit, World
from sync.vendors.ona.connect import JSON, PROTO, ConnectError, ListRequest, parse_list_request
from sync.vendors.ona.instants import build_timestamp, to_nanoseconds
from sync.vendors.ona.sandbox import LIST
from sync.vendors.ona.usage_pb2 import (
    DateRange,
    ListEnvironmentUsageRecordsRequest,
    ListEnvironmentUsageRecordsResponse,
    PaginationRequest,
)
from tests.support import ona_sdk_1x
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import END, KEY, START

without_time_limit = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELD_NAMES = st.sampled_from(["filter", "dateRange", "startTime", "endTime", "pagination", "pageSize", "token", "x"])
JSON_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def nest(values: Any) -> Any:
    return st.lists(values, max_size=3) | st.dictionaries(FIELD_NAMES, values, max_size=4)


def build_request(start: int, end: int, size: int = 100, token: str = "") -> ListEnvironmentUsageRecordsRequest:
    dates = DateRange(start_time=build_timestamp(start), end_time=build_timestamp(end))
    return ListEnvironmentUsageRecordsRequest(
        pagination=PaginationRequest(page_size=size, token=token),
        filter=ListEnvironmentUsageRecordsRequest.Filter(date_range=dates),
    )


def test_a_compressed_protobuf_request_is_understood(client: httpx2.Client):
    plain = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
    body = build_request(to_nanoseconds(START), to_nanoseconds(END)).SerializeToString()
    response = client.post(LIST, content=body, headers=plain)
    packed = client.post(LIST, content=gzip.compress(body), headers={**plain, "Content-Encoding": "gzip"})
    assert response.headers["content-type"] == "application/proto"
    assert response.content == packed.content
    assert len(ListEnvironmentUsageRecordsResponse.FromString(response.content).records) == 100


@without_time_limit
@given(
    size=st.integers(1, 100),
    token=st.text(),
    start=st.integers(-(10**18), 4 * 10**18),
    length=st.integers(0, 10**18),
)
def test_a_request_is_the_same_in_json_and_protobuf_to_the_nanosecond(size: int, token: str, start: int, length: int):
    message = build_request(start, start + length, size, token)
    unknown_fields = b"\x4a\x05later" + b"\x51" + bytes(8)
    unknown_json = json_format.MessageToDict(message) | {"later": {"x": [1]}}
    expected = ListRequest(start, start + length, "", size, token)
    assert parse_list_request(PROTO, unknown_fields + message.SerializeToString(), {}) == expected
    assert parse_list_request(JSON, json.dumps(unknown_json).encode(), {}) == expected


@without_time_limit
@given(
    body=st.binary(max_size=60) | st.recursive(JSON_VALUES, nest, max_leaves=8).map(lambda v: json.dumps(v).encode())
)
def test_any_other_body_is_an_invalid_argument(body: bytes):
    for content_type in (JSON, PROTO):
        with pytest.raises(ConnectError) as exc_info:
            parse_list_request(content_type, body, {})
        assert exc_info.value.code == "invalid_argument"


def test_an_instant_that_no_timestamp_holds_is_an_invalid_argument():
    with pytest.raises(ConnectError, match="start_time"):
        parse_list_request(PROTO, build_request(10**23, 10**23).SerializeToString(), {})


def test_bad_records_are_bad_in_protobuf_too(world: World, sandbox: SandboxServer):
    world.edits["ona", START.date()] = Edit(bad=0.5)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END, 100)
    records = [record for page in modern["pages"] for record in page]
    bad = [
        record for record in records if not record["stopped_at"] or (record["created_at"] or 0) > record["stopped_at"]
    ]
    assert len(bad) == -(-len(records) // 2)
