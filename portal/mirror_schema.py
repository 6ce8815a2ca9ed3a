"""The mirrors in the OpenAPI schema: what each vendor describes of its own, and what the portal adds to all of it."""

from http import HTTPStatus
from typing import Any, Final

from sync.vendors import mirrors
from sync.vendors.mirror import Described

SOURCE: Final[dict[str, Any]] = {
    "name": "slug",
    "in": "path",
    "required": True,
    "description": "The slug of a source of this vendor.",
    "schema": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$", "examples": ["production"]},
}
TRUST: Final = {
    "Portal-Complete": "true where the portal holds all of the days that the answer speaks of.",
    "Portal-Complete-Through": "The last day up to which that is so.",
}
REFUSED: Final = (401, 403, 404, 413, 415, 429, 503)
NOTES: Final = {
    401: "The token is missing or not known.",
    403: "The token lacks the scope mirror:read.",
    404: "The token may see no such source of this vendor.",
    413: "The body is larger than a question can be.",
    415: "The body is packed in another way than gzip.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "The source is set to refuse days that the portal does not hold completely.",
}
JSON: Final = "application/json"


def add_mirrors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the mirrors' paths to a schema; drf-spectacular calls it when everything else is in it."""
    components = result["components"]
    for vendor, kind in mirrors().items():
        described = kind.described
        scheme = f"mirror-{vendor}"
        components["securitySchemes"][scheme] = {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": f"{described.credential} It needs the scope mirror:read.",
        }
        components["schemas"] |= described.components
        for path, operations in described.operations.items():
            result["paths"][f"/mirror/{{slug}}{path}"] = {
                method: whole(operation, described, vendor, path, method) for method, operation in operations.items()
            }
    return result


def whole(operation: dict[str, Any], described: Described, vendor: str, path: str, method: str) -> dict[str, Any]:
    """Return a vendor's operation with the source, the way in, what the portal refuses, and its headers."""
    answers: dict[str, Any] = {str(status): {"description": NOTES[status]} for status in REFUSED} | operation[
        "responses"
    ]
    return {
        **operation,
        "operationId": f"mirror_{vendor}_{method}_{path.rpartition('/')[2]}",
        "tags": ["mirror"],
        "parameters": [SOURCE, *operation.get("parameters", ())],
        "security": [{f"mirror-{vendor}": []}],
        "responses": {status: answer(status, found, described) for status, found in sorted(answers.items())},
    }


def answer(status: str, found: dict[str, Any], described: Described) -> dict[str, Any]:
    """Return an answer with its body, which of an error is the vendor's own, and its headers."""
    said = {**found, "headers": headers(status)}
    if int(status) >= HTTPStatus.BAD_REQUEST and "content" not in found:
        schema = {name: value for name, value in described.error.items() if name != "example"}
        said["content"] = {JSON: {"schema": schema, "example": described.error["example"]}}
    return {name: part for name, part in said.items() if part}


def headers(status: str) -> dict[str, Any]:
    """Return the headers of an answer: how complete it is, when to come again, which method is answered."""
    named = {"200": TRUST, "405": {"Allow": "The method that is answered."}, "429": {"Retry-After": "Seconds to wait."}}
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in named.get(status, {}).items()}
