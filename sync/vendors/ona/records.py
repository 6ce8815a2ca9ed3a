"""Ona's records as rows: all at once where a page is as documented, one by one where anything is unusual."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from sync.vendors.base import Page, Rejected
from usage.days import Day
from usage.models import EnvironmentRow

# Assumed: no run is older than the vendor, so an earlier instant (the year 1 of an unset time) is a fault.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
# Not assumed: whether `createdAt` of a restarted environment is the restart or the first creation. The portal
# keeps what the vendor says, and a runtime is the time between the two.

LONGEST = 500  # characters of an id; longer ones do not fit into an index
IN_MICROSECONDS = len("2026-01-31T12:00:00.123456Z")
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
NUL_ESCAPE = b"\\u0000"
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
IDS = ("environmentId", "projectId", "userId", "runnerId", "environmentClassId")

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
Reference = Annotated[str, msgspec.Meta(max_length=LONGEST)]


class NotPromised(Exception):
    """An answer that is not a page; says in what it differs."""


class Unfit(Exception):
    """A single record that cannot be kept; says why."""


class Pagination(msgspec.Struct):
    """Where the listing goes on; empty or absent after the last page."""

    nextToken: str | None = None  # noqa: N815 - the vendor's name


class Record(msgspec.Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    """A run as documented, with an id and an end; whatever deviates is looked at one by one."""

    id: Id
    stopped_at: str
    created_at: str = ""
    environment_id: Reference = ""
    project_id: Reference = ""
    user_id: Reference = ""
    runner_id: Reference = ""
    environment_class_id: Reference = ""


class Answer(msgspec.Struct):
    """A page of which every record is as documented."""

    records: list[Record]
    pagination: Pagination | None = None


as_documented = msgspec.json.Decoder(Answer)
as_record = msgspec.json.Decoder(Record)
as_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
as_records = msgspec.json.Decoder(list[msgspec.Raw] | None)
as_pagination = msgspec.json.Decoder(Pagination | None)
as_anything = msgspec.json.Decoder()
encode = msgspec.json.Encoder(order="deterministic").encode


def page_of(body: bytes, day: Day, nameless: Counter[str]) -> tuple[Page, str]:
    """Return the page in `body` and the token of the next one, "" where there is none.

    `nameless` counts the records without an id of this read. Raises NotPromised where `body` is no page.
    """
    try:
        if NUL_ESCAPE not in body:
            answer = as_documented.decode(body)
            return Page(rows_of(answer.records, day)), token_of(answer.pagination)
    except (ValueError, IndexError):
        # Malformed JSON, an unknown field, an unusual time: the closer look tells which, and of which record.
        pass
    return closer_look(body, day, nameless)


def token_of(pagination: Pagination | None) -> str:
    """Return the token of the next page, "" after the last."""
    return pagination.nextToken or "" if pagination else ""


def rows_of(records: Sequence[Record], day: Day) -> list[EnvironmentRow]:
    """Return one row per record; raises ValueError or IndexError if one of them is not plainly right."""
    start, end = day.start, day.end
    rows = []
    for one in records:
        extra = None
        created, stopped = one.created_at, one.stopped_at
        if len(stopped) > IN_MICROSECONDS or len(created) > IN_MICROSECONDS:
            extra = beyond_microseconds(created, stopped)
        stopped_at = utc(stopped)
        created_at = utc(created) if created else None
        if not start <= stopped_at < end or (created_at and not EARLIEST <= created_at <= stopped_at):
            raise ValueError(one.id)
        rows.append(
            EnvironmentRow(
                one.id,
                one.environment_id,
                one.project_id,
                one.user_id,
                one.runner_id,
                one.environment_class_id,
                created_at,
                stopped_at,
                extra,
            )
        )
    return rows


def utc(text: str) -> datetime:
    """Return a time in the usual form, cut to microseconds; raises ValueError or IndexError."""
    if text[10] != "T" or text[16] != ":" or text[-1] != "Z":
        raise ValueError(text)
    return datetime.fromisoformat(text)


def beyond_microseconds(created: str, stopped: str) -> str | None:
    """Return the times that say more than a column holds, as JSON text; raises ValueError as `utc`."""
    kept = [f'"{name}":"{text}"' for name, text in (("createdAt", created), ("stoppedAt", stopped)) if too_exact(text)]
    return f"{{{','.join(kept)}}}" if kept else None


def too_exact(text: str) -> bool:
    """Tell whether a time has digits beyond the microsecond that count; raises ValueError as `utc`."""
    if len(text) <= IN_MICROSECONDS:
        return False
    digits = text[20:-1]
    if text[19] != "." or not (digits.isascii() and digits.isdigit()):
        raise ValueError(text)
    return digits[6:].strip("0") != ""


def closer_look(body: bytes, day: Day, nameless: Counter[str]) -> tuple[Page, str]:
    """Return the page in `body`, record by record: what is unknown is kept, what is unfit is rejected."""
    try:
        answer = as_object.decode(body)
        # The vendor leaves out what is empty: an empty object is an empty page, and an error is none.
        if answer and not answer.keys() & {"records", "pagination"}:
            raise NotPromised("it holds neither records nor pagination")
        records = as_records.decode(answer.get("records", b"null")) or []
        token = token_of(as_pagination.decode(answer.get("pagination", b"null")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotPromised(str(error).rstrip(".")) from None
    page = Page(rows := [], rejected := [])
    for record in map(bytes, records):
        try:
            rows.append(plain_row(record, day) or row_of(record, day, nameless))
        except Unfit as reason:
            rejected.append(Rejected(record.decode(errors="replace"), str(reason)))
    return page, token


def plain_row(record: bytes, day: Day) -> EnvironmentRow | None:
    """Return the row of a record that is as documented, None for one that has to be read with care."""
    try:
        return None if NUL_ESCAPE in record else rows_of([as_record.decode(record)], day)[0]
    except (ValueError, IndexError):
        return None


def row_of(record: bytes, day: Day, nameless: Counter[str]) -> EnvironmentRow:
    """Return the row of a single record; raises Unfit with the reason if it cannot be kept."""
    try:
        fields = as_object.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unfit("The record is not a JSON object.") from None
    if NUL.search(record):
        raise Unfit("The record holds a NUL character, which the database cannot keep.")
    environment, project, user, runner, environment_class = (text_of(fields, name) for name in IDS)
    extra: dict[str, bytes] = {}
    created_at = instant_of(fields, "createdAt", extra)
    stopped_at = instant_of(fields, "stoppedAt", extra)
    if stopped_at is None:
        raise Unfit("stoppedAt is missing: a run without an end belongs to no day.")
    if not day.start <= stopped_at < day.end:
        raise Unfit("stoppedAt lies outside the day that was asked for.")
    if created_at and not EARLIEST <= created_at <= stopped_at:
        raise Unfit("createdAt lies after stoppedAt, or before there was such a vendor.")
    record_id = text_of(fields, "id") or name_of(record, nameless)
    extra |= {name: unknown(name, value) for name, value in fields.items()}
    return EnvironmentRow(
        record_id,
        environment,
        project,
        user,
        runner,
        environment_class,
        created_at,
        stopped_at,
        json_text(extra),
    )


def text_of(fields: dict[str, msgspec.Raw], name: str) -> str:
    """Take a text out of a record's fields, "" where it is missing or null; else raises Unfit."""
    value = value_of(name, fields.pop(name, None))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unfit(f"{name} is not a text.")
    if len(value) > LONGEST:
        raise Unfit(f"{name} is longer than {LONGEST} characters.")
    return value


def instant_of(fields: dict[str, msgspec.Raw], name: str, extra: dict[str, bytes]) -> datetime | None:
    """Take an instant out of a record's fields, cut to microseconds; None where it is missing.

    Text that says more than a column can hold goes to `extra`. Raises Unfit for what is no RFC 3339 time.
    """
    text = text_of(fields, name)
    if not text:
        return None
    parts = TIMESTAMP.fullmatch(text.upper())
    if parts is None:
        raise Unfit(f"{name} is not a time: {text[:100]}.")
    date, time, fraction, offset = parts.groups(default="")
    try:
        instant = datetime.fromisoformat(f"{date}T{time}.{fraction[:6]:0<6}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit(f"{name} is no time that there is: {text[:100]}.") from None
    if fraction[6:].strip("0"):
        extra[name] = encode(text)
    return instant


def unknown(name: str, raw: msgspec.Raw) -> bytes:
    """Return the JSON of a field the portal does not know; raises Unfit if no database can hold it."""
    value_of(name, raw)
    return bytes(raw)


def value_of(name: str, raw: msgspec.Raw | None) -> Any:
    """Return the value of a field; raises Unfit for a number or text that no computer can hold."""
    try:
        return None if raw is None else as_anything.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfit(f"{name} holds a value that cannot be kept.") from None


def name_of(record: bytes, nameless: Counter[str]) -> str:
    """Return a stable id for a record without one: `~` and a digest of its fields.

    Equal records of one read get an ordinal from the second on, so that none is lost.
    """
    fields = as_anything.decode(record)
    fields.pop("id", None)
    digest = blake2b(encode(fields), digest_size=16).hexdigest()
    nameless[digest] += 1
    return f"~{digest}" if nameless[digest] == 1 else f"~{digest}-{nameless[digest]}"


def json_text(fields: dict[str, bytes]) -> str | None:
    """Return an object of fields that are JSON already, None for an empty one."""
    if not fields:
        return None
    return "{" + ",".join(f"{encode(name).decode()}:{value.decode()}" for name, value in fields.items()) + "}"
