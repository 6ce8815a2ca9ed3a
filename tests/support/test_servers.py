"""The migrated database that test databases are copies of is another one once what it is made of has changed."""

import os
from pathlib import Path

import psycopg
import pytest

from portal.environment import BASE_DIR
from tests.support import servers


def test_all_that_a_migrated_database_is_made_of_is_found() -> None:
    assert [pattern for pattern in servers.MIGRATED_BY if not list(BASE_DIR.glob(pattern))] == []


def test_another_migration_needs_another_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BASE_DIR", tmp_path)
    before = servers.name_template()
    migrations = tmp_path / "usage/migrations"
    migrations.mkdir(parents=True)
    (migrations / "0099_more.py").write_text("# A new column.\n")

    assert servers.name_template() != before
    assert servers.name_template() == servers.name_template()


@pytest.mark.django_db
def test_a_run_that_begins_drops_old_templates_but_none_in_use() -> None:
    url = os.environ["DATABASE_URL"]
    idle, used = f"{servers.TEMPLATE_PREFIX}idle_{os.getpid()}", f"{servers.TEMPLATE_PREFIX}used_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        for name in (idle, used):
            server.execute(f'CREATE DATABASE "{name}"')
        with psycopg.connect(url, dbname=used):
            servers.drop_old_templates(server)
            names = {name for (name,) in server.execute("SELECT datname FROM pg_database").fetchall()}
        server.execute(f'DROP DATABASE "{used}"')

    assert used in names
    assert idle not in names
