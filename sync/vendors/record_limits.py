"""The limits of one record, and how its alterations for storage are recorded.

An id or a measure that cannot be stored rejects its record. A name, a tag or a field without a column never does: it
is cut, replaced or left out, and the record's `extra` says so under ALTERATIONS_KEY. docs/vendors/limits.md has the
limits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

ALTERATIONS_KEY = "_portal"  # the only key of `extra` that is the portal's own

NAME_BYTES = 1000  # of a name, a tag's key or value, and a text in a field without a column
TAGS_KEPT = 100
JSON_BYTES = 16 * 1024  # of each of `details`, `tags` and `extra`
DEPTH = 64  # of objects and lists within each other
DIGITS = 1000  # of one number, on either side of its point; PostgreSQL's NUMERIC takes many more
REPLACEMENT = "\ufffd"
NUL_ESCAPE = b"\\u0000"
LABEL_LENGTH = 50


class InvalidRecord(ValueError):
    """A single record that is rejected; the text is the reason and names the field."""


def parse_number(text: str) -> Decimal:
    """Return a JSON number with all its digits; raises ValueError for a number that no database stores."""
    number = Decimal(text)
    if len(text) > DIGITS or abs(number.adjusted()) > DIGITS:
        raise ValueError("a number with too many digits")
    return number


decode_json = msgspec.json.Decoder(dict[str, Any], float_hook=parse_number).decode
# Equal values have the same bytes.
encode_json = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


@dataclass
class Alterations:
    """What was altered of one record.

    `cut`: the original length in bytes of each text that was cut. `replaced`: the fields in which a character that
    cannot be stored (NUL or half of a surrogate pair) became U+FFFD. `dropped`: how many entries were left out
    of `tags`, `details`, `extra` or a single field.
    """

    cut: dict[str, int] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.cut or self.replaced or self.dropped)

    def count_dropped(self, name: str, number: int = 1) -> None:
        self.dropped[name] = self.dropped.get(name, 0) + number

    def add(self, part: "Alterations") -> None:
        self.cut |= part.cut
        self.replaced |= part.replaced
        for name, number in part.dropped.items():
            self.count_dropped(name, number)

    def build_json(self) -> dict[str, Any]:
        """Return the JSON that is stored, without empty parts."""
        parts = {"cut": self.cut, "dropped": self.dropped, "replaced": sorted(self.replaced)}
        return {name: part for name, part in parts.items() if part}


def check_id(name: str, text: str, limit: int) -> str:
    """Return an id of at most `limit` bytes; raises InvalidRecord for an id that cannot be stored as it is."""
    if "\0" in text:
        raise InvalidRecord(f"{name}: text with a NUL character, or with half of a character")
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        raise InvalidRecord(f"{name}: {size:,} bytes long, where {limit:,} can be stored")
    return text


def check_number(name: str, number: Decimal) -> Decimal:
    """Return a measure; raises InvalidRecord where it is not finite or has more than DIGITS digits."""
    if not number.is_finite():
        raise InvalidRecord(f"{name}: not a number")
    if len(number.as_tuple().digits) > DIGITS or abs(number.adjusted()) > DIGITS:
        raise InvalidRecord(f"{name}: a number with too many digits")
    return number


def fit_text(name: str, text: str, alterations: Alterations) -> str:
    """Return `text` as it can be stored: cut to NAME_BYTES, without NUL characters; adds to `alterations`."""
    if len(text) * 4 > NAME_BYTES and (size := len(text.encode())) > NAME_BYTES:
        alterations.cut[name] = size
        text = text.encode()[:NAME_BYTES].decode(errors="ignore")
    if "\0" in text:
        alterations.replaced.add(name)
        text = text.replace("\0", REPLACEMENT)
    return text


def fit_value(name: str, value: Any, alterations: Alterations) -> Any:
    """Return any JSON value with its texts as they can be stored; a key that becomes a duplicate counts as dropped."""
    if isinstance(value, str):
        return fit_text(name, value, alterations)
    if isinstance(value, list):
        return [fit_value(name, inner, alterations) for inner in value]
    if not isinstance(value, dict):
        return value
    fitted: dict[str, Any] = {}
    for key, inner in sorted(value.items()):
        key = fit_text(name, key, alterations)
        if key in fitted:
            alterations.count_dropped(name)
        else:
            fitted[key] = fit_value(name, inner, alterations)
    return fitted


def encode_object(column: str, value: Mapping[str, Any], alterations: Alterations) -> str | None:
    """Return an object as JSON text that its column can store, with sorted names; None for an empty object.

    Of a larger object the fields that fit into JSON_BYTES are kept, in the order of their names.
    """
    if not value:
        return None
    text = encode_json(value)
    if len(text) > JSON_BYTES or NUL_ESCAPE in text:
        text = encode_json(dict(_iterate_fitting(column, value, alterations)))
    return text.decode()


def _iterate_fitting(column: str, value: Mapping[str, Any], alterations: Alterations) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an object that fit into its column."""
    left = JSON_BYTES
    names: set[str] = set()
    for key, inner in sorted(value.items()):
        field_alterations = Alterations()
        label = build_label(key)
        name = fit_text(label, key, field_alterations)
        fitted = fit_value(label, inner, field_alterations)
        size = len(encode_json({name: fitted}))
        if size > left or name in names:
            alterations.count_dropped(column)
            continue
        left -= size
        names.add(name)
        alterations.add(field_alterations)
        yield name, fitted


def fit_tags(pairs: list[dict[str, Any]], alterations: Alterations) -> list[dict[str, Any]]:
    """Return the first TAGS_KEPT tags that fit into their column, their keys and values cut like names."""
    text = encode_json(pairs)
    if len(pairs) <= TAGS_KEPT and len(text) <= NAME_BYTES and NUL_ESCAPE not in text:
        return pairs
    left = JSON_BYTES
    tags: list[dict[str, Any]] = []
    for key, value in ((key, value) for pair in pairs for key, value in pair.items()):
        tag_alterations = Alterations()
        label = f"tags.{build_label(key)}"
        tag = {fit_text(label, key, tag_alterations): fit_value(label, value, tag_alterations)}
        size = len(encode_json(tag))
        if len(tags) == TAGS_KEPT or size > left:
            alterations.count_dropped("tags")
            continue
        left -= size
        alterations.add(tag_alterations)
        tags.append(tag)
    return tags


def build_label(key: str) -> str:
    """Return how alterations call a field of the vendor: its name, or the beginning of a long name."""
    name = key.replace("\0", REPLACEMENT)
    return name if len(name) <= LABEL_LENGTH else f"{name[:LABEL_LENGTH]}…"


def encode_extra(value: Mapping[str, Any], alterations: Alterations) -> str | None:
    """Return `extra` as JSON text with the record's alterations; called after all other columns."""
    text = encode_object("extra", value, alterations)
    if not alterations:
        return text
    return encode_json({**(decode_json(text) if text else {}), ALTERATIONS_KEY: alterations.build_json()}).decode()


def check_depth(name: str, value: Any) -> None:
    """Raise InvalidRecord where objects and lists stand more than DEPTH deep within each other."""
    level = [value]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _get_children(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise InvalidRecord(f"{name}: nested more than {DEPTH} deep")


def _get_children(value: Any) -> Iterable[Any]:
    """Return the values of an object or a list."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
