"""A streaming standby answers what only reads: as fresh as it says, nothing missed, and the primary in its place."""

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import pytest_django
from django.test import override_settings
from django.urls import URLPattern, URLResolver, get_resolver

from portal.accounts.models import Scope, create_token
from tests.support import archivable_days
from tests.support.api_clients import API, create_api_client, serve_portal
from tests.support.database import create_months
from tests.support.exports import download
from tests.support.filled_portal import fill_portal
from tests.support.other_database import call_on
from tests.support.own_postgres import OwnServer, own_folder, own_server, run_program
from tests.support.processes import wait_for
from tests.support.users import sign_in_as
from usage.lake.archive import archive_month
from usage.models import KINDS
from usage.watermark import HOLD, KEY, SINCE

# The set-up needs the settings of the run's database.
pytestmark = pytest.mark.django_db
# Several times what the requests take that are sent while the standby is paused.
LAG_SECONDS = 6
# What depends on when it is asked.
MOMENT = re.compile(rb',? ?"(as_of|lag_seconds|replica_lag_seconds)": ?"?[^,}]+')
FROM_STANDBY = "standby; lag="
AWAY, BEHIND = "primary; standby=away", "primary; standby=behind"
# Redirects, and what no signed-in person is shown.
NOT_PAGES = {"logout", "login", "autocomplete", "explore_save", "password_change", "password_change_done"}


@dataclass
class Response:
    status: int
    database: str
    body: bytes

    @property
    def json(self) -> Any:
        assert self.status == 200, self.body
        return json.loads(self.body)

    @property
    def is_of_standby(self) -> bool:
        return self.database.startswith(FROM_STANDBY)


@dataclass
class Portal:
    """A web server on a primary and its standby; a token that reads, and another one that may start syncs.

    `exports`: exports by address, over days that were archived later.
    """

    primary: OwnServer
    standby: OwnServer
    port: int
    token: str
    sync_token: str
    session: str
    exports: dict[str, bytes]

    def request(self, path: str, token: str = "", method: str = "GET", body: Any = None) -> Response:
        """Return the response to a program, or to a person where no token is given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {"Cookie": f"sessionid={self.session}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return Response(response.status, response.headers.get("Portal-Database", ""), response.read())

    def get(self, path: str) -> Response:
        return self.request(f"{API}/{path}", self.token)

    def request_standby(self, path: str, token: str = "") -> Response:
        """Return a response of the standby: after Redis, or the standby, timed out, it is not used for 5 s."""
        responses: list[Response] = []

        def is_of_standby() -> bool:
            responses.append(self.request(path, token))
            return responses[-1].is_of_standby

        wait_for(is_of_standby, f"the standby to answer {path}", every=0.2)
        return responses[-1]

    def wait_for_standby(self, page: str = f"{API}/sources/") -> None:
        """Wait until the standby serves a page."""
        wait_for(lambda: self.request(page).is_of_standby, f"the standby to answer with {page}", every=0.2)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the standby replay nothing for the time of the block."""
        with psycopg.connect(self.standby.url, autocommit=True) as own:
            own.execute("SELECT pg_wal_replay_pause()")
            wait_for(lambda: own.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",))
            try:
                yield
            finally:
                own.execute("SELECT pg_wal_replay_resume()")


def copy_standby(primary: OwnServer, folder: Path) -> OwnServer:
    """Make a streaming standby of a server, as docs/operations.md does."""
    standby = OwnServer(folder, primary.password)
    options = ("--checkpoint=fast", "--write-recovery-conf", "--create-slot", "--slot=standby", "--no-sync")
    run_program("pg_basebackup", f"--pgdata={folder}", f"--dbname={primary.url}", *options)
    return standby


def fill_primary(lake: str) -> tuple[str, str, str, dict[str, bytes]]:
    """Fill the database; returns a session, two tokens, and exports over days that are in the lake alone by now."""
    create_months()
    fill_portal()
    exports = archive(lake)
    session = sign_in_as("admin").cookies["sessionid"].value
    return session, create_token("test", Scope.values)[1], create_token("other", Scope.values)[1], exports


def archive(url: str) -> dict[str, bytes]:
    """Store two months and have the first in a lake alone; returns, by address, what exports were before."""
    for number, kind in enumerate(KINDS.values()):
        archivable_days.store_days(archivable_days.make_source(kind, f"archived-{number}"))
    client, span = create_api_client(), {"from": "2025-06-29", "to": "2025-07-03", "format": "csv"}
    exports = {f"{API}/{kind}/?{urlencode(span)}": download(client, kind, **span) for kind in KINDS}
    with override_settings(PORTAL_LAKE_URL=url):
        archive_month(archivable_days.MONTH)
    return exports


@pytest.fixture(scope="module")
def portal(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Portal]:
    with django_db_blocker.unblock(), own_folder() as folder, own_server(folder, is_migrated=True) as primary:
        lake = f"file://{folder}/lake"
        session, token, sync_token, exports = call_on(primary.url, partial(fill_primary, lake))
        standby = copy_standby(primary, folder / "standby")
        try:
            standby.start()
            urls = {"DATABASE_URL": primary.url, "DATABASE_REPLICA_URL": standby.url, "PORTAL_LAKE_URL": lake}
            with serve_portal(PORTAL_REPLICA_LAG_SECONDS=str(LAG_SECONDS), PORTAL_LOG_LEVEL="WARNING", **urls) as port:
                yield Portal(primary, standby, port, token, sync_token, session, exports)
        finally:
            standby.stop("immediate")


def list_addresses(resolver: Any, start: str = "/") -> Iterator[tuple[str, str]]:
    """Yield address and name of everything without a parameter."""
    for pattern in resolver.url_patterns:
        address = start + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if isinstance(pattern, URLResolver):
            yield from list_addresses(pattern, address)
        elif isinstance(pattern, URLPattern) and "<" not in address and "(" not in address:
            yield address, pattern.name or ""


def list_pages() -> list[str]:
    """Return the addresses of lists, summaries, exports and staff pages."""
    named_addresses = [
        (address, name) for address, name in list_addresses(get_resolver()) if name and name not in NOT_PAGES
    ]
    pages = [
        address for address, name in named_addresses if address.startswith("/admin/") and not name.endswith("_add")
    ]
    apis = [address for address, _ in named_addresses if address.startswith(API) and "/docs/" not in address]
    kinds = [address for address in apis if address.endswith("-usage/")]
    files = [f"{address}?format={name}" for address in kinds for name in ("csv", "xlsx")]
    details = [f"{API}/sources/ona-main/", f"{API}/sources/ona-main/days/", "/admin/coverage/ona-main/"]
    return [*pages, *apis, *files, *details]


def test_lists_summaries_exports_and_pages_come_from_the_standby_and_are_those_of_the_primary(portal: Portal) -> None:
    portal.wait_for_standby()
    responses = {page: portal.request(page) for page in list_pages()}
    assert len(responses) > 60
    failed_statuses = {page: response.status for page, response in responses.items() if response.status >= 400}
    # What lacks a parameter that it needs.
    assert set(failed_statuses.values()) <= {400, 404, 405}, failed_statuses
    assert len(failed_statuses) < 12, failed_statuses
    # A busy machine may let the standby, or Redis, answer too late once.
    for page, response in responses.items():
        if not response.is_of_standby:
            portal.wait_for_standby(page)
    rows = {page: response.body for page, response in responses.items() if page.startswith(API) and "xlsx" not in page}

    portal.standby.stop("immediate")
    try:
        wait_for(lambda: portal.get("sources/").database == AWAY, "the standby to be away", every=0.2)
        again = {page: portal.request(page) for page in rows}
        assert {page for page in rows if MOMENT.sub(b"", again[page].body) != MOMENT.sub(b"", rows[page])} == set()
        # Redis of a busy machine may answer too late to tell.
        assert {response.database for response in again.values()} - {"primary; standby=unknown"} == {AWAY}
    finally:
        portal.standby.start()
    portal.wait_for_standby()


def test_exports_of_archived_days_come_from_the_standby_as_they_were(portal: Portal) -> None:
    for address, expected in portal.exports.items():
        assert portal.request_standby(address, portal.token).body == expected


def test_an_answer_of_the_standby_says_so_wherever_people_and_programs_look(portal: Portal) -> None:
    for name in ("summary", "export-manifest"):
        response = portal.request_standby(
            f"{API}/environment-usage/{name}/?from=2026-10-01&to=2026-10-08", portal.token
        )
        assert response.database == f"{FROM_STANDBY}{response.json['meta']['replica_lag_seconds']}"
    assert re.search(rb"As of 20..-..-.. ..:..:.., [\d.]+ s behind\.", portal.request_standby("/admin/").body)
    metrics = portal.request_standby("/metrics", portal.token).body
    assert b"portal_standby_up 1.0" in metrics
    assert b"portal_standby_lag_seconds " in metrics


def insert_run(own: Any, name: str) -> None:
    """Store a record with the stamp of the statement, as a merge does."""
    own.execute(
        "INSERT INTO usage_environmentusage (source_id, day, record_id, stopped_at, first_seen_at, changed_at) "
        "SELECT id, '2026-11-01', %s, '2026-11-01Z', statement_timestamp(), statement_timestamp() "
        "FROM usage_source WHERE slug = 'ona-main'",
        [name],
    )


class Follower:
    """Follows changes, a page at a time."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.since = portal.get("environment-usage/?updated_since=2026-01-01").json["settled_until"]
        self.seen: set[str] = set()
        self.databases: set[str] = set()

    def poll(self) -> set[str]:
        """Ask for what has changed; returns all that was seen so far."""
        page = self.portal.get(f"environment-usage/?ordering=changed_at&updated_since={self.since}")
        self.since = page.json["settled_until"]
        self.databases.add(page.database.split(";")[0])
        self.seen |= {entry["record_id"] for entry in page.json["results"]}
        return self.seen


def test_who_follows_changes_on_the_standby_misses_none(portal: Portal) -> None:
    portal.wait_for_standby()
    follower = Follower(portal)
    with (
        psycopg.connect(portal.primary.url) as merge,
        psycopg.connect(portal.primary.url, autocommit=True) as second_connection,
    ):
        merge.execute(HOLD, [KEY, SINCE])
        insert_run(merge, "late")
        insert_run(second_connection, "early")
        stamp = datetime.now(UTC)
        for _ in range(20):
            follower.poll()
            time.sleep(0.1)
        # The merge is open: neither what it stored nor what came after is settled.
        assert follower.seen == set()
        assert datetime.fromisoformat(follower.since) < stamp
        with portal.paused():
            merge.commit()
            for _ in range(10):
                follower.poll()
                time.sleep(0.1)
        wait_for(lambda: len(follower.poll()) >= 2, "both records", every=0.1)
    assert follower.seen == {"early", "late"}
    assert "standby" in follower.databases


def test_what_a_page_of_the_primary_promised_is_not_missing_on_the_next_from_the_standby(portal: Portal) -> None:
    portal.wait_for_standby()
    start = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    with portal.paused(), psycopg.connect(portal.primary.url, autocommit=True) as own:
        for number in range(3):
            insert_run(own, f"paged-{number}")
        # Who has changed something reads from the primary, whose watermark the standby has not replayed.
        portal.request(f"{API}/sources/ona-main/sync-names/", portal.token, "POST", {})
        address = f"environment-usage/?ordering=changed_at&page_size=2&updated_since={start}"
        wait_for(lambda: len(portal.get(address).json["results"]) == 2, "the records to be settled", every=0.1)
        first = portal.get(address)
        assert first.database == "primary; standby=unreplayed"
        second = portal.request(first.json["next"].partition(str(portal.port))[2], portal.sync_token)
        assert not second.is_of_standby
        assert [entry["record_id"] for entry in second.json["results"]] == ["paged-2"]


def test_who_has_changed_something_reads_it_and_others_read_from_the_standby(portal: Portal) -> None:
    portal.wait_for_standby()
    with portal.paused():
        days = {"from": "2026-10-21", "to": "2026-10-22"}
        response = portal.request(f"{API}/sources/gcore-main/sync/", portal.sync_token, "POST", days)
        assert response.status == 202, response.body
        run = json.loads(response.body)["id"]
        run_response = portal.request(f"{API}/sync-runs/{run}/", portal.sync_token)
        assert (run_response.status, run_response.database) == (200, "primary; standby=unreplayed")
        assert portal.request(f"{API}/sync-runs/{run}/", portal.token).status == 404
    wait_for(
        lambda: portal.request(f"{API}/sync-runs/{run}/", portal.sync_token).is_of_standby, "the standby to replay it"
    )


def test_a_standby_that_is_too_far_behind_is_left_for_the_primary_until_it_has_caught_up(portal: Portal) -> None:
    portal.wait_for_standby()
    with portal.paused(), psycopg.connect(portal.primary.url, autocommit=True) as own:
        own.execute("UPDATE usage_source SET look_back_days = look_back_days")
        lags: list[float] = []
        wait_for(lambda: add_lag(lags, portal.get("sources/")) == BEHIND, "the standby to be too far behind", every=0.5)
        assert 1 < max(lags) <= LAG_SECONDS + 1
        assert lags == sorted(lags)
    portal.wait_for_standby()


def add_lag(lags: list[float], response: Response) -> str:
    """Add the lag that a response of the standby states to `lags`; returns the database that served it."""
    if response.is_of_standby:
        lags.append(float(response.database.removeprefix(FROM_STANDBY)))
    return response.database


def test_a_standby_that_was_promoted_is_no_longer_used(portal: Portal) -> None:
    portal.wait_for_standby()
    with psycopg.connect(portal.standby.url, autocommit=True) as own:
        own.execute("SELECT pg_promote()")
    wait_for(lambda: portal.get("sources/").database == AWAY, "the standby to be away", every=0.2)
    assert portal.get("sources/").status == 200
