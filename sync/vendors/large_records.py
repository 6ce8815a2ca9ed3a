"""Records too large to decode: split byte by byte, in memory that does not grow with them."""

import re
from collections.abc import Iterator

import msgspec

from sync.vendors.record_limits import ALTERATIONS_KEY, JSON_BYTES, InvalidRecord

RECORD_BYTES = 64 * 1024
MAX_UNCUT_BYTES = 4 * RECORD_BYTES
MAX_FIELDS = 1000
TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# An object or a list without another in it.
FLAT = rb"[{\[](?:[^\"\[\]{}]++|" + TEXT + rb")*+[}\]]"
# Up to the next bracket or comma, and up to the next bracket; what is flat is skipped in one step.
ENTRY = re.compile(rb"(?:[^\"\[\]{},]++|" + TEXT + rb"|" + FLAT + rb")*+[\[\]{},]", re.DOTALL)
NESTED = re.compile(rb"(?:[^\"\[\]{}]++|" + TEXT + rb"|" + FLAT + rb")*+[\[\]{}]", re.DOTALL)
FIELD = re.compile(rb"\s*+(" + TEXT + rb")\s*+:\s*+", re.DOTALL)


def shorten_record(raw: bytes, uncut: frozenset[str] = frozenset()) -> bytes:
    """Return a record whose large lists and objects are cut to their first entries; texts and numbers stay.

    ALTERATIONS_KEY has how many entries were left out of each field. Raises InvalidRecord for more than MAX_FIELDS
    fields, and for a field of `uncut` above MAX_UNCUT_BYTES: it is usage, of which nothing may be left out.
    """
    fields: dict[str, bytes] = {}
    dropped: dict[str, int] = {}
    left = RECORD_BYTES
    for name, value in split_fields(raw):
        fields[name] = value
        if name in uncut:
            check_size(name, value)
        elif value.startswith((b"[", b"{")):
            if len(value) > (limit := min(left, JSON_BYTES)):
                fields[name], dropped[name] = cut_entries(value, limit)
            left -= len(fields[name])
        if len(fields) > MAX_FIELDS:
            raise InvalidRecord(f"more than {MAX_FIELDS:,} fields")
    fields.pop(ALTERATIONS_KEY, None)
    parts = [msgspec.json.encode(name) + b":" + value for name, value in fields.items()]
    if dropped:
        parts.append(msgspec.json.encode(ALTERATIONS_KEY) + b":" + msgspec.json.encode(dropped))
    return b"{" + b",".join(parts) + b"}"


def check_size(name: str, value: bytes) -> None:
    """Raise InvalidRecord for a field that is too large to read and may not be cut."""
    if len(value) > MAX_UNCUT_BYTES:
        raise InvalidRecord(f"{name}: {len(value):,} bytes long, where {MAX_UNCUT_BYTES:,} can be read")


def cut_entries(value: bytes, limit: int) -> tuple[bytes, int]:
    """Return a list or an object with the first entries that fit into `limit` bytes, and how many do not."""
    entries: list[bytes] = []
    dropped = 0
    for entry in split_entries(value):
        if dropped or len(entry) + 1 > limit:
            dropped += 1
            continue
        limit -= len(entry) + 1
        entries.append(entry)
    return value[:1] + b",".join(entries) + value[-1:], dropped


def split_fields(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the names of an object's fields, with the JSON of their values."""
    for entry in split_entries(raw):
        if match := FIELD.match(entry):
            yield msgspec.json.decode(match[1], type=str), entry[match.end() :].rstrip()


def split_entries(raw: bytes) -> Iterator[bytes]:
    """Yield the entries of a list, or the fields of an object with their names; `raw` is well-formed JSON."""
    begin = place = 1
    depth = 0
    while match := (NESTED if depth else ENTRY).match(raw, place):
        place = match.end()
        match raw[place - 1 : place]:
            case b"[" | b"{":
                depth += 1
            case b",":
                yield raw[begin : place - 1]
                begin = place
            case _ if depth:
                depth -= 1
            case _:
                if entry := raw[begin : place - 1].strip():
                    yield entry
                return
