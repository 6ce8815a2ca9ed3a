"""What the questions are asked of: one kind of usage in a database of its own, and the portal in front of it."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from portal.web import THREADS
from tests.benchmarks.report import Aim
from tests.benchmarks.serving import HOST, PORTAL, Served, served
from tests.benchmarks.stage import Stage
from tests.benchmarks.starting import run


@dataclass(frozen=True)
class Size:
    """How much is asked of, and for how long: `seconds` a round, `deep_row` the row a deep page begins behind.

    `few_rows` is for who is too slow to be given more.
    """

    name: str
    rows: int
    days: int
    deep_row: int
    clients: int
    seconds: float
    rounds: int
    whole_rounds: int
    few_rows: int


MILLION = Size("1 million rows", 1_000_000, 320, 900_000, 16, 4, 3, 3, 20_000)
TEN_MILLION = Size("10 million rows", 10_000_000, 320, 900_000, 16, 4, 2, 1, 20_000)
TINY = Size("a few rows", 3_200, 32, 2_000, 4, 0.1, 1, 1, 300)


@dataclass
class Findings:
    """What was measured of one kind: rows of a table, aims, and every figure for the JSON."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ground:
    """A filled database: where it is, and the token that reads it through the portal."""

    stage: Stage
    size: Size
    kind: str
    environment: dict[str, str]
    token: str
    server: Served | None = None

    @property
    def url(self) -> str:
        """The database's address."""
        return self.environment["DATABASE_URL"]

    @property
    def scratch(self) -> Path:
        """A folder for what is written on the way."""
        folder = Path(self.environment["BENCH_SCRATCH"])
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def portal(self, threads: int = THREADS) -> Iterator[Served]:
        """Serve the portal as it is meant to be run, with its log and its rate limits, unless a `server` runs already."""
        if self.server:
            yield self.server
            return
        # Its requests are counted as ever, towards a rate that nobody reaches.
        with self.served(PORTAL, threads, PORTAL_LOG_LEVEL="INFO", PORTAL_API_RATE="100000000/s") as server:
            yield server

    @contextmanager
    def served(self, application: str, threads: int = THREADS, **environment: str) -> Iterator[Served]:
        """Serve an application over the database."""
        plain_http = {"PORTAL_HTTPS": "0", "ALLOWED_HOSTS": HOST}
        log = self.scratch / f"{application.partition(':')[0]}-{threads}.log"
        with served(application, self.environment | plain_http | environment, log, threads) as server:
            yield server

    @contextmanager
    def answer(self, server: Served, address: str) -> Iterator[http.client.HTTPResponse]:
        """Ask the portal; raises RuntimeError for anything but a 200."""
        connection = http.client.HTTPConnection(HOST, server.port, timeout=600)
        try:
            connection.request("GET", address, headers={"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise RuntimeError(f"{address} is answered by {response.status}: {response.read()[:2000]!r}")
            yield response
        finally:
            connection.close()


@contextmanager
def ground(stage: Stage, size: Size, kind: str) -> Iterator[Ground]:
    """Fill a new database with one kind of usage, and drop it in the end."""
    environment = stage.fresh()
    try:
        token = run("tests.benchmarks.rows", kind, str(size.rows), str(size.days), env=environment)
        stage.execute("CHECKPOINT")
        yield Ground(stage, size, kind, environment, token)
    finally:
        stage.drop(environment)
