"""The examples of the OpenAPI schema: for every parameter by its name, for every body from its schema."""

from collections.abc import Mapping
from typing import Any, Final

REFERENCE: Final = "#/components/schemas/"
DEEPEST: Final = 8

# By the names of parameters and of members of bodies: what such a thing looks like.
NAMED: Final[dict[str, Any]] = {
    "id": 71203,
    "slug": "production",
    "source": "production",
    "source_slug": "production",
    "day": "2026-11-03",
    "from": "2026-11-01",
    "to": "2026-12-01",
    "from_day": "2026-11-01",
    "to_day": "2026-12-01",
    "tz": "Europe/Berlin",
    "updated_since": "2026-11-20T06:30:00Z",
    "settled_until": "2026-11-21T06:30:00Z",
    "cursor": "W2ZhbHNlLCI3MTIwMyJd.5Wn3kq",
    "next_cursor": "W2ZhbHNlLCI3MTIwMyJd.5Wn3kq",
    "previous_cursor": None,
    "previous": None,
    "next": "https://portal.example/api/v1/sources/?cursor=W2ZhbHNlLCI3MTIwMyJd.5Wn3kq",
    "page_size": 500,
    "digest": "5f1c9a7e3b2d4860",
    "filters": {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
    "complete": False,
    "complete_through": "2026-11-20",
    "provisional_from": "2026-11-18",
    "restated_since": "2026-11-19T04:12:09Z",
    "as_of": "2026-11-21T06:30:00Z",
    "tag": "team:data",
    "tag_key": "team",
    "withdrawn_at": None,
    "error": "",
    "extra": {},
    "details": {"flavor": "g2-standard-4-8"},
    "tags": {"team": "data"},
    "sums": {"minutes": "1440"},
    "sums_before": {"minutes": "1430"},
    "sums_after": {"minutes": "1440"},
    "limit": 10,
    "seconds": "41.207",
}
# By the names of parameters alone, which may be asked for as they stand here.
PARAMETERS: Final[dict[str, Any]] = {
    "vendor": ["gcore"],
    "record_id": ["0b7c6a52-5f2e-4c2b-9d0e-3f1f7f0b9a11"],
    "environment_id": ["5c1d9f30-7a44-4d2e-8f0b-2b1f6f0c7d22"],
    "user_id": ["d2a4c1b8-6e0f-4b7a-9c3d-4e2f8a1b0c33", "e7b5d2c9-1f3a-4c8b-8d4e-5f3a9b2c1d44"],
    "external_id": ["customer-501"],
    "workspace_id": [501],
    "recipe_id": [9001, 9002],
    "folder_id": [31],
    "region_id": [76],
    "resource_type": ["instance", "volume"],
    "resource_name": ["web-1"],
    "consumed_unit": ["minutes"],
    "flavor": ["g2-standard-4-8"],
    "details.flavor": ["g2-standard-4-8"],
    "details.volume_type": ["standard", "ssd_hiiops"],
    "details.last_size": ["100"],
    "group_by": "month,source",
    "order_by": "source",
    "measures": "records",
}
PROJECTS: Final[dict[str, Any]] = {"string": ["2bf9b60d-5e7a-4bcf-8c8d-9d7edf6a5b88"], "integer": [11, 12]}
ENDINGS: Final = {"__contains": "orders", "__gte": "60", "__gt": "60", "__lte": "3600", "__lt": "3600"}
OF_FORMAT: Final = {
    "date": "2026-11-03",
    "date-time": "2026-11-03T10:15:00Z",
    "decimal": "1440.0001",
    "uri": "https://portal.example/api/v1/sources/",
    "uuid": "0b7c6a52-5f2e-4c2b-9d0e-3f1f7f0b9a11",
}
OF_TYPE: Final[dict[str, Any]] = {"string": "text", "integer": 3, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """Return a value that the JSON schema allows, the one for `name` where there is one.

    `components`: the schemas that references lead to, by name. Members beyond DEEPEST levels are left out.
    """
    for said in ("example", "const", "default"):
        if said in schema:
            return schema[said]
    for several in ("examples", "enum"):
        if schema.get(several):
            return schema[several][0]
    if "$ref" in schema:
        return example_of(components[schema["$ref"].removeprefix(REFERENCE)], components, name, depth)
    for parts in ("oneOf", "anyOf", "allOf"):
        if schema.get(parts):
            return example_of(schema[parts][0], components, name, depth)
    return of_kind(schema, components, name, depth)


def example_of_parameter(name: str, schema: Mapping[str, Any]) -> Any:
    """Return a value that the parameter of that name may be asked with."""
    if name in PARAMETERS:
        return PARAMETERS[name]
    if name == "project_id":
        return PROJECTS[kind_of(schema["items"])]
    ending = next((end for end in ENDINGS if name.endswith(end)), "")
    return ENDINGS[ending] if ending and kind_of(schema) == "string" else example_of(schema, {}, name)


def of_kind(schema: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    """Return an example of an object, a list, or a plain value."""
    kind = kind_of(schema)
    if kind == "array":
        return [example_of(schema.get("items", {}), components, name, depth + 1)] if depth < DEEPEST else []
    if kind == "object" and ("properties" in schema or name not in NAMED):
        members = schema.get("properties", {}) if depth < DEEPEST else {}
        return {member: example_of(of, components, member, depth + 1) for member, of in members.items()}
    if fits(name, schema):
        of_instant = schema.get("format") == "date-time" and name in {"from", "to"}
        return f"{NAMED[name]}T00:00:00Z" if of_instant else NAMED[name]
    if kind == "string" and type(NAMED.get(name)) is int:
        return str(NAMED[name])  # a number in an address
    found = OF_FORMAT.get(schema.get("format", ""), OF_TYPE.get(kind, {}))
    return schema.get("minimum", found) if kind == "integer" and "maximum" in schema else found


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema, the first that is not null."""
    kinds = schema.get("type", "object" if "properties" in schema else "")
    if isinstance(kinds, str):
        return kinds
    return str(next((kind for kind in kinds if kind != "null"), "null"))


def fits(name: str, schema: Mapping[str, Any]) -> bool:
    """Tell whether the example of that name is of the schema's type."""
    types = {str: "string", int: "integer", bool: "boolean", dict: "object", type(None): "null"}
    allowed = schema.get("type", [])
    kinds = {allowed} if isinstance(allowed, str) else set(allowed)
    return name in NAMED and (not kinds or types[type(NAMED[name])] in kinds)
