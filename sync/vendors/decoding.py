"""Decoding of vendors' JSON: exact numbers, instants of any precision, error envelopes and rejected records."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from sync.http import VendorHTTP
from sync.http.errors import describe_body
from sync.vendors.base import Rejection
from sync.vendors.large_records import RECORD_BYTES, shorten_record
from sync.vendors.record_limits import (
    ALTERATIONS_KEY,
    DEPTH,
    InvalidRecord,
    build_label,
    check_depth,
    decode_json,
    parse_number,
)

T = TypeVar("T")

PAYLOAD_BYTES = 16 * 1024  # of a rejected record
REASON_LENGTH = 500
TOO_DEEP = "nested too deeply to decode"
# Instants near the calendar's ends have no local time in some zone, so that no page could show them.
EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
LATEST = datetime(9998, 12, 31, tzinfo=UTC)
AT_FIELD = re.compile(r"^(?P<what>.+) - at `\$\.?(?P<field>.*)`$", re.DOTALL)
MISSING = re.compile(r"^Object missing required field `(?P<field>.+)`$")
BEYOND_MICROSECONDS = re.compile(r"\.\d{6}0*[1-9]")
# Every escape of JSON, a surrogate pair as one escape; `half` is half of a pair alone.
ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
NO_UTF_8 = re.compile("[\udc80-\udcff]+")
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
INVALID_JSON = (*DECODE_ERRORS, RecursionError)


class ErrorEnvelope(msgspec.Struct):
    """The fields that make an answer of HTTP 200 an error."""

    error: msgspec.Raw = msgspec.Raw(b"null")
    errors: msgspec.Raw = msgspec.Raw(b"null")
    success: msgspec.Raw = msgspec.Raw(b"true")


decode_envelope = msgspec.json.Decoder(ErrorEnvelope).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_value = msgspec.json.Decoder(float_hook=parse_number).decode


def find_error_envelope(body: bytes) -> str | None:
    """Return the vendor's message where an answer of HTTP 200 is an error envelope, None where it is no error.

    That is an object with an `error` or `errors` that is not empty, or with `success: false`.
    """
    try:
        envelope = decode_body(decode_envelope, body)
        empty = not (decode_value(envelope.error) or decode_value(envelope.errors))
        if empty and bytes(envelope.success) != b"false":
            return None
    except INVALID_JSON:
        return None
    return f"The vendor answered with an error: {describe_body(body, 'application/json') or 'it gives no reason'}"


def decode_body(decode: Callable[[bytes], T], body: bytes) -> T:
    """Return an answer as `decode` reads it; halves of surrogate pairs and bytes that are not UTF-8 become NUL.

    Raises as `decode` does; TOO_DEEP is the reason for RecursionError.
    """
    try:
        return decode(body)
    except DECODE_ERRORS:
        repaired = repair_text(body)
        if repaired == body:
            raise
    return decode(repaired)


def decode_answer(http: VendorHTTP, decode: Callable[[bytes], T], body: bytes, expected: str) -> T:
    """Return an answer as `decode` reads it; raises InvalidResponse where it is an error or not what is `expected`."""
    if envelope_error := find_error_envelope(body):
        raise http.build_invalid_response(envelope_error, body)
    try:
        return decode_body(decode, body)
    except (*INVALID_JSON, InvalidRecord) as error:
        raise http.build_invalid_response(f"Not {expected}: {describe_error(error)}", body) from None


def repair_text(data: bytes) -> bytes:
    """Return JSON in which everything that is no character is NUL, which no text of a record may have either."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = NO_UTF_8.sub(r"\\u0000", data.decode(errors="surrogateescape")).encode()
    return ESCAPE.sub(lambda match: rb"\u0000" if match["half"] else match[0], data)


def decode_record(raw: msgspec.Raw | bytes, uncut: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a record's fields, numbers exact; raises InvalidRecord where it is no valid object.

    A large record is shortened, but for the fields of `uncut`; ALTERATIONS_KEY has what was left out.
    """
    data = bytes(raw)
    try:
        fields = decode_body(partial(_decode_fields, uncut=uncut), data)
    except DECODE_ERRORS as error:
        raise InvalidRecord(find_fault(data) or describe_error(error)) from None
    except RecursionError:
        raise InvalidRecord(TOO_DEEP) from None
    if data.count(b"[") + data.count(b"{") > DEPTH:
        for name, value in fields.items():
            check_depth(build_label(name), value)
    return fields


def _decode_fields(data: bytes, uncut: frozenset[str]) -> dict[str, Any]:
    """Return a record's fields; a vendor's own field ALTERATIONS_KEY is left out and counted there."""
    if len(data) > RECORD_BYTES and data.startswith(b"{"):
        return decode_json(shorten_record(data, uncut))
    fields = decode_json(data)
    if ALTERATIONS_KEY in fields:
        fields[ALTERATIONS_KEY] = {ALTERATIONS_KEY: 1}
    return fields


def find_fault(data: bytes) -> str | None:
    """Return the first field that cannot be decoded, with the reason; None where no single field is at fault."""
    try:
        for name, value in decode_fields(data).items():
            try:
                decode_value(value)
            except DECODE_ERRORS as error:
                what = describe_error(error)
                return f"{build_label(name)}: {what[0].lower()}{what[1:]}"
    except DECODE_ERRORS:
        return None
    return None


def convert_fields(fields: dict[str, Any], struct: type[T], *, strict: bool = True) -> T:
    """Return `fields` as `struct`, without unknown fields; raises InvalidRecord that names the field."""
    try:
        return msgspec.convert(fields, struct, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidRecord(describe_error(error)) from None


def describe_error(error: Exception) -> str:
    """Return msgspec's message as `field: what is wrong`."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    text = str(error)
    if match := MISSING.match(text):
        return f"{match['field']}: missing"
    if match := AT_FIELD.match(text):
        what = match["what"].replace("`", "")
        return f"{match['field']}: {what[0].lower()}{what[1:]}" if match["field"] not in {"", "[...]"} else what
    return text.replace("`", "")


def reject_record(raw: msgspec.Raw | bytes, error: Exception) -> Rejection:
    """Return a record as it came with the reason; of a large record the beginning and its full length."""
    data = bytes(raw)
    payload = data[:PAYLOAD_BYTES].decode(errors="replace").replace("\0", "\ufffd")
    if len(data) > PAYLOAD_BYTES:
        payload += f"… [cut by the portal: {len(data):,} bytes in all]"
    digest = blake2b(data, digest_size=16).hexdigest()
    return Rejection(payload, str(error).replace("\0", "\ufffd")[:REASON_LENGTH], digest)


def parse_instant(field: str, text: str, zone: tzinfo = UTC, fold: int = 0) -> datetime:
    """Return an ISO 8601 date-time as a UTC instant, cut to microseconds; without an offset it is of `zone`.

    `fold`: 1 for the second coming of a time that the clocks of `zone` show twice. Raises InvalidRecord naming
    `field`.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=zone, fold=fold)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRecord(f"{field}: not a date and time: {text[:40]!r}") from None
    if not EARLIEST <= moment <= LATEST:
        raise InvalidRecord(f"{field}: a time outside of the calendar: {text[:40]!r}")
    return moment


def exceeds_microseconds(text: str) -> bool:
    """Return whether a date-time has digits beyond the microsecond that are not 0."""
    return BEYOND_MICROSECONDS.search(text) is not None
