"""Make, list and remove roles of the database that may read the views of the schema `reporting`, and nothing else.

PostgreSQL has logins, passwords and limits; the ReportingRole has what a role may read, which the views look up.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import ProgrammingError, connection, transaction
from psycopg import sql
from psycopg.errors import DependentObjectsStillExist, InsufficientPrivilege

from usage.models import PersonNames, ReportingRole, Source
from usage.reporting.schema import grant_views, list_existing_roles, revoke_views
from usage.reporting.views import SCHEMA

# Defaults of a role, which its session may change: they prevent mistakes, not misuse.
SETTINGS: Final = {
    "default_transaction_read_only": "on",
    # A transaction that reads and then waits keeps `prune` and `migrate` waiting.
    "idle_in_transaction_session_timeout": "60s",
    "search_path": SCHEMA,
    "timezone": "UTC",
}
# Why a role may do more than read the views, one sentence for each.
FAULTS: Final = """
    SELECT 'It is a superuser.' FROM role WHERE rolsuper
    UNION ALL SELECT 'It may make roles.' FROM role WHERE rolcreaterole
    UNION ALL SELECT 'It may make databases.' FROM role WHERE rolcreatedb
    UNION ALL SELECT 'It may replicate.' FROM role WHERE rolreplication
    UNION ALL SELECT 'It is not bound by the security of rows.' FROM role WHERE rolbypassrls
    UNION ALL
    SELECT 'It is a member of ' || pg_get_userbyid(m.roleid) || '.'
    FROM pg_auth_members m JOIN role ON role.oid = m.member
    UNION ALL
    SELECT 'It may make schemas in the database.' FROM role
    WHERE has_database_privilege(role.oid, current_database(), 'CREATE')
    UNION ALL
    SELECT 'It may make tables in the schema ' || nspname || '.' FROM role, pg_namespace
    WHERE nspname !~ '^pg_' AND has_schema_privilege(role.oid, pg_namespace.oid, 'CREATE')
    UNION ALL
    SELECT 'It may read or change ' || string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) || '.'
    FROM role, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{schema}')
      AND (has_any_column_privilege(role.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
           OR has_table_privilege(role.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER'))
      AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
      )
    HAVING count(*) > 0
    UNION ALL
    SELECT 'It may do more with the views than read them.' FROM role, pg_class c
    WHERE c.relnamespace = to_regnamespace('{schema}')
      AND has_table_privilege(role.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    HAVING count(*) > 0
    UNION ALL
    SELECT 'It may call ' || string_agg(p.oid::regprocedure::text, ', ') || ' with the rights of another role.'
    FROM role, pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND p.prorettype <> 'trigger'::regtype AND n.nspname <> 'pg_catalog'
      AND has_function_privilege(role.oid, p.oid, 'EXECUTE') AND has_schema_privilege(role.oid, n.oid, 'USAGE')
    HAVING count(*) > 0
"""


class RoleRefused(Exception):
    """A role cannot be made, changed or removed; the message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """What a session of a role may use: how long a statement may take, and how many connections there may be."""

    seconds: int = 300
    connections: int = 15


def list_allowed_names() -> list[str]:
    """Return the allowed names of people: PORTAL_PERSON_NAMES, pseudonyms, or none."""
    return sorted({PersonNames.NONE.value, PersonNames.PSEUDONYM.value, settings.PORTAL_PERSON_NAMES})


def list_roles_beyond() -> list[ReportingRole]:
    """Return the roles with names that PORTAL_PERSON_NAMES no longer allows."""
    return list(ReportingRole.objects.exclude(person_names__in=list_allowed_names()))


def validate_person_names(names: str) -> None:
    """Raise ValidationError for names of people that are not allowed."""
    allowed = list_allowed_names()
    if names not in allowed:
        raise ValidationError(
            f"PORTAL_PERSON_NAMES is {settings.PORTAL_PERSON_NAMES}, so a role may be given {' or '.join(allowed)}, "
            f"not {names}."
        )


def create_role(
    name: str, sources: Collection[Source] | None, names: str = PersonNames.NONE, limits: RoleLimits | None = None
) -> str:
    """Make a role and return its password, '' where PostgreSQL has the role already; `sources` None means all.

    Raises RoleRefused where the connection's role may not make roles, or the role may do more than read the views, and
    ValidationError for an invalid or existing name, and names of people that are not allowed.
    """
    validate_person_names(names)
    role = ReportingRole(name=name, limited=sources is not None, person_names=names)
    role.full_clean()
    with transaction.atomic(), connection.cursor() as cursor:
        role.save(force_insert=True)
        role.sources.set(sources or [])
        password = "" if list_existing_roles(cursor, [name]) else create_login(cursor, name, limits or RoleLimits())
        grant_views(cursor, [name])
        if faults := find_role_faults(cursor, name):
            raise RoleRefused(f"The role {name} may do more than read the views. {' '.join(faults)}")
    return password


def change_role(role: ReportingRole, *, sources: Collection[Source] | None, limited: bool, names: str) -> None:
    """Change what a role may read, from its next statement on."""
    validate_person_names(names)
    with transaction.atomic():
        role.limited, role.person_names = limited, names
        role.full_clean()
        role.save()
        if sources is not None:
            role.sources.set(sources)


def create_login(cursor: Any, name: str, limits: RoleLimits) -> str:
    """Make the role in PostgreSQL and return its password, of which PostgreSQL is sent a digest alone."""
    password = secrets.token_urlsafe(24)
    protocol = cursor.connection.pgconn
    digest = protocol.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    try:
        with transaction.atomic():
            for statement in build_login(name, digest, limits):
                cursor.execute(statement.as_string(cursor.connection))
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        statements = build_login(name, "…", limits)
        commands = "\n".join(f"  {statement.as_string(cursor.connection)};" for statement in statements)
        raise RoleRefused(
            "This role of the database may not make others. Run as a superuser, with a password in place of …, and "
            f"then this command again:\n{commands}"
        ) from error
    return password


def build_login(name: str, password: str, limits: RoleLimits) -> list[sql.Composed]:
    """Return the statements that make a role which may sign in."""
    role = sql.Identifier(name)
    create = sql.SQL("CREATE ROLE {} LOGIN NOINHERIT CONNECTION LIMIT {} PASSWORD {}").format(
        role, sql.Literal(limits.connections), sql.Literal(password)
    )
    values = {**SETTINGS, "statement_timeout": f"{limits.seconds}s"}
    return [
        create,
        *(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(setting), sql.Literal(value))
            for setting, value in values.items()
        ),
    ]


def remove_role(role: ReportingRole) -> None:
    """Remove a role; running sessions can read nothing more. Raises RoleRefused where PostgreSQL keeps the role."""
    with transaction.atomic(), connection.cursor() as cursor:
        revoke_views(cursor, role.name)
        existing = list_existing_roles(cursor, [role.name])
        role.delete()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for identifier in existing:
                cursor.execute(f"DROP ROLE {identifier}")
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege | DependentObjectsStillExist):
            raise
        raise RoleRefused(
            f"The role {role.name} sees nothing any more, but PostgreSQL still has it ({error}). Run as a superuser: "
            f"DROP ROLE {role.name};"
        ) from error


def find_role_faults(cursor: Any, name: str) -> list[str]:
    """Return what a role may do besides reading the views; empty without faults or without the role."""
    statement = f"WITH role AS (SELECT * FROM pg_roles WHERE rolname = %s) {FAULTS.format(schema=SCHEMA)}"  # noqa: S608 (our own names)
    cursor.execute(statement, [name])
    return [sentence for (sentence,) in cursor.fetchall()]


def describe_role(cursor: Any, role: ReportingRole) -> str:
    """Return a line about a role: what it may read, and its faults."""
    slugs = ", ".join(source.slug for source in role.sources.all()) or "nothing"
    line = f"{role.name}: {slugs if role.limited else 'all sources'}; people by {role.person_names}"
    faults = find_role_faults(cursor, role.name)
    if not list_existing_roles(cursor, [role.name]):
        faults.append("PostgreSQL has no such role.")
    return " ".join([f"{line}.", *faults])
