"""Who asks and from where, told to the database beside every change that a request makes."""

from collections.abc import Callable

import pghistory
from django.http import HttpRequest, HttpResponseBase

from portal.throttling import address_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
CHANGED_BY_GET = ("/accounts/oidc/",)  # coming back from the provider makes and changes people


class AuditMiddleware:
    """Name the person, the page and the address in the audit log; reading costs nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`; what it changes carries its context."""
        if request.method in SAFE and not request.path.startswith(CHANGED_BY_GET):
            return self.get_response(request)
        with pghistory.context(user=request.user.pk, url=request.path[:300], address=address_of(request)):
            return self.get_response(request)
