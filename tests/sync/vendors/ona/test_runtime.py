"""Ona's witness: a day whose read can be final is one listing, and is compared with the vendor's total of runtime."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import stamina
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.engine.connect import open_reader
from sync.errors import ListingChanged, ReadDeferred
from sync.http import Bounds, VendorHTTP
from sync.sandbox.server import SandboxServer
from sync.sandbox.world import Edit, World
from sync.vendors.base import Account, Comparison
from sync.vendors.ona.connect import LIST, RUNTIME
from sync.vendors.ona.reader import Reader
from tests.support.mirrored_portal import key, read_all
from tests.support.mirrored_portal import still as still
from tests.support.read_day import everything, rows
from usage.days import Day
from usage.models import Source, SourceDay, Verification

DAY = Day.of(date(2026, 9, 29), "UTC")
FINAL_FROM = datetime(2026, 10, 4, tzinfo=UTC)  # three days after the end of September
NOW = datetime(2026, 10, 10, 15, tzinfo=UTC)
ANSWER = {"totalRuntimeSeconds": "5400", "trend": 0.5}


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as far away, so that large days are read in parts."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", 0.0)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A vendor that tells the start of every run of the day."""
    with SandboxServer(World(now=lambda: NOW, records_per_day=250, seed=find_seed())) as server:
        yield server


@cache
def find_seed() -> int:
    """Return the seed of a world whose day has no run without a start."""
    for seed in range(1, 50):
        with SandboxServer(World(now=lambda: NOW, records_per_day=250, seed=seed)) as server:
            if all(run.created_at is not None for run in list_runs(server)):
                return seed
    raise AssertionError("no such world")


def list_runs(server: SandboxServer) -> list[Any]:
    ona: Any = server.upstream.vendors["ona"]
    return list(ona.list_runs(DAY.start, DAY.end))


@contextmanager
def open_ona(url: str, opened_at: datetime = NOW, **bounds: Any) -> Iterator[Reader]:
    http = VendorHTTP(
        url,
        Reader.build_authorization("sandbox-key"),
        hosts=Reader.hosts,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**{"timeout": 5.0, "attempts": 3} | bounds),
    )
    with http:
        yield Reader(Account("ona", ZoneInfo("UTC"), {}, look_back_days=3, opened_at=opened_at), http)


@pytest.fixture
def ona(sandbox: SandboxServer) -> Iterator[Reader]:
    with open_ona(f"{sandbox.url}/ona/api") as reader:
        yield reader


@contextmanager
def open_scripted(
    server: HTTPServer, answer: Any, *records: dict[str, Any], handler: Any = None, **bounds: Any
) -> Iterator[Reader]:
    """Yield the reader of a vendor that lists two runs of half an hour and one hour, and answers so for their total."""
    listing = {"pagination": {}, "records": list(records) or [build_record(30), build_record(60)]}
    server.expect_request(f"/api{LIST}").respond_with_json(listing)
    total = server.expect_request(f"/api{RUNTIME}")
    if handler is not None:
        total.respond_with_handler(handler)
    else:
        total.respond_with_data(answer if isinstance(answer, str) else json.dumps(answer))
    with open_ona(server.url_for("/api"), **bounds) as reader:
        yield reader


def build_record(minutes: int, **fields: Any) -> dict[str, Any]:
    stopped = DAY.start + timedelta(hours=12)
    created = stopped - timedelta(minutes=minutes)
    return {"id": f"run-{minutes}", "createdAt": created.isoformat(), "stoppedAt": stopped.isoformat(), **fields}


def check(reader: Reader) -> Comparison:
    return everything(reader, DAY)[1]


def count_totals(sandbox: SandboxServer) -> int:
    """Return how often the total was asked for."""
    return sum(seen.path.endswith(RUNTIME) for seen in sandbox.stats.requests)


# The figure agrees.


def test_a_day_past_its_look_back_is_verified_by_the_vendors_total_and_says_how(sandbox: SandboxServer, ona: Reader):
    pages, checked = everything(ona, DAY)
    found = rows(pages)
    total = sum(((row.stopped_at - row.created_at) for row in found), timedelta())
    assert len(found) == 250
    assert checked.verification == Verification.VERIFIED
    assert checked.differences == []
    assert checked.witness is not None
    assert checked.witness | {"vendor": 0} == {
        "endpoint": "GetEnvironmentRuntime",
        "vendor": 0,
        "portal": f"{total // timedelta(microseconds=1) // 10**6}.{total.microseconds:06d}",
        "unit": "seconds",
        "agrees": True,
    }
    assert checked.witness["vendor"] == str(total // timedelta(seconds=1))
    asked = json.loads(sandbox.stats.requests[-1].body)
    assert asked == {"dateRange": {"startTime": "2026-09-29T00:00:00Z", "endTime": "2026-09-30T00:00:00Z"}}
    assert count_totals(sandbox) == 1


@pytest.mark.parametrize("figure", [5400, "5400", "5399", 5401, "05400"])
def test_a_total_within_one_second_agrees_however_the_number_is_written(httpserver: HTTPServer, figure: Any):
    with open_scripted(httpserver, {"totalRuntimeSeconds": figure}) as reader:
        checked = check(reader)
    assert checked.verification == Verification.VERIFIED
    assert checked.witness is not None
    assert (checked.witness["vendor"], checked.witness["portal"]) == (str(int(figure)), "5400.000000")


# The figure confirms, and never refutes.


@pytest.mark.parametrize("figure", [5398, "5402", 0, "9223372036854775807"])
def test_a_total_that_differs_is_information_and_no_failure(httpserver: HTTPServer, figure: Any):
    with open_scripted(httpserver, {"totalRuntimeSeconds": figure}) as reader:
        checked = check(reader)
    assert checked == Comparison(
        Verification.NONE,
        [],
        {
            "endpoint": "GetEnvironmentRuntime",
            "vendor": str(figure),
            "portal": "5400.000000",
            "unit": "seconds",
            "agrees": False,
        },
    )


def test_a_vendor_that_counts_otherwise_leaves_the_day_as_it_is(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("ona.other_total")
    checked = check(ona)
    assert (checked.verification, checked.differences) == (Verification.NONE, [])
    assert checked.witness is not None
    assert not checked.witness["agrees"]
    assert 0 < float(checked.witness["vendor"]) < float(checked.witness["portal"])


def test_a_run_without_a_start_keeps_the_day_from_being_verified(httpserver: HTTPServer):
    # The sum of the others happens to agree.
    records = [build_record(30), build_record(60), build_record(7, createdAt=None)]
    with open_scripted(httpserver, ANSWER, *records) as reader:
        checked = check(reader)
    assert checked.verification == Verification.NONE
    assert checked.witness is not None
    assert (checked.witness["vendor"], checked.witness["agrees"]) == ("5400", False)
    assert checked.witness["reason"] == "1 of 3 records have no createdAt."


def test_a_rejected_record_keeps_the_day_from_being_verified(httpserver: HTTPServer):
    with open_scripted(
        httpserver, ANSWER, build_record(30), build_record(60), build_record(7, stoppedAt=None)
    ) as reader:
        checked = check(reader)
    assert (checked.verification, (checked.witness or {})["reason"]) == (Verification.NONE, "1 records were rejected.")


def test_an_empty_day_is_not_verified_by_a_total_that_is_left_out(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(emptied=True)
    checked = check(ona)
    assert checked.verification == Verification.NONE
    assert checked.witness is not None
    assert checked.witness["vendor"] is None
    assert "holds no totalRuntimeSeconds" in checked.witness["reason"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 501, 503])
def test_a_vendor_that_refuses_the_total_is_asked_once_and_the_day_is_read(httpserver: HTTPServer, status: int):
    def refuse(_: Request) -> Response:
        return Response('{"code": "no", "message": "not for you"}', status, content_type="application/json")

    with open_scripted(httpserver, None, handler=refuse) as reader:
        pages, checked = everything(reader, DAY)
        assert reader.http.stats.retries == 0
    assert len(rows(pages)) == 2
    assert (checked.verification, checked.differences) == (Verification.NONE, [])
    assert checked.witness is not None
    assert (checked.witness["vendor"], checked.witness["portal"]) == (None, "5400.000000")
    assert "not for you" in checked.witness["reason"]
    assert sum(request.path.endswith(RUNTIME) for request, _ in httpserver.log) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "<!doctype html>",
        "",
        "null",
        "[]",
        {},
        {"totalRuntimeSeconds": None},
        {"totalRuntimeSeconds": True},
        {"totalRuntimeSeconds": -1},
        {"totalRuntimeSeconds": "-1"},
        {"totalRuntimeSeconds": 5400.5},
        {"totalRuntimeSeconds": "5400s"},
        {"totalRuntimeSeconds": "9" * 5000},
        '{"totalRuntimeSeconds": ' + "9" * 5000 + "}",
        '{"totalRuntimeSeconds": 1e999}',
        '{"totalRuntimeSeconds": ' + "[" * 100_000,
        {"code": "unimplemented", "message": "no"},
    ],
    ids=lambda answer: str(answer)[:30],
)
def test_a_total_of_another_shape_changes_nothing(httpserver: HTTPServer, answer: Any):
    with open_scripted(httpserver, answer) as reader:
        checked = check(reader)
    assert (checked.verification, checked.differences) == (Verification.NONE, [])
    assert checked.witness is not None
    assert checked.witness["vendor"] is None
    assert checked.witness["reason"]


def test_a_vendor_that_is_silent_about_the_total_changes_nothing(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("ona.reset", after=3)
    checked = check(ona)
    assert checked.verification == Verification.NONE
    assert count_totals(sandbox) == 1


def test_a_redirect_of_the_total_to_another_host_is_neither_followed_nor_a_failure(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("ona.redirect", after=3)
    checked = check(ona)
    assert checked.verification == Verification.NONE
    assert "not followed" in (checked.witness or {})["reason"]


def test_a_day_is_not_put_off_for_the_total(sandbox: SandboxServer):
    class Spent:
        """A rate that three requests use up."""

        left = 3

        def acquire(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise ReadDeferred("The rate is used up.", retry_after=30)

    with open_ona(f"{sandbox.url}/ona/api") as reader:
        reader.http._limiter = Spent()
        pages, checked = everything(reader, DAY)
    assert len(rows(pages)) == 250
    assert (checked.witness or {})["reason"] == "The rate is used up."


# In the engine.


@pytest.mark.django_db(transaction=True)
def test_the_engine_verifies_every_final_day_of_which_it_knows_all_starts():
    first = datetime.now(UTC).date() - timedelta(days=80)
    with SandboxServer(World(records_per_day=40)) as server:
        source = read_all(server, "ona", first, first + timedelta(days=8))
        ona: Any = server.upstream.vendors["ona"]
        for day in SourceDay.objects.filter(source=source):
            known = all(run.created_at is not None for run in ona.list_runs(day.starts_at, day.ends_at))
            assert day.final
            assert day.verification == (Verification.VERIFIED if known else Verification.NONE)
            assert day.differences == []
    assert SourceDay.objects.filter(source=source, verification=Verification.VERIFIED).count() > 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "fault", ["unauthorized", "forbidden", "redirect", "rate_limited", "unavailable", "wrong_json"]
)
def test_a_source_whose_key_may_not_ask_for_the_total_is_read_and_never_halted(fault: str):
    first = datetime.now(UTC).date() - timedelta(days=80)
    with SandboxServer(World(records_per_day=40)) as server:
        server.faults.next(f"ona.{fault}", after=1)
        source = read_all(server, "ona", first, first + timedelta(days=1))
        assert [seen.fault for seen in server.stats.requests] == ["", fault]
    source.refresh_from_db()
    assert (source.halted_at, source.failures) == (None, 0)
    assert SourceDay.objects.get(source=source).final


# When it is asked.


@pytest.mark.parametrize(
    ("opened_at", "asked"), [(FINAL_FROM, 1), (FINAL_FROM - timedelta(hours=1), 0), (DAY.end + timedelta(days=3), 0)]
)
def test_the_total_is_asked_for_once_the_look_back_of_the_month_has_passed(
    sandbox: SandboxServer, opened_at: datetime, asked: int
):
    with open_ona(f"{sandbox.url}/ona/api", opened_at) as reader:
        checked = check(reader)
    assert count_totals(sandbox) == asked
    assert (checked == Comparison()) is not bool(asked)


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
    ranges = {str(json.loads(seen.body)["filter"]) for seen in sandbox.stats.requests if seen.path.endswith(LIST)}
    assert len(ranges) == 1
    with open_ona(f"{sandbox.url}/ona/api", DAY.end) as provisional:
        check(provisional)
    ranges = {str(json.loads(seen.body)["filter"]) for seen in sandbox.stats.requests if seen.path.endswith(LIST)}
    assert len(ranges) > 2


@pytest.mark.usefixtures("far")
def test_a_final_day_that_changes_while_it_is_read_is_no_mixture_of_two_states(httpserver: HTTPServer):
    """A run is moved from the first part of the day to the last one while the parts are read."""
    moved = {"at": DAY.start + timedelta(hours=1)}
    others = [DAY.start + timedelta(minutes=4 * number) for number in range(350)]

    def answer(request: Request) -> Response:
        asked = json.loads(request.data)
        dates, after = asked["filter"]["dateRange"], int(asked["pagination"].get("token", 0))
        start, end = (datetime.fromisoformat(dates[name]) for name in ("startTime", "endTime"))
        stops = [(f"run-{n}", at) for n, at in enumerate(others)] + [("moved", moved["at"])]
        listed = sorted((at, name) for name, at in stops if start <= at < end)
        page = listed[after : after + 100]
        if any(name == "moved" for _, name in page):
            moved["at"] = DAY.start + timedelta(hours=23)
        records = [{"id": name, "stoppedAt": at.isoformat()} for at, name in page]
        token = {"nextToken": str(after + 100)} if after + 100 < len(listed) else {}
        return Response(json.dumps({"records": records, "pagination": token}), content_type="application/json")

    httpserver.expect_request(f"/api{LIST}").respond_with_handler(answer)
    with open_ona(httpserver.url_for("/api")) as reader:
        with pytest.raises(ListingChanged):
            everything(reader, DAY)
        found = Counter(row.record_id for row in rows(everything(reader, DAY)[0]))
    assert found["moved"] == 1
    assert found.total() == 351


# A listing that does not hold still.


def test_a_final_day_that_grew_while_it_was_paged_through_is_read_again(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("growth")
    with pytest.raises(ListingChanged, match="a record came twice"):
        everything(ona, DAY)
    pages, checked = everything(ona, DAY)
    assert {row.record_id for row in rows(pages)} == {run.id for run in list_runs(sandbox)}
    assert len(rows(pages)) == 251
    assert checked.verification == Verification.VERIFIED


def test_a_vendor_that_always_repeats_a_record_is_believed_once_two_readings_agree(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("ona.duplicate")
    with pytest.raises(ListingChanged):
        everything(ona, DAY)
    pages, checked = everything(ona, DAY)
    assert len({row.record_id for row in rows(pages)}) == 250
    assert checked.verification == Verification.NONE
    assert (checked.witness or {})["reason"] == "Some records came twice."


def test_equal_records_without_an_id_are_a_repetition_too(httpserver: HTTPServer):
    with open_scripted(httpserver, ANSWER, build_record(30, id=None), build_record(30, id=None)) as reader:
        with pytest.raises(ListingChanged):
            everything(reader, DAY)
        assert len(rows(everything(reader, DAY)[0])) == 2


@pytest.mark.usefixtures("far")
def test_a_provisional_day_that_grew_while_it_was_paged_through_is_taken_as_it_came(sandbox: SandboxServer):
    sandbox.faults.next("growth")
    with open_ona(f"{sandbox.url}/ona/api", DAY.end) as reader:
        assert everything(reader, DAY)[1] == Comparison()


# A mirror has no total.


@pytest.mark.django_db(transaction=True)
def test_a_portal_that_reads_a_mirror_is_not_affected_by_the_total_that_it_lacks(still: Any, live_server: Any):
    source = read_all(still, "ona")
    day = Day.of(source.backfill_from, "UTC")
    http = VendorHTTP(
        f"{live_server.url}/mirror/ona-main/api",
        Reader.build_authorization(key(source)),
        hosts=(),
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(timeout=30.0, attempts=3),
    )
    with http:
        reader = Reader(Account("copy", ZoneInfo("UTC"), {}, opened_at=day.final_from(3)), http)
        pages, checked = everything(reader, day)
    assert len(rows(pages)) == 150
    assert checked.verification == Verification.NONE
    assert "HTTP 404" in (checked.witness or {})["reason"]
