"""`migrate` makes the views, keeps what reads them, and changes the tables behind them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import NotSupportedError, connection, transaction
from django.db.migrations.state import ProjectState

from tests.usage.reporting.conftest import Reader
from usage.migration_operations import DropReportingViews
from usage.reporting import schema
from usage.reporting.definitions import build_views
from usage.reporting.schema import SchemaRefused, write_views
from usage.reporting.views import View, ViewColumn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _views(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the views as they are defined, whatever the test has made of them."""
    yield
    # Other fixtures hold it longer than this one.
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA reporting CASCADE")
    write_views()


def migrate() -> str:
    """Run `migrate` and return what it prints of views."""
    output, errors = StringIO(), StringIO()
    call_command("migrate", stdout=output, stderr=errors)
    return "".join(
        line for line in (*output.getvalue().splitlines(), *errors.getvalue().splitlines()) if "views" in line
    )


def change_sources(monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[ViewColumn, ...]], Any]) -> list[str]:
    """Define the view of sources with other columns, and return their names."""
    *other_views, sources_view = build_views()
    new_views: tuple[View, ...] = (*other_views, replace(sources_view, columns=tuple(change(sources_view.columns))))
    monkeypatch.setattr(schema, "build_views", lambda: new_views)
    return [column.name for column in new_views[-1].columns]


def test_views_that_are_as_they_are_defined_are_left_alone() -> None:
    assert write_views() is False
    assert migrate() == ""


@pytest.mark.usefixtures("_views")
@pytest.mark.parametrize(
    "change",
    [
        lambda columns: (*columns, ViewColumn("more", "1", "More.")),
        lambda columns: (ViewColumn("more", "1", "More."), *columns),
        lambda columns: (ViewColumn("source", "scope.id", "Another type."), *columns[1:]),
        lambda columns: columns[:-1],
    ],
    ids=["added", "added in front", "another type", "removed"],
)
def test_a_view_that_is_defined_otherwise_is_made_anew_and_its_readers_keep_their_rights(
    connect: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    reader = connect("main")
    columns = change_sources(monkeypatch, change)
    assert migrate() == "The views for reports were made."
    result = reader.execute("SELECT * FROM sources")
    assert [column.name for column in result.description or ()] == columns
    assert len(result.fetchall()) == 1
    assert migrate() == ""


@pytest.mark.usefixtures("_views")
def test_what_others_made_of_a_view_stays_when_a_column_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY VIEW mine AS SELECT count(*) FROM reporting.sources")
        change_sources(monkeypatch, lambda columns: (*columns, ViewColumn("more", "1", "More.")))
        assert write_views()
        cursor.execute("SELECT * FROM mine")
        transaction.set_rollback(True)


@pytest.mark.usefixtures("_views")
def test_a_migration_changes_a_column_that_views_read(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    before = reader.execute("SELECT * FROM resource_usage ORDER BY id").fetchall()
    change = "ALTER TABLE usage_resourceusage ALTER COLUMN resource_name TYPE varchar(999)"
    with connection.cursor() as cursor:
        with pytest.raises(NotSupportedError, match="used by a view"):
            cursor.execute(change)
        try:
            drop_views()
            cursor.execute(change)
            assert migrate() == "The views for reports were made."
            assert reader.execute("SELECT * FROM resource_usage ORDER BY id").fetchall() == before
        finally:
            drop_views()
            cursor.execute(change.replace("varchar(999)", "text"))


def drop_views() -> None:
    """Do what the operation does in a migration."""
    operation, state = DropReportingViews(), ProjectState()
    with connection.schema_editor() as editor:
        operation.database_forwards("usage", editor, state, state)


@pytest.mark.usefixtures("_views")
def test_a_migration_backwards_and_forwards_takes_the_views_and_gives_them_back() -> None:
    call_command("migrate", "usage", "0003", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_views WHERE schemaname = 'reporting'")
        assert cursor.fetchone() == (0,)
    assert migrate() == "The views for reports were made."


@pytest.mark.usefixtures("_views")
def test_a_schema_of_somebody_else_is_left_alone_and_told_of() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA reporting CASCADE")
        cursor.execute("CREATE SCHEMA reporting CREATE VIEW sources AS SELECT 1 AS theirs")
        assert "there is a schema reporting that is not the portal's, with sources" in migrate()
        cursor.execute("SELECT theirs FROM reporting.sources")
        assert cursor.fetchone() == (1,)


def test_a_role_that_may_not_make_a_schema_is_told_what_to_do() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA reporting CASCADE")
        cursor.execute("SET LOCAL ROLE pg_monitor")
        with pytest.raises(SchemaRefused, match="CREATE SCHEMA reporting AUTHORIZATION"):
            write_views()
        transaction.set_rollback(True)
