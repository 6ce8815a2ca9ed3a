"""Make the schema `reporting` and its views; `migrate` does after the migrations."""

from collections.abc import Iterable
from hashlib import md5
from typing import Any, Final

from django.db import ProgrammingError, connection, transaction
from psycopg.errors import InvalidTableDefinition

from usage.models import ReportingRole
from usage.reporting.definitions import build_views
from usage.reporting.views import SCHEMA, View

COMMENT: Final = "Views of the usage portal for reports (docs/reporting.md), version "
# Whether there is such a schema, whether this role may make views in it, or it itself, and what else is in it.
STATE: Final = f"""
    SELECT n.oid IS NOT NULL,
           CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE pg_has_role(n.nspowner, 'USAGE') END,
           coalesce(obj_description(n.oid, 'pg_namespace'), ''),
           ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = n.oid ORDER BY relname)
    FROM (SELECT) AS one LEFT JOIN pg_namespace AS n ON n.nspname = '{SCHEMA}'
"""  # noqa: S608 (our own names)


class SchemaRefused(Exception):
    """The views cannot be made; the message has the step for a superuser."""


def write_views() -> bool:
    """Make the schema and its views where any is missing or was defined otherwise; returns whether it did.

    Readers keep their rights, and wait for the moment in which a view is replaced. Raises SchemaRefused.
    """
    views = build_views()
    statements = [(view, view.build_create(), view.build_comments()) for view in views]
    version = md5(repr(statements).encode(), usedforsecurity=False).hexdigest()
    with transaction.atomic(), connection.cursor() as cursor:
        exists, comment, present = fetch_state(cursor)
        if comment == COMMENT + version and {view.name for view in views} <= set(present):
            return False
        if not exists:
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        for view, create, comments in statements:
            replace_view(cursor, view, create)
            for statement in comments:
                cursor.execute(statement)
        grant_views(cursor, ReportingRole.objects.values_list("name", flat=True))
        cursor.execute(f"COMMENT ON SCHEMA {SCHEMA} IS '{COMMENT}{version}'")
    return True


def fetch_state(cursor: Any) -> tuple[bool, str, list[str]]:
    """Return whether the schema exists, its comment and what is in it; raises SchemaRefused where it is not ours."""
    cursor.execute(STATE)
    exists, is_allowed, comment, present = cursor.fetchone()
    role = connection.ops.quote_name(connection.settings_dict["USER"])
    if not is_allowed:
        raise SchemaRefused(
            f"The views for reports were not made: this role may not make the schema {SCHEMA}. To have them, run as a "
            f"superuser: CREATE SCHEMA {SCHEMA} AUTHORIZATION {role};"
        )
    if present and not comment.startswith(COMMENT):
        raise SchemaRefused(
            f"The views for reports were not made: there is a schema {SCHEMA} that is not the portal's, with "
            f"{', '.join(present)}. To have them, rename it."
        )
    return exists, comment, present


def replace_view(cursor: Any, view: View, create: str) -> None:
    """Create a view, or replace it; a view whose old columns do not all stay is dropped first."""
    try:
        with transaction.atomic():
            cursor.execute(create)
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InvalidTableDefinition):
            raise
        cursor.execute(f"DROP VIEW {view.identifier}")
        cursor.execute(create)


def take_views() -> None:
    """Make the connection's role the owner of schema and views: with whose rights views run, may change them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('ALTER VIEW %%I.%%I OWNER TO CURRENT_USER', nspname, relname) "
            "FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = %s AND relkind = 'v' "
            "UNION ALL SELECT format('ALTER SCHEMA %%I OWNER TO CURRENT_USER', nspname) "
            "FROM pg_namespace WHERE nspname = %s ORDER BY 1",  # the schema first, for views are made in it
            [SCHEMA, SCHEMA],
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)


def grant_views(cursor: Any, names: Iterable[str]) -> None:
    """Grant the existing roles among these the reading of the views, and nothing else."""
    views = ", ".join(view.identifier for view in build_views())
    for role in list_existing_roles(cursor, names):
        cursor.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}")
        cursor.execute(f"GRANT SELECT ON {views} TO {role}")


def revoke_views(cursor: Any, name: str) -> None:
    """Take back what `grant_views` gave."""
    for role in list_existing_roles(cursor, [name]):
        cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {role}")
        cursor.execute(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM {role}")


def list_existing_roles(cursor: Any, names: Iterable[str]) -> list[str]:
    """Return those of the roles that PostgreSQL has, quoted."""
    cursor.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = ANY (%s)", [list(names)])
    return [role for (role,) in cursor.fetchall()]
