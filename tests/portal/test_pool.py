"""Connections of the pool: one that the database has ended empties the pool, a statement that fails does not."""

from contextlib import closing
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection

from portal.pool import PooledConnection

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("statement", "drains"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", 1),
        ("SET statement_timeout = 1; SELECT pg_sleep(30)", 0),
    ],
)
def test_the_pool_is_emptied_by_a_connection_that_has_ended_alone(
    statement: str, drains: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: list[int] = []
    pool = SimpleNamespace(drain=lambda: drained.append(1))  # the pool's own would connect again, in threads
    with closing(PooledConnection.connect(**connection.get_connection_params())) as pooled:
        monkeypatch.setattr("portal.pool.connections", {"default": SimpleNamespace(pool=pool)})
        with pytest.raises(psycopg.OperationalError):
            pooled.execute(statement)
    assert len(drained) == drains
