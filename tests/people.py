"""People of every role, for tests of what each may see and do."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client

from portal.models import GroupScope
from portal.roles import make_roles
from usage.models import Source

PASSWORD = "long-enough-password"


def person(role: str = "viewer", *, sources: Collection[Source] | None = None) -> User:
    """Return a member of staff named after the role and in its group; 'admin' is the superuser.

    `sources` limits what they see, by a group of their own. A second one of the same role gets a number.
    """
    taken = User.objects.filter(username__startswith=role).count()
    name = f"{role}-{taken + 1}" if taken else role
    if role == "admin":
        user = User.objects.create_superuser(name, f"{name}@example.com", PASSWORD)
    else:
        make_roles()  # tests that flush the database have emptied what the migration made
        user = User.objects.create_user(name, f"{name}@example.com", PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
    if sources is not None:
        own = Group.objects.create(name=f"sources of {name}")
        GroupScope.objects.create(group=own).sources.set(sources)
        user.groups.add(own)
    return user


def client_of(role: str = "viewer", **limits: Any) -> Client:
    """Return a client that a new person of the role has signed in with; `limits` as `person` takes them."""
    client = Client()
    client.force_login(person(role, **limits))
    return client
