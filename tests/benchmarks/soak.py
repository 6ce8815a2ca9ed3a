"""A soak: a day of 30 sources in 24 minutes, in which nothing may grow that has no reason to.

A tick, which is a minute in production, takes a second; so an interval of a minute stands for an hour. A machine that
is too slow for that takes more seconds: messages older than a tick are dropped, and a portal that never gets to its
work would pass for flat.
`python -m tests.benchmarks.soak NUMBER TICK URL…` creates the sources in the database of DATABASE_URL, on the sandboxes at these
addresses, and prints what requests are made with as JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import django
import httpx2
import psycopg
import redis

from portal.embedded.paths import DataFolder
from portal.embedded.server import Postgres, Valkey
from portal.environment import BASE_DIR
from tests.benchmarks import soak_report
from tests.benchmarks.report import Report
from tests.benchmarks.samples import Sample, measure_database, measure_processes
from tests.benchmarks.serving import HOST, PORTAL, served
from tests.benchmarks.stage import CREDENTIAL, Stage

if TYPE_CHECKING:
    from tests.support.sandbox_process import SandboxProcess

VENDORS: Final = ("gcore", "ona", "workato")
HOURS = 24.0
SOURCES = 30
CONCURRENCY = 2
TICK_SECONDS = 1
TICKS_PER_HOUR = 60
TICKS_PER_SAMPLE = 30
LEAST_SAMPLES = 8
DAYS = 3  # today included
RECORDS_PER_DAY = 120
SYNCED_BY_HAND = 3  # sources an hour
EDITS: Final[tuple[dict[str, float], ...]] = ({"restated": 0.3}, {"late": 0.2}, {"bad": 0.05}, {"vanished": 0.1}, {})
QUEUE = "portal"
START_SECONDS = 600.0
ALL_READ: Final = "SELECT count(*) > 0 AND every(loaded_at IS NOT NULL) FROM usage_sourceday"
SETTINGS: Final = {
    "PORTAL_LOG_LEVEL": "INFO",
    "PORTAL_HTTPS": "0",
    "ALLOWED_HOSTS": HOST,
    "PORTAL_API_RATE": "100000/s",
    "PYTHONWARNINGS": "ignore",
}
CELERY: Final = ["-m", "celery", "--quiet", "-A", "portal.celery"]
WORKER: Final = [*CELERY, "worker", "--concurrency", str(CONCURRENCY), "--without-gossip", "--without-mingle"]
REQUESTS: Final = (
    "/api/v1/environment-usage/?page_size=100",
    "/api/v1/resource-usage/summary/?group_by=source,consumed_unit&measures=records,consumed_quantity",
    "/admin/",
    "/api/v1/recipe-usage/?format=csv",
    "/api/v1/sources/",
    "/admin/usage/sourceday/",
    "/api/v1/resource-usage/?format=ndjson",
    "/admin/explore/",
)


class Soak:
    """The benchmark; `hours` are simulated ones, `tick` the seconds that stand for a minute."""

    def __init__(self, hours: float = HOURS, tick: int = TICK_SECONDS) -> None:
        self.hours = hours
        self.tick = tick

    def __call__(self, stage: Stage, *, quick: bool) -> Report:
        """Let the portal live, look at it every simulated half hour, and report."""
        sources, minutes = (3, 12.0) if quick else (SOURCES, self.hours * TICKS_PER_HOUR)
        with start_portal(stage, sources, self.tick) as life:
            life.wait_for_start()
            life.run(minutes, min(TICKS_PER_SAMPLE, minutes / LEAST_SAMPLES))
        return soak_report.build(stage.version, life.samples, life.statuses, sources, self.tick, judged=not quick)


@dataclass
class Life:
    """The programs of a soak, those who use them, and what was seen."""

    tick: int
    url: str
    redis_url: str
    programs: Mapping[str, int]  # the process ids
    logs: Mapping[str, Path]
    sandboxes: "list[SandboxProcess]"
    client: httpx2.Client
    slugs: list[str]
    samples: list[Sample] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def wait_for_start(self) -> None:
        """Wait until every day was read once; raises RuntimeError with the logs' ends where that takes too long."""
        end = time.monotonic() + START_SECONDS
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(ALL_READ).fetchone() != (True,):
                if time.monotonic() > end:
                    outputs = {name: log.read_bytes()[-2000:] for name, log in self.logs.items()}
                    raise RuntimeError(f"The sources were not read: {outputs}")
                time.sleep(0.5)

    def run(self, minutes: float, every: float) -> None:
        """Live for so many simulated minutes, with a sample `every` so many."""
        paths, hours = cycle(REQUESTS), count()
        started_at = time.monotonic()
        waiting, next_hour, next_sample = 0, 0.0, every
        logged_at, logged = 0.0, self.measure_logs()
        with redis.Redis.from_url(self.redis_url) as queue:
            while (minute := (time.monotonic() - started_at) / self.tick) < minutes:
                if minute >= next_hour:
                    self.begin_hour(next(hours))
                    next_hour += TICKS_PER_HOUR
                self.request("GET", next(paths))
                waiting = max(waiting, queue.llen(QUEUE))
                if minute >= next_sample:
                    now = self.measure_logs()
                    grown = {name: (now[name] - logged[name]) / (minute - logged_at) for name in now}
                    self.samples.append(self.sample(minute, waiting, queue.dbsize(), grown))
                    print(f"minute {minute:.0f}: {waiting} waiting", file=sys.stderr, flush=True)
                    waiting, next_sample, logged_at, logged = 0, next_sample + every, minute, now
                time.sleep(self.tick)

    def begin_hour(self, hour: int) -> None:
        """Have a vendor change yesterday, and ask for the days of a few sources."""
        today = datetime.now(UTC).date()
        edit = {"restated": 0.0, "vanished": 0.0, "late": 0.0, "bad": 0.0} | EDITS[hour % len(EDITS)]
        for sandbox in self.sandboxes:
            sandbox.post("edits", vendor=VENDORS[hour % 3], day=str(today - timedelta(days=1)), **edit)
            # What was wrong an hour ago is right again, so that an incident ends.
            sandbox.post("edits", vendor=VENDORS[(hour - 1) % 3], day=str(today - timedelta(days=1)))
        for number in range(SYNCED_BY_HAND):
            slug = self.slugs[(hour * SYNCED_BY_HAND + number) % len(self.slugs)]
            days = {"from": str(today - timedelta(days=DAYS - 1)), "to": str(today + timedelta(days=1))}
            self.request("POST", f"/api/v1/sources/{slug}/sync/", json=days)

    def request(self, method: str, path: str, **content: Any) -> None:
        """Make a request and count how it is answered."""
        try:
            status = str(self.client.request(method, path, **content).status_code)
        except httpx2.HTTPError as error:
            status = type(error).__name__
        self.statuses[f"{status} {method} {path.partition('?')[0]}" if status[0] != "2" else status] += 1

    def measure_logs(self) -> dict[str, int]:
        """Return the bytes of each log."""
        return {name: log.stat().st_size for name, log in self.logs.items()}

    def sample(self, minute: float, waiting: int, keys: int, logged: Mapping[str, float]) -> Sample:
        """Look at everything once."""
        memory = {name: measure_processes(pid) for name, pid in self.programs.items()}
        return Sample(minute, memory, *measure_database(self.url), waiting, keys, logged)


@contextmanager
def start_portal(stage: Stage, sources: int, tick: int) -> Iterator[Life]:
    """Start sandboxes, web server, worker and beat over a new database with so many sources."""
    # Not above: it reads the settings, which the stage sets.
    from tests.support.sandbox_process import SandboxProcess

    environment = stage.fresh() | SETTINGS | {"PORTAL_TICK_SECONDS": str(tick)}
    environment["REDIS_URL"] = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/3"
    folder = Path(environment["BENCH_SCRATCH"])
    folder.mkdir()
    size = ("--days", str(DAYS + 1), "--records-per-day", str(RECORDS_PER_DAY), "--zone", "UTC")
    with ExitStack() as stack:
        stack.callback(stage.drop, environment)
        sandboxes = [stack.enter_context(SandboxProcess("--seed", seed, *size)) for seed in ("1", "2")]
        for sandbox in sandboxes:
            # So that today does not grow.
            sandbox.post("now", now=datetime.now(UTC).isoformat())
        created = create(environment, sources, tick, [sandbox.url for sandbox in sandboxes])
        logs = {name: folder / f"{name}.log" for name in ("web", "worker", "beat")}
        web = stack.enter_context(served(PORTAL, environment, logs["web"]))
        pids = {"web": web.pid} | {
            name: stack.enter_context(start_program(command, environment, logs[name]))
            for name, command in (("worker", WORKER), ("beat", [*CELERY, "beat"]))
        }
        home = DataFolder(stage.scratch / "data")
        servers = {server.name: server for server in (Postgres(home), Valkey(home))}
        client = stack.enter_context(
            httpx2.Client(
                base_url=f"http://{HOST}:{web.port}",
                headers={"Authorization": f"Bearer {created['token']}"},
                cookies={"sessionid": created["session"]},
                follow_redirects=True,
                timeout=60,
            )
        )
        yield Life(
            tick,
            environment["DATABASE_URL"],
            environment["REDIS_URL"],
            pids | {name: server.pid() or 0 for name, server in servers.items()},
            logs | {name: server.log for name, server in servers.items()},
            sandboxes,
            client,
            created["slugs"],
        )


@contextmanager
def start_program(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a program for the time of the block; gives its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=BASE_DIR,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(arguments)} ended:\n{log.read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait()


def create(environment: Mapping[str, str], sources: int, tick: int, addresses: list[str]) -> dict[str, Any]:
    """Create the sources in a process of Django's; returns their slugs, a token and a session."""
    command = [sys.executable, "-m", "tests.benchmarks.soak", str(sources), str(tick), *addresses]
    done = subprocess.run(
        command, cwd=BASE_DIR, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True
    )
    created: dict[str, Any] = json.loads(done.stdout)
    return created


def main(number: int, hour_minutes: int, addresses: list[str]) -> None:
    """Create sources of every vendor in turn, on one sandbox and then the other, and print them with a token."""
    django.setup()
    from django.contrib.auth import get_user_model
    from django.test import Client

    from portal.accounts.models import Scope, create_token
    from tests.support.vendor_readers import build_sandbox_url
    from usage.models import Source

    slugs = []
    for place in range(number):
        vendor = VENDORS[place % 3]
        source = Source.objects.create(
            slug=f"{vendor}-{place}",
            vendor=vendor,
            base_url=build_sandbox_url(vendor, addresses[place // 3 % 2]),
            credential=CREDENTIAL,
            backfill_from=first_day(),
            interval_minutes=hour_minutes,
            look_back_days=1,
        )
        slugs.append(source.slug)
    _, token = create_token("soak", [Scope.USAGE_READ, Scope.SYNC_READ, Scope.SYNC_RUN])
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("soak"))
    print(json.dumps({"slugs": slugs, "token": token, "session": client.cookies["sessionid"].value}))


def first_day() -> date:
    """Return the first day that is held."""
    return datetime.now(UTC).date() - timedelta(days=DAYS - 1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
