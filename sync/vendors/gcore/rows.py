"""From a resource of Gcore's report to a row of the portal: columns, details, tags, and a key that lasts."""

from hashlib import blake2b
from typing import Any
from uuid import UUID

from sync.errors import ListingShifted
from sync.vendors.gcore.wire import OWN_FIELDS, OWN_IDS, VARIANTS, Resource
from sync.vendors.wire import UnfitRecordError, canonical, finer, fitted, instant, json_text
from usage.models import ResourceRow

COLUMNS = frozenset(Resource.__struct_fields__)
KEYLESS = UUID(int=0)


class Keys:
    """Gives the rows of one day their keys, and notices rows that come again on a later page.

    Of every row two 64-bit digests are held, of its identity and of all it says: about 130 bytes a row,
    130 MB for a day of a million. Rows of one identity that differ, or stand on one page, are told apart by
    an ordinal in the vendor's order.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._all: dict[int, list[int]] = {}
        self._page: set[int] = set()

    def turn_page(self) -> None:
        """Forget which rows stand on the page read so far."""
        self._page.clear()

    def key(self, identity: bytes, says: bytes) -> UUID:
        """Return the key of a row; raises ListingShifted where an earlier page had the very same row."""
        digest, said = blake2b(identity, digest_size=16), hash(says)
        who = int.from_bytes(digest.digest()[:8], "big")
        if who not in self._first:
            self._first[who] = said
        else:
            twins = self._all.setdefault(who, [self._first[who]])
            if said in twins and said not in self._page:
                raise ListingShifted("A row of an earlier page came again: the report moved while it was read.")
            digest.update(b"#%d" % len(twins))
            twins.append(said)
        self._page.add(said)
        return UUID(bytes=digest.digest())


def keyless_row(fields: dict[str, Any]) -> ResourceRow:
    """Return a resource as a row that lacks its key; raises UnfitRecordError.

    `details` gets the fields of the resource's type, and all fields of its own where the type is not known.
    `extra` gets, under the vendor's names, what no column can say: fields unknown to the type, `region`
    where it is not `region_id`, instants finer than microseconds, tags whose order `listed_tags` would not
    give back, and every explicit null, so that it stays apart from a field that was not there.
    """
    resource = fitted(fields, Resource)
    if not resource.billing_value.is_finite():
        raise UnfitRecordError("billing_value: not a number")
    details, extra = beyond_columns(resource, fields)
    return ResourceRow(
        resource_key=KEYLESS,
        resource_type=resource.type,
        billing_metric=resource.billing_metric_name or "",
        consumed_quantity=resource.billing_value,
        consumed_unit=resource.billing_value_unit,
        project_id=resource.project_id,
        region_id=region(resource.region_id, resource.region),
        resource_id=resource.uuid or "",
        resource_name=resource.last_name or "",
        first_seen=None if resource.first_seen is None else instant("first_seen", resource.first_seen),
        last_seen=None if resource.last_seen is None else instant("last_seen", resource.last_seen),
        details=json_text(details),
        tags=json_text(tags(resource.tags)) if resource.tags else None,
        extra=json_text(extra),
    )


def beyond_columns(resource: Resource, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what goes to `details` and what goes to `extra`."""
    own = OWN_FIELDS.get(resource.type)
    details: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in fields.items():
        if name in COLUMNS:
            if value is None:
                extra[name] = None
        elif own is None or name in own:
            details[name] = value
        else:
            extra[name] = value
    if resource.region is not None and resource.region != region(resource.region_id, resource.region):
        extra["region"] = resource.region
    seen = {"first_seen": resource.first_seen, "last_seen": resource.last_seen}
    extra |= {name: text for name, text in seen.items() if text and finer(text)}
    if resource.tags is not None and resource.tags != listed_tags(tags(resource.tags)):
        extra["tags"] = resource.tags
    return details, extra


def region(region_id: int | None, again: Any) -> int | None:
    """Return a region's number, which the vendor says twice."""
    if region_id is not None:
        return region_id
    return again if isinstance(again, int) and not isinstance(again, bool) and abs(again) < 2**63 else None


def tags(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a list of one-key objects as one object: a key given once maps to its value, else to a list."""
    values: dict[str, list[Any]] = {}
    for pair in pairs:
        for key, value in pair.items():
            values.setdefault(key, []).append(value)
    return {key: given[0] if len(given) == 1 else given for key, given in values.items()}


def listed_tags(given: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return tags as the vendor's list of one-key objects, in the order of their keys; None for no tags."""
    return [
        {key: value}
        for key, values in sorted(given.items())
        for value in (values if isinstance(values, list) else [values])
    ] or None


def identity(row: ResourceRow, fields: dict[str, Any]) -> bytes:
    """Return what identifies a row within its day, the same however often the day is read.

    That is type, metric, unit, project, region, the variant (flavor and the like) and the uuid, or where
    there is none the type's own ids, its name in the end (contracts.md). A type that is not known and has no
    uuid is told apart by its name and every text of its own, since any of them may be its id.
    """
    own = OWN_FIELDS.get(row.resource_type)
    variant = {name: fields[name] for name in VARIANTS if name in fields and (own is None or name in own)}
    return canonical(
        [
            row.resource_type,
            row.billing_metric,
            row.consumed_unit,
            row.project_id,
            row.region_id,
            variant,
            row.resource_id or ids(row, fields),
        ]
    )


def ids(row: ResourceRow, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what tells a resource without a uuid from others."""
    if row.resource_type in OWN_IDS:
        return {name: fields.get(name) for name in OWN_IDS[row.resource_type]}
    if row.resource_type in OWN_FIELDS:
        return {"last_name": row.resource_name}
    texts = {name: value for name, value in fields.items() if name not in COLUMNS and isinstance(value, str)}
    return {**texts, "last_name": row.resource_name}
