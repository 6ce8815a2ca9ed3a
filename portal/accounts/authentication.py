"""DRF authentication by API token or staff session."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AbstractUser, AnonymousUser, User
from django.utils import timezone
from django.utils.text import Truncator
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from portal.accounts.models import ApiToken, GroupScope
from portal.accounts.security_log import bind_token, log_token_refused
from portal.accounts.throttling import count_failure, count_request
from portal.standby import choose_database
from usage.api.access import Access

CHALLENGE = 'Bearer realm="usage portal"'
NAME_LENGTH = 200  # of who requested a run, accepted findings or acknowledged an incident
NOT_ACCEPTED = "The token is not accepted: it is unknown, expired or revoked."


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """What a token may do and see: its scopes, and its sources if it is limited."""

    token: ApiToken
    source_ids: frozenset[int] | None

    @property
    def name(self) -> str:
        """The token's name and visible prefix; a name that runs, acceptances and incidents could not store is cut."""
        name, prefix = f"token {self.token.name}", f" ({self.token.prefix}…)"
        return f"{Truncator(name).chars(NAME_LENGTH - len(prefix))}{prefix}"

    def refusal(self, scope: str, permission: str) -> str:
        """Return a sentence that names the missing scope, else ''."""
        return "" if scope in self.token.scopes else f"The token lacks the scope {scope}."


@dataclass(frozen=True, slots=True)
class StaffAccess:
    """What a member of staff may do and see: Django's permissions, and the sources of their groups."""

    user: AbstractUser
    source_ids: frozenset[int] | None

    @property
    def name(self) -> str:
        return self.user.get_username()

    def refusal(self, scope: str, permission: str) -> str:
        """Return a sentence that names the missing permission, else ''."""
        return "" if self.user.has_perm(permission) else f"You lack the permission {permission}."


def get_source_scope(user: AbstractBaseUser | AnonymousUser) -> frozenset[int] | None:
    """Return the ids of the only sources that a user may see (GroupScope), None for every source.

    One query, none for a superuser.
    """
    if not isinstance(user, User):
        return frozenset()
    if user.is_superuser:
        return None
    limits = GroupScope.objects.filter(group__user=user)
    source_ids = list(limits.values_list("sources", flat=True))
    return frozenset(pk for pk in source_ids if pk is not None) if source_ids else None


def get_token_access(secret: str) -> TokenAccess | None:
    """Return the access of the token with this secret and record its use; None for no usable token, which is logged.

    One query, and once a minute a second.
    """
    now = timezone.now()
    token = ApiToken.objects.get_usable(secret, now)
    if token is None:
        log_token_refused(secret)
        return None
    bind_token(token)
    token.record_use(now)
    source_ids: list[int] = token.chosen_source_ids  # type: ignore[attr-defined]
    return TokenAccess(token, frozenset(source_ids) if token.limited else None)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer up_…`; unknown, expired and revoked tokens get the same response.

    Requests are counted here, before permissions are checked: refused requests count too.
    """

    def authenticate(self, request: Request) -> tuple[ApiToken, Access] | None:
        """Return the token and its access, None without a Bearer header."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        access = get_token_access(secret.strip())
        if access is None:
            count_failure(request._request)  # noqa: SLF001 (as DRF's own classes read it)
            raise AuthenticationFailed(NOT_ACCEPTED)
        count_request(request._request, f"token:{access.token.prefix}", access.token.rate)  # noqa: SLF001 (as above)
        choose_database(request._request)  # noqa: SLF001 (as above)
        return access.token, access

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate, which makes a refusal a 401."""
        return CHALLENGE


class StaffSessionAuthentication(SessionAuthentication):
    """The admin's session, for active staff; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[AbstractUser, Access] | None:
        """Return the member of staff and their access, None for anyone else."""
        user: Any = getattr(request._request, "user", None)  # noqa: SLF001 (as DRF's own class reads it)
        if user is None or not (user.is_active and user.is_staff):
            return None
        self.enforce_csrf(request)
        count_request(request._request, f"user:{user.pk}")  # noqa: SLF001 (as above)
        access = StaffAccess(user, get_source_scope(user))
        choose_database(request._request)  # noqa: SLF001 (as above)
        return user, access
