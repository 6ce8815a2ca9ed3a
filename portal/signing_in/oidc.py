"""The OpenID provider: asked with PKCE, state and nonce, and believed only where its signed answer fits the question.

allauth sends no nonce, takes an answer's signature for granted and lets the address add parameters; here none of it.
"""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import jwt
from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from requests import RequestException

from portal.signing_in.claims import verified_email

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
# Signed with a key that only the provider has, unlike HS256.
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
KEPT = ("sub", "email", "email_verified", "name", "given_name", "family_name", "preferred_username")


def trustworthy(address: str) -> bool:
    """Tell whether an address of the provider may be asked: by https, or on this machine by a portal without https."""
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in LOOPBACK and not settings.PORTAL_HTTPS
    return bool(parts.hostname) and (parts.scheme == "https" or local)


def nonce_of(state: str) -> str:
    """Return the nonce of a question: it follows from the state, which only this browser's session knows."""
    return hashlib.sha256(f"nonce:{state}".encode()).hexdigest()


class Disbelieved(OAuth2Error):  # type: ignore[misc]  # allauth's classes are not annotated
    """What the provider tells does not hold; the message says what, without anything that was told."""


class Client(OAuth2Client):  # type: ignore[misc]  # as above
    """Asks with a nonce."""

    def get_redirect_url(self, authorization_url: str, scope: Any, extra_params: dict[str, Any]) -> str:
        """Return where the person is sent to sign in."""
        asked = {**extra_params, "nonce": nonce_of(str(self.state))}
        return str(super().get_redirect_url(authorization_url, sorted(scope), asked))


class Adapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # as above
    """Reads what the provider tells, and raises Disbelieved for what does not hold."""

    client_class = Client

    @property
    def openid_config(self) -> dict[str, Any]:
        """Return the provider's own description, once it is that of the issuer that the settings name."""
        config: dict[str, Any] = super().openid_config
        if str(config.get("issuer", "")).rstrip("/") != settings.PORTAL_OIDC_ISSUER.rstrip("/"):
            raise Disbelieved("The description is that of another issuer.")
        if not all(trustworthy(config[name]) for name in ENDPOINTS if name in config):
            raise Disbelieved("The provider names an address without https.")
        return config

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any) -> SocialLogin:
        """Return who signs in, by the signed token and, where there is more to be asked, the user info of the same."""
        signed = kwargs["response"].get("id_token")
        if not signed:
            raise Disbelieved("The answer has no id token.")
        claims = self.claims_of(signed, app)
        if claims.get("nonce") != nonce_of(request.GET["state"]):
            raise Disbelieved("The id token answers another question.")
        if "userinfo_endpoint" in self.openid_config:
            told = self._fetch_user_info(token.token)
            if told.get("sub") != claims["sub"]:
                raise Disbelieved("The user info is that of someone else.")
            claims |= told
        return self.get_provider().sociallogin_from_response(request, claims)

    def claims_of(self, signed: str, app: SocialApp) -> dict[str, Any]:
        """Return what a token says whose signature, issuer, audience and age hold."""
        try:
            if jwt.get_unverified_header(signed).get("alg") not in ALGORITHMS:
                raise Disbelieved("The id token is signed in a way that is not accepted.")
            claims: dict[str, Any] = jwtkit.verify_and_decode(
                credential=signed,
                keys_url=self.openid_config["jwks_uri"],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                lookup_kid=jwtkit.lookup_kid_jwk,
            )
        except (KeyError, TypeError, ValueError, jwt.PyJWTError) as error:
            raise Disbelieved("The id token cannot be read.") from error
        return claims


class Provider(OpenIDConnectProvider):  # type: ignore[misc]  # as above
    """The one provider of the settings; what is asked of it is never up to the address of a request."""

    oauth2_adapter_class = Adapter

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        """Sign in, and no other process; the scope and the parameters are the settings'."""
        asked: dict[str, Any] = super().get_redirect_from_request_kwargs(request)
        return {**asked, "process": AuthProcess.LOGIN, "scope": self.get_scope(), "auth_params": self.get_auth_params()}

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        """Take an e-mail address only where it is verified: nobody gets another person's by claiming it."""
        return {**super().extract_common_fields(data), "email": verified_email(data) or None}

    def extract_email_addresses(self, data: dict[str, Any]) -> list[Any]:
        """As above."""
        return list(super().extract_email_addresses(data)) if verified_email(data) else []

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Keep what is used, and nothing else of what the provider tells of a person."""
        names = (*KEPT, settings.PORTAL_OIDC_GROUPS_CLAIM)
        return {name: data[name] for name in names if name and name in data}


def provider_adapter(request: HttpRequest, provider_id: str) -> Adapter:
    """Return the adapter of the provider; raises Http404 where the settings name none."""
    try:
        get_adapter().get_app(request, provider=provider_id)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    return Adapter(request, provider_id)


def answered(view: type[OAuth2LoginView | OAuth2CallbackView], request: HttpRequest, adapter: Adapter) -> HttpResponse:
    """Answer by a view of allauth's, also where the provider itself cannot be asked."""
    try:
        answer: HttpResponse = view.adapter_view(adapter)(request)
    except (OAuth2Error, RequestException, ValueError, KeyError) as error:
        answer = render_authentication_error(request, adapter.get_provider(), exception=error)
    return answer


@never_cache
@login_not_required  # type: ignore[untyped-decorator]  # as above
@require_GET
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send someone to the provider. A form would be stopped by the content policy at the provider's own redirects."""
    adapter = provider_adapter(request, provider_id)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":  # no other site begins a sign-in here
        return redirect("account_login")
    return answered(OAuth2LoginView, request, adapter)


@never_cache
@login_not_required  # type: ignore[untyped-decorator]  # as above
@require_GET
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take someone back from the provider."""
    return answered(OAuth2CallbackView, request, provider_adapter(request, provider_id))
