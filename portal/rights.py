"""Who may give what to whom: nobody gives, or changes anyone who has, more than they may do and see themselves."""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal.authentication import staff_scope
from portal.models import GroupScope, Scope
from portal.roles import ADMINISTERS, APPS, ROLES

Limit = frozenset[int] | None

# What people may do, in words, by a permission that stands for it.
ABILITIES = {
    "Look at usage, explore, export, save views": "usage.view_resourceusage",
    "Have days read again, retry, accept suspect days": "usage.change_sourceday",
    "Add and change sources": "usage.change_source",
    "Make and revoke API tokens": "portal.change_apitoken",
    "Keep people and groups": "auth.change_user",
    "Read the audit log": "portal.view_auditentry",
}
# What whoever makes a token with a scope must be permitted themselves: all that the scope opens.
READS_USAGE = ("usage.view_environmentusage", "usage.view_resourceusage", "usage.view_recipeusage")
NEEDED_FOR = {
    Scope.USAGE_READ: READS_USAGE,
    Scope.MIRROR_READ: READS_USAGE,
    Scope.SYNC_READ: (
        "usage.view_source",
        "usage.view_sourceday",
        "sync.view_syncrun",
        "usage.view_restatement",
        "usage.view_rejectedrecord",
    ),
    Scope.SYNC_RUN: ("usage.change_sourceday",),
}


def me(request: HttpRequest) -> User:
    """Return who asks, on a page that only staff may open."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101
    return user


def rights_of(user: User) -> set[str]:
    """Return the codes of what a person may do, also while their account is switched off."""
    return codes(permissions_of(user))


def permissions_of(user: User) -> QuerySet[Permission]:
    """Return what a person may do by their groups and by themselves."""
    return Permission.objects.filter(Q(group__user=user) | Q(user=user))


def codes(permissions: QuerySet[Permission]) -> set[str]:
    """Return permissions as `usage.view_source`."""
    return {f"{app}.{code}" for app, code in permissions.values_list("content_type__app_label", "codename")}


def within(limit: Limit, wider: Limit) -> bool:
    """Tell whether a limit to sources (None: all of them) shows nothing that the wider one does not."""
    return wider is None or (limit is not None and limit <= wider)


def limit_of(groups: Iterable[Group]) -> Limit:
    """Return the ids of the only sources that members of these groups see, None for all."""
    scopes = list(GroupScope.objects.filter(group__in=list(groups)).values_list("sources", flat=True))
    return frozenset(source for source in scopes if source is not None) if scopes else None


def may_change(actor: User, person: User) -> bool:
    """Tell whether someone may change another's account: not of anyone who may do or see more."""
    return not people_beyond(actor).filter(pk=person.pk).exists()


def people_beyond(actor: User) -> QuerySet[User]:
    """Return the people who may do or see more than someone: neither they nor their groups are theirs to change."""
    if actor.is_superuser:
        return User.objects.none()
    more = Permission.objects.exclude(pk__in=permissions_of(actor).values("pk"))
    able = Group.objects.filter(permissions__in=more)
    return User.objects.filter(
        Q(is_superuser=True)
        | Q(pk__in=User.user_permissions.through.objects.filter(permission__in=more).values("user"))
        | Q(pk__in=User.groups.through.objects.filter(group__in=able).values("user"))
        | ~Q(pk__in=people_to_see(actor).values("pk"))
    )


def may_change_group(actor: User, group: Group) -> bool:
    """Tell whether someone may change a group: not a role, not one that they are in, not one that has more.

    What a group gets all its members get: one that somebody is in who may do or see more is left alone too. Who is
    limited to sources keeps to groups that are: any other would show all sources to who is put into it.
    """
    if group.name in ROLES:
        return False
    if actor.is_superuser:
        return True
    if actor.groups.filter(pk=group.pk).exists() or not groups_to_give(actor).filter(pk=group.pk).exists():
        return False
    if not within(limit_of([group]), staff_scope(actor)):
        return False
    return not people_beyond(actor).filter(groups=group).exists()


def groups_to_give(actor: User) -> QuerySet[Group]:
    """Return the groups that someone may put people into."""
    if actor.is_superuser:
        return Group.objects.all()
    beyond = Permission.objects.exclude(pk__in=permissions_of(actor).values("pk"))
    groups = Group.objects.exclude(permissions__in=beyond)
    limit = staff_scope(actor)
    if limit is None:
        return groups
    return groups.exclude(pk__in=wider_groups(limit))


def wider_groups(limit: frozenset[int]) -> QuerySet[GroupScope, int]:
    """Return the ids of groups that show a source beyond a limit."""
    shown = GroupScope.sources.through.objects.exclude(source__in=limit)
    return GroupScope.objects.filter(pk__in=shown.values("groupscope")).values_list("group", flat=True)


def permissions_to_give(actor: User) -> QuerySet[Permission]:
    """Return the permissions that someone may give to a group: those of their own that open or do anything."""
    names = [right.split(".")[1] for right in ADMINISTERS]
    offered = Permission.objects.filter(content_type__app_label__in=APPS, codename__in=names)
    if actor.is_superuser:
        return offered
    return offered.filter(pk__in=permissions_of(actor).values("pk"))


def people_to_see(actor: User) -> QuerySet[User]:
    """Return the people that someone may know of: who is limited to sources knows of nobody who sees others."""
    limit = staff_scope(actor)
    if limit is None:
        return User.objects.all()
    limited = GroupScope.objects.values("group")
    seen = User.objects.filter(groups__in=limited).exclude(groups__in=wider_groups(limit)).exclude(is_superuser=True)
    return User.objects.filter(Q(pk__in=seen.values("pk")) | Q(pk=actor.pk))


def scopes_to_give(actor: User) -> list[tuple[str, str]]:
    """Return the scopes that someone may give to a token, as choices."""
    return [(scope.value, scope.label) for scope in Scope if actor.has_perms(NEEDED_FOR[scope])]
