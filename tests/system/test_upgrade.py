"""An upgrade as deploy/install.sh does it: while requests come, the schema and then one web server after the other."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from django.db import connection

from portal.accounts.models import create_token
from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from tests.support.api_clients import API, is_ready
from tests.support.exports import create_many_runs
from tests.support.processes import PortalProcess, portal_process, wait_for
from tests.system.nginx import HOST, Connection, make_certificate, run_nginx, trust, write_site

pytestmark = pytest.mark.django_db(transaction=True)
PER_SECOND = 10
LAST = max((BASE_DIR / "usage/migrations").glob("0*.py")).stem
MIGRATION = f"""
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "{LAST}")]
    operations = [
        migrations.AddField("sourceday", "next_release", models.TextField(db_default="", default="")),
        migrations.AddField("environmentusage", "next_release", models.TextField(null=True)),
    ]
"""
SETTINGS = {"PORTAL_TICK_SECONDS": "86400", "PORTAL_HTTPS": "1", "ALLOWED_HOSTS": HOST}


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Path]:
    """The next release, with one more migration, which is reversed at the end as by a downgrade."""
    folder = tmp_path / "release"
    for name in ("portal", "usage", "sync", "static", "templates"):
        shutil.copytree(BASE_DIR / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BASE_DIR / "manage.py", folder)
    (folder / "usage/migrations/9999_next.py").write_text(MIGRATION)
    yield folder
    run(folder, "migrate", "usage", LAST)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations WHERE name = '9999_next'")
        assert cursor.fetchone() == (0,)


def run(folder: Path, *command: str) -> None:
    """Run a command of the release in `folder`."""
    with portal_process(["manage.py", *command], folder) as process:
        assert process.wait(120) == 0, process.output()


@contextmanager
def send_requests_through(folder: Path, port: int, secret: str) -> Iterator[Counter[str]]:
    """Request a page ten times a second through nginx, over new connections; yields the responses counted by status."""
    statuses: Counter[str] = Counter()
    result = threading.Event()

    def send_request() -> None:
        try:
            with closing(Connection(port, trust(folder))) as http_connection:
                http_connection.request(
                    "GET", f"{API}/environment-usage/", headers={"Authorization": f"Bearer {secret}"}
                )
                response = http_connection.getresponse()
                response.read()
                statuses[str(response.status)] += 1
        except OSError as error:
            statuses[repr(error)] += 1

    def send_requests() -> None:
        while not result.wait(1 / PER_SECOND):
            threads.append(threading.Thread(target=send_request))
            threads[-1].start()

    threads: list[threading.Thread] = []
    sender = threading.Thread(target=send_requests)
    sender.start()
    try:
        yield statuses
    finally:
        result.set()
        sender.join()
        for thread in threads:
            thread.join()


def test_no_request_is_lost_while_the_portal_is_upgraded(release: Path, tmp_path: Path) -> None:
    create_many_runs(50)
    secret = create_token("test")[1]
    folder = tmp_path / "nginx"
    folder.mkdir()
    make_certificate(folder)
    port, ports = free_port(), (free_port(), free_port())
    site = write_site(folder, port, *ports)
    with ExitStack() as stack:

        def start(server_port: int, root: Path) -> PortalProcess:
            command = ["-m", "portal.web", "--port", str(server_port), "--workers", "1"]
            return stack.enter_context(portal_process(command, root, **SETTINGS))

        servers = [start(server_port, BASE_DIR) for server_port in ports]
        for server_port in ports:
            wait_for(partial(is_ready, server_port), "the old release")
        stack.enter_context(run_nginx(folder, site))
        with send_requests_through(folder, port, secret) as statuses:
            wait_for(lambda: statuses["200"] > PER_SECOND, "the first requests")
            run(release, "migrate")
            assert all(is_ready(server_port) for server_port in ports), "the old release no longer calls itself ready"
            for server, server_port in zip(servers, ports, strict=True):
                server.terminate()
                server.wait(30)
                start(server_port, release)
                wait_for(partial(is_ready, server_port), "the new release")
            before = statuses["200"]
            wait_for(lambda: statuses["200"] > before + PER_SECOND, "requests to the new release")
            time.sleep(0.5)
    assert set(statuses) == {"200"}
