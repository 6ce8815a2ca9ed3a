"""Responses to failures: a problem under /api/, the vendor's own error under a mirror, else a page."""

import sys

import psycopg
from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.urls import Resolver404, resolve
from django.views import defaults
from django_htmx.http import HttpResponseClientRefresh

from portal.site import get_previous_url
from sync.mirrors.views import build_error_response, serve_mirror
from usage.api.errors import build_problem

API_PREFIX = "/api/"
UNAVAILABLE = "The database does not answer, or every connection to it is in use; try again later."
RETRY_SECONDS = 5
# SQLSTATE: connection exceptions, too many connections, server stopping, crashed or starting, and a query of a standby
# that stood in the way of what it replays.
OUTAGE_CODES = ("08", "53300", "57P01", "57P02", "57P03", "40001")
FAILED = "The portal failed to answer; the failure was logged."
MALFORMED = "The request is malformed."
TOO_MANY = f"The request has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} parameters."


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond to an unhandled exception: with 503 if the database is unavailable, else with 500."""
    if not is_outage(sys.exc_info()[1]):
        return build_api_error(request, 500, FAILED) or defaults.server_error(request)
    response = build_api_error(request, 503, UNAVAILABLE) or HttpResponse(get_template("503.html").render(), status=503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def is_outage(error: BaseException | None) -> bool:
    """Return whether an error means that the database is unavailable, not that a statement is wrong."""
    cause = error.__cause__ if isinstance(error, DatabaseError | InterfaceError) else error
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    # Without a code the connection failed, or the pool is exhausted.
    return cause.sqlstate is None or cause.sqlstate.startswith(OUTAGE_CODES)


def refuse_request(request: HttpRequest, status: int, message: str) -> HttpResponse:
    """Respond to a request that is refused before it is processed."""
    return build_api_error(request, status, message) or HttpResponse(
        f"{message}\n", status=status, content_type="text/plain"
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a request that Django refuses."""
    message = TOO_MANY if isinstance(exception, TooManyFieldsSent) else MALFORMED
    return build_api_error(request, 400, message) or defaults.bad_request(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 (the log has the reason)
    """Respond to an invalid CSRF token, mostly of a page that was opened before the last sign-in."""
    # htmx would insert the error page into a part of the page, or ignore it.
    if request.headers.get("HX-Request"):
        return HttpResponseClientRefresh()
    return render(request, "403_csrf.html", {"back": get_previous_url(request)}, status=403)


def build_api_error(request: HttpRequest, status: int, message: str) -> HttpResponse | None:
    """Return the error of an API or a mirror, None for a page."""
    if request.path.startswith(API_PREFIX):
        return build_problem(status, message)
    try:
        match = resolve(request.path)
    except Resolver404:
        return None
    if match.func is not serve_mirror:
        return None
    return build_error_response(match.kwargs["path"], status, message) or build_problem(status, message)
