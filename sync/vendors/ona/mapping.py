"""Ona's records as rows: a page at once where it is as documented, record by record where anything is unusual."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from sync.vendors.base import Page, Rejection
from sync.vendors.decoding import (
    INVALID_JSON,
    decode_body,
    decode_fields,
    decode_record,
    decode_value,
    describe_error,
    find_error_envelope,
    reject_record,
)
from sync.vendors.record_limits import (
    ALTERATIONS_KEY,
    Alterations,
    InvalidRecord,
    check_id,
    encode_extra,
    encode_json,
)
from usage.days import Day
from usage.limits import get_text_limits
from usage.models import EnvironmentRow, EnvironmentUsage

# Assumed: no run is older than the vendor, so an earlier instant (the year 1 of an unset time) is a fault.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
# Not assumed: whether `createdAt` of a restarted environment is the restart or the first creation. The portal
# stores what the vendor reports, and a runtime is the time between the two.

# The columns of the vendor's ids.
COLUMNS = {
    "id": "record_id",
    "environmentId": "environment_id",
    "projectId": "project_id",
    "userId": "user_id",
    "runnerId": "runner_id",
    "environmentClassId": "environment_class_id",
}
LIMITS = get_text_limits(EnvironmentUsage)
# Ids of no more characters fit whatever characters these are; the bytes of longer ids are counted.
SAFE_LENGTH = min(LIMITS[column] for column in COLUMNS.values()) // 4
MAX_TIME_LENGTH = 500
MICROSECOND_LENGTH = len("2026-01-31T12:00:00.123456Z")
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
NUL_ESCAPE = b"\\u0000"
REFERENCES = ("environmentId", "projectId", "userId", "runnerId", "environmentClassId")

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=SAFE_LENGTH)]
Reference = Annotated[str, msgspec.Meta(max_length=SAFE_LENGTH)]


class NotAPage(Exception):
    """An answer that is not a page; the text is the difference."""


class Pagination(msgspec.Struct):
    """Where the listing goes on; empty or absent after the last page."""

    nextToken: str | None = None  # noqa: N815 - the vendor's name


class Record(msgspec.Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    """A run as documented, with an id and an end; `parse_record` parses other runs."""

    id: Id
    stopped_at: str
    created_at: str = ""
    environment_id: Reference = ""
    project_id: Reference = ""
    user_id: Reference = ""
    runner_id: Reference = ""
    environment_class_id: Reference = ""


class DocumentedPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page as documented; an unknown field may be an error, so such a page is parsed record by record."""

    records: list[Record]
    pagination: Pagination | None = None


decode_page = msgspec.json.Decoder(DocumentedPage).decode
decode_documented_record = msgspec.json.Decoder(Record).decode
decode_records = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
decode_pagination = msgspec.json.Decoder(Pagination | None).decode


def parse_page(body: bytes, day: Day, nameless: Counter[str]) -> tuple[Page, str | None]:
    """Return the page in `body` and the token of the next page: "" after the last, None where it has no pagination.

    `nameless` counts the records without an id of this read. Raises NotAPage where `body` is no page.
    """
    try:
        if NUL_ESCAPE not in body:
            page = decode_page(body)
            return Page(build_rows(page.records, day)), get_token(page.pagination)
    except (ValueError, IndexError, RecursionError):
        # Malformed JSON, an unknown field, an unusual time: record by record shows which, and where.
        pass
    return parse_records(body, day, nameless)


def get_token(pagination: Pagination | None) -> str | None:
    """Return the token of the next page, "" after the last, None without pagination."""
    return None if pagination is None else pagination.nextToken or ""


def build_rows(records: Sequence[Record], day: Day) -> list[EnvironmentRow]:
    """Return one row per record; raises ValueError or IndexError if any of them is unusual."""
    start, end = day.start, day.end
    rows = []
    for record in records:
        extra = None
        created, stopped = record.created_at, record.stopped_at
        if len(stopped) > MICROSECOND_LENGTH or len(created) > MICROSECOND_LENGTH:
            extra = encode_precise_times(created, stopped)
        stopped_at = parse_utc(stopped)
        created_at = parse_utc(created) if created else None
        if not start <= stopped_at < end or (created_at and not EARLIEST <= created_at <= stopped_at):
            raise ValueError(record.id)
        rows.append(
            EnvironmentRow(
                record.id,
                record.environment_id,
                record.project_id,
                record.user_id,
                record.runner_id,
                record.environment_class_id,
                created_at,
                stopped_at,
                extra,
            )
        )
    return rows


def parse_utc(text: str) -> datetime:
    """Return a time in the usual form, cut to microseconds; raises ValueError or IndexError."""
    if text[10] != "T" or text[16] != ":" or text[-1] != "Z":
        raise ValueError(text)
    return datetime.fromisoformat(text)


def encode_precise_times(created: str, stopped: str) -> str | None:
    """Return the times that are finer than microseconds as JSON text; raises ValueError as `parse_utc`."""
    fields = f'"createdAt":"{created}"' if is_too_precise(created) else ""
    if is_too_precise(stopped):
        fields += f'{"," if fields else ""}"stoppedAt":"{stopped}"'
    return f"{{{fields}}}" if fields else None


def is_too_precise(text: str) -> bool:
    """Return whether a time has digits beyond the microsecond that are not 0; raises ValueError as `parse_utc`."""
    if len(text) <= MICROSECOND_LENGTH:
        return False
    digits = text[20:-1]
    if text[19] != "." or not (digits.isascii() and digits.isdigit()):
        raise ValueError(text)
    return digits[6:].strip("0") != ""


def parse_records(body: bytes, day: Day, nameless: Counter[str]) -> tuple[Page, str | None]:
    """Return as `parse_page` does, record by record: unknown fields are stored, invalid records are rejected."""
    if envelope_error := find_error_envelope(body):
        raise NotAPage(envelope_error.rstrip("."))
    try:
        fields = decode_body(decode_fields, body)
        # The vendor leaves out what is empty: an empty object is an empty page, and an error is none.
        if fields and not fields.keys() & {"records", "pagination"}:
            raise NotAPage("it holds neither records nor pagination")
        records = decode_records(fields.get("records", b"null")) or []
        token = get_token(decode_pagination(fields.get("pagination", b"null")))
    except INVALID_JSON as error:
        raise NotAPage(describe_error(error).rstrip(".")) from None
    rows: list[EnvironmentRow] = []
    rejected: list[Rejection] = []
    for raw in map(bytes, records):
        try:
            rows.append(parse_documented_record(raw, day) or parse_record(raw, day, nameless))
        except InvalidRecord as error:
            rejected.append(reject_record(raw, error))
    return Page(rows, rejected), token


def parse_documented_record(raw: bytes, day: Day) -> EnvironmentRow | None:
    """Return the row of a record that is as documented, None for any other."""
    try:
        return None if NUL_ESCAPE in raw else build_rows([decode_documented_record(raw)], day)[0]
    except (ValueError, IndexError, RecursionError):
        return None


def parse_record(raw: bytes, day: Day, nameless: Counter[str]) -> EnvironmentRow:
    """Return the row of one record; raises InvalidRecord where it cannot be kept."""
    if not raw.startswith(b"{"):
        raise InvalidRecord("The record is not a JSON object.")
    record, alterations = encode_json(decode_record(raw)), Alterations()
    fields = decode_fields(record)
    alterations.dropped |= decode_value(fields.pop(ALTERATIONS_KEY, b"{}"))
    environment, project, user, runner, environment_class = (pop_text(fields, name) for name in REFERENCES)
    extra: dict[str, bytes] = {}
    created_at = pop_instant(fields, "createdAt", extra)
    stopped_at = pop_instant(fields, "stoppedAt", extra)
    if stopped_at is None:
        raise InvalidRecord("stoppedAt is missing: a run without an end belongs to no day.")
    if not day.start <= stopped_at < day.end:
        raise InvalidRecord("stoppedAt lies outside the requested day.")
    if created_at and not EARLIEST <= created_at <= stopped_at:
        raise InvalidRecord("createdAt lies after stoppedAt, or before the vendor existed.")
    record_id = pop_text(fields, "id") or build_id(record, nameless)
    extra |= {name: check_value(name, value) for name, value in fields.items()}
    return EnvironmentRow(
        record_id,
        environment,
        project,
        user,
        runner,
        environment_class,
        created_at,
        stopped_at,
        encode_extra({name: decode_value(value) for name, value in extra.items()}, alterations),
    )


def pop_text(fields: dict[str, msgspec.Raw], name: str) -> str:
    """Remove a text from a record's fields and return it, "" for none or null; raises InvalidRecord for no text."""
    value = parse_value(name, fields.pop(name, None))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRecord(f"{name} is not a text.")
    return check_id(name, value, LIMITS[COLUMNS[name]] if name in COLUMNS else MAX_TIME_LENGTH)


def pop_instant(fields: dict[str, msgspec.Raw], name: str, extra: dict[str, bytes]) -> datetime | None:
    """Remove an instant from a record's fields and return it, cut to microseconds; None where it is missing.

    The text of a finer instant goes to `extra`. Raises InvalidRecord for what is no RFC 3339 time.
    """
    text = pop_text(fields, name)
    if not text:
        return None
    match = TIMESTAMP.fullmatch(text.upper())
    if match is None:
        raise InvalidRecord(f"{name} is not a time: {text[:100]}.")
    date, time, fraction, offset = match.groups(default="")
    try:
        instant = datetime.fromisoformat(f"{date}T{time}.{fraction[:6]:0<6}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRecord(f"{name} is no time of the calendar: {text[:100]}.") from None
    if fraction[6:].strip("0"):
        extra[name] = encode_json(text)
    return instant


def check_value(name: str, raw: msgspec.Raw) -> bytes:
    """Return the JSON of an unknown field; raises InvalidRecord if no database can store it."""
    parse_value(name, raw)
    return bytes(raw)


def parse_value(name: str, raw: msgspec.Raw | None) -> Any:
    """Return the value of a field; raises InvalidRecord for a number or text that cannot be represented."""
    try:
        return None if raw is None else decode_value(raw)
    except INVALID_JSON:
        raise InvalidRecord(f"{name} holds a value that cannot be kept.") from None


def build_id(record: bytes, nameless: Counter[str]) -> str:
    """Return a stable id for a record without an id: a digest of its fields behind `nameless_prefix`.

    Equal records of one read get an ordinal from the second on, so that none is lost.
    """
    fields = decode_value(record)
    fields.pop("id", None)
    digest = blake2b(encode_json(fields), digest_size=16).hexdigest()
    nameless[digest] += 1
    record_id = f"{EnvironmentUsage.nameless_prefix}{digest}"
    return record_id if nameless[digest] == 1 else f"{record_id}-{nameless[digest]}"
