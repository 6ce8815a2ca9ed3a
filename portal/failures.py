"""What a failure looks like: a problem under /api/, the vendor's own error under a mirror, a page elsewhere."""

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.views import defaults
from django_htmx.http import HttpResponseClientRefresh

from portal.mirrors import mirror, sent, vendor_of
from portal.problems import problem
from portal.site import page_before

API_PREFIX = "/api/"
FAILED = "The portal failed to answer; the failure was logged."
MALFORMED = "The request is malformed."
TOO_MANY = f"The request has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} parameters."


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody expected."""
    return shaped(request, 500, FAILED) or defaults.server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself refuses."""
    said = TOO_MANY if isinstance(exception, TooManyFieldsSent) else MALFORMED
    return shaped(request, 400, said) or defaults.bad_request(request, exception)


def csrf_refused(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 (the log has the reason)
    """Answer a form whose CSRF token does not hold: nearly always that of a page opened before signing in elsewhere."""
    # A part of a page has no room for another page, and would say nothing.
    if request.headers.get("HX-Request"):
        return HttpResponseClientRefresh()
    return render(request, "403_csrf.html", {"back": page_before(request)}, status=403)


def shaped(request: HttpRequest, status: int, message: str) -> HttpResponse | None:
    """Return the error as programs take it, None where a person asks."""
    if request.path.startswith(API_PREFIX):
        return problem(status, message)
    try:
        found = resolve(request.path)
    except Resolver404:
        return None
    if found.func is not mirror:
        return None
    _, kind = vendor_of(found.kwargs["path"])
    return problem(status, message) if kind is None else sent(kind.refuse(status, message))
