"""Errors of the API: every one is a problem (RFC 9457), built here from DRF's exceptions."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView, set_rollback

from usage.api.access import IsKnown
from usage.api.renderers import PROBLEM_MEDIA_TYPE


def build_problem(status: int, detail: str, **members: Any) -> JsonResponse:
    """Return a response of `application/problem+json`; `members` are added to it as they are."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return JsonResponse(body, status=status, content_type=PROBLEM_MEDIA_TYPE, json_dumps_params={"ensure_ascii": False})


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the problem for a view's exception; None leaves an unexpected exception to Django."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    request: Request = context["request"]
    response = build_problem(error.status_code, get_message(error, request), **get_members(error, request))
    if challenge := getattr(error, "auth_header", None):
        response.headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        response.headers["Retry-After"] = str(int(wait))
    return response


def get_message(error: exceptions.APIException, request: Request) -> str:
    """Return the problem's detail; for an unknown format it lists the formats."""
    if isinstance(error, exceptions.NotAcceptable):
        offered = ", ".join(renderer.media_type for renderer in error.available_renderers or ())
        return f"The answer is to be had as {offered}; the Accept header takes none of these."
    if isinstance(error, exceptions.UnsupportedMediaType):
        understood = ", ".join(str(parser.media_type) for parser in request.parsers or ())
        return f"{error.detail} Send {understood}."
    if isinstance(error, exceptions.NotAuthenticated):
        return "Send a portal token (Authorization: Bearer up_…) or sign in to the admin first."
    if isinstance(error, exceptions.ValidationError):
        return " ".join(f"{name}: {message}" if name else message for name, message in flatten_detail(error.detail))
    return str(error.detail)


def get_members(error: exceptions.APIException, request: Request) -> dict[str, Any]:
    """Return the `errors` member of a validation error: one object per message.

    Each has `detail` and either `parameter`, the name of a query parameter, or `pointer`, a JSON Pointer into the body.
    """
    if not isinstance(error, exceptions.ValidationError):
        return {}
    messages = flatten_detail(error.detail)
    return {"errors": [{**get_location(name, request), "detail": message} for name, message in messages]}


def get_location(name: str, request: Request) -> dict[str, str]:
    """Return whether a message is about a query parameter or a part of the body."""
    if request.method in SAFE_METHODS or name in request.query_params:
        return {"parameter": name}
    return {"pointer": f"#/{name}" if name else "#"}


def flatten_detail(detail: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, message) pairs of a validation error's nested detail; messages about the body have no name."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            # A member's name may have half a surrogate pair, which no answer can have.
            part = "" if key == "non_field_errors" else str(key).encode(errors="backslashreplace").decode()
            yield from flatten_detail(value, f"{name}/{part}" if name and part else name or part)
    elif isinstance(detail, list):
        for value in detail:
            yield from flatten_detail(value, name)
    else:
        yield name, str(detail)


class UnknownAddressView(APIView):
    """Answers addresses under /api/ that do not exist: 401 without access, otherwise 404."""

    permission_classes = [IsKnown]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Raise NotFound for every method and every format."""
        self.check_permissions(request)
        hint = "" if request.path.endswith("/") else " Addresses of the API end with a slash."
        raise exceptions.NotFound(f"There is nothing at {request.path}.{hint}")
