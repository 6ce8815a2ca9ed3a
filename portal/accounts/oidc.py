"""Signing in through the OpenID provider: Authlib requests the provider (oidc_client.py), allauth makes the account."""

from typing import Any
from urllib.parse import urlsplit

from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login, render_authentication_error
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from portal.accounts.oidc_roles import OVERAGE_CLAIMS, get_verified_email

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
STORED_CLAIMS = ("sub", "email", "email_verified", "name", "given_name", "family_name", "preferred_username")


def is_trusted_url(url: str) -> bool:
    """Return whether a URL of the provider may be requested: https, or loopback for a portal without https."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK and not settings.PORTAL_HTTPS
    return bool(parts.hostname) and (parts.scheme == "https" or is_local)


class ProviderError(Exception):
    """An answer of the provider that is not valid; the message contains nothing of the answer."""


class Provider(OpenIDConnectProvider):  # type: ignore[misc]  # allauth's classes are not annotated
    """The provider of the settings, as allauth reads claims."""

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        """Use an e-mail address only if it is verified: it decides which local account is opened."""
        return {**super().extract_common_fields(data), "email": get_verified_email(data) or None}

    def extract_email_addresses(self, data: dict[str, Any]) -> list[Any]:
        """Return the verified address, if any."""
        return list(super().extract_email_addresses(data)) if get_verified_email(data) else []

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Store only the claims that are used."""
        names = (*STORED_CLAIMS, settings.PORTAL_OIDC_GROUPS_CLAIM, *OVERAGE_CLAIMS)
        return {name: data[name] for name in names if name and name in data}


def get_provider(request: HttpRequest, provider_id: str) -> Provider:
    """Return the provider; raises Http404 if the settings have none of that id."""
    try:
        return get_adapter().get_provider(request, provider_id)  # type: ignore[no-any-return]  # as above
    except SocialApp.DoesNotExist:
        raise Http404 from None


@never_cache
@login_not_required
@require_GET
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Redirect to the provider. A form would be blocked by the content policy at the provider's own redirects."""
    provider = get_provider(request, provider_id)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":  # another site must not start a sign-in
        return redirect("account_login")
    from portal.accounts.oidc_client import FAILURES, build_client

    client = build_client(provider)
    callback_url = request.build_absolute_uri(reverse("openid_connect_callback", args=[provider_id]))
    try:
        authorization = client.create_authorization_url(callback_url)
    except FAILURES as error:
        return render_authentication_error(request, provider, exception=error)  # type: ignore[no-any-return]  # as above
    next_url = get_next_redirect_url(request)
    client.save_authorize_data(request, redirect_uri=callback_url, next=next_url, **authorization)
    return redirect(authorization["url"])


@never_cache
@login_not_required
@require_GET
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Sign in the person whom the provider sends back."""
    from portal.accounts.oidc_client import FAILURES, build_client

    provider = get_provider(request, provider_id)
    client = build_client(provider)
    authorization = client.framework.get_state_data(request.session, request.GET.get("state")) or {}
    try:
        claims = client.fetch_claims(request)
        social_login = provider.sociallogin_from_response(request, claims)
    except FAILURES as error:
        is_cancelled = authorization and request.GET.get("error") == "access_denied"
        code = AuthError.CANCELLED if is_cancelled else AuthError.UNKNOWN
        return render_authentication_error(request, provider, error=code, exception=error)  # type: ignore[no-any-return]  # as above
    social_login.state = {"process": AuthProcess.LOGIN, "next": authorization.get("next")}
    return complete_social_login(request, social_login)  # type: ignore[no-any-return]  # as above
