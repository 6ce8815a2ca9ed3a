"""docs/reporting.md: it lists the views and their columns as they are, and its statements run as a role."""

import re
from collections.abc import Callable

import pytest
from django.db import connection

from portal.environment import BASE_DIR
from tests.usage.reporting.conftest import Reader
from tests.usage.reporting.conftest import connect as connect
from tests.usage.reporting.conftest import usage_records as usage_records
from usage.models import DayStatus

PAGE = (BASE_DIR / "docs/reporting.md").read_text()
SECTION = re.compile(
    r"^### `(\w+)`\n\n(.+)\n\n\| column \| type \| meaning \|\n\|---\|---\|---\|\n((?:\|.+\n)+)", re.MULTILINE
)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
STATUS_ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \|$", re.MULTILINE)
STATEMENTS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
# A day without a row has no row here either.
WITHOUT_ROW = {DayStatus.MISSING, DayStatus.BEFORE_BACKFILL, DayStatus.RETIRED}


@pytest.mark.django_db
def test_every_view_and_column_is_listed_with_its_type_and_meaning() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, obj_description(c.oid), attname, format_type(atttypid, NULL), col_description(c.oid, attnum)"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0"
            " WHERE relnamespace = 'reporting'::regnamespace ORDER BY c.oid, attnum"
        )
        views: dict[str, tuple[str, list[tuple[str, ...]]]] = {}
        for view, description, *column in cursor.fetchall():
            views.setdefault(view, (description, []))[1].append(tuple(column))
    assert {name: (description, ROW.findall(rows)) for name, description, rows in SECTION.findall(PAGE)} == views


def test_every_status_is_explained() -> None:
    table = PAGE.split("| `status` | meaning |\n")[1].split("\n\n")[0]
    statuses = [name for names in STATUS_ROW.findall(table) for name in re.findall(r"`(\w+)`", names)]
    assert sorted(statuses) == sorted(set(DayStatus.values) - WITHOUT_ROW)


@pytest.mark.django_db(transaction=True)
def test_every_statement_runs_as_a_role(connect: Callable[..., Reader]) -> None:
    reader = connect(None, names_shown="pseudonym")
    reader.execute("SET search_path = public")
    assert len(STATEMENTS) > 4
    rows = [reader.execute(statement).fetchall() for statement in STATEMENTS]
    assert any("Koli1" in row for results in rows for row in results)
