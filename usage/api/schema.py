"""The OpenAPI schema, beyond what drf-spectacular detects."""

from http import HTTPStatus
from typing import Any, Final, Literal

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from usage.api.renderers import PROBLEM_MEDIA_TYPE
from usage.exports import FORMATS

STREAMED: Final = {export_format.media_type for export_format in FORMATS.values()}
BINARY: Final = {FORMATS[name].media_type for name in ("xlsx", "parquet")}

RATE_LIMIT: Final = {
    "RateLimit": "How many requests are left, and the seconds until there are more.",
    "RateLimit-Policy": "How many requests are allowed, and in how many seconds.",
}
HEADERS: Final[dict[str, dict[str, str]]] = {
    "200": RATE_LIMIT,
    "202": {"Location": "The address of the run.", **RATE_LIMIT},
    "304": {"ETag": "Identifies the response.", **RATE_LIMIT},
    "401": {"WWW-Authenticate": "How to authenticate."},
    "429": {"Retry-After": "Seconds to wait before the next request.", **RATE_LIMIT},
    "503": {"Retry-After": "Seconds to wait before the next export.", **RATE_LIMIT},
}
PAGE_HEADERS: Final = {"ETag": "Identifies the response; send it as If-None-Match to get a 304 if nothing changed."}
EXPORT_HEADERS: Final = {
    "Content-Disposition": "The name of the file.",
    "Link": "The address of the manifest, rel=describedby.",
    "Portal-As-Of": "The instant whose state of the records the export has.",
    "Portal-Settled-Until": "With updated_since: the updated_since of the next request.",
    **{
        f"Portal-{name}": "An export has it from the meta of its manifest; absent for null and 0."
        for name in (
            "Complete",
            "Complete-Through",
            "Provisional-From",
            "Suspect-Days",
            "Unverified-Days",
            "Mismatched-Days",
            "Pruned-Days",
            "Archived-Days",
            "Restated-Since",
        )
    },
}


class FaultSerializer(serializers.Serializer[Any]):
    """One thing that is wrong with a request."""

    detail = serializers.CharField(help_text="What is wrong, and what is allowed.")
    parameter = serializers.CharField(required=False, help_text="The query parameter it is about.")
    pointer = serializers.CharField(required=False, help_text="The part of the body it is about (JSON Pointer).")


class ProblemSerializer(serializers.Serializer[Any]):
    """An error (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FaultSerializer(many=True, required=False)  # type: ignore[assignment]


class ApiSchema(AutoSchema):
    """Adds what every operation has: problems, headers, and exports beside pages."""

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        exports = STREAMED & set(bodies.get("200", {}).get("content", ()))
        for media_type in exports:
            # OpenAPI 3.1 gives bytes no schema, and text that of a string.
            bodies["200"]["content"][media_type]["schema"] = {} if media_type in BINARY else {"type": "string"}
        if self.method == "GET":
            bodies["304"] = {}
        for status in (*self.get_problem_statuses(), *((503,) if exports else ())):
            bodies[str(status)] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                ProblemSerializer, str(status), [PROBLEM_MEDIA_TYPE], direction
            )
        for status, body in bodies.items():
            body["description"] = body.get("description") or HTTPStatus(int(status)).phrase
            headers = HEADERS.get(status, {}) | (get_content_headers(body) if status == "200" else {})
            body["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
            }
        return bodies

    def get_problem_statuses(self) -> tuple[int, ...]:
        if self.method == "POST":
            return (400, 401, 403, 404, 406, 409, 413, 415, 429)
        return (400, 401, 403, 404, 406, 429)

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


def get_content_headers(body: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a successful response by its media types."""
    media_types = set(body.get("content", ()))
    page_headers = PAGE_HEADERS if "application/json" in media_types else {}
    return page_headers | (EXPORT_HEADERS if media_types & STREAMED else {})
