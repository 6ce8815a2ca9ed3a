"""The portal's rules for allauth: who may sign in, as which user, and how second factors are stored."""

from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from cryptography.fernet import InvalidToken
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from portal.accounts.guessing import Guess, count_guess, remember_browser
from portal.accounts.oidc import ProviderError
from portal.accounts.oidc_roles import SignInRefused, check_sign_in, find_user, get_verified_email, sync_roles
from portal.accounts.second_factor import needs_second_factor
from portal.accounts.security_log import RefusalLogMixin, SecurityEvent, log_event
from usage.fields import get_cipher

logger = structlog.get_logger(__name__)


class AccountAdapter(RefusalLogMixin, DefaultAccountAdapter):  # type: ignore[misc]  # allauth's classes are not annotated
    """Local accounts, which only administrators create."""

    guess: Guess

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Raise ValidationError where wrong passwords came too often (portal/accounts/guessing.py)."""
        self.guess = count_guess(request, credentials.get("username") or credentials.get("email") or "")
        if self.guess.is_refused:
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return the user of these credentials, None for wrong credentials."""
        user: User | None = super().authenticate(request, **credentials)
        if user is not None:
            self.guess.forgive()
        return user

    def post_login(self, request: HttpRequest, user: User, **details: Any) -> HttpResponse:
        """Mark the browser as known."""
        response: HttpResponse = super().post_login(request, user, **details)
        remember_browser(request, response, user)
        return response

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str) -> bool:
        """Return whether `url` is an address of the portal; False for what is not a URL."""
        try:
            return bool(super().is_safe_url(url))
        except ValueError:
            return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index")


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # as above
    """Accounts of the OpenID provider, each linked to a local user under the rules of the settings."""

    def on_authentication_error(self, request: HttpRequest, provider: Any, **details: Any) -> None:
        """Log why a sign-in failed, without anything that the provider sent."""
        exception = details.get("exception")
        reason = str(exception) if isinstance(exception, ProviderError) else type(exception).__name__
        log_event(SecurityEvent.SIGN_IN_FAILED, methods=["provider"], reason=reason, error=str(details.get("error")))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Create an account for every sign-in that `pre_social_login` accepts."""
        return True

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Return the local user with the address that the provider has verified; never a superuser."""
        email = get_verified_email(sociallogin.account.extra_data)
        user = find_user(email)
        return (user, email) if user else None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse a sign-in with a page that explains why, or update the roles of a returning user."""
        try:
            check_sign_in(sociallogin.account.extra_data, is_new=not sociallogin.is_existing)
        except SignInRefused as refusal:
            log_event(SecurityEvent.SIGN_IN_REFUSED, methods=["provider"], reason=str(refusal))
            page = render(request, "account/refused.html", {"reason": str(refusal)}, status=403)
            raise ImmediateHttpResponse(page) from None
        if sociallogin.is_existing:
            sync_roles(sociallogin.user, sociallogin.account.extra_data)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Create the account of a new user: staff, with the roles of their claims."""
        sociallogin.user.is_staff = True
        user: User = super().save_user(request, sociallogin, form)
        sync_roles(user, sociallogin.account.extra_data)
        return user


class UnreadableSecret(ImmediateHttpResponse, ValidationError):  # type: ignore[misc]  # as above
    """No key decrypts a second factor: an error in a form; on any other page AccountMiddleware sends `response`."""

    def __init__(self, request: HttpRequest) -> None:
        ValidationError.__init__(
            self,
            "The portal cannot decrypt your second factor: its keys have changed. Ask an administrator to remove it, "
            "then set it up again.",
        )
        self.request = request

    @property
    def response(self) -> HttpResponse:
        return render(self.request, "account/unreadable_secret.html", {"message": self.message}, status=409)


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # as above
    """Second factors, whose secrets are encrypted in the database."""

    def get_totp_issuer(self) -> str:
        return "Usage portal"

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Keep the authenticator app of users who must have a second factor."""
        return authenticator.type != Authenticator.Type.TOTP or not needs_second_factor(authenticator.user)

    def encrypt(self, text: str) -> str:
        """Encrypt a secret with the first of PORTAL_ENCRYPTION_KEYS."""
        return get_cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt a secret with any of PORTAL_ENCRYPTION_KEYS; raises UnreadableSecret."""
        try:
            return get_cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            logger.warning("a second factor was stored with a key that is not in PORTAL_ENCRYPTION_KEYS")
            raise UnreadableSecret(self.request) from None
