"""People of every role, for tests of what each may see and do."""

from collections.abc import Collection
from functools import cache
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.test import Client

from portal.accounts.models import GroupScope
from portal.accounts.roles import create_roles
from usage.models import Source

PASSWORD = "long-enough-password"


def person(role: str = "viewer", *, sources: Collection[Source] | None = None) -> User:
    """Return a member of staff named after the role and in its group; 'admin' is the superuser.

    `sources` limits what they see, by a group of their own. A second one of the same role gets a number.
    """
    taken = User.objects.filter(username__startswith=role).count()
    name = f"{role}-{taken + 1}" if taken else role
    user: User = User.objects.create(
        username=name,
        email=f"{name}@example.com",
        password=hash_password(PASSWORD),
        is_staff=True,
        is_superuser=role == "admin",
    )
    if role != "admin":
        if not Group.objects.filter(name=role).exists():
            create_roles()  # tests that empty the database have deleted what the migration made
        user.groups.add(Group.objects.get(name=role))
    if sources is not None:
        own = Group.objects.create(name=f"sources of {name}")
        GroupScope.objects.create(group=own).sources.set(sources)
        user.groups.add(own)
    return user


@cache
def hash_password(password: str) -> str:
    """Return the hash of a password. Argon2 takes long by design, so a process computes each hash once."""
    return make_password(password)


def client_of(role: str = "viewer", **limits: Any) -> Client:
    """Return a client that a new person of the role has signed in with; `limits` as `person` takes them."""
    client = Client()
    client.force_login(person(role, **limits))
    return client
