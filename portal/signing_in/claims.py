"""What the OpenID provider says of a person, and what follows: whether they come in, as whom, in which roles."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User

from portal.roles import ROLES

Claims = Mapping[str, Any]


class Refused(Exception):
    """Someone may not come in; the message says why and what to do, in words for them."""


def verified_email(claims: Claims) -> str:
    """Return the person's e-mail address where the provider says that it is theirs, else ''."""
    verified = claims.get("email_verified")
    return str(claims.get("email") or "").lower() if verified is True or verified == "true" else ""


def person_of(email: str) -> User | None:
    """Return the one active local person with this address; never a superuser, whose account stays local."""
    found = list(User.objects.filter(email__iexact=email)[:2]) if email else []
    if len(found) != 1 or found[0].is_superuser or not found[0].is_active:
        return None
    return found[0]


def judge(claims: Claims, *, new: bool) -> None:
    """Raise Refused for someone who may not come in; `new`: no local account is theirs yet."""
    email = verified_email(claims)
    domains = settings.PORTAL_OIDC_DOMAINS
    if domains and not email:
        raise Refused(f"{settings.PORTAL_OIDC_NAME} has not confirmed that your e-mail address is yours.")
    if domains and email.rpartition("@")[2] not in {domain.lower() for domain in domains}:
        raise Refused(f"Only people with an address of {', '.join(domains)} may sign in, and yours is {email}.")
    if new and email and User.objects.filter(email__iexact=email).exists():
        raise Refused(
            f"There is an account for {email} here that {settings.PORTAL_OIDC_NAME} does not open. "
            "Sign in with its user name and password, or ask an administrator."
        )


def follow_groups(user: User, claims: Claims) -> None:
    """Give a person the roles that the provider's groups stand for, and take those that they no longer stand for.

    Groups other than the roles are left alone, and so is everything where no claim is named in the settings.
    """
    if not settings.PORTAL_OIDC_GROUPS_CLAIM or user.is_superuser:
        return
    wanted = roles_of(claims)
    held = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    user.groups.add(*Group.objects.filter(name__in=wanted - held))
    user.groups.remove(*Group.objects.filter(name__in=held - wanted))


def roles_of(claims: Claims) -> set[str]:
    """Return the roles that the provider's groups stand for: by PORTAL_OIDC_GROUPS, or by their own names."""
    told = claims.get(settings.PORTAL_OIDC_GROUPS_CLAIM) or []
    groups = {told} if isinstance(told, str) else {str(group) for group in told}
    named = role_by_group() or {role: role for role in ROLES}
    return {role for group, role in named.items() if group in groups and role in ROLES}


def role_by_group() -> dict[str, str]:
    """Return PORTAL_OIDC_GROUPS as {the provider's group: role}; an entry without a role has the role ''."""
    pairs = (entry.rpartition("=") for entry in settings.PORTAL_OIDC_GROUPS)
    return {group.strip(): role.strip() for group, _, role in pairs}
