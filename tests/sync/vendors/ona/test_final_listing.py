"""A day of Ona whose read can be final takes one listing and one request for the total."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.engine.connect import open_reader
from sync.errors import ListingChanged
from sync.http import Bounds, VendorHTTP
from sync.sandbox.world import World
from sync.vendors.base import Account, Comparison
from sync.vendors.ona.connect import LIST
from sync.vendors.ona.reader import Reader
from tests.support.mirrored_portal import create_mirror_key, read_all
from tests.support.mirrored_portal import frozen_sandbox as frozen_sandbox
from tests.support.ona_runtime import ANSWER, DAY, build_record, check, count_totals, list_runs, open_ona, open_scripted
from tests.support.ona_runtime import ona as ona
from tests.support.ona_runtime import sandbox as sandbox
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import list_rows, read_pages
from usage.days import Day
from usage.models import Source, SourceDay, Verification

FINAL_FROM = datetime(2026, 10, 4, tzinfo=UTC)  # three days after the end of September


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as far away, so that large days are read in parts."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", 0.0)


# In the engine.


@pytest.mark.django_db
def test_the_engine_verifies_every_final_day_of_which_it_knows_all_starts():
    first = datetime.now(UTC).date() - timedelta(days=80)
    with SandboxServer(World(records_per_day=40)) as server:
        source = read_all(server, "ona", first, first + timedelta(days=8))
        ona: Any = server.upstream.vendors["ona"]
        for day in SourceDay.objects.filter(source=source):
            all_starts_known = all(run.created_at is not None for run in ona.list_runs(day.starts_at, day.ends_at))
            assert day.final
            assert day.verification == (Verification.VERIFIED if all_starts_known else Verification.NONE)
            assert day.differences == []
    assert SourceDay.objects.filter(source=source, verification=Verification.VERIFIED).count() > 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fault", ["unauthorized", "forbidden", "redirect", "rate_limited", "unavailable", "wrong_json"]
)
def test_a_source_whose_key_may_not_ask_for_the_total_is_read_and_never_halted(fault: str):
    first = datetime.now(UTC).date() - timedelta(days=80)
    with SandboxServer(World(records_per_day=40)) as server:
        server.faults.next(f"ona.{fault}", after=1)
        source = read_all(server, "ona", first, first + timedelta(days=1))
        assert [request.fault for request in server.stats.requests] == ["", fault]
    source.refresh_from_db()
    assert (source.halted_at, source.failures) == (None, 0)
    assert SourceDay.objects.get(source=source).final


# When the total is requested.


@pytest.mark.parametrize(
    ("opened_at", "expected_requests"),
    [(FINAL_FROM, 1), (FINAL_FROM - timedelta(hours=1), 0), (DAY.end + timedelta(days=3), 0)],
)
def test_the_total_is_asked_for_once_the_look_back_of_the_month_has_passed(
    sandbox: SandboxServer, opened_at: datetime, expected_requests: int
):
    with open_ona(f"{sandbox.url}/ona/api", opened_at) as reader:
        comparison = check(reader)
    assert count_totals(sandbox) == expected_requests
    assert (comparison == Comparison()) is not bool(expected_requests)


@pytest.mark.django_db
def test_a_reader_knows_when_a_day_of_its_source_is_final_by_the_databases_clock():
    source = Source.objects.create(
        slug="ona", vendor="ona", base_url="https://app.ona.com/api", credential="x", backfill_from="2026-01-01"
    )
    for look_back_days, back in ((3, 400), (30_000, 400)):
        source.look_back_days = look_back_days
        with open_reader(source) as reader:
            now = reader.account.opened_at
            day = Day.containing(now - timedelta(days=back), source.zone)
            stored = SourceDay(source=source, day=day.date, starts_at=day.start, ends_at=day.end)
            assert reader.can_be_final(day) == (now >= stored.final_from)
            assert reader.can_be_final(day) == (look_back_days == 3)


@pytest.mark.usefixtures("far")
def test_a_day_whose_read_can_be_final_is_one_listing(sandbox: SandboxServer, ona: Reader):
    sandbox.settings.latency_ms = 20
    check(ona)
    ranges = {
        str(json.loads(request.body)["filter"]) for request in sandbox.stats.requests if request.path.endswith(LIST)
    }
    assert len(ranges) == 1
    with open_ona(f"{sandbox.url}/ona/api", DAY.end) as provisional:
        check(provisional)
    ranges = {
        str(json.loads(request.body)["filter"]) for request in sandbox.stats.requests if request.path.endswith(LIST)
    }
    assert len(ranges) > 2


@pytest.mark.usefixtures("far")
def test_a_final_day_that_changes_while_it_is_read_is_no_mixture_of_two_states(httpserver: HTTPServer):
    """A run is moved from the first part of the day to the last one while the parts are read."""
    moved = {"at": DAY.start + timedelta(hours=1)}
    stop_times = [DAY.start + timedelta(minutes=4 * number) for number in range(350)]

    def respond(request: Request) -> Response:
        body = json.loads(request.data)
        dates, after = body["filter"]["dateRange"], int(body["pagination"].get("token", 0))
        start, end = (datetime.fromisoformat(dates[name]) for name in ("startTime", "endTime"))
        stops = [(f"run-{n}", at) for n, at in enumerate(stop_times)] + [("moved", moved["at"])]
        in_range = sorted((at, name) for name, at in stops if start <= at < end)
        page = in_range[after : after + 100]
        if any(name == "moved" for _, name in page):
            moved["at"] = DAY.start + timedelta(hours=23)
        records = [{"id": name, "stoppedAt": at.isoformat()} for at, name in page]
        token = {"nextToken": str(after + 100)} if after + 100 < len(in_range) else {}
        return Response(json.dumps({"records": records, "pagination": token}), content_type="application/json")

    httpserver.expect_request(f"/api{LIST}").respond_with_handler(respond)
    with open_ona(httpserver.url_for("/api")) as reader:
        with pytest.raises(ListingChanged):
            read_pages(reader, DAY)
        counts = Counter(row.record_id for row in list_rows(read_pages(reader, DAY)[0]))
    assert counts["moved"] == 1
    assert counts.total() == 351


# A listing that does not hold still.


def test_a_final_day_that_grew_while_it_was_paged_through_is_read_again(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("growth")
    with pytest.raises(ListingChanged, match="a record came twice"):
        read_pages(ona, DAY)
    pages, comparison = read_pages(ona, DAY)
    assert {row.record_id for row in list_rows(pages)} == {run.id for run in list_runs(sandbox)}
    assert len(list_rows(pages)) == 251
    assert comparison.verification == Verification.VERIFIED


def test_a_vendor_that_always_repeats_a_record_is_believed_once_two_readings_agree(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("ona.duplicate")
    with pytest.raises(ListingChanged):
        read_pages(ona, DAY)
    pages, comparison = read_pages(ona, DAY)
    assert len({row.record_id for row in list_rows(pages)}) == 250
    assert comparison.verification == Verification.NONE
    assert (comparison.witness or {})["reason"] == "Some records came twice."


def test_equal_records_without_an_id_are_a_repetition_too(httpserver: HTTPServer):
    with open_scripted(httpserver, ANSWER, build_record(30, id=None), build_record(30, id=None)) as reader:
        with pytest.raises(ListingChanged):
            read_pages(reader, DAY)
        assert len(list_rows(read_pages(reader, DAY)[0])) == 2


@pytest.mark.usefixtures("far")
def test_a_provisional_day_that_grew_while_it_was_paged_through_is_taken_as_it_came(sandbox: SandboxServer):
    sandbox.faults.next("growth")
    with open_ona(f"{sandbox.url}/ona/api", DAY.end) as reader:
        assert read_pages(reader, DAY)[1] == Comparison()


# A mirror has no total.


@pytest.mark.django_db
def test_a_portal_that_reads_a_mirror_is_not_affected_by_the_total_that_it_lacks(frozen_sandbox: Any, live_server: Any):
    source = read_all(frozen_sandbox, "ona")
    day = Day.of(source.backfill_from, "UTC")
    http = VendorHTTP(
        f"{live_server.url}/mirror/ona-main/api",
        Reader.build_authorization(create_mirror_key(source)),
        hosts=(),
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(timeout=30.0, attempts=3),
    )
    with http:
        reader = Reader(Account("copy", ZoneInfo("UTC"), {}, opened_at=day.final_from(3)), http)
        pages, comparison = read_pages(reader, day)
    assert len(list_rows(pages)) == 150
    assert comparison.verification == Verification.NONE
    assert "HTTP 404" in (comparison.witness or {})["reason"]
