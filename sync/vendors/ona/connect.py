"""Ona's listing as Connect carries it: what a request asks for, in JSON or protobuf, and the errors.

**Assumed**, the vendor being silent: a range that ends before it starts is refused, and so is a project with the
character NUL; unknown JSON fields are passed over.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from sync.vendors.ona import protobuf
from sync.vendors.ona.protobuf import SECOND

LIST: Final = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
JSON, PROTO = "application/json", "application/proto"
DEFAULT_SIZE, LARGEST_SIZE = 25, 100
BOUNDS: Final = "value must be greater than or equal to 0 and less than or equal to 100"
STATUS: Final = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
}
CODE: Final = {status: code for code, status in STATUS.items()}
RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Refused(Exception):
    """A request that is answered with a Connect error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Asked(NamedTuple):
    """A listing of what stopped in `[start, end)` nanoseconds; without a token its first page.

    `project_id` is empty for all projects; `size` is what a page holds, the default put in.
    """

    start: int
    end: int
    project_id: str
    size: int
    token: str


def error(code: str, message: str) -> bytes:
    """Return the body of a Connect error; it is JSON whatever was asked in."""
    return msgspec.json.encode({"code": code, "message": message})


def asked(content_type: str, body: bytes, query: Mapping[str, list[str]]) -> Asked:
    """Return what a request asks for, the query's token and page size winning over the body's; raises Refused.

    `content_type` is JSON or PROTO; the body is decompressed.
    """
    wire = _json_request(body) if content_type == JSON else _proto_request(body)
    size = _whole_number(query["pageSize"][-1]) if "pageSize" in query else wire.page_size
    token = query["token"][-1] if "token" in query else wire.token
    if not wire.has_date_range:
        raise _invalid("filter.date_range: value is required [required]")
    if wire.start_time is None or wire.end_time is None:
        missing = "start_time" if wire.start_time is None else "end_time"
        raise _invalid(f"filter.date_range.{missing}: value is required [required]")
    if wire.end_time < wire.start_time:
        raise _invalid("filter.date_range: the end lies before the start")
    if "\0" in wire.project_id:
        raise _invalid("filter.project_id: value holds the character NUL")
    if not 0 <= size <= LARGEST_SIZE:
        raise _invalid(f"pagination.page_size: {BOUNDS} [int32.gte_lte]")
    return Asked(wire.start_time, wire.end_time, wire.project_id, size or DEFAULT_SIZE, token)


def _invalid(what: str) -> Refused:
    return Refused("invalid_argument", f"validation error:\n - {what}")


def _proto_request(body: bytes) -> protobuf.ListRequest:
    try:
        return protobuf.list_request(body)
    except ValueError as error:
        raise Refused("invalid_argument", f"unmarshal message: {error}") from None


def _json_request(body: bytes) -> protobuf.ListRequest:
    """Return a JSON body in the form of the protobuf one; an empty body is an empty message."""
    try:
        asked = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("invalid_argument", "unmarshal message: the body is not JSON") from None
    pagination = _object(asked, "pagination")
    wanted = _object(asked, "filter")
    dates = _object(wanted, "dateRange", "date_range")
    return protobuf.ListRequest(
        page_size=_whole_number(_field(pagination, "pageSize", "page_size") or 0),
        token=_string(_field(pagination, "token")),
        project_id=_string(_field(wanted, "projectId", "project_id")),
        has_date_range=_field(wanted, "dateRange", "date_range") is not None,
        start_time=_instant(_string(_field(dates, "startTime", "start_time"))),
        end_time=_instant(_string(_field(dates, "endTime", "end_time"))),
    )


def _field(of: Any, *names: str) -> Any:
    if not isinstance(of, dict):
        raise Refused("invalid_argument", "unmarshal message: an object was expected")
    return next((of[name] for name in names if of.get(name) is not None), None)


def _object(of: Any, *names: str) -> Any:
    found = _field(of, *names)
    return {} if found is None else found


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("invalid_argument", "unmarshal message: a string was expected")
    return value


def _whole_number(value: Any) -> int:
    """Return an int32 as protobuf's JSON allows it: a number, or one written as a string."""
    try:
        number = int(value)
        exact = not isinstance(value, bool) and number == float(value)
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact:
        raise Refused("invalid_argument", "unmarshal message: a whole number was expected")
    return number


@lru_cache(maxsize=4096)
def _instant(text: str) -> int | None:
    """Return an RFC 3339 instant in nanoseconds since 1970, None for an empty string; raises Refused."""
    if not text:
        return None
    parts = RFC_3339.fullmatch(text)
    try:
        instant = datetime.fromisoformat(parts[1] + parts[3]) if parts else None
    except ValueError:
        instant = None
    if parts is None or instant is None:
        raise Refused("invalid_argument", f"unmarshal message: {text[:40]!r} is not an RFC 3339 instant")
    return nanoseconds(instant) + int((parts[2] or "").ljust(9, "0"))


def nanoseconds(instant: datetime) -> int:
    """Return an aware instant as nanoseconds since 1970."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000
