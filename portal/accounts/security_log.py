"""The security log: who signs in, what fails, and what is refused; docs/operations.md lists the events.

An event is a line of the logger `portal.security`. The request adds its id, its address, and its user or the prefix
of its token, as to every line. No line has a password, a code or a complete token.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import structlog
from allauth.account.authentication import get_authentication_records
from allauth.account.signals import authentication_step_completed, password_changed, password_reset
from allauth.account.stages import LoginStageController
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
    authenticator_used,
)
from allauth.mfa.stages import AuthenticateStage
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject
from structlog.contextvars import bind_contextvars

from portal.accounts.models import PREFIX_LENGTH, ApiToken, hash_secret

logger = structlog.get_logger("portal.security")

TOKEN_PREFIX = re.compile(rf"(up_[0-9A-Za-z]{{{PREFIX_LENGTH}}})_")
# allauth's names of the ways to sign in.
METHODS = {"password": "password", "socialaccount": "provider", "mfa": "second_factor"}


class SecurityEvent(StrEnum):
    """What happened; the names are stable."""

    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_IN_REFUSED = "sign_in_refused"
    LOCKED_OUT = "locked_out"
    REAUTHENTICATED = "reauthenticated"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 (the name of an event)
    PASSWORD_RESET = "password_reset"  # noqa: S105 (the name of an event)
    SECOND_FACTOR_USED = "second_factor_used"
    SECOND_FACTOR_FAILED = "second_factor_failed"
    SECOND_FACTOR_ADDED = "second_factor_added"
    SECOND_FACTOR_REMOVED = "second_factor_removed"
    SECOND_FACTOR_RENEWED = "second_factor_renewed"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 (the name of an event)
    PERMISSION_REFUSED = "permission_refused"
    RATE_LIMITED = "rate_limited"


EVENT_BY_STATUS: dict[int, SecurityEvent] = {
    HTTPStatus.FORBIDDEN: SecurityEvent.PERMISSION_REFUSED,
    HTTPStatus.TOO_MANY_REQUESTS: SecurityEvent.RATE_LIMITED,
}
HARMLESS = {
    SecurityEvent.SIGNED_IN,
    SecurityEvent.SIGNED_OUT,
    SecurityEvent.REAUTHENTICATED,
    SecurityEvent.SECOND_FACTOR_USED,
}


def log_event(event: SecurityEvent, **fields: Any) -> None:
    """Write a line; a field that is None is left out."""
    log = logger.info if event in HARMLESS else logger.warning
    log(event.value, **{name: value for name, value in fields.items() if value is not None})


class UserLogMiddleware:
    """Adds the user to every line of a request from the moment that something looks the user up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`; a request that needs no user still looks none up."""
        user = request.user
        request.user = SimpleLazyObject(lambda: bind_user(user))  # type: ignore[assignment]  # as Django's middleware
        return self.get_response(request)


def bind_user(user: Any) -> Any:
    """Add a user who is signed in to the lines of this request; returns the user."""
    if user.is_authenticated:
        bind_contextvars(user=user.get_username())
    return user


def bind_token(token: ApiToken) -> None:
    """Add the prefix of a token to the lines of this request."""
    bind_contextvars(token=token.prefix)


def log_refusal(request: HttpRequest, status: int) -> None:
    """Log a request that is answered with 403 or 429."""
    if event := EVENT_BY_STATUS.get(status):
        log_event(event, method=request.method, path=request.path)


def log_token_refused(secret: str) -> None:
    """Log a token that opens nothing, by its prefix, and why; what is no token is not repeated."""
    token = ApiToken.objects.filter(digest=hash_secret(secret)).first()
    if token is not None:
        reason = "revoked" if token.revoked_at else "expired"
        log_event(SecurityEvent.TOKEN_REFUSED, token=token.prefix, reason=reason)
        return
    match = TOKEN_PREFIX.match(secret)
    log_event(SecurityEvent.TOKEN_REFUSED, token=match[1] if match else None, reason="unknown")


class RefusalLogMixin:
    """Logs what allauth's account adapter refuses without a signal."""

    request: HttpRequest

    def validation_error(self, code: str, *args: Any) -> ValidationError:
        """Return the error of a form, as the adapter does."""
        if code in {"too_many_login_attempts", "rate_limited"}:
            log_event(SecurityEvent.LOCKED_OUT, user=find_claimed_name(self.request))
        if code == "enter_current_password":
            log_event(SecurityEvent.SIGN_IN_FAILED, user=find_claimed_name(self.request), reason="wrong_password")
        error: ValidationError = super().validation_error(code, *args)  # type: ignore[misc]  # the adapter's
        return error


def find_claimed_name(request: HttpRequest) -> str | None:
    """Return the name of the user that a request of the sign-in pages is about, None for an unknown user."""
    if "login" in request.POST:
        user = find_user(request.POST["login"])
    elif request.user.is_authenticated:
        return str(request.user.get_username())
    else:
        stage = LoginStageController.enter(request, AuthenticateStage.key)
        user = stage.login.user if stage else None
    return user.get_username() if user else None


def find_user(login: str) -> User | None:
    """Return the user with this name or e-mail address; an unknown name may be a password in the wrong field."""
    return User.objects.filter(Q(username__iexact=login) | Q(email__iexact=login)).first() if login else None


@receiver(user_logged_in)
def log_signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Log a sign-in with the ways that it took."""
    bind_user(user)
    records = get_authentication_records(request, user)
    methods = [METHODS.get(record["method"], record["method"]) for record in records]
    log_event(SecurityEvent.SIGNED_IN, user=user.get_username(), methods=methods)


@receiver(user_logged_out)
def log_signed_out(user: User | None, **_: Any) -> None:
    """Log a sign-out."""
    log_event(SecurityEvent.SIGNED_OUT, user=user.get_username() if user else None)


@receiver(user_login_failed)
def log_wrong_password(credentials: dict[str, Any], **_: Any) -> None:
    """Log a wrong password, at the sign-in or where a page requires it again."""
    user = find_user(credentials.get("username") or credentials.get("email") or "")
    if user is None:
        log_event(SecurityEvent.SIGN_IN_FAILED, reason="unknown_user")
    else:
        reason = "wrong_password" if user.is_active else "inactive"
        log_event(SecurityEvent.SIGN_IN_FAILED, user=user.get_username(), reason=reason)


@receiver(authentication_step_completed)
def log_reauthenticated(user: User, method: str, **details: Any) -> None:
    """Log that a signed-in user entered the password or a code again."""
    if details.get("reauthenticated"):
        log_event(SecurityEvent.REAUTHENTICATED, user=user.get_username(), methods=[METHODS.get(method, method)])


def connect(signal: Any, event: SecurityEvent) -> None:
    """Log `event` with the user of each signal, and the kind of its second factor, if any."""

    def log(user: User, authenticator: Authenticator | None = None, **_: Any) -> None:
        log_event(event, user=user.get_username(), factor=authenticator.type if authenticator else None)

    signal.connect(log, weak=False)


connect(password_changed, SecurityEvent.PASSWORD_CHANGED)
connect(password_reset, SecurityEvent.PASSWORD_RESET)
connect(authenticator_used, SecurityEvent.SECOND_FACTOR_USED)
connect(authentication_failed, SecurityEvent.SECOND_FACTOR_FAILED)
connect(authenticator_added, SecurityEvent.SECOND_FACTOR_ADDED)
connect(authenticator_removed, SecurityEvent.SECOND_FACTOR_REMOVED)
connect(authenticator_reset, SecurityEvent.SECOND_FACTOR_RENEWED)
