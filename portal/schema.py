"""What the OpenAPI schema says beyond the views: problems, headers, examples, exports, and how to be let in."""

from http import HTTPStatus
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from portal.examples import example_of, example_of_parameter

PROBLEM = "application/problem+json"
JSON = "application/json"
BINARY = (
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.apache.parquet",
)
STREAMED = ("text/csv", "application/x-ndjson", *BINARY)

# What parameters are that no filter describes.
DESCRIBED = {
    "format": "The format of the answer; it wins over the Accept header.",
    "id": "The id of the row in the portal.",
    "slug": "The slug of the source.",
    "source_slug": "The slug of the source.",
    "day": "A day of the source, in its own zone.",
}
MOMENT = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
MOMENTS = ("from", "to", "updated_since")
SEEN = ("created_at__", "first_seen__", "last_seen__")
REPEATED = ("tag",)  # given once for each value

RATE_LIMIT = {
    "RateLimit": "How many requests are left, and the seconds until there are more.",
    "RateLimit-Policy": "How many requests may be made, and in how many seconds.",
}
HEADERS: dict[str, dict[str, str]] = {
    "200": RATE_LIMIT,
    "202": {"Location": "The address of the run.", **RATE_LIMIT},
    "304": {"ETag": "Names what has not changed.", **RATE_LIMIT},
    "401": {"WWW-Authenticate": "How to be let in."},
    "429": {"Retry-After": "Seconds to wait before the next request.", **RATE_LIMIT},
    "503": {"Retry-After": "Seconds to wait before the export is asked for again.", **RATE_LIMIT},
}
ETAG = {"ETag": "Names the answer; sent back as If-None-Match, the same answer is a 304 without a body."}
FILE = {
    "Content-Disposition": "Of a download: the name of its file.",
    "Link": "Of a download: where its manifest is, rel=describedby.",
    "Portal-As-Of": "Of a download: the instant whose state of the records it is.",
    "Portal-Complete": "Of a download: true or false, as meta.complete of its manifest.",
    "Portal-Complete-Through": "Of a download: as meta.complete_through of its manifest; not there where that is null.",
    "Portal-Provisional-From": "Of a download: as meta.provisional_from of its manifest; not there where that is null.",
    "Portal-Restated-Since": "Of a download: as meta.restated_since of its manifest; not there where that is null.",
    "Portal-Settled-Until": "Of a download with updated_since: the updated_since to ask with next time.",
}
WRONG = {
    "400": "page_size: “5000” is not a whole number from 1 to 1000.",
    "401": "Send a portal token (Authorization: Bearer up_…) or sign in to the admin first.",
    "403": "The token lacks the scope sync:read.",
    "404": "Not found.",
    "406": "The answer is to be had as application/json; the Accept header takes none of these.",
    "409": "gcore-main is switched off; enable it first.",
    "413": "The body is larger than 65,536 bytes.",
    "415": 'Unsupported media type "text/plain" in request. Send application/json.',
    "429": "More than 600 requests in 60 seconds came; try again in 7 seconds.",
    "503": "As many exports as the portal sends at once are under way; try again later.",
}


class FaultSerializer(serializers.Serializer[Any]):
    """One thing that is wrong with a request."""

    detail = serializers.CharField(help_text="What is wrong, and what is allowed.")
    parameter = serializers.CharField(required=False, help_text="The query parameter it is about.")
    pointer = serializers.CharField(required=False, help_text="The part of the body it is about (JSON Pointer).")


class ProblemSerializer(serializers.Serializer[Any]):
    """What went wrong (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FaultSerializer(many=True, required=False)  # type: ignore[assignment]


class ApiSchema(AutoSchema):
    """Describes what every view has in common: problems, headers, examples, and exports beside pages."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the operation with an example for each of its parameters and bodies."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None:
            components = self.registry.build({})["schemas"]
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "fields":
                    parameter["schema"] = {**parameter["schema"], "examples": [self.first_fields()]}
                complete(parameter)
            for status, response in operation["responses"].items():
                exemplify(status, response, components)
            exemplify("", operation.get("requestBody", {}), components)
        return operation

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        answer = bodies.get("200", {})
        for media_type, content in answer.get("content", {}).items():
            if media_type in STREAMED:
                # OpenAPI 3.1 gives bytes no schema, and text that of a string.
                content["schema"] = {} if media_type in BINARY else {"type": "string"}
        if self.method == "GET":
            bodies["304"] = {"description": HTTPStatus.NOT_MODIFIED.phrase}
        exported = set(answer.get("content", ())) & set(STREAMED)
        for status in (*self.problem_statuses(), *((503,) if exported else ())):
            body: dict[str, Any] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                ProblemSerializer, str(status), [PROBLEM], direction
            )
            bodies[str(status)] = {**body, "description": HTTPStatus(status).phrase}
        for code, described in bodies.items():
            described["description"] = described.get("description") or HTTPStatus(int(code)).phrase
            described["headers"] = headers(code, set(described.get("content", ())))
        return bodies

    def _get_serializer_field_meta(self, field: Any, direction: str) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_serializer_field_meta(field, direction)  # type: ignore[no-untyped-call]
        if isinstance(field, serializers.JSONField):
            meta.pop("nullable", None)  # any JSON may be null; to say so again makes null ambiguous
        return meta

    def _map_basic_serializer(self, serializer: Any, direction: str) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, serializers.ModelSerializer):
            schema.pop("required", None)  # `fields` may leave any column of a row out
        return schema

    def first_fields(self) -> str:
        """Return the names of the first two columns of the answer, as `fields` takes them."""
        view: Any = self.view
        return ",".join(list(view.get_serializer_class()().fields)[:2])

    def problem_statuses(self) -> tuple[int, ...]:
        """Return the statuses of the problems that an operation may answer with."""
        if self.method == "POST":
            return (400, 401, 403, 404, 406, 409, 413, 415, 429)
        return (400, 401, 403, 404, 406, 429) if "{" in self.path else (400, 401, 403, 406, 429)


def headers(status: str, media_types: set[str]) -> dict[str, Any]:
    """Return the headers that an answer of this status may carry, as OpenAPI has them."""
    said = dict(HEADERS.get(status, {}))
    if status == "200":
        said |= ETAG if JSON in media_types else {}
        said |= FILE if media_types & set(STREAMED) else {}
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in said.items()}


def complete(parameter: dict[str, Any]) -> None:
    """Give a parameter the description, the format and the example that its filter did not."""
    name, schema = parameter["name"], parameter["schema"]
    if not parameter.get("description"):
        parameter["description"] = DESCRIBED.get(name, "")
    parameter["description"] = parameter["description"].strip()
    if name.startswith(SEEN) or (name in MOMENTS and "format" not in schema):
        parameter["schema"] = schema = MOMENT
    if name in REPEATED:
        parameter |= {"schema": {"type": "array", "items": {"type": "string"}}, "style": "form", "explode": True}
        schema = parameter["schema"]
    if "examples" not in schema:
        # In the schema, not beside it: the docs page would fill all of those in, and no list takes them together.
        parameter["schema"] = {**schema, "examples": [example_of_parameter(name, schema)]}


def exemplify(status: str, body: dict[str, Any], components: dict[str, Any]) -> None:
    """Give every JSON of a body an example."""
    for media_type, content in body.get("content", {}).items():
        if media_type == PROBLEM:
            content["example"] = problem(int(status))
        elif media_type == JSON and "example" not in content:
            given = [one["value"] for one in content.pop("examples", {}).values()]
            content["example"] = given[0] if given else example_of(content["schema"], components)


def problem(status: int) -> dict[str, Any]:
    """Return what a problem of this status looks like."""
    detail = WRONG[str(status)]
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if status != HTTPStatus.BAD_REQUEST:
        return said
    parameter, _, text = detail.partition(": ")
    return {**said, "errors": [{"parameter": parameter, "detail": text}]}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes portal tokens."""

    target_class = "portal.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme as OpenAPI has it."""
        return {"type": "http", "scheme": "bearer", "description": "A portal token, up_…"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the session of the admin."""

    target_class = "portal.authentication.StaffSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme as OpenAPI has it."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The session of the admin."}
