"""People of every role, for tests of permissions."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from portal.accounts.models import GroupScope
from portal.accounts.roles import create_roles
from portal.accounts.sessions import SessionStore
from usage.models import Source

PASSWORD = "long-enough-password"


def create_person(
    role: str = "viewer", *, sources: Collection[Source] | None = None, last_login: datetime | None = None
) -> User:
    """Return a member of staff named after the role and in its group; 'admin' is the superuser.

    `sources` limits what they see, by a group of their own. A second one of the same role gets a number.
    """
    count = User.objects.filter(username__startswith=role).count()
    name = f"{role}-{count + 1}" if count else role
    user: User = User.objects.create(
        username=name,
        email=f"{name}@example.com",
        password=hash_password(PASSWORD),
        is_staff=True,
        is_superuser=role == "admin",
        last_login=last_login,
    )
    if role != "admin":
        group = Group.objects.filter(name=role).first()
        if group is None:
            create_roles()  # tests that empty the database have deleted what the migration made
            group = Group.objects.get(name=role)
        user.groups.add(group)
    if sources is not None:
        sources_group = Group.objects.create(name=f"sources of {name}")
        GroupScope.objects.create(group=sources_group).sources.set(sources)
        user.groups.add(sources_group)
    return user


def hash_password(password: str) -> str:
    """Return the hash of a password. Argon2 takes long by design, so a process computes each hash once for a cost."""
    return compute_hash(password, Argon2PasswordHasher.memory_cost)


@cache
def compute_hash(password: str, memory_cost: int) -> str:
    """Return the hash of a password by the hasher's present cost."""
    return make_password(password)


def sign_in_as(role: str = "viewer", **limits: Any) -> Client:
    """Return a client that a new person of the role has signed in with; `limits` as `create_person` takes them."""
    client = Client()
    session_key = create_session(create_person(role, last_login=timezone.now(), **limits))
    client.cookies[settings.SESSION_COOKIE_NAME] = session_key
    return client


def sign_in(user: User) -> Client:
    """Return a client that is signed in as a user."""
    client = Client()
    client.force_login(user)
    return client


def create_session(user: User) -> str:
    """Store a session of a user who has signed in, and return its key; `force_login` needs 15 statements for one."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    assert session.session_key is not None
    return session.session_key


def compute_totp(secret: str) -> str:
    """Return what an authenticator app shows now."""
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))
