"""Faults on demand: of connections, of answers, of days."""

import json
import zlib
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from sync.api_messages import APIResponse
from sync.errors import SyncError
from sync.sandbox.faults import ANSWER_FAULTS, DAY_FAULTS, REQUEST_FAULTS, Faults, VendorFaults, parse_fault
from sync.sandbox.hostile import corrupt_response
from sync.sandbox.server import HUGE_CHUNK
from sync.sandbox.upstream import ELSEWHERE, WRONG_BODIES
from sync.sandbox.world import PLAIN, Edit, World
from sync.vendors import readers
from sync.vendors.ona.sandbox import LIST
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import build_sandbox_url, connect_reader, read_pages
from tests.sync.sandbox.requests import BODY, request_page
from usage.days import Day


def test_a_connection_can_be_reset(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("reset", times=4)
    for _ in range(4):
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            request_page(client)
    assert request_page(client).status_code == 200
    assert sandbox.stats.count(status=0) == 4


def test_an_answer_can_be_shorter_than_it_promises(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("truncated")
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete message body"):
        request_page(client)


def test_a_request_can_hang_until_the_client_leaves(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("hang")
    with pytest.raises(httpx2.ReadTimeout):
        client.post(f"/ona{LIST}", json=BODY, timeout=0.2)
    assert request_page(client).status_code == 200
    assert sandbox.stats.now["ona"] == 0


def test_a_hanging_request_ends_by_itself(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.hang_seconds = 0.1
    sandbox.faults.next("hang")
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        request_page(client)


def test_too_many_requests_say_when_to_come_back_in_seconds_or_as_a_date(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("rate_limited", times=12)
    responses = [request_page(client) for _ in range(12)]
    waits = [response.headers["retry-after"] for response in responses]
    dates = [parsedate_to_datetime(wait) for wait in waits if wait != "1"]
    assert {response.status_code for response in responses} == {429}
    assert {response.json()["code"] for response in responses} == {"resource_exhausted"}
    assert 0 < len(dates) < 12
    assert all(timedelta(0) <= at - datetime.now(UTC) < timedelta(seconds=3) for at in dates[-1:])


def test_a_vendor_can_be_unavailable_in_its_own_words_or_in_its_gateways(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("unavailable", times=20)
    responses = {response.status_code: response for response in (request_page(client) for _ in range(20))}
    assert set(responses) == {500, 502, 503}
    assert responses[502].headers["content-type"].startswith("text/html")
    assert (responses[500].json()["code"], responses[503].json()["code"]) == ("internal", "unavailable")


@pytest.mark.parametrize("vendor", sorted(readers()))
def test_every_vendor_refuses_in_its_own_shape(sandbox: SandboxServer, client: httpx2.Client, vendor: str):
    for fault, status in (("unauthorized", 401), ("forbidden", 403), ("rate_limited", 429)):
        sandbox.faults.next(f"{vendor}.{fault}")
        response = client.post(f"/{vendor}/")
        assert response.status_code == status
        assert isinstance(response.json(), dict)


def test_an_answer_can_be_something_else_altogether(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("wrong_json", times=30)
    bodies = {request_page(client).raise_for_status().content for _ in range(30)}
    assert bodies == set(WRONG_BODIES)


def test_a_request_can_be_sent_to_another_host(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("redirect")
    response = request_page(client)
    assert (response.status_code, response.headers["location"]) == (307, ELSEWHERE)


def test_an_answer_can_be_endless(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("huge")
    byte_count = 0
    with client.stream("POST", f"/ona{LIST}", json=BODY) as response:
        for chunk in response.iter_raw():
            byte_count += len(chunk)
            if byte_count > 8_000_000:
                break
    assert request_page(client).status_code == 200


def test_an_endless_answer_ends_after_a_gibibyte(client: httpx2.Client, sandbox: SandboxServer, monkeypatch):
    monkeypatch.setattr("sync.sandbox.server.HUGE_CHUNKS", 2)
    sandbox.faults.next("huge")
    assert request_page(client).content == b"{" + b" " * 2 * len(HUGE_CHUNK)


def test_a_small_answer_can_unpack_to_a_very_large_one(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("gzip_bomb")
    with client.stream("POST", f"/ona{LIST}", json=BODY) as response:
        packed = b"".join(response.iter_raw())
    unpacker, unpacked, remaining = zlib.decompressobj(wbits=31), 0, packed
    while not unpacker.eof:
        unpacked += len(unpacker.decompress(remaining, 1_000_000))
        remaining = unpacker.unconsumed_tail
    assert (len(packed) < 1_000_000, unpacked) == (True, 128 * 2**20)


def test_a_fault_can_be_for_one_vendor_only(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.set("gcore.unauthorized")
    assert request_page(client).status_code == 200
    assert client.post("/gcore/cloud/v1/usage_report").status_code == 401


def test_faults_strike_in_their_share_of_requests_and_the_same_ones_every_time(sandbox: SandboxServer):
    def pick_faults(seed: int) -> list[str]:
        faults = Faults(World(seed=seed, faults={"ona.reset": 0.2, "unavailable": 0.1}))
        return [faults.pick("ona", REQUEST_FAULTS) for _ in range(1000)]

    counts = Counter(pick_faults(1))
    assert pick_faults(1) == pick_faults(1)
    assert pick_faults(1) != pick_faults(2)
    assert 150 < counts["reset"] < 250
    assert 50 < counts["unavailable"] < 130


def test_an_arranged_fault_strikes_as_often_as_arranged_and_no_more(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("forbidden", times=2, after=1)
    assert [request_page(client).status_code for _ in range(5)] == [200, 403, 403, 200, 200]


def test_a_content_fault_strikes_only_where_it_is_set():
    world = World()
    faults = Faults(world)
    of_ona = VendorFaults(faults, "ona")
    assert not of_ona.hit("duplicate")
    faults.set("ona.duplicate")
    assert of_ona.hit("duplicate")
    assert not VendorFaults(faults, "gcore").hit("duplicate")
    faults.clear()
    assert not of_ona.hit("duplicate")


def test_an_unknown_fault_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown fault 'fire'; known are .*rate_limited"):
        Faults(World()).set("fire")
    with pytest.raises(ValueError, match="fault of a day"):
        Faults(World()).next("restated")


@pytest.mark.parametrize("text", ["reset=2", "reset=-0.1", "reset=often", "fire=1", "reset=nan"])
def test_a_fault_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        parse_fault(text)


def test_a_fault_without_a_probability_always_strikes():
    assert parse_fault("ona.reset") == ("ona.reset", 1.0)
    assert parse_fault("reset=0.25") == ("reset", 0.25)


@pytest.mark.parametrize("fault", sorted(DAY_FAULTS))
def test_a_share_of_past_days_changes_some_hours_after_its_end(fault: str):
    now = datetime(2026, 11, 18, tzinfo=UTC)
    world = World(days=400, faults={fault: 0.2})
    days = [date(2026, 1, 1) + timedelta(days=i) for i in range(300)]
    world.set_clock(now)
    edited_days = [day for day in days if world.get_edit("ona", day) != PLAIN]
    assert 30 < len(edited_days) < 90
    for day in edited_days:
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        world.set_clock(end + timedelta(hours=2))
        assert world.get_edit("ona", day) == PLAIN
        world.set_clock(end + timedelta(hours=49))
        assert world.get_edit("ona", day) != PLAIN


def test_an_arranged_edit_goes_before_chance():
    world = World(faults={"emptied": 1.0})
    day = world.first_day
    assert world.get_edit("ona", day) == Edit(emptied=True)
    world.edits["ona", day] = PLAIN
    assert world.get_edit("ona", day) == PLAIN


def test_a_wait_can_be_beyond_reason(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("absurd_wait", times=40)
    waits = {request_page(client).headers["retry-after"] for _ in range(40)}
    assert {str(10**12), "9" * 400} < waits


def test_an_error_can_be_called_gzip_and_be_none(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("packed_error", times=40)
    statuses = set()
    for _ in range(40):
        with client.stream("POST", f"/ona{LIST}", json=BODY) as response:
            statuses.add((response.status_code, response.headers["content-encoding"]))
    assert statuses == {(status, "gzip") for status in (401, 403, 429, 503)}


def test_an_error_can_be_called_a_success(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("error_envelope", times=20)
    responses = [request_page(client) for _ in range(20)]
    assert {response.status_code for response in responses} == {200}
    assert all({"error", "errors", "success"} & response.json().keys() for response in responses)


def test_headers_can_come_a_line_a_second_and_never_end(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.hang_seconds = 1.5
    sandbox.faults.next("header_trickle")
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        request_page(client)
    assert sandbox.stats.faults["ona", "header_trickle"] == 1


@pytest.mark.parametrize("vendor", sorted(readers()))
@pytest.mark.parametrize("fault", sorted(ANSWER_FAULTS))
def test_a_record_of_any_vendor_can_be_spoilt_and_the_rest_stays(sandbox: SandboxServer, vendor: str, fault: str):
    day = Day.of(datetime.now(UTC).date() - timedelta(days=2), readers()[vendor].time_zone or "UTC")
    sandbox.faults.next(f"{vendor}.{fault}")
    with connect_reader(vendor, build_sandbox_url(vendor, sandbox.url)) as reader, suppress(SyncError):
        read_pages(reader, day)
    assert sandbox.stats.faults[vendor, fault] == 1


def test_a_spoilt_answer_keeps_its_other_records_to_the_last_digit():
    body = b'{"resources": [{"last_name": "a", "billing_value": 0.12345678901234567890}, {"last_name": "b"}, {}]}'
    spoilt = corrupt_response(APIResponse(200, body), "surrogate").body
    assert b"0.12345678901234567890}" in spoilt
    assert b"\\ud83d" in spoilt
    pairs = zip(json.loads(body)["resources"], json.loads(spoilt)["resources"], strict=True)
    assert [before == after for before, after in pairs] == [True, False, True]
