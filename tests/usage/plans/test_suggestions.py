"""The plans of suggestions: none looks at more rows than it may."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.plans import iterate_nodes
from tests.support.users import sign_in_as
from tests.usage.admin.test_suggestions import fetch_suggestions
from usage.admin.lists import suggestions
from usage.models import KINDS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]


def test_no_suggestion_looks_at_more_rows_than_it_may(monkeypatch) -> None:
    staff = sign_in_as("viewer")
    monkeypatch.setattr(suggestions, "RECORDS", 400)
    monkeypatch.setattr(suggestions, "ROLLUP_ROWS", 400)
    for kind in KINDS.values():
        for parameter in suggestions.SUGGESTED[kind]:
            with CaptureQueriesContext(connection) as queries:
                fetch_suggestions(staff, kind, parameter, "7")
            (sql,) = [query["sql"] for query in queries if "WITH latest" in query["sql"]]
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
                nodes = list(iterate_nodes(cursor.fetchone()[0][0]["Plan"]))
            scans = [node for node in nodes if node.get("Relation Name", "").startswith("usage_")]
            assert scans
            for node in scans:
                assert node["Actual Rows"] * node["Actual Loops"] <= 2_000, (parameter, node)
