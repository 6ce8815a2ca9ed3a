"""The forms of the sign-in pages, in place of allauth's (the setting ACCOUNT_FORMS)."""

from typing import Any

from allauth.account import forms as allauth_forms
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.totp import forms as totp_forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError

from portal.accounts.security_log import SecurityEvent, log_event


class LoginForm(allauth_forms.LoginForm):  # type: ignore[misc]  # allauth's forms are not annotated
    """A user name or an e-mail address, and a password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        login, password, remember = (self.fields[name] for name in ("login", "password", "remember"))
        login.label, remember.label, password.help_text = "User name or e-mail", "Keep me signed in", ""
        login.widget.attrs.update(id="id_username", autocomplete="username", autofocus=True, autocapitalize="none")
        for field in (login, password):
            field.widget.attrs.pop("placeholder", None)


class ResetPasswordForm(allauth_forms.ResetPasswordForm):  # type: ignore[misc]  # as above
    """Sends mail only to users with a local password: users of the OpenID provider cannot request it."""

    users: list[User]

    def clean_email(self) -> str:
        """Keep the users with a password; the response is the same whether there are any."""
        email = str(super().clean_email())
        self.users = [user for user in self.users if user.has_usable_password()]
        return email


class WithoutResetLinkMixin:
    """Removes the link to the password reset beside an old password, where the portal sends no mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields  # type: ignore[attr-defined]  # a form's
        if not settings.PORTAL_EMAIL_URL:
            for field in fields.values():
                field.help_text = field.help_text if "new" in str(field.widget.attrs.get("autocomplete")) else ""


class ChangePasswordForm(WithoutResetLinkMixin, allauth_forms.ChangePasswordForm):  # type: ignore[misc]  # as above
    """The old password and a new password."""


class ReauthenticateForm(WithoutResetLinkMixin, allauth_forms.ReauthenticateForm):  # type: ignore[misc]  # as above
    """The password, required again before an account is changed."""


class SingleUseMixin:
    """Takes no code of an authenticator app twice, also not the code that set the app up.

    allauth remembers a code for its own 30 seconds, and forgets the code of the activation; with the tolerance
    (MFA_TOTP_TOLERANCE) a code is valid for longer.
    """

    def clean_code(self) -> str:
        """Refuse a code that was used; raises ValidationError."""
        form: Any = self
        key = build_code_key(form.user, form.cleaned_data["code"])
        if cache.get(key):
            raise self.refuse_code()
        code: str = super().clean_code()  # type: ignore[misc]  # a form's
        # Of two requests with the same code at the same time only one adds the key.
        if not cache.add(key, "used", mfa_settings.TOTP_PERIOD * (2 * mfa_settings.TOTP_TOLERANCE + 1)):
            raise self.refuse_code()
        return code

    def refuse_code(self) -> ValidationError:
        """Log a code that was used before, and return the error for it."""
        form: Any = self
        log_event(SecurityEvent.SECOND_FACTOR_FAILED, user=form.user.get_username(), reason="used_before")
        error: ValidationError = get_adapter().validation_error("incorrect_code")
        return error


def build_code_key(user: User, code: str) -> str:
    """Return where the use of a code is noted; allauth ignores spaces and dashes in it, too."""
    return f"portal.second-factor.used:{user.pk}:{''.join(filter(str.isalnum, code)).lower()}"


class ActivateTOTPForm(SingleUseMixin, totp_forms.ActivateTOTPForm):  # type: ignore[misc]  # as above
    """The first code of an authenticator app."""


class AuthenticateForm(SingleUseMixin, mfa_forms.AuthenticateForm):  # type: ignore[misc]  # as above
    """A code of the second factor, at sign-in."""


class ReauthenticateCodeForm(SingleUseMixin, mfa_forms.ReauthenticateForm):  # type: ignore[misc]  # as above
    """A code of the second factor, required again before an account is changed."""
