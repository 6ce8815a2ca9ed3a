"""Workato's usage statistics and workspaces as OpenAPI has them."""

from typing import Any, Final

from sync.vendors.mirror import Described
from sync.vendors.workato.question import GROUPS, INTERVALS, PATTERN_LENGTH, PER_PAGE
from sync.vendors.workato.wire import USAGE, WORKSPACES

INSTANT: Final = {"type": "string", "format": "date-time", "description": "YYYY-MM-DDTHH:mm:ss.SSSZ."}
COUNT: Final = {"type": "integer", "minimum": 0}
ID: Final = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
MAYBE_TEXT: Final = {"type": ["string", "null"]}
FIELDS: Final[dict[str, dict[str, Any]]] = {
    "from": {**INSTANT, "description": "The beginning, YYYY-MM-DDTHH:mm:ss.SSSZ."},
    "to": {**INSTANT, "description": "The end, not included."},
    "interval": {"type": "string", "enum": list(INTERVALS), "description": "Rows per interval of the account's zone."},
    "workspace_ids": {
        "type": "array",
        "items": ID,
        "description": "Ids of workspaces; these or external_ids are required.",
    },
    "external_ids": {"type": "array", "items": {"type": "string"}, "description": "External ids of workspaces."},
    "recipe_ids": {"type": "array", "items": ID, "description": "Ids of recipes."},
    "folder_ids": {"type": "array", "items": ID, "description": "Ids of folders."},
    **{
        f"{kind}_name_pattern": {
            "type": "string",
            "minLength": PATTERN_LENGTH,
            "description": f"A part of the name of the {kind}, case-sensitive; not together with {kind}_ids.",
        }
        for kind in ("recipe", "folder")
    },
    "group_by": {"type": "string", "enum": list(GROUPS), "description": "Rows per workspace or per recipe."},
}
EXAMPLES: Final[dict[str, Any]] = {
    "from": "2026-11-01T00:00:00.000Z",
    "to": "2026-12-01T00:00:00.000Z",
    "interval": "day",
    "workspace_ids": [501],
    "external_ids": ["customer-7"],
    "recipe_ids": [9001],
    "folder_ids": [77],
    "recipe_name_pattern": "Sync",
    "folder_name_pattern": "Orders",
    "group_by": "recipe",
}
ROW: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "workspace_id": ID,
        "external_id": MAYBE_TEXT,
        "workspace_name": {"type": "string"},
        "from": INSTANT,
        "to": INSTANT,
        "task_count": COUNT,
        "job_succeeded_count": COUNT,
        "job_failed_count": COUNT,
        "recipe_count": {
            **COUNT,
            "description": "Per workspace: distinct recipes; of deleted ones, as many as in the hour with the most.",
        },
        "recipe_id": ID,
        "recipe_name": {"type": "string"},
        "folder_id": {"type": ["integer", "null"]},
        "folder_name": {"type": "string"},
    },
    "required": ["workspace_id", "external_id", "workspace_name", "from", "to"],
}
ANSWER: Final = {
    "data": [
        {
            "workspace_id": 501,
            "external_id": "customer-7",
            "workspace_name": "Acme",
            "from": "2026-11-01T00:00:00.000+01:00",
            "to": "2026-12-01T00:00:00.000+01:00",
            "task_count": 8412,
            "job_succeeded_count": 2110,
            "job_failed_count": 12,
            "recipe_count": 9,
        }
    ]
}
WORKSPACE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"id": ID, "external_id": MAYBE_TEXT, "name": {"type": "string"}},
    "required": ["id", "external_id", "name"],
}
ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "id": {"type": "string", "description": "Of a failure of the server."},
    },
    "required": ["message"],
    "example": {"message": "Send a portal token in the Authorization header."},
}


def parameter(name: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """Return a parameter of the query; a list of values is separated by commas."""
    said: dict[str, Any] = {"name": name, "in": "query", "description": schema["description"]}
    said["schema"] = {**schema, "examples": [example]}
    return said | ({"style": "form", "explode": False} if schema["type"] == "array" else {})


def of_pages(name: str, usual: int, words: str) -> dict[str, Any]:
    """Return a parameter of a paged listing."""
    return parameter(name, {"type": "integer", "minimum": 1, "default": usual, "description": words}, usual)


def answer(words: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """Return a description of a successful answer."""
    return {"description": words, "content": {"application/json": {"schema": schema, "example": example}}}


DESCRIBED: Final = Described(
    operations={
        USAGE: {
            "post": {
                "summary": "Tasks and jobs of recipes, per workspace or recipe and interval",
                "description": "Fields come in the body or in the query; the body wins. Deleted recipes count only "
                "where nothing but the range, the workspaces and the interval is asked. The portal holds whole hours; "
                "each counts where it begins.",
                "parameters": [parameter(name, schema, EXAMPLES[name]) for name, schema in FIELDS.items()],
                "requestBody": {
                    "required": False,
                    "content": {
                        "application/json": {
                            "schema": {"type": "object", "properties": FIELDS},
                            "example": {name: EXAMPLES[name] for name in ("from", "to", "workspace_ids")},
                        }
                    },
                },
                "responses": {
                    "200": answer(
                        "The rows, null where there are none.",
                        {
                            "type": "object",
                            "properties": {"data": {"type": ["array", "null"], "items": ROW}},
                            "required": ["data"],
                        },
                        ANSWER,
                    ),
                    "400": {"description": "What is asked cannot be read or lacks a required field."},
                    "422": {"description": "A field has a value that is not allowed."},
                },
            }
        },
        WORKSPACES: {
            "get": {
                "summary": "The workspaces that have any usage",
                "parameters": [
                    of_pages("page", 1, "The page, from 1 on."),
                    of_pages("per_page", PER_PAGE, f"How many a page holds, at most {PER_PAGE}."),
                ],
                "responses": {
                    "200": answer(
                        "A page of workspaces.",
                        {
                            "type": "object",
                            "properties": {"result": {"type": "array", "items": WORKSPACE}},
                            "required": ["result"],
                        },
                        {"result": [{"id": 501, "external_id": "customer-7", "name": "Acme"}]},
                    ),
                    "400": {"description": "A parameter is no positive whole number."},
                },
            }
        },
    },
    error=ERROR,
    credential="A portal token as `Bearer up_…`.",
)
