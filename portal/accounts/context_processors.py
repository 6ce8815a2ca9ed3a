"""Template context of the sign-in pages."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest

from portal.accounts.second_factor import lacks_second_factor


def add_sign_in_context(request: HttpRequest) -> dict[str, Any]:
    """Return the admin site's context and the ways to sign in; the admin's own pages bring theirs."""
    # A request refused before the authentication middleware, such as a request for another host, has no user.
    if not request.path.startswith("/accounts/") or not hasattr(request, "user"):
        return {}
    return {
        **admin.site.each_context(request),
        "provider_name": settings.PORTAL_OIDC_NAME if settings.PORTAL_OIDC_ISSUER else "",
        "mail_is_sent": bool(settings.PORTAL_EMAIL_URL),
        "lacks_second_factor": lacks_second_factor(request),
    }
