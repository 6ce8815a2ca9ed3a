"""The content security policy of every answer: django-csp's, put into words once."""

from functools import cached_property

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


class PolicyMiddleware(CSPMiddleware):
    """django-csp's, which writes the policy anew for every answer: near a tenth of the CPU of a page of a list.

    The policy differs only where a page uses its nonce, a view says otherwise by one of django-csp's decorators, or
    Django shows what went wrong (DEBUG); there it is left to django-csp.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the answer with its policy."""
        if (
            settings.DEBUG
            or getattr(request, "_csp_nonce", None)
            or any(name.startswith("_csp") for name in vars(response))
        ):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, self.usual)
        return response

    @cached_property
    def usual(self) -> str:
        """The policy of the settings, without a nonce."""
        return str(super().process_response(HttpRequest(), HttpResponseBase(status=200)).headers[HEADER])
