"""Staff pages at two sizes side by side: a page costs with ten million rows what it costs with ten thousand.

Kind after kind, a small and a large database stand on one PostgreSQL, each with the portal before it, and a person
who has signed in opens the same pages of both in turns.

`python -m tests.benchmarks.pages KIND` signs somebody in at the database of DATABASE_URL, who has a saved view and a note there, and
names of the projects or workspaces, and prints the session's cookie.
"""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from statistics import median
from typing import Final

import django
import psycopg
from psycopg.sql import SQL, Identifier

from portal.environment import BASE_DIR
from tests.benchmarks.contenders.columns import COLUMNS as KINDS
from tests.benchmarks.contenders.columns import table
from tests.benchmarks.cost import cpu_of
from tests.benchmarks.ground import TEN_MILLION, Findings, Ground, ground
from tests.benchmarks.report import Aim, Report, Table, surroundings
from tests.benchmarks.serving import HOST, Served
from tests.benchmarks.stage import Stage

SMALL, LARGE = "small", "large"
DAYS: Final = 250
FEW_DAYS: Final = 50
SMALL_ROWS: Final = 10_000
MOST: Final = 1.5  # the aim
TABLE: Final = ("page", "rows", "median ms", "server CPU ms", "PostgreSQL CPU ms")
RATIOS: Final = ("page", "median time", "CPU of both")
NAME: Final = "Nickname"  # begins every name of the directory
# What rows are found by, and grouped by besides the month.
OWNERS: Final = {
    "environment-usage": "project_id",
    "resource-usage": "project_id",
    "recipe-usage": "workspace_id",
}


@dataclass(frozen=True)
class Page:
    """A page: its address, and what its answer holds if it is the one that is meant."""

    address: str
    holds: bytes


@dataclass
class Costs:
    """What one page took at one size: seconds of each request, and CPU seconds of all of them."""

    took: list[float] = field(default_factory=list)
    server_cpu: float = 0
    postgres_cpu: float = 0

    @property
    def median_ms(self) -> float:
        """Milliseconds of the middle request."""
        return median(self.took) * 1000

    @property
    def server_ms(self) -> float:
        """Milliseconds of the server's CPU for each request."""
        return self.server_cpu / len(self.took) * 1000

    @property
    def postgres_ms(self) -> float:
        """Milliseconds of PostgreSQL's CPU for each request."""
        return self.postgres_cpu / len(self.took) * 1000


@dataclass(frozen=True)
class Opened:
    """The portal over one database, and somebody who has signed in there."""

    ground: Ground
    server: Served
    cookie: str

    def load(self, page: Page, times: int, costs: Costs) -> None:
        """Open a page so many times on one connection; raises RuntimeError for an answer that is not the page."""
        postgres = self.ground.stage.postmaster
        before = self.server.cpu, cpu_of(postgres)
        connection = http.client.HTTPConnection(HOST, self.server.port, timeout=600)
        for _ in range(times):
            started_at = time.perf_counter()
            connection.request("GET", page.address, headers={"Cookie": self.cookie})
            response = connection.getresponse()
            body = response.read()
            costs.took.append(time.perf_counter() - started_at)
            if response.status != HTTPStatus.OK or page.holds not in body:
                raise RuntimeError(f"{page.address} is answered by {response.status}: {body[:3000]!r}")
        connection.close()
        costs.server_cpu += self.server.cpu - before[0]
        costs.postgres_cpu += cpu_of(postgres) - before[1]


@dataclass(frozen=True)
class Turns:
    """How often a page is opened: first so that nobody is measured cold, then so many times in every round."""

    cold: int
    times: int
    rounds: int


class Pages:
    """The benchmark; `rows` of the large size."""

    def __init__(self, rows: int = TEN_MILLION.rows) -> None:
        self.rows = rows

    def __call__(self, stage: Stage, *, quick: bool) -> Report:
        """Measure every kind's pages."""
        sizes = {SMALL: SMALL_ROWS // 10, LARGE: SMALL_ROWS // 5} if quick else {SMALL: SMALL_ROWS, LARGE: self.rows}
        turns = Turns(1, 2, 1) if quick else Turns(12, 10, 5)
        kinds = ["resource-usage"] if quick else list(KINDS)
        findings = {}
        for kind in kinds:
            with open_portals(stage, kind, sizes, FEW_DAYS if quick else DAYS) as portals:
                findings[kind] = measure(kind, portals, turns)
        return Report(
            name="pages",
            title=f"Staff pages at {sizes[SMALL]:,} and at {sizes[LARGE]:,} rows of each kind",
            facts=facts(stage, sizes, turns),
            tables=[
                Table("Pages", TABLE, [row for kind in kinds for row in findings[kind].rows]),
                Table("Large / small", RATIOS, [row for kind in kinds for row in findings[kind].figures["ratios"]]),
            ],
            aims=[aim for kind in kinds for aim in findings[kind].aims],
            figures={kind: findings[kind].figures for kind in kinds},
            judged=not quick,
        )


@contextmanager
def open_portals(stage: Stage, kind: str, sizes: Mapping[str, int], days: int) -> Iterator[dict[str, Opened]]:
    """Fill both databases, serve both, and sign somebody in at both."""
    with ExitStack() as stack:
        portals = {}
        for number, (name, rows) in enumerate(sizes.items(), start=1):
            size = replace(TEN_MILLION, name=name, rows=rows, days=days)
            filled_ground = stack.enter_context(ground(stage, size, kind))
            # What is cached of one database is not the other's.
            redis = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/{number}"
            own_ground = replace(filled_ground, environment={**filled_ground.environment, "REDIS_URL": redis})
            cookie = create_session(own_ground)
            portals[name] = Opened(own_ground, stack.enter_context(own_ground.portal()), cookie)
        yield portals


def create_session(ground: Ground) -> str:
    """Return the cookie of a session in a database."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.pages", ground.kind],
        cwd=BASE_DIR,
        env={**os.environ, **ground.environment, "PORTAL_HTTPS": "0"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process.stdout


def find_values(ground: Ground) -> tuple[str, str]:
    """Return an owner that has rows and the number of a record, the same ones every time; both long enough to search."""
    with psycopg.connect(ground.url) as connection:
        column, name = Identifier(OWNERS[ground.kind]), Identifier(table(ground.kind))
        query = SQL("SELECT {0}, id FROM {1} WHERE id > 500 AND length({0}::text) > 1 ORDER BY id LIMIT 1")
        values = connection.execute(query.format(column, name)).fetchone()
    assert values is not None
    return str(values[0]), str(values[1])


def build_pages(kind: str, value: str, number: str) -> dict[str, Page]:
    """Return the pages of a kind by what they are called; `value` and `number` are what rows are found by."""
    model = kind.replace("-", "")
    vendor = {"environment-usage": b"ona-0", "resource-usage": b"gcore-0", "recipe-usage": b"workato-0"}[kind]
    today = datetime.now(UTC).date()
    month = f"from={today - timedelta(days=30)}&to={today}"
    year = f"from={today - timedelta(days=DAYS)}&to={today}"
    list_url = f"/admin/usage/{model}/"
    explored = f"/admin/explore/?kind={kind}"
    return {
        "overview": Page("/admin/", b'class="trend"'),
        "list": Page(f"{list_url}?from=", vendor),
        "list, a source's month": Page(f"{list_url}?source={vendor.decode()}&{month}", vendor),
        f"list, one {OWNERS[kind]}": Page(f"{list_url}?{OWNERS[kind]}={value}", b"result_list"),
        "explore, a month by day": Page(f"{explored}&{month}&group_by=day", b"<table"),
        f"explore, 250 days by month and {OWNERS[kind]}, top 10": Page(
            f"{explored}&{year}&group_by=month,{OWNERS[kind]}&limit=10", b"<table"
        ),
        f"explore, a month by {OWNERS[kind]}, beside the one before": Page(
            f"{explored}&{month}&group_by={OWNERS[kind]}&compare=previous", NAME.encode()
        ),
        "saved view": Page("/admin/explore/views/1/", b"<table"),
        f"search for a {OWNERS[kind]}": Page(f"/admin/search/?q={value}", b'class="hit"'),
        "search for a record's number": Page(f"/admin/search/?q={number}", b'class="hit"'),
        "search for a name": Page(f"/admin/search/?q={NAME.lower()}", b'class="hit"'),
    }


def measure(kind: str, portals: Mapping[str, Opened], turns: Turns) -> Findings:
    """Open each page at both sizes in turns."""
    findings = Findings(figures={"pages": {}, "ratios": []})
    pages = {name: build_pages(kind, *find_values(portal.ground)) for name, portal in portals.items()}
    for title in [*pages[SMALL]]:
        costs = {name: Costs() for name in portals}
        for name, portal in portals.items():
            portal.load(pages[name][title], turns.cold, Costs())
        for _ in range(turns.rounds):
            for name, portal in portals.items():
                portal.load(pages[name][title], turns.times, costs[name])
        add_findings(findings, f"{kind}: {title}", portals, costs)
    return findings


def add_findings(findings: Findings, title: str, portals: Mapping[str, Opened], costs: Mapping[str, Costs]) -> None:
    """Write down what one page took at both sizes, and the ratios."""
    for name, cost in costs.items():
        cells = (f"{number:.1f}" for number in (cost.median_ms, cost.server_ms, cost.postgres_ms))
        findings.rows.append((title, f"{portals[name].ground.size.rows:,}", *cells))
    small, large = costs[SMALL], costs[LARGE]
    ratio = large.median_ms / small.median_ms
    cpu = (large.server_cpu + large.postgres_cpu) / max(small.server_cpu + small.postgres_cpu, 1e-9)
    findings.figures["pages"][title] = {name: vars(cost) for name, cost in costs.items()}
    findings.figures["ratios"].append((title, f"{ratio:.2f}", f"{cpu:.2f}"))
    findings.aims.append(Aim(f"{title}: median time, large / small", ratio, MOST))


def facts(stage: Stage, sizes: Mapping[str, int], turns: Turns) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded), one for both sizes; granian with 2 workers each",
        "rows": f"{sizes[SMALL]:,} and {sizes[LARGE]:,} of each kind over {DAYS} days, 2 sources",
        "load": f"one superuser with a session, {turns.rounds} rounds of {turns.times} requests at each size in turns",
    }


def main(kind: str) -> None:
    """Sign somebody in, make what their pages have besides usage, and print the cookie."""
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    from usage.models import KINDS, DirectoryEntry, Note, PinnedView, SavedView, Source

    user = User.objects.create_superuser("bench")
    view = SavedView.objects.create(
        owner=user, name="Bench", kind=kind, question=f"group_by={OWNERS[kind]}", moving_range="last-30-days"
    )
    PinnedView.objects.create(user=user, view=view)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    Note.objects.bulk_create(Note(day=yesterday - timedelta(days=n), text=f"Note {n}") for n in range(100))
    # Few records of the latest day have every owner there is.
    ids = (
        KINDS[kind]
        .objects.filter(day__gte=yesterday - timedelta(days=60))
        .order_by()
        .values_list(OWNERS[kind], flat=True)
    )
    DirectoryEntry.objects.bulk_create(
        DirectoryEntry(
            source=source, kind=OWNERS[kind].removesuffix("_id"), vendor_id=str(number), name=f"{NAME} {number}"
        )
        for source in Source.objects.all()
        for number in ids.distinct()
    )
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    name = settings.SESSION_COOKIE_NAME
    sys.stdout.write(f"{name}={client.cookies[name].value}")


if __name__ == "__main__":
    main(sys.argv[1])
