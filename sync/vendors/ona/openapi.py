"""Ona's listing of environment usage as OpenAPI has it: Connect over HTTP, in JSON or protobuf."""

from typing import Any, Final

from sync.vendors.mirror import Described
from sync.vendors.ona.connect import DEFAULT_SIZE, JSON, LARGEST_SIZE, LIST, PROTO, STATUS

TEXT: Final = {"type": "string"}
INSTANT: Final = {"type": "string", "format": "date-time", "description": "RFC 3339, 0 to 9 digits of a second."}
SIZE: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": LARGEST_SIZE,
    "description": f"How many records a page holds; 0 stands for {DEFAULT_SIZE}.",
}
TOKEN: Final = {"type": "string", "description": "The nextToken of the page before; empty for the first page."}
ASKED: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "filter": {
            "type": "object",
            "properties": {
                "dateRange": {
                    "type": "object",
                    "description": "Half-open, over the end of the run.",
                    "properties": {"startTime": INSTANT, "endTime": INSTANT},
                    "required": ["startTime", "endTime"],
                },
                "projectId": {"type": "string", "description": "Only runs of this project."},
            },
            "required": ["dateRange"],
        },
        "pagination": {"type": "object", "properties": {"token": TOKEN, "pageSize": SIZE}},
    },
    "required": ["filter"],
}
RECORD: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A completed run; what is not set is left out.",
    "properties": {
        "id": TEXT,
        "environmentId": TEXT,
        "userId": TEXT,
        "projectId": TEXT,
        "runnerId": TEXT,
        "environmentClassId": TEXT,
        "createdAt": INSTANT,
        "stoppedAt": INSTANT,
    },
}
PAGE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "pagination": {
            "type": "object",
            "properties": {"nextToken": {"type": "string", "description": "Left out after the last page."}},
        },
        "records": {"type": "array", "items": RECORD},
    },
    "required": ["pagination", "records"],
}
RANGE: Final = {"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-12-01T00:00:00Z"}
ANSWER: Final = {
    "pagination": {"nextToken": "WyIyMDI2LTExLTAxVDE4Ol.hQ3k"},
    "records": [
        {
            "id": "0193a1f2-7c3e-7d10-b1a2-5e6f70819203",
            "environmentId": "0193a1f2-7c3e-7d10-b1a2-5e6f70819204",
            "userId": "0193a1f2-7c3e-7d10-b1a2-5e6f70819205",
            "createdAt": "2026-11-01T09:00:00Z",
            "stoppedAt": "2026-11-01T17:30:00.250Z",
        }
    ],
}
ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"code": {"type": "string", "enum": [*STATUS, "unknown"]}, "message": TEXT},
    "required": ["code", "message"],
    "example": {"code": "unauthenticated", "message": "Send a portal token in the Authorization header."},
}


def of_query(name: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    """Return a parameter that the query may have instead of the body, over which it wins."""
    said = f"{schema['description']} Wins over the body's."
    return {"name": name, "in": "query", "description": said, "schema": {**schema, "examples": [example]}}


DESCRIBED: Final = Described(
    operations={
        f"/api{LIST}": {
            "post": {
                "summary": "Completed environment runs, page by page",
                "parameters": [of_query("token", TOKEN, ""), of_query("pageSize", SIZE, 100)],
                "requestBody": {
                    "required": True,
                    "content": {
                        JSON: {
                            "schema": ASKED,
                            "example": {"filter": {"dateRange": RANGE}, "pagination": {"pageSize": 100}},
                        },
                        PROTO: {"schema": {}},
                    },
                },
                "responses": {
                    "200": {
                        "description": "A page of runs, in the form that it was asked for in.",
                        "content": {JSON: {"schema": PAGE, "example": ANSWER}, PROTO: {"schema": {}}},
                    },
                    "400": {"description": "What is asked is not valid."},
                    "405": {"description": "Only POST is answered.", "content": {}},
                    "415": {"description": "The body is neither JSON nor protobuf.", "content": {}},
                },
            }
        }
    },
    error=ERROR,
    credential="A portal token as `Bearer up_…`.",
)
