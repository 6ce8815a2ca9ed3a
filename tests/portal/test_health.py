"""The two addresses that a load balancer asks."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

pytestmark = pytest.mark.django_db


def test_live_asks_nothing_of_the_servers(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"live": True})
    assert len(queries) == 0


def test_ready_when_database_redis_and_migrations_are_there(client: Client) -> None:
    response = client.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"ready": True, "reasons": []})
    assert "no-store" in response["Cache-Control"]


def test_not_ready_without_redis(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://:secret@127.0.0.1:9/0"
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["reasons"]) == (503, ["Redis does not answer."])
    assert "secret" not in response.text


def test_not_ready_while_migrations_are_missing(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'usage'")
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["Migrations are to be applied: run manage.py migrate."]


def test_not_ready_without_the_database(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '1ms'")
        with pytest.raises(Exception, match="statement timeout"):
            cursor.execute("SELECT pg_sleep(1)")
    # The transaction is broken now: every statement fails, as it would without a server.
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert "The database does not answer." in response.json()["reasons"]


@pytest.mark.parametrize("path", ["live", "ready"])
def test_health_is_only_read(client: Client, path: str) -> None:
    assert client.post(f"/health/{path}").status_code == 405
