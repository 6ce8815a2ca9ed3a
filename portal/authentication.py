"""Who asks, and whether they may: portal tokens, the staff session, and the permission that judges both."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AbstractUser, AnonymousUser, User
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from portal.models import ApiToken, GroupScope
from portal.throttling import count_failure, require_turn
from usage.access import Access, access_of

if TYPE_CHECKING:  # rest_framework.views itself imports this module, through the settings
    from rest_framework.views import APIView

CHALLENGE = 'Bearer realm="usage portal"'
NOT_ACCEPTED = "The token is not accepted: it is unknown, expired or revoked."


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """The rights of a token: its scopes, and its sources where it is limited to some."""

    token: ApiToken
    source_ids: frozenset[int] | None

    @property
    def name(self) -> str:
        """The token's name and visible prefix."""
        return f"token {self.token}"

    def refusal(self, scope: str, permission: str) -> str:
        """Return a sentence that names the missing scope, or ''."""
        return "" if scope in self.token.scopes else f"The token lacks the scope {scope}."


@dataclass(frozen=True, slots=True)
class StaffAccess:
    """The rights of a member of staff: Django's permissions, over the sources of their groups."""

    user: AbstractUser
    source_ids: frozenset[int] | None

    @property
    def name(self) -> str:
        """The user's name."""
        return self.user.get_username()

    def refusal(self, scope: str, permission: str) -> str:
        """Return a sentence that names the missing permission, or ''."""
        return "" if self.user.has_perm(permission) else f"You lack the permission {permission}."


def staff_scope(user: AbstractBaseUser | AnonymousUser) -> frozenset[int] | None:
    """Return the ids of the only sources that someone may see by their groups (GroupScope), None for all.

    Costs one query, none for a superuser.
    """
    if not isinstance(user, User):
        return frozenset()
    if user.is_superuser:
        return None
    limits = GroupScope.objects.filter(group__user=user)
    found = list(limits.values_list("sources", flat=True))
    return frozenset(source for source in found if source is not None) if found else None


def token_access(secret: str) -> TokenAccess | None:
    """Return the rights of the token with this secret and note its use; None for one that opens nothing.

    Costs one query, and once a minute a second.
    """
    now = timezone.now()
    token = ApiToken.objects.of_secret(secret, now)
    if token is None:
        return None
    token.note_use(now)
    chosen: list[int] = token.chosen_source_ids  # type: ignore[attr-defined]
    return TokenAccess(token, frozenset(chosen) if token.limited else None)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer up_…`; every token that does not open anything gets the same answer.

    Every request is counted here, before anything else is judged: what is refused later has cost something too.
    """

    def authenticate(self, request: Request) -> tuple[ApiToken, Access] | None:
        """Return the token and its rights; None where the request carries no Bearer header."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        access = token_access(secret.strip())
        if access is None:
            count_failure(request._request)  # noqa: SLF001 (as DRF's own classes read it)
            raise AuthenticationFailed(NOT_ACCEPTED)
        require_turn(request._request, f"token:{access.token.prefix}", access.token.rate)  # noqa: SLF001 (as above)
        return access.token, access

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return CHALLENGE


class StaffSessionAuthentication(SessionAuthentication):
    """The admin's session, for active staff; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[AbstractUser, Access] | None:
        """Return the member of staff and their rights; None for anyone else."""
        user: Any = getattr(request._request, "user", None)  # noqa: SLF001 (as DRF's own class reads it)
        if user is None or not (user.is_active and user.is_staff):
            return None
        self.enforce_csrf(request)
        require_turn(request._request, f"user:{user.pk}")  # noqa: SLF001 (as above)
        return user, StaffAccess(user, staff_scope(user))


class IsKnown(BasePermission):
    """Let in whoever is known, whatever they may do: for the schema and for addresses that do not exist."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether a token or a session came with the request."""
        return access_of(request) is not None


class HasScope(IsKnown):
    """Let in whoever has what the view asks for: `view.scope` of a token, `view.permission` of staff.

    A view without both is closed.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether the request may go on; raises PermissionDenied that names what is missing."""
        access = access_of(request)
        if access is None:
            return False
        scope, permission = getattr(view, "scope", ""), getattr(view, "permission", "")
        refusal = access.refusal(scope, permission) if scope and permission else "Nobody may do this."
        if refusal:
            raise PermissionDenied(refusal)
        return True
