"""The same listing in protobuf."""

import gzip
from datetime import datetime

import httpx2
from hypothesis import given
from hypothesis import strategies as st

from sync.sandbox.server import SandboxServer
from sync.sandbox.world import Edit, World
from sync.vendors.ona import protobuf
from sync.vendors.ona.connect import nanoseconds
from sync.vendors.ona.sandbox import LIST
from tests import modern_ona
from tests.test_sandbox_ona.asking import END, KEY, START


def proto_ask(start: datetime, end: datetime, size: int = 100, token: str = "") -> bytes:
    dates = protobuf.timestamp(1, nanoseconds(start)) + protobuf.timestamp(2, nanoseconds(end))
    pagination = b"\x08" + protobuf.varint(size) + protobuf.text(2, token)
    return protobuf.message(1, pagination) + protobuf.message(2, protobuf.message(2, dates))


def test_a_compressed_protobuf_request_is_understood(client: httpx2.Client):
    plain = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
    body = proto_ask(START, END)
    answer = client.post(LIST, content=body, headers=plain)
    packed = client.post(LIST, content=gzip.compress(body), headers={**plain, "Content-Encoding": "gzip"})
    assert answer.headers["content-type"] == "application/proto"
    assert answer.content == packed.content
    assert len([field for field, _ in protobuf.fields(answer.content) if field == 2]) == 100


@given(
    size=st.integers(-(2**31), 2**31 - 1),
    token=st.text(),
    start=st.integers(-(10**18), 4 * 10**18),
    end=st.integers(-(10**18), 4 * 10**18),
)
def test_what_is_encoded_is_decoded_as_it_was(size: int, token: str, start: int, end: int):
    dates = protobuf.timestamp(1, start) + protobuf.timestamp(2, end)
    unknown = (
        protobuf.text(9, "later") + protobuf.varint(10 << 3 | 1) + bytes(8) + protobuf.varint(11 << 3 | 5) + bytes(4)
    )
    pagination = b"\x08" + protobuf.varint(size) + protobuf.text(2, token)
    body = unknown + protobuf.message(1, pagination) + protobuf.message(2, unknown + protobuf.message(2, dates))
    assert protobuf.list_request(body) == protobuf.ListRequest(size, token, "", True, start, end)


def test_bad_records_are_bad_in_protobuf_too(world: World, sandbox: SandboxServer):
    world.edits["ona", START.date()] = Edit(bad=0.5)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END, 100)
    records = [record for page in modern["pages"] for record in page]
    bad = [
        record for record in records if not record["stopped_at"] or (record["created_at"] or 0) > record["stopped_at"]
    ]
    assert len(bad) == -(-len(records) // 2)
