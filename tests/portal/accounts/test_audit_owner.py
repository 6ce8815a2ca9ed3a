"""Two roles of the database: what the application's role may do with the audit log, and who could do more."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import StringIO
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg
import pytest
import pytest_django
from django.core.management import CommandError, call_command
from django.test import override_settings
from psycopg.errors import InsufficientPrivilege

from portal.accounts.audit.owner import OWNED, find_faults
from tests.support.api_clients import serve_portal
from tests.support.other_database import call_on, parse_database
from tests.support.servers import TEMPLATE_VARIABLE, get_database_name
from tests.support.users import PASSWORD, hash_password
from usage.models import ResourceUsage
from usage.partitions import ensure_partitions

pytestmark = pytest.mark.django_db


@dataclass
class Portal:
    """A database of its own with two roles: `app` and `owner`."""

    server: str
    name: str

    def url(self, role: str) -> str:
        """The URL of the database for one of the roles."""
        parts = urlsplit(self.server)
        netloc = f"{self.name}_{role}:x@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc, path=self.name))

    @property
    def superuser_url(self) -> str:
        """The URL of the database for the tests' own role."""
        return urlunsplit(urlsplit(self.server)._replace(path=self.name))

    def manage(self, *arguments: str, has_owner: bool = False) -> tuple[str, str]:
        """Run a management command as the application, with the owner's URL if there is one.

        Returns what it printed, and why it failed.
        """
        command, *options = arguments
        output = StringIO()

        def run() -> str:
            try:
                call_command(command, *options, stdout=output, stderr=output)
            except CommandError as error:
                return str(error)
            return ""

        with override_settings(PORTAL_OWNER_DATABASE=parse_database(self.url("owner")) if has_owner else {}):
            reason = call_on(self.url("app"), run)
        return output.getvalue(), reason

    def give_to_application(self) -> None:
        """Make the application the owner of all that a migration makes, as if it had migrated the database itself."""
        with psycopg.connect(self.superuser_url) as superuser:
            for kind, name in superuser.execute(MIGRATED).fetchall():
                superuser.execute(f'ALTER {kind} {name} OWNER TO "{self.name}_app"')

    def migrate_as_owner(self) -> None:
        """Run `migrate` with the owner's URL, as docs/operations.md says."""
        assert self.manage("migrate", "--verbosity", "0", has_owner=True)[1] == ""

    def execute(self, *statements: str, role: str = "app") -> list[Any]:
        """Run statements in one transaction of a new connection; returns the rows of the last one."""
        with psycopg.connect(self.url(role)) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def find_last_entry(self) -> dict[str, Any]:
        """Return the last entry of the log."""
        columns = ("object_name", "changes", "who", "address", "program")
        [row] = self.execute(f"SELECT {', '.join(columns)} FROM accounts_auditentry ORDER BY id DESC LIMIT 1")
        return dict(zip(columns, row, strict=True))


# Without what an extension made, and without the sequences of columns, which follow their tables.
MIGRATED = """
    SELECT 'SCHEMA', 'reporting'
    UNION ALL
    SELECT 'TABLE', c.oid::regclass::text FROM pg_class c
    WHERE c.relnamespace IN ('public'::regnamespace, 'reporting'::regnamespace)
    AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND (d.deptype = 'e' OR d.deptype IN ('a', 'i') AND c.relkind = 'S')
    )
    UNION ALL
    SELECT 'FUNCTION', p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace IN ('public'::regnamespace, 'reporting'::regnamespace) AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
"""


@pytest.fixture(scope="module")
def portal(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Portal]:
    """A portal whose one role owned everything at first, as most begin, and that was given an owner then."""
    portal = Portal(os.environ["DATABASE_URL"], f"{get_database_name()}_roles")
    app, owner = f'"{portal.name}_app"', f'"{portal.name}_owner"'
    with psycopg.connect(portal.server, autocommit=True) as server, django_db_blocker.unblock():
        for role in (app, owner):
            server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        template = os.environ.get(TEMPLATE_VARIABLE)
        server.execute(f'CREATE DATABASE "{portal.name}" OWNER {app} TEMPLATE "{template or "template1"}"')
        try:
            if template:
                portal.give_to_application()
            else:
                assert portal.manage("migrate", "--verbosity", "0")[1] == ""
            portal.execute("INSERT INTO auth_group (name) VALUES ('of one role')")
            server.execute(f'ALTER DATABASE "{portal.name}" OWNER TO {owner}')
            server.execute(f"GRANT {app} TO {owner}")
            portal.migrate_as_owner()
            yield portal
        finally:
            server.execute(f'DROP DATABASE "{portal.name}" WITH (FORCE)')
            server.execute(f"DROP ROLE {app}, {owner}")


REFUSED = [
    "INSERT INTO accounts_auditentry (action, kind, object_name, changes, program) VALUES ('added', 'x', 'x', '{}', 'x')",
    "UPDATE accounts_auditentry SET who = 'x'",
    "DELETE FROM accounts_auditentry",
    "TRUNCATE accounts_auditentry",
    "DROP TABLE accounts_auditentry",
    "ALTER TABLE accounts_auditentry RENAME TO x",
    "ALTER TABLE accounts_auditentry DISABLE TRIGGER ALL",
    "SELECT setval(pg_get_serial_sequence('accounts_auditentry', 'id'), 1)",
    "ALTER TABLE auth_user DISABLE TRIGGER accounts_audit",
    "ALTER TABLE auth_user DISABLE TRIGGER ALL",
    "DROP TRIGGER accounts_audit ON auth_user",
    "CREATE TRIGGER mine BEFORE UPDATE ON auth_user FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON UPDATE TO auth_user DO INSTEAD NOTHING",
    "ALTER TABLE auth_user ADD COLUMN mine integer",
    "DROP TABLE auth_user_groups",
    "TRUNCATE auth_user_groups",
    "DROP FUNCTION accounts_audit_row() CASCADE",
    "ALTER FUNCTION accounts_audit_row() RENAME TO mine",
    "CREATE OR REPLACE FUNCTION accounts_audit_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "SELECT accounts_audit_write('person', 'added', 1, 'made up', '{}', NULL)",
    (
        "CREATE TABLE mine (id bigint); CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW "
        "EXECUTE FUNCTION accounts_audit_row('person', 'id', '', '', '')"
    ),
    "SET session_replication_role = replica",
    "SET ROLE {owner}",
    "ALTER TABLE accounts_auditentry OWNER TO CURRENT_USER",
    "DROP SCHEMA public CASCADE",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('accounts', '0002_mine', now())",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_application_may_only_read_the_log_and_cannot_change_what_writes_it(portal: Portal, statement: str) -> None:
    with psycopg.connect(portal.url("app")) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement.format(owner=f'"{portal.name}_owner"') if "{owner}" in statement else statement)


def test_granting_oneself_a_right_on_the_log_gives_none(portal: Portal) -> None:
    """PostgreSQL answers with a warning, not with an error."""
    rights = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
    [has_right] = portal.execute(
        "GRANT ALL ON accounts_auditentry TO CURRENT_USER",
        f"SELECT has_table_privilege('accounts_auditentry', '{rights}')",
    )
    assert has_right == (False,)


@pytest.mark.parametrize(
    "disguise",
    [
        "CREATE TEMPORARY TABLE accounts_auditentry (LIKE public.accounts_auditentry INCLUDING ALL)",
        "CREATE TEMPORARY TABLE auth_user (id bigint, username text)",
        (
            "CREATE FUNCTION public.jsonb_build_array(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$"
        ),
    ],
)
def test_a_change_by_the_application_is_logged_whatever_it_puts_in_the_way(portal: Portal, disguise: str) -> None:
    change = "INSERT INTO public.auth_group (name) VALUES ('made') RETURNING id"
    with psycopg.connect(portal.url("app")) as connection:
        connection.execute(disguise)
        connection.execute("SET LOCAL search_path = pg_temp, public")
        connection.execute(change)
        [(name, program)] = connection.execute(
            "SELECT object_name, program FROM public.accounts_auditentry ORDER BY id DESC LIMIT 1"
        )
        connection.rollback()
    assert name == "made"
    assert program.endswith(f" as {portal.name}_app")


def make_month() -> None:
    ensure_partitions(ResourceUsage, date(2031, 1, 5), date(2031, 1, 6))


def test_each_role_owns_what_is_its_own_and_the_application_makes_months(portal: Portal) -> None:
    owned = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p', 'v', 'm', 'S') AND relowner {} current_user::regrole"
    )
    functions = {name for (name,) in portal.execute(owned.format("<>"))}
    assert functions == {*OWNED, *(f"{name}_id_seq" for name in OWNED)}
    assert {"usage_resourceusage", "usage_sourceday", "sync_syncrun"} < {
        name for (name,) in portal.execute(owned.format("="))
    }
    call_on(portal.url("app"), make_month)
    assert "usage_resourceusage_2031_01" in {name for (name,) in portal.execute(owned.format("="))}


def test_pages_work_for_the_application_and_their_changes_are_logged(portal: Portal) -> None:
    portal.execute(
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_superuser, is_staff, is_active, "
        f"date_joined) VALUES ('admin', '{hash_password(PASSWORD)}', '', '', '', true, true, true, now())"
    )
    with (
        serve_portal(DATABASE_URL=portal.url("app")) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as browser,
    ):

        def post(path: str, **fields: str) -> httpx2.Response:
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(path).text)
            assert token
            return browser.post(path, data={"csrfmiddlewaretoken": token[1], **fields})

        assert post("/accounts/login/", login="admin", password=PASSWORD).url.path == "/admin/"
        limit = {"source_scope-TOTAL_FORMS": "0", "source_scope-INITIAL_FORMS": "0"}
        assert post("/admin/auth/group/add/", name="finance", **limit).status_code == 200
        assert "finance" in browser.get("/admin/accounts/auditentry/").text
    entry = portal.find_last_entry()
    assert (entry["object_name"], entry["who"], entry["address"]) == ("finance", "admin", "127.0.0.1")


def test_every_function_behind_a_trigger_on_the_owners_tables_is_the_owners(portal: Portal) -> None:
    functions = portal.execute(
        "SELECT DISTINCT p.proname, pg_get_userbyid(p.proowner), p.prosecdef FROM pg_trigger t "
        "JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT t.tgisinternal AND pg_get_userbyid(c.relowner) <> current_user"
    )
    assert {owner for _, owner, _ in functions} == {f"{portal.name}_owner"}
    assert all(name.startswith("accounts_audit_") == as_owner for name, _, as_owner in functions)
    assert "usage_source_calendar_is_fixed" in {name for name, _, _ in functions}


def test_what_was_logged_before_there_were_two_roles_is_still_there(portal: Portal) -> None:
    assert portal.execute("SELECT count(*) FROM accounts_auditentry WHERE object_name = 'of one role'") == [(1,)]


def test_a_migration_leaves_every_table_with_its_role_whoever_made_it(portal: Portal) -> None:
    """A new table belongs to the owner at first, who makes it: of a new installation that is every one."""
    rights = (
        "SELECT relname, relowner::regrole::text, relacl::text[] FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace ORDER BY relname"
    )
    before = portal.execute(rights)
    with psycopg.connect(portal.superuser_url) as superuser:
        superuser.execute(f'REASSIGN OWNED BY "{portal.name}_app" TO "{portal.name}_owner"')
    portal.migrate_as_owner()
    assert portal.execute(rights) == before


@pytest.mark.parametrize(
    ("grant", "revoke", "reason"),
    [
        ("GRANT {owner} TO {app}", "REVOKE {owner} FROM {app}", "It is a member of"),
        ("ALTER ROLE {app} SUPERUSER", "ALTER ROLE {app} NOSUPERUSER", "It is a superuser."),
        ("ALTER TABLE auth_user OWNER TO {app}", "ALTER TABLE auth_user OWNER TO {owner}", "It owns auth_user."),
        ("ALTER SCHEMA public OWNER TO {app}", "ALTER SCHEMA public OWNER TO pg_database_owner", "It owns the schema"),
        (
            "GRANT TRUNCATE ON accounts_auditentry TO {app}",
            "REVOKE TRUNCATE ON accounts_auditentry FROM {app}",
            "It may do more with the log than read it.",
        ),
    ],
)
def test_every_way_by_which_the_application_may_change_the_log_after_all_is_found(
    portal: Portal, grant: str, revoke: str, reason: str
) -> None:
    with grant_temporarily(portal, grant, revoke), psycopg.connect(portal.url("app")) as connection:
        faults = find_faults(connection.cursor())
    assert any(reason in fault for fault in faults)
    with psycopg.connect(portal.url("app")) as connection:
        assert find_faults(connection.cursor()) == []


def test_the_start_stops_and_says_what_to_do_where_the_application_may_change_the_log(portal: Portal) -> None:
    with grant_temporarily(portal, "ALTER TABLE auth_user OWNER TO {app}", "ALTER TABLE auth_user OWNER TO {owner}"):
        _, reason = portal.manage("check")
    assert "(portal.E037) The role of DATABASE_URL may change the audit log" in reason
    assert "It owns auth_user." in reason
    assert "PORTAL_OWNER_DATABASE_URL" in reason


def test_the_views_for_reports_are_the_owners_and_a_role_that_a_superuser_made_reads_them(portal: Portal) -> None:
    in_schema = "FROM pg_class WHERE relnamespace = 'reporting'::regnamespace"
    assert portal.execute(f"SELECT DISTINCT relowner::regrole::text {in_schema}") == [(f"{portal.name}_owner",)]
    command = ("create_reporting_role", f"{portal.name}_bi")
    _, reason = portal.manage(*command, has_owner=True)
    with psycopg.connect(portal.superuser_url, autocommit=True) as superuser:
        superuser.execute(reason.split("again:\n")[1].replace("…", "x"))
        try:
            output, reason = portal.manage(*command, has_owner=True)
            assert reason == ""
            assert "may read the views. Its password and limits are as they were." in output
            for (view,) in portal.execute(f"SELECT relname {in_schema}"):
                assert portal.execute(f"SELECT count(*) FROM reporting.{view}", role="bi") == [(0,)]
            with pytest.raises(InsufficientPrivilege):
                portal.execute("SELECT * FROM public.usage_environmentusage", role="bi")
        finally:
            superuser.execute(f"DROP OWNED BY {portal.name}_bi")
            superuser.execute(f"DROP ROLE {portal.name}_bi")


@contextmanager
def grant_temporarily(portal: Portal, grant: str, revoke: str) -> Iterator[None]:
    """Give the application more than it should have, for the time of the block."""
    roles = {"app": f'"{portal.name}_app"', "owner": f'"{portal.name}_owner"'}
    with psycopg.connect(portal.superuser_url, autocommit=True) as superuser:
        # Two roles cannot be members of each other.
        superuser.execute("REVOKE {app} FROM {owner}".format(**roles))
        superuser.execute(grant.format(**roles))
        try:
            yield
        finally:
            superuser.execute(revoke.format(**roles))
            superuser.execute("GRANT {app} TO {owner}".format(**roles))
