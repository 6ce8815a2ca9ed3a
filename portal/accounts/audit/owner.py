"""Two roles of the database: the owner of the audit log, and the role that the application signs in with.

Who owns a table may switch its triggers off. So the owner has the audit log, its functions and every audited table; the
application may read the log, and read and write the rows of audited tables. It owns the other tables, of which it
creates partitions. `manage.py migrate` signs in as the owner (PORTAL_OWNER_DATABASE_URL).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from portal.accounts.audit.tables import AUDITED
from portal.accounts.audit.triggers import FUNCTIONS, LOG, install_triggers

# `migrate` writes the last table: a trigger that another role added there would run with the owner's rights.
OWNED = (LOG, *(audited.table for audited in AUDITED), "django_migrations")
READ_ONLY = (LOG, "django_migrations")

# Without what an extension made, and without the sequences of columns, which follow their tables.
TABLES = """
    SELECT c.relname, pg_get_userbyid(c.relowner)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND (d.deptype = 'e' OR d.deptype IN ('a', 'i') AND c.relkind = 'S')
    )
"""
# The functions of the log, and those of other triggers on the owner's tables.
FUNCTIONS_OF_ROLE = """
    SELECT p.oid::regprocedure::text
    FROM pg_proc p
    WHERE pg_get_userbyid(p.proowner) = %(role)s AND p.oid IN (
        SELECT to_regprocedure(signature) FROM unnest(%(signatures)s::text[]) AS signature
        UNION ALL
        SELECT t.tgfoid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relname = ANY (%(owned)s) AND c.relnamespace = current_schema()::regnamespace
    )
"""
# What the application's role may do that lets it change the log, a sentence for each.
FAULTS = """
    WITH log AS (SELECT oid, relowner, relnamespace FROM pg_class WHERE oid = to_regclass('accounts_auditentry'))
    SELECT 'It is a superuser.' FROM pg_roles WHERE rolname = current_user AND rolsuper
    UNION ALL
    SELECT 'It is a member of ' || pg_get_userbyid(relowner) || ', which owns the log.'
    FROM log WHERE pg_has_role(relowner, 'MEMBER')
    UNION ALL
    SELECT 'It owns the schema or the database of the log.' FROM log
    WHERE pg_has_role((SELECT nspowner FROM pg_namespace WHERE oid = log.relnamespace), 'MEMBER')
       OR pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'MEMBER')
    UNION ALL
    SELECT 'It owns ' || string_agg(relname::text, ', ' ORDER BY relname::text) || '.'
    FROM pg_class JOIN log USING (relnamespace)
    WHERE relname = ANY (%(owned)s) AND pg_has_role(pg_class.relowner, 'MEMBER')
    HAVING count(*) > 0
    UNION ALL
    SELECT 'It may do more with the log than read it.' FROM log
    WHERE has_table_privilege(log.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
"""


def find_faults(cursor: Any) -> list[str]:
    """Return why the cursor's role may change the audit log, though another role owns it; empty without faults.

    Without a log, or where this role owns it, there are none.
    """
    cursor.execute("SELECT pg_get_userbyid(relowner) <> current_user FROM pg_class WHERE oid = to_regclass(%s)", [LOG])
    if cursor.fetchone() != (True,):
        return []
    cursor.execute(FAULTS, {"owned": list(OWNED)})
    return [sentence for (sentence,) in cursor.fetchall()]


@contextmanager
def connect_as_owner() -> Iterator[bool]:
    """Sign the connection in as the owner for the time of the block; yields whether there are two roles."""
    owner = settings.PORTAL_OWNER_DATABASE
    if not owner.get("USER"):
        yield False
        return
    application = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update({name: owner[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")})
    try:
        yield True
    finally:
        connection.close()
        connection.settings_dict.update(application)


def assign_tables(application: str) -> None:
    """Set the owner of every table to one of the two roles, and grant the application its rights on the table.

    The connection's role becomes the owner. It has to be a member of the application's role, and own the database.
    """
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_schema()")
        owner, schema = cursor.fetchone()
        cursor.execute(f"GRANT USAGE, CREATE ON SCHEMA {quote(schema)} TO {quote(application)}")
        take_functions(cursor, application)
        cursor.execute(TABLES)
        for table, current_owner in cursor.fetchall():
            new_owner = owner if table in OWNED else application
            if current_owner != new_owner:
                cursor.execute(f"ALTER TABLE {quote(table)} OWNER TO {quote(new_owner)}")
            if table in OWNED:
                rights = "SELECT" if table in READ_ONLY else "SELECT, INSERT, UPDATE, DELETE, REFERENCES"
                cursor.execute(f"REVOKE ALL ON {quote(table)} FROM PUBLIC, {quote(application)}")
                cursor.execute(f"GRANT {rights} ON {quote(table)} TO {quote(application)}")


def take_functions(cursor: Any, application: str) -> None:
    """Make the connection's role the owner of the functions, where the application owned everything so far.

    The functions of the log are replaced: the former owner could have changed their text. The other functions run with
    the rights of the role that changes a row.
    """
    params = {"role": application, "signatures": list(FUNCTIONS), "owned": list(OWNED)}
    cursor.execute(FUNCTIONS_OF_ROLE, params)
    functions = [function for (function,) in cursor.fetchall()]
    for function in functions:
        cursor.execute(f"ALTER FUNCTION {function} SECURITY INVOKER")
        cursor.execute(f"ALTER FUNCTION {function} OWNER TO CURRENT_USER")
    if functions:
        with connection.schema_editor() as schema_editor:
            install_triggers(None, schema_editor)
