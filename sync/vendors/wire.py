"""What vendors' JSON needs: exact numbers, instants of any precision, and reasons a person understands."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar

import msgspec

from sync.vendors.base import Checked, Rejected
from usage.models import Verification

T = TypeVar("T")

DIGITS = 1000  # of one number, on either side of its point; PostgreSQL's NUMERIC takes many more
DIFFERENCES_KEPT = 100
AT_FIELD = re.compile(r"^(?P<what>.+) - at `\$\.?(?P<field>.*)`$", re.DOTALL)
MISSING = re.compile(r"^Object missing required field `(?P<field>.+)`$")
BEYOND_MICROSECONDS = re.compile(r"\.\d{6}0*[1-9]")


class UnfitRecordError(ValueError):
    """A single record that cannot be kept; its text is the reason, and names the field."""


def exact(text: str) -> Decimal:
    """Return a JSON number with all its digits; raises ValueError for one that no database would hold."""
    number = Decimal(text)
    if len(text) > DIGITS or abs(number.adjusted()) > DIGITS:
        raise ValueError("a number with too many digits")
    return number


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=exact).decode
_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


def record(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a record's fields, numbers exact; raises UnfitRecordError where it is no sound object."""
    try:
        fields = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnfitRecordError(reason(error)) from None
    if rb"\u0000" in bytes(raw):
        refuse_nul(fields)
    return fields


def refuse_nul(value: Any, field: str = "") -> None:
    """Raise UnfitRecordError where a text holds the character NUL, which PostgreSQL cannot store."""
    if isinstance(value, str) and "\0" in value:
        raise UnfitRecordError(f"{field}: text with a NUL character")
    if isinstance(value, dict):
        for name, inner in value.items():
            refuse_nul(name, field or "a field's name")
            refuse_nul(inner, field or name)
    if isinstance(value, list):
        for inner in value:
            refuse_nul(inner, field)


def fitted(fields: dict[str, Any], shape: type[T], *, strict: bool = True) -> T:
    """Return `fields` as `shape`, unknown ones left out; raises UnfitRecordError with the field."""
    try:
        return msgspec.convert(fields, shape, strict=strict)
    except msgspec.ValidationError as error:
        raise UnfitRecordError(reason(error)) from None


def reason(error: Exception) -> str:
    """Return msgspec's word for a fault as `field: what is wrong`."""
    text = str(error)
    if missing := MISSING.match(text):
        return f"{missing['field']}: missing"
    if at := AT_FIELD.match(text):
        what = at["what"].replace("`", "")
        return f"{at['field']}: {what[0].lower()}{what[1:]}" if at["field"] not in {"", "[...]"} else what
    return text.replace("`", "")


def rejected(raw: msgspec.Raw, error: UnfitRecordError) -> Rejected:
    """Return a record as it came, with why it cannot be kept."""
    return Rejected(bytes(raw).decode(errors="replace").replace("\0", "\ufffd"), str(error))


def json_text(value: dict[str, Any]) -> str | None:
    """Return an object as JSON text with sorted names and exact numbers; None for an empty one."""
    return _encode(value).decode() if value else None


def canonical(value: Any) -> bytes:
    """Return one and the same JSON bytes for equal values."""
    return _encode(value)


def instant(field: str, text: str, zone: tzinfo = UTC) -> datetime:
    """Return an ISO 8601 date-time as a UTC instant, cut to microseconds; without an offset it is of `zone`.

    Raises UnfitRecordError naming `field`.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnfitRecordError(f"{field}: not a date and time: {text[:40]!r}") from None


def finer(text: str) -> bool:
    """Tell whether a date-time says more than microseconds can hold."""
    return BEYOND_MICROSECONDS.search(text) is not None


def compared(differences: Iterable[dict[str, Any]]) -> Checked:
    """Return the word on a day whose checksums were compared: verified where there is no difference.

    Of many differences the first hundred are kept, and how many more there are.
    """
    rest = iter(differences)
    kept = list(islice(rest, DIFFERENCES_KEPT))
    if more := sum(1 for _ in rest):
        kept.append({"what": "further differences", "vendor": None, "portal": None, "count": more})
    return Checked(Verification.UNVERIFIED if kept else Verification.VERIFIED, kept)
