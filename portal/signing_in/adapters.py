"""What the portal decides where allauth asks: who may sign in, as whom, and how the second factor is kept."""

from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import ChangePasswordForm, LoginForm, ReauthenticateForm, ResetPasswordForm
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.models import SocialApp, SocialLogin
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from portal.signing_in.claims import Refused, follow_groups, judge, person_of, verified_email
from portal.signing_in.oidc import Disbelieved

logger = structlog.get_logger(__name__)


class SignIn(LoginForm):  # type: ignore[misc]  # allauth's forms are not annotated
    """A name or an e-mail address, and a password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named, password, remember = (self.fields[name] for name in ("login", "password", "remember"))
        named.label, remember.label, password.help_text = "User name or e-mail", "Keep me signed in", ""
        named.widget.attrs.update(id="id_username", autocomplete="username", autofocus=True, autocapitalize="none")
        for field in (named, password):
            field.widget.attrs.pop("placeholder", None)


class ForgottenPassword(ResetPasswordForm):  # type: ignore[misc]  # as above
    """Whoever signs in through the provider has no password here, and gets none by asking for one."""

    users: list[User]

    def clean_email(self) -> str:
        """Keep the people who have a password; the answer is the same whether there are any."""
        email = str(super().clean_email())
        self.users = [user for user in self.users if user.has_usable_password()]
        return email


class WayBack:
    """Leaves out allauth's help beside an old password, which leads to a way back that needs mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields  # type: ignore[attr-defined]  # a form's
        if not settings.PORTAL_EMAIL_URL:
            for field in fields.values():
                field.help_text = field.help_text if "new" in str(field.widget.attrs.get("autocomplete")) else ""


class NewPassword(WayBack, ChangePasswordForm):  # type: ignore[misc]  # as above
    """The old password and a new one."""


class OldPassword(WayBack, ReauthenticateForm):  # type: ignore[misc]  # as above
    """The password once more, before an account is changed."""


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # as above
    """Local accounts: made by administrators, never by strangers."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Tell whether an address is one of the portal's own; what is no address at all is none."""
        try:
            return bool(super().is_safe_url(url))
        except ValueError:
            return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Go on with the overview."""
        return reverse("admin:index")


class ProviderAccounts(DefaultSocialAccountAdapter):  # type: ignore[misc]  # as above
    """Accounts of the OpenID provider: let in under the settings' rules, each under its own local one."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        """Return the provider that the settings name; the database holds none."""
        found = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in found.values() for app in apps]

    def on_authentication_error(self, request: HttpRequest, provider: Any, **why: Any) -> None:
        """Write down why a sign-in failed, for who has set it up; what the provider told stays out of it."""
        exception = why.get("exception")
        reason = str(exception) if isinstance(exception, Disbelieved) else type(exception).__name__
        logger.warning("sign-in through the provider failed", error=str(why.get("error")), reason=reason)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Whoever `pre_social_login` has let through gets an account."""
        return True

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Return the local person whose address the provider has verified, with it; never a superuser."""
        email = verified_email(sociallogin.account.extra_data)
        person = person_of(email)
        return (person, email) if person else None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse who may not come in, with a page that says why; give who comes back what their claims say today."""
        try:
            judge(sociallogin.account.extra_data, new=not sociallogin.is_existing)
        except Refused as refusal:
            page = TemplateResponse(request, "account/refused.html", {"reason": str(refusal)}, status=403)
            raise ImmediateHttpResponse(page.render()) from None
        if sociallogin.is_existing:
            follow_groups(sociallogin.user, sociallogin.account.extra_data)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account of someone who comes for the first time: staff, with what their claims give."""
        sociallogin.user.is_staff = True
        user: User = super().save_user(request, sociallogin, form)
        follow_groups(user, sociallogin.account.extra_data)
        return user


class SecondFactors(DefaultMFAAdapter):  # type: ignore[misc]  # as above
    """Second factors, whose secrets the database only ever sees encrypted."""

    def get_totp_issuer(self) -> str:
        """Return the name that authenticator apps show."""
        return "Usage portal"

    def encrypt(self, text: str) -> str:
        """Lock a secret with the first of PORTAL_ENCRYPTION_KEYS."""
        return locks().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Open it again with any of them."""
        return locks().decrypt(encrypted_text.encode()).decode()


def locks() -> MultiFernet:
    """Return what opens with any of PORTAL_ENCRYPTION_KEYS and locks with the first."""
    return MultiFernet([Fernet(key) for key in settings.PORTAL_ENCRYPTION_KEYS])


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return what the pages of signing in need besides their own: the site's frame, and what is offered.

    A context processor; the admin's own pages bring all this themselves.
    """
    # A request that was refused before it was known whose it is, such as one for another host, has no person.
    if not request.path.startswith("/accounts/") or not hasattr(request, "user"):
        return {}
    return {
        **admin.site.each_context(request),
        "provider_name": settings.PORTAL_OIDC_NAME if settings.PORTAL_OIDC_ISSUER else "",
        "mail_is_sent": bool(settings.PORTAL_EMAIL_URL),
    }
