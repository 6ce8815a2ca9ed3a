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


def of_kind(schema: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    """Return an example of an object, a list, or a plain value."""
    kind = kind_of(schema)
    if kind == "array":
        return [example_of(schema.get("items", {}), components, name, depth + 1)] if depth < DEEPEST else []
    if kind == "object" and ("properties" in schema or name not in NAMED):
        members = schema.get("properties", {}) if depth < DEEPEST else {}
        return {member: example_of(of, components, member, depth + 1) for member, of in members.items()}
    if fits(name, schema):
        return NAMED[name]
    if kind == "string" and isinstance(NAMED.get(name), int):
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
    types = {str: "string", int: "integer", dict: "object", type(None): "null"}
    allowed = schema.get("type", [])
    kinds = {allowed} if isinstance(allowed, str) else set(allowed)
    return name in NAMED and (not kinds or types[type(NAMED[name])] in kinds)
