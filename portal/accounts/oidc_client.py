"""Requests the OpenID provider with Authlib; imported by the first sign-in: Authlib costs each start a tenth.

Authlib verifies state, PKCE, the id token's signature, issuer, audience, age and nonce. `ProviderClient` adds what it
does not: the issuer of the discovery document, https, asymmetric signatures, and that the user info is of the same
person.
"""

from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from django.conf import settings
from django.http import HttpRequest
from joserfc.errors import JoseError
from requests import RequestException

from portal.accounts.oidc import Provider, ProviderError, is_trusted_url

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
# Signed with a key that only the provider has, unlike HS256.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
# How far the provider's clock may differ: for `iat`, `nbf` and `exp`.
LEEWAY_SECONDS = 60
TIMEOUT_SECONDS = 5
FAILURES = (ProviderError, AuthlibBaseError, JoseError, RequestException, ValueError, KeyError)


class ProviderClient(DjangoOAuth2App):  # type: ignore[misc]  # Authlib's classes are not annotated
    """A client of the provider; raises one of FAILURES for an answer that is not valid."""

    def load_server_metadata(self) -> dict[str, Any]:
        """Return the discovery document, once its issuer and URLs are verified."""
        metadata: dict[str, Any] = super().load_server_metadata()
        if str(metadata.get("issuer", "")).rstrip("/") != settings.PORTAL_OIDC_ISSUER.rstrip("/"):
            raise ProviderError("The discovery document is of another issuer.")
        if not all(is_trusted_url(metadata[name]) for name in ENDPOINTS if name in metadata):
            raise ProviderError("The discovery document has a URL without https.")
        methods = metadata.get("token_endpoint_auth_methods_supported", [])
        use_basic = "client_secret_basic" in methods and "client_secret_post" not in methods
        metadata["token_endpoint_auth_method"] = "client_secret_basic" if use_basic else "client_secret_post"
        metadata["id_token_signing_alg_values_supported"] = ALGORITHMS
        return metadata

    def fetch_claims(self, request: HttpRequest) -> dict[str, Any]:
        """Return the claims of the id token and of the user info for the code in the callback `request`."""
        token = self.authorize_access_token(request, leeway=LEEWAY_SECONDS)
        if "userinfo" not in token:
            raise ProviderError("The answer has no id token.")
        claims = dict(token["userinfo"])
        if "userinfo_endpoint" in self.load_server_metadata():
            user_info = self.userinfo(token=token)
            if user_info.get("sub") != claims["sub"]:
                raise ProviderError("The user info is of another person.")
            claims |= user_info
        return claims


def build_client(provider: Provider) -> ProviderClient:
    """Return a client that reads the discovery document again: the provider may have changed it."""
    client: ProviderClient = OAuth().register(
        provider.app.provider_id,
        client_cls=ProviderClient,
        client_id=provider.app.client_id,
        client_secret=provider.app.secret,
        server_metadata_url=provider.server_url,
        client_kwargs={
            "scope": " ".join(provider.get_scope()),
            "code_challenge_method": "S256",
            "default_timeout": TIMEOUT_SECONDS,
        },
    )
    return client
