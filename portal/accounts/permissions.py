"""Who may change whom: users grant no more than they have, and change no user or group that has more."""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal.accounts.authentication import get_source_scope
from portal.accounts.models import GroupScope, Scope
from portal.accounts.roles import ADMINISTRATOR_PERMISSIONS, APPS, ROLES

SourceLimit = frozenset[int] | None

# What users may do, by the permission that allows it.
ABILITIES = {
    "View usage, explore, export, save views": "usage.view_resourceusage",
    "Have saved views sent as reports": "reports.add_report",
    "Sync days again, retry, accept suspect days": "usage.change_sourceday",
    "Add and change sources": "usage.change_source",
    "Create and revoke API tokens": "accounts.change_apitoken",
    "Manage users and groups": "auth.change_user",
    "See the names of people": "usage.view_person",
    "Read the audit log": "accounts.view_auditentry",
}
# The permissions that the creator of a token needs for each scope: all that the scope allows.
USAGE_PERMISSIONS = ("usage.view_environmentusage", "usage.view_resourceusage", "usage.view_recipeusage")
PERMISSIONS_BY_SCOPE = {
    Scope.USAGE_READ: (*USAGE_PERMISSIONS, "usage.view_directoryentry"),
    Scope.MIRROR_READ: USAGE_PERMISSIONS,
    Scope.SYNC_READ: (
        "usage.view_source",
        "usage.view_sourceday",
        "sync.view_syncrun",
        "usage.view_restatement",
        "usage.view_rejectedrecord",
    ),
    Scope.METRICS_READ: ("usage.view_source", "usage.view_sourceday", "sync.view_loadattempt"),
    Scope.SYNC_RUN: ("usage.change_sourceday",),
    Scope.PERSON_READ: ("usage.view_person",),
}


def request_user(request: HttpRequest) -> User:
    """Return the user of a request to a page for staff."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101
    return user


def get_user_codes(user: User) -> set[str]:
    """Return the permission codes of a user, also of an inactive user."""
    return list_codes(get_user_permissions(user))


def get_user_permissions(user: User) -> QuerySet[Permission]:
    """Return the permissions of a user, their own and those of their groups."""
    return Permission.objects.filter(Q(group__user=user) | Q(user=user))


def list_codes(permissions: QuerySet[Permission]) -> set[str]:
    """Return codes such as `usage.view_source`."""
    return {f"{app}.{code}" for app, code in permissions.values_list("content_type__app_label", "codename")}


def is_within(limit: SourceLimit, wider: SourceLimit) -> bool:
    """Return whether all sources of a limit (None: every source) are within the wider limit."""
    return wider is None or (limit is not None and limit <= wider)


def get_groups_limit(groups: Iterable[Group]) -> SourceLimit:
    """Return the ids of the only sources that members of these groups see, None for every source."""
    scopes = list(GroupScope.objects.filter(group__in=list(groups)).values_list("sources", flat=True))
    return frozenset(source for source in scopes if source is not None) if scopes else None


def can_change_user(actor: User, person: User) -> bool:
    """Return whether `actor` may change a user: not a user with more permissions or sources."""
    return not get_users_beyond(actor).filter(pk=person.pk).exists()


def get_users_beyond(actor: User) -> QuerySet[User]:
    """Return the users with a permission or source that `actor` lacks, whom and whose groups `actor` may not change."""
    if actor.is_superuser:
        return User.objects.none()
    missing_permissions = Permission.objects.exclude(pk__in=get_user_permissions(actor).values("pk"))
    wider_groups = Group.objects.filter(permissions__in=missing_permissions)
    return User.objects.filter(
        Q(is_superuser=True)
        | Q(pk__in=User.user_permissions.through.objects.filter(permission__in=missing_permissions).values("user"))
        | Q(pk__in=User.groups.through.objects.filter(group__in=wider_groups).values("user"))
        | ~Q(pk__in=get_visible_users(actor).values("pk"))
    )


def can_change_group(actor: User, group: Group) -> bool:
    """Return whether `actor` may change a group: no role, none of their own, and none with more than `actor` has.

    A change reaches all members, so no member may have more than `actor` either. An actor who is limited to sources
    may only change groups within that limit: any other shows all sources to its members.
    """
    if group.name in ROLES:
        return False
    if actor.is_superuser:
        return True
    if actor.groups.filter(pk=group.pk).exists() or not get_assignable_groups(actor).filter(pk=group.pk).exists():
        return False
    if not is_within(get_groups_limit([group]), get_source_scope(actor)):
        return False
    return not get_users_beyond(actor).filter(groups=group).exists()


def get_assignable_groups(actor: User) -> QuerySet[Group]:
    """Return the groups that `actor` may add users to."""
    if actor.is_superuser:
        return Group.objects.all()
    missing_permissions = Permission.objects.exclude(pk__in=get_user_permissions(actor).values("pk"))
    groups = Group.objects.exclude(permissions__in=missing_permissions)
    limit = get_source_scope(actor)
    if limit is None:
        return groups
    return groups.exclude(pk__in=get_wider_group_ids(limit))


def get_wider_group_ids(limit: frozenset[int]) -> QuerySet[GroupScope, int]:
    """Return the ids of groups with a source outside of a limit."""
    outside_links = GroupScope.sources.through.objects.exclude(source__in=limit)
    return GroupScope.objects.filter(pk__in=outside_links.values("groupscope")).values_list("group", flat=True)


def get_assignable_permissions(actor: User) -> QuerySet[Permission]:
    """Return the permissions that `actor` may grant to a group: their own, as far as pages use them."""
    names = [code.split(".")[1] for code in ADMINISTRATOR_PERMISSIONS]
    permissions = Permission.objects.filter(content_type__app_label__in=APPS, codename__in=names)
    if actor.is_superuser:
        return permissions
    return permissions.filter(pk__in=get_user_permissions(actor).values("pk"))


def get_visible_users(actor: User) -> QuerySet[User]:
    """Return the users visible to `actor`: for an actor limited to sources, no user who sees other sources."""
    limit = get_source_scope(actor)
    if limit is None:
        return User.objects.all()
    limited = GroupScope.objects.values("group")
    visible_users = (
        User.objects.filter(groups__in=limited)
        .exclude(groups__in=get_wider_group_ids(limit))
        .exclude(is_superuser=True)
    )
    return User.objects.filter(Q(pk__in=visible_users.values("pk")) | Q(pk=actor.pk))


def get_assignable_scopes(actor: User) -> list[tuple[str, str]]:
    """Return the scopes that `actor` may grant to a token, as choices."""
    return [(scope.value, scope.label) for scope in Scope if actor.has_perms(PERMISSIONS_BY_SCOPE[scope])]
