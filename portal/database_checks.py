"""System checks of the databases: their addresses, the server's version, and what its roles may do."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from psycopg.conninfo import make_conninfo

from portal.accounts.audit.owner import find_faults

POSTGRES_SCHEMES = ("postgres://", "postgresql://")
OLDEST_POSTGRES = 15
# Options of a database that are Django's own and not PostgreSQL's.
DJANGO_OPTIONS = frozenset({"assume_role", "isolation_level", "pool", "server_side_binding"})


@register()
def check_database_url(**_: Any) -> Iterator[CheckMessage]:
    """DATABASE_URL is a URL of PostgreSQL."""
    if not settings.DATABASE_URL.startswith(POSTGRES_SCHEMES):
        yield Error(
            "DATABASE_URL is missing or does not name a PostgreSQL database.",
            hint="Set it like postgres://user:password@host:5432/name. Commands of manage.py start an embedded "
            "one where it is unset.",
            id="portal.E003",
        )


@register()
def check_database_options(**_: Any) -> Iterator[CheckMessage]:
    """The addresses of databases have a name, and only options that PostgreSQL has."""
    databases = {
        "DATABASE_URL": settings.DATABASES["default"],
        "PORTAL_OWNER_DATABASE_URL": settings.PORTAL_OWNER_DATABASE,
        "DATABASE_REPLICA_URL": settings.DATABASE_REPLICA,
    }
    for variable, database in databases.items():
        options = {name: value for name, value in database.get("OPTIONS", {}).items() if name not in DJANGO_OPTIONS}
        if database.get("HOST") and not (database["NAME"] or "service" in options):
            hint = "Set it like postgres://user:password@host:5432/name."
            yield Error(f"{variable} names no database.", hint=hint, id="portal.E022")
        try:
            make_conninfo(**options)
        except psycopg.ProgrammingError as error:
            hint = "Leave it out; what stands behind the ? are options of libpq, such as sslmode=require."
            yield Error(f"{variable} has an {str(error).strip()}.", hint=hint, id="portal.E022")


@register()
def check_owner_url(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_OWNER_DATABASE_URL is the database of DATABASE_URL with another role."""
    owner, application = settings.PORTAL_OWNER_DATABASE, settings.DATABASES["default"]
    if not any(owner.get(name) for name in ("NAME", "USER", "HOST")):
        return
    is_postgres = owner["ENGINE"] == application["ENGINE"]
    if not is_postgres or owner["NAME"] != application["NAME"] or owner["USER"] in {"", application["USER"]}:
        yield Error(
            "PORTAL_OWNER_DATABASE_URL does not name the database of DATABASE_URL with another role.",
            hint="Set it like postgres://owner:password@host:5432/name, or leave it unset, where one role owns all.",
            id="portal.E017",
        )


@register()
def check_replica_url(**_: Any) -> Iterator[CheckMessage]:
    """DATABASE_REPLICA_URL is the database of DATABASE_URL on another server."""
    replica, primary = settings.DATABASE_REPLICA, settings.DATABASES["default"]
    if not settings.DATABASE_REPLICA_URL:
        return
    is_other = any(replica.get(name) != primary.get(name) for name in ("HOST", "PORT"))
    if replica.get("ENGINE") != primary["ENGINE"] or replica["NAME"] != primary["NAME"] or not is_other:
        yield Error(
            "DATABASE_REPLICA_URL does not name the database of DATABASE_URL on another server.",
            hint="Set it to a streaming standby, like postgres://user:password@standby:5432/name, or leave it unset.",
            id="portal.E019",
        )


@register(Tags.database)
def check_postgres_version(databases: Sequence[str] | None, **_: Any) -> Iterator[CheckMessage]:
    """PostgreSQL is new enough; a server that does not answer is not an error of the settings."""
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


@register(Tags.database)
def check_audit_owner(databases: Sequence[str] | None, **_: Any) -> Iterator[CheckMessage]:
    """Where another role owns the audit log, that of the application cannot change it."""
    for alias in databases or ():
        try:
            with connections[alias].cursor() as cursor:
                faults = find_faults(cursor)
        except (DatabaseError, ImproperlyConfigured):
            continue
        if faults:
            yield Error(
                f"The role of DATABASE_URL may change the audit log, which another role owns. {' '.join(faults)}",
                hint="Set the two roles up as docs/operations.md says, and run `manage.py migrate` with "
                "PORTAL_OWNER_DATABASE_URL.",
                id="portal.E037",
            )


@register(Tags.database)
def check_reporting_roles(databases: Sequence[str] | None, **_: Any) -> Iterator[CheckMessage]:
    """No role that reads the views for reports is shown more of people than PORTAL_PERSON_NAMES shows."""
    from usage.reporting.roles import list_roles_beyond

    try:
        roles = list_roles_beyond() if databases else []
    except (DatabaseError, ImproperlyConfigured):
        # No database, or no tables yet.
        return
    for role in roles:
        yield Error(
            f"The reporting role {role.name} is shown people by {role.person_names}, others by "
            f"{settings.PORTAL_PERSON_NAMES} (PORTAL_PERSON_NAMES).",
            hint=f"Run `manage.py create_reporting_role {role.name} --names none`, or with the value of the setting.",
            id="portal.E020",
        )


@register()
def check_pool_size(**_: Any) -> Iterator[CheckMessage]:
    """The pool is larger than the two connections that each export uses."""
    if settings.PORTAL_DB_POOL_SIZE <= 2 * settings.PORTAL_EXPORTS_AT_ONCE:
        yield Error(
            "PORTAL_DB_POOL_SIZE leaves no connection beside those of exports.",
            hint="Set it to more than twice PORTAL_EXPORTS_AT_ONCE.",
            id="portal.E014",
        )
