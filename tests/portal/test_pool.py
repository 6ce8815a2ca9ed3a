"""The pool of the web server: what empties it, and which processes have one."""

import gc
import runpy
import sys
from contextlib import closing
from types import ModuleType, SimpleNamespace

import psycopg
import pytest
from django.db import connection

from portal.environment import BASE_DIR
from portal.pool import PooledConnection, StandbyConnection

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


@pytest.mark.parametrize("is_web", [True, False])
def test_the_web_server_alone_has_a_pool_and_a_standby_that_is_given_up_soon(
    is_web: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://portal:secret@primary:5432/portal?sslmode=require")
    monkeypatch.setenv("DATABASE_REPLICA_URL", "postgres://reader:other@standby:5433/portal?sslmode=verify-full")
    monkeypatch.setenv("PORTAL_DB_POOL_SIZE", "5")
    monkeypatch.delitem(sys.modules, "portal.wsgi", raising=False)  # by which the settings know the web server
    if is_web:
        monkeypatch.setitem(sys.modules, "portal.wsgi", ModuleType("portal.wsgi"))
    databases = runpy.run_path(str(BASE_DIR / "portal/settings.py"))["DATABASES"]
    gc.enable()  # which the settings leave to the end of a start
    assert ("standby" in databases, "pool" in databases["default"]["OPTIONS"]) == (is_web, is_web)
    if is_web:
        primary, standby = databases["default"], databases["standby"]
        assert [standby[name] for name in ("HOST", "PORT", "USER", "CONN_MAX_AGE")] == ["standby", 5433, "reader", 0]
        assert (primary["OPTIONS"]["sslmode"], standby["OPTIONS"]["sslmode"]) == ("require", "verify-full")
        assert primary["OPTIONS"]["pool"]["max_size"] == standby["OPTIONS"]["pool"]["max_size"] == 5
        assert standby["OPTIONS"]["pool"]["connection_class"] is StandbyConnection
        assert standby["OPTIONS"]["pool"]["timeout"] < primary["OPTIONS"]["pool"]["timeout"]
