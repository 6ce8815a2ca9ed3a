"""Commands that make, change, list and remove roles, and what they refuse."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from portal.accounts.audit.models import AuditEntry
from portal.database_checks import check_reporting_roles
from tests.support.servers import get_database_name
from tests.usage.reporting.conftest import Reader, remove_if_there, sign_in
from usage.models import ReportingRole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("usage_records")]


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a role that the test may make, and that is removed after it."""
    role = f"{get_database_name()}_made"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {role}")
        yield role
        remove_if_there(role)
        cursor.execute(f"DROP ROLE IF EXISTS {role}")


def run(command: str, *arguments: str) -> str:
    """Run a command and return what it prints on standard output."""
    output = StringIO()
    call_command(command, *arguments, stdout=output, stderr=StringIO())
    return output.getvalue().strip()


def refuse(*arguments: str) -> str:
    """Return why the command that makes roles refuses."""
    with pytest.raises(CommandError) as error:
        run("create_reporting_role", *arguments)
    return str(error.value)


def test_a_role_is_made_changed_listed_and_removed(name: str) -> None:
    password = run("create_reporting_role", name, "--source", "main", "--connections", "2", "--seconds", "7")
    with sign_in(name, password) as reader:
        assert reader.execute("SELECT source FROM sources").fetchall() == [("main",)]
        assert reader.execute("SHOW statement_timeout").fetchall() == [("7s",)]
    assert run("list_reporting_roles") == f"{name}: main; people by none."
    assert run("create_reporting_role", name, "--names", "name") == ""
    assert run("list_reporting_roles") == f"{name}: main; people by name."
    run("create_reporting_role", name, "--all-sources")
    assert run("list_reporting_roles") == f"{name}: all sources; people by name."
    assert run("remove_reporting_role", name) == f"Removed {name}."
    assert run("list_reporting_roles") == ""
    entries = AuditEntry.objects.filter(kind="reporting").order_by("pk")
    assert {entry.object_name for entry in entries} == {name}
    assert {"person_names": ["none", "name"]} in [entry.changes for entry in entries]
    with pytest.raises(CommandError, match="There is no reporting role"):
        run("remove_reporting_role", name)


def test_the_password_is_known_to_nobody_else(name: str) -> None:
    password = run("create_reporting_role", name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name])
        (stored,) = cursor.fetchone()
    assert stored.startswith("SCRAM-SHA-256$")
    assert password not in stored


@pytest.mark.parametrize(
    ("setting", "rule", "is_refused"),
    [
        ("name", "email", True),
        ("email", "name", True),
        ("pseudonym", "name", True),
        ("pseudonym", "email", True),
        ("name", "pseudonym", False),
        ("email", "email", False),
    ],
)
def test_a_role_is_shown_no_more_of_people_than_the_portal_shows(
    name: str, settings: Any, setting: str, rule: str, is_refused: bool
) -> None:
    settings.PORTAL_PERSON_NAMES = setting
    if is_refused:
        assert f"PORTAL_PERSON_NAMES is {setting}" in refuse(name, "--names", rule)
        run("create_reporting_role", name)
        assert f"not {rule}" in refuse(name, "--names", rule)
    else:
        run("create_reporting_role", name, "--names", rule)
    assert ReportingRole.objects.get().person_names == ("none" if is_refused else rule)


def test_the_portal_does_not_start_where_a_role_is_shown_more_than_the_setting_says(name: str, settings: Any) -> None:
    run("create_reporting_role", name, "--names", "name")
    assert list(check_reporting_roles(["default"])) == []
    settings.PORTAL_PERSON_NAMES = "pseudonym"
    [error] = check_reporting_roles(["default"])
    assert error.id == "portal.E020"
    assert name in error.msg
    run("create_reporting_role", name, "--names", "pseudonym")
    assert list(check_reporting_roles(["default"])) == []


@pytest.mark.parametrize("wrong", ["Finance", "pg_finance", "a-b", "", 'a"; DROP TABLE x', "a" * 64])
def test_a_wrong_name_is_refused(wrong: str) -> None:
    assert refuse(wrong)
    assert not ReportingRole.objects.exists()


def test_an_unknown_source_is_refused_and_makes_no_role(name: str) -> None:
    assert "There is no source nowhere" in refuse(name, "--source", "nowhere")
    assert not ReportingRole.objects.exists()


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        ("ALTER ROLE {0} CREATEROLE", "It may make roles."),
        ("ALTER ROLE {0} BYPASSRLS", "not bound by the security of rows"),
        ("GRANT pg_read_all_data TO {0}", "It is a member of pg_read_all_data."),
        ("GRANT SELECT (slug) ON usage_source TO {0}", "It may read or change usage_source."),
        ("GRANT TRUNCATE ON usage_note TO {0}", "It may read or change usage_note."),
        ("GRANT CREATE ON SCHEMA public TO {0}", "It may make tables in the schema public."),
        ("GRANT UPDATE ON reporting.sources TO {0}", "It may do more with the views than read them."),
    ],
)
def test_a_role_of_postgresql_that_may_do_more_is_refused_and_listed(name: str, grant: str, reason: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN")
        cursor.execute(grant.format(name))
        try:
            assert reason in refuse(name)
            assert not ReportingRole.objects.exists()
            ReportingRole.objects.create(name=name)
            assert reason in run("list_reporting_roles")
        finally:
            cursor.execute(f"DROP OWNED BY {name}")


def test_a_role_that_a_superuser_made_keeps_its_password_and_settings(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'theirs'")
    assert run("create_reporting_role", name, "--source", "runs") == ""
    with sign_in(name, "theirs") as reader:
        assert reader.execute("SELECT source FROM reporting.sources").fetchall() == [("runs",)]


def test_the_role_of_another_portal_is_not_listed_as_missing(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    ReportingRole.objects.create(name="never_made")
    assert run("list_reporting_roles").splitlines() == [
        "never_made: all sources; people by none. PostgreSQL has no such role.",
        f"{reader.info.user}: main; people by none.",
    ]
