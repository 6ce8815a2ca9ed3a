"""Problem details (RFC 9457): the one shape of every error of the API."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView, set_rollback

from portal.authentication import IsKnown

CONTENT_TYPE = "application/problem+json"


def problem(status: int, detail: str, **members: Any) -> JsonResponse:
    """Return an answer of `application/problem+json`; `members` are added to it as they are."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, json_dumps_params={"ensure_ascii": False})


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Answer an exception of a view with a problem; None leaves what nobody expected to Django's own handling."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    request: Request = context["request"]
    response = problem(error.status_code, said(error, request), **named(error, request))
    for header, value in headers(error):
        response.headers[header] = value
    return response


def said(error: exceptions.APIException, request: Request) -> str:
    """Return what went wrong in one sentence or more, and where a format is not known those that are."""
    if isinstance(error, exceptions.NotAcceptable):
        offered = ", ".join(renderer.media_type for renderer in error.available_renderers or ())
        return f"The answer is to be had as {offered}; the Accept header takes none of these."
    if isinstance(error, exceptions.UnsupportedMediaType):
        understood = ", ".join(str(parser.media_type) for parser in request.parsers or ())
        return f"{error.detail} Send {understood}."
    if isinstance(error, exceptions.NotAuthenticated):
        return "Send a portal token (Authorization: Bearer up_…) or sign in to the admin first."
    if not isinstance(error, exceptions.ValidationError):
        return str(error.detail)
    return " ".join(f"{name}: {message}" if name else message for name, message in flat(error.detail))


def named(error: exceptions.APIException, request: Request) -> dict[str, Any]:
    """Return the `errors` member of a validation error: one object per message.

    Each has `detail` and names what it is about: `parameter` for one of the query, `pointer` (a JSON Pointer,
    as in RFC 9457) for a part of the body.
    """
    if not isinstance(error, exceptions.ValidationError):
        return {}
    return {"errors": [{**place_of(name, request), "detail": message} for name, message in flat(error.detail)]}


def place_of(name: str, request: Request) -> dict[str, str]:
    """Return where in a request that is to be found which a message names: in the query, or in the body."""
    if request.method in SAFE_METHODS or name in request.query_params:
        return {"parameter": name}
    return {"pointer": f"#/{name}" if name else "#"}


def flat(detail: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, message) pairs of a validation error's nested detail; a body's own messages have no name."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            part = "" if key == "non_field_errors" else str(key)
            yield from flat(value, f"{name}/{part}" if name and part else name or part)
    elif isinstance(detail, list):
        for value in detail:
            yield from flat(value, name)
    else:
        yield name, str(detail)


def headers(error: exceptions.APIException) -> Iterator[tuple[str, str]]:
    """Yield the headers that belong to an error: the challenge of a 401, the wait of a 429."""
    if challenge := getattr(error, "auth_header", None):
        yield "WWW-Authenticate", challenge
    if wait := getattr(error, "wait", None):
        yield "Retry-After", str(int(wait))


class UnknownAddress(APIView):
    """Answers what is under /api/ and is no address: 401 for strangers, 404 for everyone else."""

    permission_classes = [IsKnown]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse strangers; then there is nothing here, whatever was asked for."""
        self.check_permissions(request)
        hint = "" if request.path.endswith("/") else " Addresses of the API end with a slash."
        raise exceptions.NotFound(f"There is nothing at {request.path}.{hint}")
