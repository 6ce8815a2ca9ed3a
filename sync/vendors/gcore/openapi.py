"""Gcore's usage report as OpenAPI has it, made of what is asked and of the contract's table of types."""

from typing import Any, Final

import msgspec

from sync.vendors.gcore.question import EXCEPTIONS, SORTABLE, Question
from sync.vendors.gcore.wire import OWN_FIELDS, USAGE_REPORT, VARIANTS
from sync.vendors.mirror import Described

REFERENCE: Final = "#/components/schemas/Gcore{name}"
SAID: Final = {
    "time_from": "The beginning, cut to the start of its UTC day.",
    "time_to": "The end, cut to the start of its UTC day; not included.",
    "enable_last_day": "Takes the day of time_to in.",
    "limit": "How many resources to return.",
    "offset": "How many resources to pass over.",
    "projects": "Ids of projects.",
    "regions": "Ids of regions.",
    "types": f"Types of resources: {', '.join(OWN_FIELDS)}.",
    "schema_filter": "Resources of one type by one of its fields.",
    "tags": "Conditions on tags.",
    "sorting": f'Deprecated; objects such as {{"project": "desc"}} of {", ".join(SORTABLE)}.',
    "order_by": f"<field>.asc or <field>.desc of {', '.join(SORTABLE)}.",
}
TEXT: Final = {"type": "string"}
# What the vendor gave as null is given back as null.
MAYBE: Final = {"type": ["string", "null"]}
WHOLE: Final = {"type": ["integer", "null"]}
SHARED: Final[dict[str, Any]] = {
    "type": TEXT,
    "billing_metric_name": MAYBE,
    "billing_value": {"type": "number", "description": "The quantity, with all its digits."},
    "billing_value_unit": TEXT,
    "region": {"description": "The same as region_id."},
    "region_id": WHOLE,
}
INSTANT: Final = {"type": "string", "format": "date-time"}
OF_RESOURCES: Final[dict[str, Any]] = {
    **SHARED,
    "project_id": WHOLE,
    "uuid": MAYBE,
    "last_name": MAYBE,
    "first_seen": {**MAYBE, "format": "date-time"},
    "last_seen": {**MAYBE, "format": "date-time"},
    "tags": {"type": ["array", "null"], "items": {"type": "object"}},
}
REQUIRED: Final = ["type", "billing_value", "billing_value_unit"]
EXAMPLE: Final = {
    "time_from": "2026-11-01T00:00:00Z",
    "time_to": "2026-12-01T00:00:00Z",
    "limit": 100,
    "types": ["instance"],
    "order_by": ["type.asc", "project.asc"],
}
ANSWER: Final = {
    "count": 1,
    "resources": [
        {
            "type": "instance",
            "billing_metric_name": "g2-standard-4-8",
            "billing_value": 43200,
            "billing_value_unit": "minutes",
            "project_id": 11,
            "region": 7,
            "region_id": 7,
            "uuid": "0b7c6a52-5f2e-4c2b-9d0e-3f1f7f0b9a11",
            "last_name": "web-1",
            "first_seen": "2026-11-01T00:00:00Z",
            "last_seen": "2026-11-30T23:59:59Z",
            "flavor": "g2-standard-4-8",
        }
    ],
    "totals": [
        {
            "type": "instance",
            "billing_metric_name": "g2-standard-4-8",
            "billing_value": 43200,
            "billing_value_unit": "minutes",
            "region": 7,
            "region_id": 7,
            "flavor": "g2-standard-4-8",
        }
    ],
}


def asked() -> dict[str, dict[str, Any]]:
    """Return the schemas of what is asked, by name, as the mirror itself reads it."""
    _, parts = msgspec.json.schema_components((Question,), ref_template=REFERENCE)
    for schema in parts.values():
        schema.pop("title", None)
    question = parts["Question"]
    question["description"] = "What usage to report."
    for name, member in question["properties"].items():
        member["description"] = SAID[name]
    for name in ("time_from", "time_to"):
        question["properties"][name] |= INSTANT
    return {f"Gcore{name}": schema for name, schema in parts.items()}


def report() -> dict[str, Any]:
    """Return the schema of the answer; a resource has the fields of its type besides."""
    own: dict[str, Any] = {name: {} for fields in OWN_FIELDS.values() for name in sorted(fields)}
    resource = {"type": "object", "properties": {**OF_RESOURCES, **own}, "required": REQUIRED}
    total = {"type": "object", "properties": {**SHARED, **{name: {} for name in VARIANTS}}, "required": REQUIRED}
    members = {
        "count": {"type": "integer", "minimum": 0, "description": "How many resources match."},
        "resources": {"type": "array", "items": resource},
        "totals": {"type": "array", "items": total, "description": "Sums over all that match."},
    }
    return {"type": "object", "properties": members, "required": list(members)}


ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "exception_class": {"type": "string", "enum": [*dict.fromkeys(EXCEPTIONS.values()), "InternalServerError"]},
        "message": TEXT,
        "request_id": TEXT,
        "invalid_fields": {"type": "object", "additionalProperties": {"type": "array", "items": TEXT}},
    },
    "required": ["exception_class", "message", "request_id"],
    "example": {
        "exception_class": "Unauthorized",
        "message": "Send a portal token in the Authorization header.",
        "request_id": "9f2c4a1e5b7d4c0f8e6a3b2d1c0f9e8d",
    },
}
DESCRIBED: Final = Described(
    operations={
        USAGE_REPORT: {
            "post": {
                "summary": "Usage of resources over whole UTC days, and its totals",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": REFERENCE.format(name="Question")},
                            "example": EXAMPLE,
                        }
                    },
                },
                "responses": {
                    "200": {
                        "description": "A page of resources, summed over the days.",
                        "content": {"application/json": {"schema": report(), "example": ANSWER}},
                    },
                    "400": {"description": "What is asked is not valid; invalid_fields names each field."},
                    "405": {"description": "Only POST is answered."},
                },
            }
        }
    },
    error=ERROR,
    credential="A portal token as `APIKey up_…`.",
    components=asked(),
)
