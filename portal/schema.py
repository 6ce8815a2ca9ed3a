"""What the OpenAPI schema says beyond the views: problems, exports, and how to be let in."""

from http import HTTPStatus
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

PROBLEM = "application/problem+json"
STREAMED = ("text/csv", "application/x-ndjson")


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
    """Describes what every view has in common: problems in place of answers, and exports beside pages."""

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for media_type, content in bodies.get("200", {}).get("content", {}).items():
            if media_type in STREAMED:
                content["schema"] = {"type": "string"}
        for status in self.problem_statuses():
            body: dict[str, Any] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                ProblemSerializer, str(status), [PROBLEM], direction
            )
            bodies[str(status)] = {**body, "description": HTTPStatus(status).phrase}
        return bodies

    def problem_statuses(self) -> tuple[int, ...]:
        """Return the statuses of the problems that an operation may answer with."""
        if self.method == "POST":
            return (400, 401, 403, 404, 409, 415)
        return (400, 401, 403, 404, 406) if "{" in self.path else (400, 401, 403, 406)


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
