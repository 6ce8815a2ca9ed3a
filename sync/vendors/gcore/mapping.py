"""From a resource of Gcore's report to a row of the portal: columns, details, tags, and a key that lasts."""

from hashlib import blake2b
from typing import Any
from uuid import UUID

from sync.errors import ListingChanged
from sync.vendors.decoding import convert_fields, exceeds_microseconds, parse_instant
from sync.vendors.gcore.schema import IDS, LIMITS, NAMES, OWN_FIELDS, OWN_IDS, VARIANTS, Resource
from sync.vendors.record_limits import (
    ALTERATIONS_KEY,
    Alterations,
    check_id,
    check_number,
    encode_extra,
    encode_json,
    encode_object,
    fit_tags,
    fit_text,
)
from usage.models import ResourceRow

COLUMNS = frozenset(Resource.__struct_fields__) | {ALTERATIONS_KEY}
NO_KEY = UUID(int=0)


class KeyBuilder:
    """Builds the keys of one day's rows, and detects a row that comes again on a later page.

    Two 64-bit digests of every row are in memory, of its identity and of its content: about 130 bytes a row, 130 MB
    for a day of a million. Rows of one identity that differ, or are on one page, get an ordinal in the vendor's order.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._all: dict[int, list[int]] = {}
        self._page: set[int] = set()

    def start_page(self) -> None:
        """Begin a new page: what came before is an earlier page."""
        self._page.clear()

    def build_key(self, identity: bytes, content: bytes) -> UUID:
        """Return the key of a row; raises ListingChanged where an earlier page had the very same row."""
        digest, content_hash = blake2b(identity, digest_size=16), hash(content)
        identity_hash = int.from_bytes(digest.digest()[:8], "big")
        if identity_hash not in self._first:
            self._first[identity_hash] = content_hash
        else:
            twins = self._all.setdefault(identity_hash, [self._first[identity_hash]])
            if content_hash in twins and content_hash not in self._page:
                raise ListingChanged("A row of an earlier page came again: the report moved while it was read.")
            digest.update(b"#%d" % len(twins))
            twins.append(content_hash)
        self._page.add(content_hash)
        return UUID(bytes=digest.digest())


def build_keyless_row(fields: dict[str, Any]) -> ResourceRow:
    """Return a resource as a row that lacks its key; raises InvalidRecord.

    `details` gets the fields of the resource's type, and all fields of its own where the type is not known.
    `extra` gets, under the vendor's names, what no column can say: fields unknown to the type, `region`
    where it is not `region_id`, instants finer than microseconds, tags whose order `list_tags` would not
    restore, and every explicit null, so that it stays apart from a field that was not there; under ALTERATIONS_KEY,
    what was changed so that it can be stored.
    """
    alterations = Alterations(dropped=dict(fields.get(ALTERATIONS_KEY, {})))
    resource = convert_fields(fields, Resource)
    ids = {column: check_id(name, getattr(resource, name) or "", LIMITS[name]) for name, column in IDS.items()}
    names = {column: fit_text(name, getattr(resource, name) or "", alterations) for name, column in NAMES.items()}
    if resource.tags:
        resource.tags = fit_tags(resource.tags, alterations)
    details, extra = build_details_and_extra(resource, fields)
    return ResourceRow(
        resource_key=NO_KEY,
        **ids,
        **names,
        consumed_quantity=check_number("billing_value", resource.billing_value),
        project_id=resource.project_id,
        region_id=get_region_id(resource.region_id, resource.region),
        first_seen=None if resource.first_seen is None else parse_instant("first_seen", resource.first_seen),
        last_seen=None if resource.last_seen is None else parse_instant("last_seen", resource.last_seen),
        details=encode_object("details", details, alterations),
        tags=encode_json(merge_tags(resource.tags)).decode() if resource.tags else None,
        extra=encode_extra(extra, alterations),
    )


def build_details_and_extra(resource: Resource, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what goes to `details` and what goes to `extra`."""
    own_fields = OWN_FIELDS.get(resource.type)
    details: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in fields.items():
        if name in COLUMNS:
            if value is None:
                extra[name] = None
        elif own_fields is None or name in own_fields:
            details[name] = value
        else:
            extra[name] = value
    if resource.region is not None and resource.region != get_region_id(resource.region_id, resource.region):
        extra["region"] = resource.region
    instants = {"first_seen": resource.first_seen, "last_seen": resource.last_seen}
    extra |= {name: text for name, text in instants.items() if text and exceeds_microseconds(text)}
    if resource.tags is not None and resource.tags != list_tags(merge_tags(resource.tags)):
        extra["tags"] = resource.tags
    return details, extra


def get_region_id(region_id: int | None, region: Any) -> int | None:
    """Return a region's number, which the vendor sends twice."""
    if region_id is not None:
        return region_id
    return region if isinstance(region, int) and not isinstance(region, bool) and abs(region) < 2**63 else None


def merge_tags(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a list of one-key objects as one object: a key that comes once maps to its value, else to a list."""
    values: dict[str, list[Any]] = {}
    for pair in pairs:
        for key, value in pair.items():
            values.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in values.items()}


def list_tags(values: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return tags as the vendor's list of one-key objects, in the order of their keys; None for no tags."""
    return [
        {key: value}
        for key, values in sorted(values.items())
        for value in (values if isinstance(values, list) else [values])
    ] or None


def build_identity(row: ResourceRow, fields: dict[str, Any]) -> bytes:
    """Return what identifies a row within its day, the same however often the day is read.

    That is type, metric, unit, project, region, the variant (flavor and the like) and the uuid, or where
    there is none the type's own ids, its name in the end (docs/vendors/gcore.md). A resource of an unknown
    type without a uuid is identified by its name and every text of its own, since any of them may be its id.
    """
    own_fields = OWN_FIELDS.get(row.resource_type)
    variant = {name: fields[name] for name in VARIANTS if name in fields and (own_fields is None or name in own_fields)}
    return encode_json(
        [
            row.resource_type,
            row.billing_metric,
            row.consumed_unit,
            row.project_id,
            row.region_id,
            variant,
            row.resource_id or get_own_ids(row, fields),
        ]
    )


def get_own_ids(row: ResourceRow, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what tells a resource without a uuid from others."""
    if row.resource_type in OWN_IDS:
        return {name: fields.get(name) for name in OWN_IDS[row.resource_type]}
    if row.resource_type in OWN_FIELDS:
        return {"last_name": fields.get("last_name") or ""}
    texts = {name: value for name, value in fields.items() if name not in COLUMNS and isinstance(value, str)}
    return {**texts, "last_name": fields.get("last_name") or ""}
