"""Ona's listing in protobuf, as much of the format as its three messages need; field numbers: contracts.md.

Instants are integers: nanoseconds since 1970-01-01T00:00:00Z.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SECOND = 1_000_000_000


class ListRequest(NamedTuple):
    """A `ListEnvironmentUsageRecordsRequest`; None stands for a message or timestamp that is not set."""

    page_size: int = 0
    token: str = ""
    project_id: str = ""
    has_date_range: bool = False
    start_time: int | None = None
    end_time: int | None = None


def varint(number: int) -> bytes:
    """Encode an integer; a negative one takes ten bytes, as int64 does."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(field: int, content: bytes) -> bytes:
    """Encode a field that holds a message or bytes."""
    return varint(field << 3 | BYTES) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Encode a string field; an empty string is left out, which is how proto3 says it."""
    return message(field, content.encode()) if content else b""


def timestamp(field: int, instant: int) -> bytes:
    """Encode a `google.protobuf.Timestamp` field."""
    seconds, nanos = divmod(instant, SECOND)
    body = (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")
    return message(field, body)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers and raw values of a message; raises ValueError for bytes that are not one."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value: int | bytes
            value, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32, BYTES):
            size, at = _varint(data, at) if kind == BYTES else (8 if kind == FIXED64 else 4, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind} is not supported")
        if at > len(data):
            raise ValueError("unexpected end of message")
        yield tag >> 3, value


def list_request(data: bytes) -> ListRequest:
    """Decode a request, passing over unknown fields; raises ValueError for what is no such message."""
    request = ListRequest()
    for field, value in fields(data):
        if field == 1:
            request = _with_pagination(request, _bytes(value))
        elif field == 2:
            request = _with_filter(request, _bytes(value))
    return request


def list_response(records: bytes, next_token: str) -> bytes:
    """Encode a response of records that are each encoded as `record` gives them."""
    return message(1, text(1, next_token)) + records


def record(
    id: str,  # noqa: A002 - the vendor's name for it
    static: bytes,
    created_at: int | None,
    stopped_at: int | None,
) -> bytes:
    """Encode one record as the response's repeated field; `static`: its fields 2 to 6, encoded."""
    body = text(1, id) + static
    if created_at is not None:
        body += timestamp(7, created_at)
    if stopped_at is not None:
        body += timestamp(8, stopped_at)
    return message(2, body)


def _with_pagination(request: ListRequest, data: bytes) -> ListRequest:
    for field, value in fields(data):
        if field == 1:
            request = request._replace(page_size=_int32(value))
        elif field == 2:
            request = request._replace(token=_bytes(value).decode())
    return request


def _with_filter(request: ListRequest, data: bytes) -> ListRequest:
    for field, value in fields(data):
        if field == 1:
            request = request._replace(project_id=_bytes(value).decode())
        elif field == 2:
            request = _with_date_range(request._replace(has_date_range=True), _bytes(value))
    return request


def _with_date_range(request: ListRequest, data: bytes) -> ListRequest:
    for field, value in fields(data):
        if field == 1:
            request = request._replace(start_time=_timestamp(_bytes(value)))
        elif field == 2:
            request = request._replace(end_time=_timestamp(_bytes(value)))
    return request


def _timestamp(data: bytes) -> int:
    parts = dict(fields(data))
    return _int64(parts.get(1, 0)) * SECOND + _int64(parts.get(2, 0))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message or text belongs")  # noqa: TRY004 - it is the data
    return value


def _int64(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text stands where a number belongs")  # noqa: TRY004 - it is the data
    return value - (1 << 64) if value >> 63 else value


def _int32(value: int | bytes) -> int:
    low = _int64(value) & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("unexpected end of message")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (1 << 64) - 1, at
    raise ValueError("a number is too long")
