"""Ona's reader: what it makes of what the vendor says, over real HTTP."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.errors import CredentialError, InvalidResponse, SyncError, VendorUnavailable
from sync.http import Bounds, VendorHTTP
from sync.sandbox.server import SandboxServer
from sync.sandbox.world import Edit, World
from sync.vendors.base import Account, Comparison, Page
from sync.vendors.ona.connect import LIST
from sync.vendors.ona.mapping import parse_page, parse_record
from sync.vendors.ona.reader import Reader, split_day
from sync.vendors.record_limits import InvalidRecord
from usage.days import Day
from usage.models import EnvironmentRow

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = Day.of(date(2026, 11, 3), "UTC")
RECORD = {
    "id": "run-1",
    "environmentId": "env-1",
    "projectId": "project-1",
    "userId": "user-1",
    "runnerId": "runner-1",
    "environmentClassId": "class-1",
    "createdAt": "2026-11-03T10:00:00.5Z",
    "stoppedAt": "2026-11-03T12:00:00Z",
}


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as near, however busy this machine is."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", float("inf"))


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as far away."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", 0.0)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, records_per_day=950)) as server:
        yield server


def reader(base_url: str, credential: str = "sandbox-key", zone: str = "UTC", **bounds: Any) -> Reader:
    http = VendorHTTP(
        base_url,
        Reader.build_authorization(credential),
        hosts=Reader.hosts,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**{"timeout": 5.0, "attempts": 3} | bounds),
    )
    return Reader(Account("ona", ZoneInfo(zone), {}, opened_at=NOW), http)


@pytest.fixture
def ona(sandbox: SandboxServer) -> Iterator[Reader]:
    reading = reader(f"{sandbox.url}/ona/api")
    with reading.http:
        yield reading


def everything(reading: Reader, day: Day = DAY) -> tuple[list[Page], Comparison]:
    """Return all pages of a day and what the reader says of the vendor's checksum."""
    pages, found = reading.pages(day), []
    while True:
        try:
            found.append(next(pages))
        except StopIteration as end:
            return found, end.value


def rows(reading: Reader, day: Day = DAY) -> list[EnvironmentRow]:
    return [EnvironmentRow(*row) for page in everything(reading, day)[0] for row in page.rows]


def runs(sandbox: SandboxServer, day: Day) -> list[Any]:
    """Return what the vendor's stand-in holds of a day."""
    ona: Any = sandbox.upstream.vendors["ona"]
    return list(ona.list_runs(day.start, day.end))


def one(*changes: dict[str, Any]) -> bytes:
    """Return a page that holds one record per change of the usual one; a value of None takes a field out."""
    records = [{name: value for name, value in (RECORD | change).items() if value is not None} for change in changes]
    return json.dumps({"pagination": {}, "records": records}).encode()


def read(body: bytes, day: Day = DAY) -> Page:
    page = parse_page(body, day, Counter())[0]
    assert all(type(row) is EnvironmentRow for row in page.rows)
    return page


def only_row(body: bytes) -> EnvironmentRow:
    """Return the row of a page that holds one good record and nothing else."""
    page = read(body)
    assert (len(page.rows), page.rejected) in ((1, ()), (1, []))
    return EnvironmentRow(*page.rows[0])


# A whole day, over HTTP.


def test_every_run_of_a_day_arrives_once_and_as_the_vendor_says(sandbox: SandboxServer, ona: Reader):
    found = {row.record_id: row for row in rows(ona)}
    assert len(found) == len(runs(sandbox, DAY)) == 950
    for run in runs(sandbox, DAY):
        row, said = found[run.id], run.build_record()
        assert row.environment_id == said.get("environmentId", "")
        assert row.project_id == said.get("projectId", "")
        assert row.user_id == said.get("userId", "")
        assert row.runner_id == said.get("runnerId", "")
        assert row.environment_class_id == said.get("environmentClassId", "")
        assert row.stopped_at == EPOCH + timedelta(microseconds=run.stopped_at // 1000)
        created = run.created_at
        assert row.created_at == (None if created is None else EPOCH + timedelta(microseconds=created // 1000))
        kept = json.loads(row.extra or "{}")
        for name in ("createdAt", "stoppedAt"):
            digits = re.sub(r".*:\d\d\.?(\d*)Z", r"\1", said.get(name, "00:00Z"))
            assert kept.get(name) == (said[name] if digits[6:].strip("0") else None)


def test_pages_are_as_large_as_the_vendor_allows_and_there_is_no_checksum(sandbox: SandboxServer, ona: Reader):
    pages, checked = everything(ona)
    assert [len(page.rows) for page in pages] == [100] * 9 + [50]
    assert checked == Comparison()
    assert ona.http.stats.requests == 10
    first = msgspec.json.decode(sandbox.stats.requests[0].body)
    assert first["filter"] == {"dateRange": {"startTime": "2026-11-03T00:00:00Z", "endTime": "2026-11-04T00:00:00Z"}}


@pytest.mark.usefixtures("far")
def test_a_large_day_of_a_vendor_far_away_is_read_in_parts_side_by_side(sandbox: SandboxServer, ona: Reader):
    sandbox.settings.latency_ms = 20
    found = Counter(row.record_id for row in rows(ona))
    assert found == Counter(run.id for run in runs(sandbox, DAY))
    assert sandbox.stats.most["ona"] == 2
    assert ona.http.stats.requests == len(sandbox.stats.requests)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_source_says_how_many_requests_a_day_may_have_under_way(sandbox: SandboxServer, ona: Reader, at_once: int):
    sandbox.settings.latency_ms = 20
    ona.options = Reader.parse_options({"requests_at_once": str(at_once)})
    assert len(rows(ona)) == 950
    assert sandbox.stats.most["ona"] == at_once


@pytest.mark.parametrize("at_once", ["0", "5", "many"])
def test_a_number_of_requests_at_once_that_cannot_be_is_refused_by_name(at_once: str):
    with pytest.raises(SyncError, match="requests_at_once"):
        Reader.parse_options({"requests_at_once": at_once})


@pytest.mark.usefixtures("far")
def test_a_small_day_of_a_vendor_far_away_is_read_as_one(sandbox: SandboxServer, ona: Reader):
    sandbox.world.records_per_day = 200
    assert len(rows(ona)) == 200
    assert ona.http.stats.requests == 2


@pytest.mark.parametrize("on", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 3)])
def test_the_parts_of_a_day_are_the_day(on: date):
    day = Day.of(on, "Europe/Berlin")
    found = split_day(day)
    assert (found[0].start, found[-1].end) == (day.start, day.end)
    assert all(part.start < part.end for part in found)
    assert all(one.end == following.start for one, following in pairwise(found))


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("fault", ["forbidden", "repeated_token", "wrong_json"])
def test_a_failure_in_one_part_fails_the_load(sandbox: SandboxServer, ona: Reader, fault: str):
    sandbox.world.records_per_day = 4000
    sandbox.faults.next(fault, after=5, times=3)
    with pytest.raises((CredentialError, InvalidResponse)):
        everything(ona)


@pytest.mark.usefixtures("far")
def test_what_usually_goes_wrong_is_survived_side_by_side_too(sandbox: SandboxServer, ona: Reader):
    for place, fault in enumerate(["rate_limited", "unavailable", "reset", "truncated"]):
        sandbox.faults.next(fault, after=2 * place + 1)
    assert len({row.record_id for row in rows(ona)}) == 950
    assert ona.http.stats.retries == 4


def test_a_day_of_another_zone_is_asked_for_by_its_own_instants(sandbox: SandboxServer):
    day = Day.of(date(2026, 10, 25), "Europe/Berlin")
    with (reading := reader(f"{sandbox.url}/ona/api", zone="Europe/Berlin")).http:
        found = rows(reading, day)
    assert found
    assert len(found) == len(runs(sandbox, day))
    assert all(day.start <= row.stopped_at < day.end for row in found)


def test_a_day_without_runs_is_one_empty_page(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(emptied=True)
    pages, _ = everything(ona)
    assert [len(page.rows) for page in pages] == [0]


def test_a_read_survives_what_usually_goes_wrong_on_the_way(sandbox: SandboxServer, ona: Reader):
    for place, fault in enumerate(["rate_limited", "unavailable", "reset", "truncated"]):
        sandbox.faults.next(fault, after=2 * place)
    assert len({row.record_id for row in rows(ona)}) == 950
    assert ona.http.stats.retries == 4


def test_a_run_that_is_listed_on_two_pages_is_handed_over_as_it_comes(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("duplicate")
    found = [row.record_id for row in rows(ona)]
    assert len(set(found)) == 950
    assert len(found) == 951


def test_bad_records_are_rejected_one_by_one(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(bad=0.05)
    pages, _ = everything(ona)
    rejected = [one for page in pages for one in page.rejected]
    assert rejected
    assert len(rejected) + sum(len(page.rows) for page in pages) == 950
    assert all(one.reason for one in rejected)


def test_a_repeated_page_token_fails_the_load(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("repeated_token")
    with pytest.raises(InvalidResponse, match="does not end"):
        everything(ona)


def test_a_listing_of_empty_pages_without_end_fails_the_load(httpserver: HTTPServer):
    tokens = iter(range(1000))

    def another(_: Request) -> Response:
        return Response(json.dumps({"records": [], "pagination": {"nextToken": str(next(tokens))}}))

    httpserver.expect_request(f"/api{LIST}").respond_with_handler(another)
    with (
        (reading := reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="does not end"),
    ):
        everything(reading)


@pytest.mark.parametrize(
    "answer",
    [
        b"<!doctype html><title>Down for maintenance</title>",
        b"[]",
        b"null",
        b'"records"',
        b'{"data": 5}',
        b'{"code": "internal", "message": "oh"}',
        b'{"records": "none"}',
        b'{"records": [], "pagination": []}',
        b'{"records": [], "pagination": {"nextToken": 5}}',
        b'{"records": [oops]}',
        b'{"records": ' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_page_fails_the_load_and_is_kept(httpserver: HTTPServer, answer: bytes):
    httpserver.expect_request(f"/api{LIST}").respond_with_data(answer, content_type="text/plain")
    with (
        (reading := reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="not a page of runs") as failed,
    ):
        everything(reading)
    assert failed.value.payload[:20] == answer.decode(errors="replace")[:20]


@pytest.mark.parametrize(
    ("answer", "following"),
    [
        (b"{}", None),
        (b'{"pagination": {}}', ""),
        (b'{"records": null, "pagination": null}', None),
        (b'{"records": [], "pagination": {"nextToken": ""}, "served_by": "eu"}', ""),
        (b'{"pagination": {"nextToken": "on", "total": 7}}', "on"),
    ],
)
def test_what_the_vendor_leaves_out_is_empty(answer: bytes, following: str | None):
    page, token = parse_page(answer, DAY, Counter())
    assert (list(page.rows), list(page.rejected), token) == ([], [], following)


@pytest.mark.parametrize("pagination", ["", ', "pagination": null', ', "served_by": "eu"'])
def test_a_full_page_without_pagination_fails_the_load_since_more_may_follow(httpserver: HTTPServer, pagination: str):
    records = [RECORD | {"id": f"run-{number}"} for number in range(100)]
    body = json.dumps({"records": records})[:-1] + pagination + "}"
    httpserver.expect_request(f"/api{LIST}").respond_with_data(body, content_type="application/json")
    with (
        (reading := reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="full and has no pagination") as failed,
    ):
        everything(reading)
    assert "run-0" in failed.value.payload


def test_a_full_page_of_which_records_are_rejected_needs_pagination_too(httpserver: HTTPServer):
    records = [{"id": f"run-{number}"} for number in range(100)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records})
    with (reading := reader(httpserver.url_for("/api"))).http, pytest.raises(InvalidResponse, match="no pagination"):
        everything(reading)


@pytest.mark.parametrize("pagination", [{}, {"nextToken": ""}, {"nextToken": None}])
def test_a_full_page_whose_pagination_gives_no_token_is_the_last(httpserver: HTTPServer, pagination: dict[str, Any]):
    records = [RECORD | {"id": f"run-{number}"} for number in range(100)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records, "pagination": pagination})
    with (reading := reader(httpserver.url_for("/api"))).http:
        assert len(rows(reading)) == 100


def test_a_page_that_is_not_full_needs_no_pagination(httpserver: HTTPServer):
    records = [RECORD | {"id": f"run-{number}"} for number in range(99)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records})
    with (reading := reader(httpserver.url_for("/api"))).http:
        assert len(rows(reading)) == 99


def test_a_probe_finds_that_pagination_is_missing(httpserver: HTTPServer):
    today = datetime.now(UTC).isoformat()
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": [RECORD | {"stoppedAt": today}]})
    with (reading := reader(httpserver.url_for("/api"))).http, pytest.raises(InvalidResponse, match="no pagination"):
        reading.probe()


def test_a_refused_credential_ends_the_read_with_the_vendors_reason(sandbox: SandboxServer):
    with (
        (reading := reader(f"{sandbox.url}/ona/api", "wrong")).http,
        pytest.raises(CredentialError, match="the token is not valid"),
    ):
        everything(reading)


def test_a_probe_is_one_small_request(sandbox: SandboxServer, ona: Reader):
    assert "accepts the credential" in ona.probe()
    assert [msgspec.json.decode(seen.body)["pagination"] for seen in sandbox.stats.requests] == [{"pageSize": 1}]


def test_a_probe_says_what_is_wrong(sandbox: SandboxServer):
    with (reading := reader(f"{sandbox.url}/gcore/api")).http, pytest.raises(SyncError, match="HTTP 404"):
        reading.probe()
    with (
        (reading := reader("http://127.0.0.1:1/api")).http,
        pytest.raises(VendorUnavailable, match="refused"),
    ):
        reading.probe()


# A single record.


def test_a_record_as_documented_becomes_a_row():
    assert read(one({})) == Page(
        [
            EnvironmentRow(
                "run-1",
                "env-1",
                "project-1",
                "user-1",
                "runner-1",
                "class-1",
                datetime(2026, 11, 3, 10, 0, 0, 500_000, tzinfo=UTC),
                datetime(2026, 11, 3, 12, tzinfo=UTC),
            )
        ]
    )


@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_text_is_empty_and_a_missing_start_unknown(absent: str | None):
    only_id = dict.fromkeys(RECORD.keys() - {"id", "stoppedAt"}, absent)
    row = only_row(one(only_id))
    assert row == EnvironmentRow("run-1", "", "", "", "", "", None, datetime(2026, 11, 3, 12, tzinfo=UTC))


def test_null_is_the_same_as_missing():
    body = one({}).replace(b'"env-1"', b"null").replace(b'"2026-11-03T10:00:00.5Z"', b"null")
    row = only_row(body)
    assert (row.environment_id, row.created_at, row.extra) == ("", None, None)


def test_unknown_fields_are_kept_to_the_last_digit():
    body = one({}).replace(b'"run-1"', b'"run-1", "cost": 12345678901234567890.12, "labels": {"a": ["\\u00e9"]}')
    row = only_row(body)
    assert row.extra == '{"cost":12345678901234567890.12,"labels":{"a":["é"]}}'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stoppedAt": None}, "stoppedAt is missing"),
        ({"stoppedAt": "yesterday"}, "stoppedAt is not a time"),
        ({"stoppedAt": 1793707200}, "stoppedAt is not a text"),
        ({"stoppedAt": "2026-11-03T12:00:00"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-03"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-03T12:00:00.1234567x9Z"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-31T12:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "2026-11-03T24:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "0000-11-03T12:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "12026-11-03T12:00:00Z"}, "not a time"),
        ({"stoppedAt": "9999-12-31T23:59:59-01:00"}, "no time of the calendar"),
        ({"stoppedAt": "2026-11-04T00:00:00Z"}, "outside the requested day"),
        ({"stoppedAt": "2026-11-02T23:59:59.999999999Z"}, "outside the requested day"),
        ({"createdAt": "2026-11-03T12:00:00.000001Z"}, "createdAt lies after"),
        ({"createdAt": "0001-01-01T00:00:00Z"}, "before the vendor existed"),
        ({"createdAt": "soon"}, "createdAt is not a time"),
        ({"environmentId": 42}, "environmentId is not a text"),
        ({"id": 42}, "id is not a text"),
        ({"id": ["run-1"]}, "id is not a text"),
        ({"userId": "a\x00b"}, "NUL"),
        ({"projectId": "p" * 2685}, "projectId: 2,685 bytes long, where 2,684 can be stored"),
        ({"weight": float("inf")}, "weight: a number with too many digits"),
    ],
)
def test_a_record_that_cannot_be_kept_is_rejected_with_its_payload(change: dict[str, Any], reason: str):
    body = one({"id": "before"}, change, {"id": "after"}).replace(b"Infinity", b"1e999999")
    page = read(body)
    assert [row[0] for row in page.rows] == ["before", "after"]
    (rejected,) = page.rejected
    assert reason in rejected.reason
    assert json.loads(body.replace(b"1e999999", b'"big"'))["records"][1] == json.loads(
        rejected.payload.replace("1e999999", '"big"')
    )


@pytest.mark.parametrize("record", [b'"run-1"', b"42", b"null", b"[1]", b"true"])
def test_a_record_that_is_no_object_is_rejected(record: bytes):
    page = read(b'{"records": [%b]}' % record)
    assert page.rows == []
    assert (page.rejected[0].payload, page.rejected[0].reason) == (
        record.decode(),
        "The record is not a JSON object.",
    )


def test_a_record_that_is_no_text_at_all_is_rejected():
    page = read(one({}, {}).replace(b"user-1", b"\xff", 1))
    assert (len(page.rows), len(page.rejected)) == (1, 1)


def test_text_that_only_looks_like_an_escaped_nul_is_kept():
    row = only_row(one({"userId": "a\\u0000b"}))
    assert row.user_id == "a\\u0000b"


def test_a_record_without_an_id_is_named_by_what_it_says():
    body = one({"id": None}, {"id": None, "userId": "other"}, {"id": ""}, {})
    named = [row[0] for row in read(body).rows]
    assert named[0].startswith("~")
    assert named[1].startswith("~")
    # The third says the same as the first, and neither is lost.
    assert named[2] == f"{named[0]}-2"
    assert len(set(named)) == 4
    assert [row[0] for row in read(body).rows] == named


def test_equal_records_without_an_id_are_counted_over_all_pages():
    nameless: Counter[str] = Counter()
    pages = [parse_page(one({"id": None}), DAY, nameless)[0] for _ in range(3)]
    assert len({page.rows[0][0] for page in pages}) == 3


# Times.

DIGITS = st.text("0123456789", max_size=9)
INSTANTS = st.datetimes(datetime(2026, 11, 3), datetime(2026, 11, 3, 23, 59, 59))  # noqa: DTZ001 - of UTC


def spelt(at: datetime, digits: str) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{digits}" if digits else "") + "Z"


@given(at=INSTANTS, digits=DIGITS)
def test_a_time_is_read_exactly_and_cut_never_rounded(at: datetime, digits: str):
    text = spelt(at, digits)
    row = only_row(one({"stoppedAt": text, "createdAt": None}))
    microseconds = int(f"{digits:0<9}"[:6])
    assert row.stopped_at == at.replace(microsecond=microseconds, tzinfo=UTC)
    # What the column cannot hold is kept as the vendor wrote it.
    kept = {"stoppedAt": text} if digits[6:].strip("0") else {}
    assert json.loads(row.extra or "{}") == kept


@given(created=INSTANTS, stopped=INSTANTS, digits=st.tuples(DIGITS, DIGITS))
def test_the_fast_and_the_careful_reading_of_a_record_agree(
    created: datetime, stopped: datetime, digits: tuple[str, str]
):
    said = {"createdAt": spelt(created, digits[0]), "stoppedAt": spelt(stopped, digits[1])}
    page = read(one(said))
    try:
        careful = parse_record(json.dumps(RECORD | said).encode(), DAY, Counter())
    except InvalidRecord:
        assert page.rejected
    else:
        assert page.rows == [careful]


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,12})?[Z+-].{0,5}", fullmatch=True))
def test_whatever_is_written_as_a_time_is_read_or_rejected(text: str):
    page = read(one({"stoppedAt": text}))
    assert len(page.rows) + len(page.rejected) == 1


@given(at=INSTANTS, minutes=st.integers(-14 * 60, 14 * 60))
def test_an_offset_moves_a_time_to_utc(at: datetime, minutes: int):
    local = at + timedelta(minutes=minutes)
    sign, hours = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{local:%Y-%m-%dT%H:%M:%S}{sign}{hours[0]:02}:{hours[1]:02}"
    row = only_row(one({"stoppedAt": text, "createdAt": None}))
    assert row.stopped_at == at.replace(microsecond=0, tzinfo=UTC)
    assert row.stopped_at.tzinfo is UTC
