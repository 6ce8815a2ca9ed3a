"""Who needs a second factor (PORTAL_SECOND_FACTOR), and the middleware that lets no user continue without it."""

from collections.abc import Callable

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from portal.accounts.roles import ADMINISTRATOR_PERMISSIONS, OPERATOR_PERMISSIONS
from portal.accounts.sessions import SessionStore
from usage.api.errors import build_problem

ADMINISTRATORS, ALL = "administrators", "all"
ADMINISTRATOR_ALONE = frozenset(ADMINISTRATOR_PERMISSIONS) - frozenset(OPERATOR_PERMISSIONS)
# Where a second factor is set up, and where a person may always sign out.
OPEN_PATHS = ("/accounts/", "/admin/logout/")
REFUSAL = "Your account needs a second factor. Sign in to the pages of the portal to set it up."


class SignedInMiddleware:
    """Prolongs the session of a user of the pages, and redirects a user without a second factor to set it up.

    Parts of pages that reload themselves do not prolong a session: the user may be away.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`; a request without a session, or of a monitor, fetches no user."""
        is_of_nobody = settings.SESSION_COOKIE_NAME not in request.COOKIES or request.path.startswith("/health/")
        if is_of_nobody or not request.user.is_authenticated:
            return self.get_response(request)
        if not request.headers.get("HX-Request") and isinstance(request.session, SessionStore):
            request.session.prolong()
        is_open = request.path.startswith(OPEN_PATHS) or "Authorization" in request.headers
        return self.get_response(request) if is_open or not lacks_second_factor(request) else refuse(request)


def refuse(request: HttpRequest) -> HttpResponseBase:
    """Send a person to the page that sets up a second factor; a program gets an error."""
    if request.path.startswith("/api/"):
        return build_problem(403, REFUSAL)
    url = reverse("mfa_activate_totp")
    return HttpResponseClientRedirect(url) if request.headers.get("HX-Request") else redirect(url)


def lacks_second_factor(request: HttpRequest) -> bool:
    """Return whether the user of a session must set up a second factor before they continue."""
    user = request.user
    if not isinstance(user, User) or not needs_second_factor(user):
        return False
    records = get_authentication_records(request, user)
    if settings.PORTAL_OIDC_SECOND_FACTOR and any(record["method"] == "socialaccount" for record in records):
        return False
    return not is_mfa_enabled(user, [Authenticator.Type.TOTP])


def needs_second_factor(user: User) -> bool:
    """Return whether the settings require a second factor of a user."""
    if settings.PORTAL_SECOND_FACTOR == ADMINISTRATORS:
        return is_administrator(user)
    return bool(settings.PORTAL_SECOND_FACTOR == ALL)


def is_administrator(user: User) -> bool:
    """Return whether a user may do more than an operator, in whatever group."""
    return user.is_superuser or not ADMINISTRATOR_ALONE.isdisjoint(user.get_all_permissions())
