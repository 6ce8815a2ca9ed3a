"""The files in deploy/ for a Debian server: valid for the programs of Debian, and requests pass through them."""

import http.client
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import yaml

from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from sync.heartbeats import Heartbeat, build_key
from tests.support.processes import portal_process, wait_for
from tests.system.nginx import HOST, SITE, Connection, build_command, make_certificate, run_nginx, trust, write_site
from tests.system.programs import find_program

pytestmark = pytest.mark.django_db(transaction=True)
UNITS = sorted((BASE_DIR / "deploy/systemd").glob("*.service"))
REQUEST_ID = "order-4711-of-a-client"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, web_server: Callable[..., int]) -> Iterator[tuple[Path, int]]:
    """nginx with the site before the portal's web server; gives its folder and its port of TLS."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    make_certificate(folder)
    site = write_site(folder, port, web_server(PORTAL_HTTPS="1", ALLOWED_HOSTS=HOST))
    with run_nginx(folder, site):
        yield folder, port


def get(proxy: tuple[Path, int], path: str, **headers: str) -> http.client.HTTPResponse:
    """Return the response to a GET through the proxy."""
    folder, port = proxy
    with closing(Connection(port, trust(folder))) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        response.read()
        return response


def wait_for_line(proxy: tuple[Path, int], request_id: str) -> None:
    """Wait until the log of nginx, which is written after the response, has a line of the request."""
    wait_for(lambda: f" {request_id}\n" in (proxy[0] / "portal.log").read_text(), f"a line of {request_id}")


def test_nginx_takes_the_site(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    site = tmp_path / "site.conf"
    site.write_text(SITE.read_text().replace("/etc/nginx", str(tmp_path)).replace("/var/log/nginx", str(tmp_path)))
    result = subprocess.run([*build_command(tmp_path, site), "-t"], capture_output=True, text=True, check=False)
    assert (result.returncode, "warn" in result.stderr) == (0, False), result.stderr


def test_a_request_over_tls_reaches_the_portal_with_its_request_id(proxy: tuple[Path, int]) -> None:
    response = get(proxy, "/health/ready", X_Request_Id=REQUEST_ID)
    assert (response.status, response.headers["X-Request-Id"]) == (200, REQUEST_ID)
    wait_for_line(proxy, REQUEST_ID)


def test_a_request_without_an_id_has_one_id_in_both_logs(proxy: tuple[Path, int]) -> None:
    response = get(proxy, "/accounts/login/")
    # The portal takes the request for one over https: it does not redirect.
    assert response.status == 200
    wait_for_line(proxy, response.headers["X-Request-Id"])


def test_no_log_has_a_query_string_which_can_hold_names(proxy: tuple[Path, int]) -> None:
    response = get(proxy, "/accounts/login/?user_name=Kolibatumi")
    wait_for_line(proxy, response.headers["X-Request-Id"])
    assert "Kolibatumi" not in (proxy[0] / "portal.log").read_text()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert {path.stem for path in UNITS} == {f"portal-{name}" for name in ("web@", "worker", "beat", "migrate")}
    copies = [tmp_path / unit.name for unit in UNITS]
    # What ExecStart names has to be there, by a path without spaces.
    release = tmp_path / "release"
    release.symlink_to(BASE_DIR)
    for unit, copy in zip(UNITS, copies, strict=True):
        copy.write_text(unit.read_text().replace("/opt/portal/current", str(release)))
    command = [find_program("systemd-analyze"), "verify", "--man=no", *map(str, copies)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_beat_writes_nothing_into_its_working_directory(tmp_path: Path, redis_client: redis.Redis) -> None:
    command = ["-m", "celery", "--workdir", str(tmp_path), "-A", "portal.celery", "beat"]
    with portal_process(command, PORTAL_TICK_SECONDS="1", PORTAL_DATA_DIR=str(tmp_path)):
        wait_for(lambda: redis_client.exists(build_key(Heartbeat.BEAT)), "beat's first tick")
    assert list(tmp_path.iterdir()) == []


def test_compose_runs_what_the_units_run_and_gives_it_as_long_to_stop() -> None:
    services = yaml.safe_load((BASE_DIR / "compose.yaml").read_text())["services"]
    units = {path.stem.removeprefix("portal-").strip("@"): path.read_text() for path in UNITS}
    for name in ("worker", "beat", "migrate"):
        command = " ".join(services[name]["command"])
        assert f"ExecStart=/opt/portal/current/.venv/bin/{command}\n" in units[name]
    for name in ("web", "worker", "beat"):
        assert f"TimeoutStopSec={services[name]['stop_grace_period'].removesuffix('s')}\n" in units[name]


def test_the_image_has_what_a_release_has() -> None:
    image = (BASE_DIR / "Dockerfile").read_text()
    copied_names = {name for line in re.findall(r"^COPY (.+) \S+$", image, re.MULTILINE) for name in line.split()}
    content = re.search(r"CONTENT=\((.+?)\)", (BASE_DIR / "deploy/install.sh").read_text(), re.DOTALL)[1].split()
    # The image is not installed from, nor its proxy.
    assert set(content) - copied_names == {"deploy", ".env.example"}
    assert copied_names <= set(content)
