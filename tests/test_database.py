"""A kept connection is trusted as long as nothing speaks against it, and what is asked most is planned once."""

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from tests.callers import API, bearer
from tests.factories import EnvironmentUsageFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept():
    """A connection of its own that was used before and is kept."""
    copied = connections["default"].copy()
    copied.ensure_connection()
    yield copied
    copied.close()


def test_a_living_connection_is_not_asked_whether_it_lives(kept) -> None:
    with CaptureQueriesContext(kept) as queries:
        assert kept.is_usable()
    assert list(queries) == []


def test_a_connection_that_the_server_ended_is_found_before_it_is_used(kept) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [kept.connection.info.backend_pid])
        assert cursor.fetchone() == (True,)
    kept.health_check_enabled, kept.health_check_done = True, False
    with kept.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_what_is_asked_again_is_prepared_and_nothing_else_is() -> None:
    EnvironmentUsageFactory.create_batch(5)
    client = bearer()
    for _ in range(3):
        assert client.get(f"{API}/environment-usage/", {"page_size": 2}).status_code == 200
        assert client.get(f"{API}/environment-usage/", {"project_id": "project-1"}).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor.fetchall()]
    assert len([text for text in prepared if "portal_apitoken" in text]) == 1
    assert len([text for text in prepared if "usage_environmentusage" in text]) == 1


def test_no_load_pays_for_an_index_of_what_was_withdrawn() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%withdrawn_at IS NOT NULL%'")
        assert cursor.fetchall() == []


def test_nothing_is_prepared_where_the_setting_forbids_it(kept) -> None:
    kept.close()
    kept.settings_dict = {**kept.settings_dict, "OPTIONS": {"prepared": False}}
    for _ in range(3):
        with kept.prepared_cursor() as cursor:
            cursor.execute("SELECT %s::int", [7])
            assert cursor.fetchone() == (7,)
    with kept.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)
