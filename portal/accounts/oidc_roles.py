"""Maps the claims of the OpenID provider to the portal: who may sign in, as which user, in which roles."""

from collections.abc import Mapping
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.models import Group, User

from portal.accounts.roles import ROLES

logger = structlog.get_logger(__name__)

Claims = Mapping[str, Any]
# Where a user has too many groups for a token, some providers leave the claim out and report it in one of these.
OVERAGE_CLAIMS = ("_claim_names", "hasgroups")


class SignInRefused(Exception):
    """A person may not sign in; the message explains why and what to do."""


def get_verified_email(claims: Claims) -> str:
    """Return the e-mail address in lower case if the provider has verified it, else ''."""
    verified = claims.get("email_verified")
    return str(claims.get("email") or "").lower() if verified is True or verified == "true" else ""


def find_user(email: str) -> User | None:
    """Return the only active local user with this address; never a superuser, whose account stays local."""
    users = list(User.objects.filter(email__iexact=email)[:2]) if email else []
    if len(users) != 1 or users[0].is_superuser or not users[0].is_active:
        return None
    return users[0]


def check_sign_in(claims: Claims, *, is_new: bool) -> None:
    """Raise SignInRefused for claims that may not sign in; `is_new`: no local account is linked to them yet."""
    email = get_verified_email(claims)
    domains = settings.PORTAL_OIDC_DOMAINS
    if domains and not email:
        raise SignInRefused(f"{settings.PORTAL_OIDC_NAME} has not confirmed that your e-mail address is yours.")
    if domains and email.rpartition("@")[2] not in {domain.lower() for domain in domains}:
        raise SignInRefused(f"Only people with an address of {', '.join(domains)} may sign in, and yours is {email}.")
    if is_new and email and User.objects.filter(email__iexact=email).exists():
        raise SignInRefused(
            f"There is an account for {email} here that {settings.PORTAL_OIDC_NAME} does not open. "
            "Sign in with its user name and password, or ask an administrator."
        )


def sync_roles(user: User, claims: Claims) -> None:
    """Add and remove roles of `user` by the provider's groups; other groups stay.

    Without PORTAL_OIDC_GROUPS_CLAIM nothing changes, nor where the claim does not list the groups.
    """
    if not settings.PORTAL_OIDC_GROUPS_CLAIM or user.is_superuser:
        return
    if problem := find_groups_problem(claims):
        logger.warning("the roles stay as they are", user=user.get_username(), reason=problem)
        return
    roles = get_roles(claims)
    current_roles = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    user.groups.add(*Group.objects.filter(name__in=roles - current_roles))
    user.groups.remove(*Group.objects.filter(name__in=current_roles - roles))


def find_groups_problem(claims: Claims) -> str:
    """Return why the claims do not list the groups of a user; "" where they do, or report that there are none."""
    name = settings.PORTAL_OIDC_GROUPS_CLAIM
    claim = claims.get(name)
    if claim is not None:
        return "" if isinstance(claim, str | list) else f"The claim {name} is neither a text nor a list."
    elsewhere = claims.get("_claim_names")
    has_groups = name == "groups" and str(claims.get("hasgroups")).lower() == "true"
    if has_groups or (isinstance(elsewhere, Mapping) and name in elsewhere):
        return (
            f"The provider left out the claim {name}, because the user is in more groups than fit in a token. "
            "Have it send only the groups that are assigned to the portal."
        )
    return ""


def get_roles(claims: Claims) -> set[str]:
    """Return the roles of the provider's groups: by PORTAL_OIDC_GROUPS, or the groups named like roles."""
    claim = claims.get(settings.PORTAL_OIDC_GROUPS_CLAIM) or []
    groups = {claim} if isinstance(claim, str) else {str(group) for group in claim}
    role_by_group = parse_group_roles() or {role: role for role in ROLES}
    return {role for group, role in role_by_group.items() if group in groups and role in ROLES}


def parse_group_roles() -> dict[str, str]:
    """Return PORTAL_OIDC_GROUPS as {the provider's group: role}; an entry without a role has the role ''."""
    pairs = (entry.rpartition("=") for entry in settings.PORTAL_OIDC_GROUPS)
    return {group.strip(): role.strip() for group, _, role in pairs}
