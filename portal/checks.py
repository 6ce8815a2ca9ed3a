"""Start-up checks: a wrong or missing setting stops the portal with a message that says what to set."""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from portal.roles import ROLES
from portal.signing_in.claims import role_by_group
from portal.signing_in.oidc import trustworthy
from portal.throttling import RATES_ALLOWED, rate_of

POSTGRES_SCHEMES = ("postgres://", "postgresql://")
REDIS_SCHEMES = ("redis://", "rediss://")
SECRET_KEY_LENGTH = 50
OLDEST_POSTGRES = 15
POSITIVE = (
    "PORTAL_TICK_SECONDS",
    "PORTAL_LEASE_SECONDS",
    "PORTAL_HTTP_TIMEOUT_SECONDS",
    "PORTAL_HTTP_MAX_BYTES",
    "PORTAL_HTTP_ATTEMPTS",
    "PORTAL_EXPORT_SECONDS",
    "PORTAL_EXPORTS_AT_ONCE",
)
RATES = ("PORTAL_API_RATE", "PORTAL_API_FAILURES_RATE")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?", re.IGNORECASE)


def stop_where_misconfigured() -> None:
    """End the process with status 1 and every problem on standard error, if the settings are wrong.

    `manage.py` runs the checks by itself; this is for the processes that start without it: granian and celery.
    """
    # The database is only asked once its address is known to be one.
    found = [message for message in run_checks() or run_checks(databases=["default"]) if message.is_serious()]
    if found:
        sys.stderr.write("The portal does not start:\n" + "".join(f"{message}\n" for message in found))
        sys.exit(1)


@register()
def readable(**_: Any) -> Iterator[CheckMessage]:
    """Every variable holds what it is meant to hold: numbers, words of a choice, addresses."""
    for name, kind in settings.PORTAL_UNREADABLE.items():
        yield Error(f"{name} cannot be read.", hint=f"Set it to {kind}.", id="portal.E001")


@register(Tags.security)
def secret_key(**_: Any) -> Iterator[CheckMessage]:
    """SECRET_KEY signs sessions, so it has to be long and random."""
    try:
        long_enough = len(settings.SECRET_KEY) >= SECRET_KEY_LENGTH
    except ImproperlyConfigured:
        long_enough = False
    if not long_enough:
        yield Error(
            f"SECRET_KEY is missing or shorter than {SECRET_KEY_LENGTH} characters.",
            hint="Set it to a long random text; `manage.py new_key` makes one.",
            id="portal.E002",
        )


@register()
def database_url(**_: Any) -> Iterator[CheckMessage]:
    """DATABASE_URL names a PostgreSQL database; nothing else will do."""
    if not settings.DATABASE_URL.startswith(POSTGRES_SCHEMES):
        yield Error(
            "DATABASE_URL is missing or does not name a PostgreSQL database.",
            hint="Set it like postgres://user:password@host:5432/name. Commands of manage.py start an embedded "
            "one where it is unset.",
            id="portal.E003",
        )


@register()
def redis_url(**_: Any) -> Iterator[CheckMessage]:
    """REDIS_URL names a Redis or Valkey server."""
    if not settings.REDIS_URL.startswith(REDIS_SCHEMES):
        yield Error(
            "REDIS_URL is missing or does not name a Redis server.",
            hint="Set it like redis://:password@host:6379/0, or rediss:// for TLS. Commands of manage.py start an "
            "embedded one where it is unset.",
            id="portal.E004",
        )


@register(Tags.security)
def encryption_keys(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_ENCRYPTION_KEYS opens the stored credentials; the first key locks new ones."""
    keys = settings.PORTAL_ENCRYPTION_KEYS
    if not keys or not all(is_fernet_key(key) for key in keys):
        yield Error(
            "PORTAL_ENCRYPTION_KEYS is missing or holds something that is no key.",
            hint="Set it to one or more keys made by `manage.py new_key`, with commas between them.",
            id="portal.E005",
        )


def is_fernet_key(key: str) -> bool:
    """Tell whether `key` is 32 bytes in URL-safe base64."""
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@register(Tags.database)
def postgres_version(databases: Sequence[str] | None, **_: Any) -> Iterator[CheckMessage]:
    """The PostgreSQL server is new enough; one that does not answer is no fault of the settings."""
    for alias in databases or ():
        try:
            version = connections[alias].cursor().connection.info.server_version
        except (DatabaseError, ImproperlyConfigured):
            continue
        if version < OLDEST_POSTGRES * 10_000:
            yield Error(
                f"The PostgreSQL server that DATABASE_URL names is version {version // 10_000}.",
                hint=f"Use PostgreSQL {OLDEST_POSTGRES} or newer.",
                id="portal.E006",
            )


@register()
def positive_numbers(**_: Any) -> Iterator[CheckMessage]:
    """Seconds, bytes and attempts of nothing make no sense."""
    for name in POSITIVE:
        if getattr(settings, name) <= 0:
            yield Error(f"{name} is not positive.", hint="Set it to a number above 0.", id="portal.E007")
    if settings.DATABASES["default"]["CONN_MAX_AGE"] < 0:
        yield Error("PORTAL_DB_CONN_MAX_AGE is negative.", hint="Set it to 0 or more.", id="portal.E007")


@register(Tags.security)
def allowed_vendor_hosts(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_ALLOWED_VENDOR_HOSTS lists hosts, not addresses of pages and not patterns."""
    for entry in settings.PORTAL_ALLOWED_VENDOR_HOSTS:
        if not HOST.fullmatch(entry):
            yield Error(
                f"PORTAL_ALLOWED_VENDOR_HOSTS holds {entry!r}, which is no host.",
                hint="List host names or addresses, each with a port if need be, with commas between them: "
                "api.example.com,127.0.0.1:9000.",
                id="portal.E008",
            )


@register()
def rates(**_: Any) -> Iterator[CheckMessage]:
    """The limits of the API are rates."""
    for name in RATES:
        if rate_of(getattr(settings, name)) is None:
            yield Error(f"{name} is no rate.", hint=f"Set it to {RATES_ALLOWED}.", id="portal.E009")


@register(Tags.security)
def openid_provider(**_: Any) -> Iterator[CheckMessage]:
    """The OpenID provider is asked over https, knows the portal, and its groups stand for roles that there are."""
    if settings.PORTAL_OIDC_ISSUER and not trustworthy(settings.PORTAL_OIDC_ISSUER):
        yield Error(
            "PORTAL_OIDC_ISSUER is no https address.",
            hint="Set it to the issuer as the provider writes it, such as https://login.example.com/company.",
            id="portal.E010",
        )
    for name in ("PORTAL_OIDC_CLIENT_ID", "PORTAL_OIDC_CLIENT_SECRET"):
        if settings.PORTAL_OIDC_ISSUER and not getattr(settings, name):
            yield Error(
                f"{name} is missing.", hint="Set it to what the provider has given the portal.", id="portal.E011"
            )
    unknown = sorted(set(role_by_group().values()) - set(ROLES))
    if unknown:
        yield Error(
            "PORTAL_OIDC_GROUPS names a role that there is not.",
            hint=f"List groups of the provider as group=role, with commas between them; roles are {', '.join(ROLES)}.",
            id="portal.E012",
        )


@register(Tags.security)
def host_names(**_: Any) -> Iterator[CheckMessage]:
    """A link in a mail leads to the name that the portal was asked by, which no stranger may choose."""
    if settings.PORTAL_EMAIL_URL and "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS takes every name, and mail with links to the portal is sent.",
            hint="List the host names that the portal is reached by, with commas between them.",
            id="portal.E013",
        )
