"""A reporting role sees its sources and people by its rule, and is refused everything else."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.errors import (
    InsufficientPrivilege,
    InvalidTextRepresentation,
    ObjectNotInPrerequisiteState,
    ReadOnlySqlTransaction,
)

from tests.support.factories import SourceFactory
from tests.usage.reporting.conftest import Reader
from usage.models import ReportingRole, Source
from usage.reporting.definitions import build_views
from usage.reporting.roles import change_role, remove_role

pytestmark = pytest.mark.django_db(transaction=True)
# Statements of a session that has switched its own settings off.
REFUSED = [
    "SELECT * FROM public.usage_resourceusage",
    "SELECT * FROM public.usage_resourceusage_2026_01",
    "SELECT * FROM public.usage_environmentday",
    "SELECT credential FROM public.usage_source",
    "SELECT * FROM public.usage_directoryentry",
    "SELECT * FROM public.usage_sourceday",
    "SELECT * FROM public.usage_reportingrole",
    "SELECT * FROM public.usage_reportingrole_sources",
    "SELECT * FROM public.auth_user",
    "SELECT * FROM public.accounts_apitoken",
    "SELECT * FROM public.accounts_auditentry",
    "SELECT * FROM public.django_session",
    "UPDATE public.usage_reportingrole SET limited = false",
    "INSERT INTO public.usage_reportingrole_sources SELECT 1, 1, 1",
    "DELETE FROM reporting.sources",
    "UPDATE reporting.sources SET source = 'x'",
    "INSERT INTO reporting.sources (source) VALUES ('x')",
    "TRUNCATE public.usage_environmentusage",
    "CREATE TABLE public.mine (id int)",
    "CREATE TABLE reporting.mine (id int)",
    "CREATE VIEW reporting.mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "DROP VIEW reporting.sources",
    "ALTER VIEW reporting.sources RESET (security_barrier)",
    "ALTER VIEW reporting.sources OWNER TO CURRENT_USER",
    "CREATE OR REPLACE VIEW reporting.sources AS SELECT 1",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
    "CREATE ROLE mine",
    "CREATE EXTENSION hstore",
    "SET ROLE {superuser}",
    "SET SESSION AUTHORIZATION {superuser}",
    "SELECT nextval('public.usage_reportingrole_id_seq')",
    "SELECT public.accounts_audit_write('person', 'added', 1, 'made up', '{{}}', NULL)",
    "DO $$ BEGIN LOCK TABLE public.usage_sourceday IN ACCESS SHARE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE reporting.data_quality IN ROW SHARE MODE; END $$",
    "COMMENT ON VIEW reporting.sources IS 'x'",
]
PEOPLE = {
    "none": {None},
    "name": {"Ada 0", "Ada 1", "Ada 2", None},
    "pseudonym": {"Koli0", "Koli1", "Koli2", None},
}


def list_views() -> list[str]:
    return [view.name for view in build_views()]


def list_values(reader: Reader, statement: str) -> set[Any]:
    """Return the values of the first column."""
    return {row[0] for row in reader.execute(statement)}


def test_every_view_shows_the_sources_of_the_role_alone(connect: Callable[..., Reader]) -> None:
    limited_reader, full_reader, empty_reader = connect("main", "runs"), connect(None), connect()
    for view in list_views():
        assert list_values(limited_reader, f"SELECT source FROM {view}") <= {"main", "runs"}, view
        assert list_values(empty_reader, f"SELECT source FROM {view}") == set(), view
        hidden_sources = list_values(full_reader, f"SELECT source FROM {view}") & {"secret-main", "secret-runs"}
        assert hidden_sources or view.startswith("recipe"), view
    assert list_values(limited_reader, "SELECT source FROM daily_totals") == {"main", "runs"}


def test_what_a_role_sees_changes_with_its_next_statement(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    role = ReportingRole.objects.get()
    change_role(role, sources=[Source.objects.get(slug="runs")], limited=True, names="pseudonym")
    assert list_values(reader, "SELECT source FROM sources") == {"runs"}
    assert "Koli1" in list_values(reader, "SELECT user_name FROM environment_usage")
    change_role(role, sources=None, limited=False, names="none")
    SourceFactory(slug="new")
    assert {"new", "secret-main"} < list_values(reader, "SELECT source FROM sources")


def test_a_removed_role_is_refused_in_a_session_that_goes_on(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    remove_role(ReportingRole.objects.get())
    with pytest.raises(psycopg.Error):
        reader.execute("SELECT * FROM reporting.sources")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [reader.info.user])
        assert cursor.fetchone() == (0,)


def test_a_role_is_refused_everything_but_the_views(connect: Callable[..., Reader]) -> None:
    reader = connect(None)
    reader.execute("SET default_transaction_read_only = off")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        superuser = cursor.fetchone()[0]
    for statement in REFUSED:
        with pytest.raises(psycopg.Error) as error:
            reader.execute(statement.format(superuser=superuser))
        # The second: a view of several tables takes no rows, whatever the rights.
        refusals = (InsufficientPrivilege, ObjectNotInPrerequisiteState)
        assert isinstance(error.value, refusals), (statement, error.value)


def test_a_session_is_read_only_and_bounded_unless_it_says_otherwise(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    with pytest.raises(ReadOnlySqlTransaction):
        reader.execute("CREATE TEMPORARY TABLE mine (id int)")
    settings = ("statement_timeout", "idle_in_transaction_session_timeout", "search_path", "timezone")
    values = {name: reader.execute(f"SHOW {name}").fetchone()[0] for name in settings}
    assert list(values.values()) == ["5min", "1min", "reporting", "UTC"]


@pytest.mark.parametrize("view", ["environment_usage", "environment_days", "environment_accruals"])
def test_functions_and_casts_of_a_reader_never_meet_rows_of_others(connect: Callable[..., Reader], view: str) -> None:
    reader, notices = connect("runs"), list[str]()
    reader.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    reader.execute("SET default_transaction_read_only = off")
    reader.execute(
        "CREATE FUNCTION pg_temp.meet(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
        "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
    )
    for condition in (
        "pg_temp.meet(project_id)",
        "pg_temp.meet(source)",
        "day > '2025-01-01' AND pg_temp.meet(project_id)",
    ):
        reader.execute(f"SELECT count(*) FROM {view} WHERE {condition}")
    assert {"p0", "runs"} <= set(notices)
    assert not any("secret" in text for text in notices)
    # A cast that fails tells the value that it failed at.
    with pytest.raises(InvalidTextRepresentation) as failed:
        reader.execute(f"SELECT * FROM {view} WHERE project_id::int = 1")
    assert "secret" not in str(failed.value)
    assert reader.execute(f"SELECT count(*) FROM {view} WHERE substr(project_id, 2)::int >= 0").fetchone()[0] > 0


@pytest.mark.parametrize("rule", PEOPLE)
def test_people_are_shown_by_the_rule_of_the_role_and_by_no_other(connect: Callable[..., Reader], rule: str) -> None:
    reader = connect("runs", names_shown=rule)
    for view in ("environment_usage", "environment_accruals"):
        assert list_values(reader, f"SELECT user_name FROM {view}") == PEOPLE[rule], view
    assert "Project 1 of runs" in list_values(reader, "SELECT project_name FROM environment_usage")
    texts = [str(row) for view in list_views() for row in reader.execute(f"SELECT * FROM {view}")]
    markers = {"name": "Ada ", "email": "@example.com", "pseudonym": "Koli"}
    for marked_rule, marker in markers.items():
        assert marked_rule == rule or not any(marker in text for text in texts), marked_rule


def test_a_role_that_is_granted_another_role_sees_nothing_of_it(connect: Callable[..., Reader]) -> None:
    """The rows are those of who reads, not of whose rights they have."""
    reader, granted_reader = connect("main"), connect("runs")
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT {reader.info.user} TO {granted_reader.info.user}")
    assert list_values(granted_reader, "SELECT source FROM sources") == {"runs"}
