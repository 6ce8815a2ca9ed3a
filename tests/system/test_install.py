"""deploy/install.sh: from a checkout to a portal that answers over TLS, in a folder of its own."""

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from tests.support.processes import build_environment, wait_for
from tests.support.sandbox_server import SandboxServer
from tests.system.nginx import Connection, run_nginx, trust, write_site
from usage.models import ResourceUsage

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "usage.example.org"
LONGEST_LIFE = "600"
# What an administrator's shell has, besides the way to packages.
KEPT = re.compile(r"PATH|HOME|LANG|(PIP|UV|SSL)_\w+|\w+_proxy", re.IGNORECASE)


def build_unit_environment(**variables: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}, **variables}


def install(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run install.sh as an administrator would, and return the finished process."""
    command = [str(BASE_DIR / "deploy/install.sh"), *arguments]
    return subprocess.run(command, env=build_unit_environment(**variables), capture_output=True, text=True, check=False)


def read_unit(path: Path) -> dict[str, str]:
    """Return the last value of each key of a unit."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {key: value for key, equals, value in lines if equals}


@contextmanager
def run_unit(path: Path, instance: str) -> Iterator[None]:
    """Run the command of an instance of a unit with its variables for the time of the block."""
    unit = read_unit(path)
    variables = dict(
        line.split("=", 1)
        for line in Path(unit["EnvironmentFile"]).read_text().splitlines()
        if re.match(r"[A-Z_]+=", line)
    )
    command = ["timeout", "--kill-after=5", LONGEST_LIFE, *shlex.split(unit["ExecStart"].replace("%i", instance))]
    process = subprocess.Popen(command, cwd=unit["WorkingDirectory"], env=build_unit_environment(**variables))
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def get_readiness(folder: Path, port: int) -> tuple[int, str]:
    """Return status and body of `/health/ready` over TLS."""
    with closing(Connection(port, trust(folder), HOST)) as connection:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        return response.status, response.read().decode()


def sync_a_day(release: Path, sandbox: SandboxServer) -> None:
    """Sync a day from the stand-in vendor with the installed release; fails the test where that fails."""
    variables = build_unit_environment(
        PORTAL_VENDOR_TRIAL=sandbox.world.credential, PORTAL_ALLOWED_VENDOR_HOSTS=urlsplit(sandbox.url).netloc
    )
    today = datetime.now(UTC).date()
    day, end = (str(today - timedelta(days=days)) for days in (2, 1))
    address = ["--base-url", f"{sandbox.url}/gcore", "--credential-env", "PORTAL_VENDOR_TRIAL", "--backfill-from", day]
    for command in (["add_source", "trial", "gcore", *address], ["sync", "trial", "--from", day, "--to", end]):
        manage = [str(release / ".venv/bin/python"), "manage.py", *command]
        result = subprocess.run(manage, cwd=release, env=variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    assert ResourceUsage.objects.exists()


def test_a_checkout_becomes_a_portal_that_is_ready_over_tls_and_reads_days(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    prefix, port, portal_port = tmp_path / "root", free_port(), free_port()
    (prefix / "etc/portal").mkdir(parents=True)
    (prefix / "etc/portal/extras").write_text("sandbox\n")
    servers = {name: build_environment()[name] for name in ("DATABASE_URL", "REDIS_URL")}
    result = install("--prefix", str(prefix), "--host", HOST, **servers)
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["== valid"]), result.stdout + result.stderr

    settings, release = prefix / "etc/portal/portal.env", (prefix / "opt/portal/current").resolve()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640
    assert [path for path in release.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222] == []
    assert stat.S_IMODE((prefix / "etc/nginx/portal.key").stat().st_mode) == 0o600

    folder = prefix / "etc/nginx"
    site = write_site(folder, port, portal_port, site=folder / "sites-enabled/portal.conf")
    web = prefix / "etc/systemd/system/portal-web@.service"
    with run_unit(web, str(portal_port)), run_nginx(folder, site):
        # 502: the web server behind nginx is still starting.
        wait_for(lambda: get_readiness(folder, port)[0] != 502, "the portal to answer", every=0.2)
        assert get_readiness(folder, port) == (200, '{"ready": true, "reasons": []}')

    sync_a_day(release, sandbox)
    packages = {path.name.partition("-")[0] for path in release.glob(".venv/lib/python*/site-packages/*.dist-info")}
    assert "aiohttp" in packages, "an extra that /etc/portal/extras names"

    settings.chmod(0o644)
    result = install("--prefix", str(prefix), "--check")
    assert (result.returncode, "has the mode 644, not 640" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prefix", "/tmp/portal"], "--host has to be the host name of the portal."),
        (["--host", "a b"], "--host has to be the host name of the portal."),
        (["--prefix", "here", "--host", HOST], "--prefix has to be an absolute path of plain characters."),
        (["--prefix"], "--prefix needs a folder."),
        (["--hots", HOST], "--hots is unknown; known are --host HOST, --prefix DIR and --check."),
    ],
)
def test_a_wrong_argument_installs_nothing_and_says_what_is_allowed(arguments: list[str], message: str) -> None:
    result = install(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"install.sh: {message}\n")
