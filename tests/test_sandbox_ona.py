"""The Ona stand-in keeps the vendor's contract, as the vendor's own SDKs of both generations see it."""

import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import Any

import gitpod
import httpx2
import msgspec
import pytest
from gitpod import Gitpod
from hypothesis import given
from hypothesis import strategies as st

from sync.sandbox.faults import Faults, FaultsOf
from sync.sandbox.server import SandboxServer
from sync.sandbox.upstream import Settings
from sync.sandbox.world import Edit, Request, World
from sync.vendors.ona import protobuf
from sync.vendors.ona.connect import nanoseconds
from sync.vendors.ona.sandbox import LIST, Sandbox
from sync.vendors.ona.sandbox.history import DAY
from sync.vendors.ona.sandbox.pages import Block
from sync.vendors.ona.sandbox.runs import Run
from tests import modern_ona

NOW = datetime(2026, 11, 18, 15, 0, tzinfo=UTC)  # a Wednesday
START = datetime(2026, 11, 16, tzinfo=UTC)
END = START + timedelta(days=1)
KEY = "sandbox-key"


@pytest.fixture
def world() -> World:
    return World(days=30, now=lambda: NOW)


@pytest.fixture
def sandbox(world: World) -> Iterator[SandboxServer]:
    with SandboxServer(world, settings=Settings(hang_seconds=5)) as server:
        yield server


@pytest.fixture
def ona(sandbox: SandboxServer) -> Sandbox:
    ona = sandbox.upstream.vendors["ona"]
    assert isinstance(ona, Sandbox)
    return ona


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{sandbox.url}/ona", headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def filtered(start: datetime | str = START, end: datetime | str = END, **more: Any) -> dict[str, Any]:
    texts = [bound if isinstance(bound, str) else bound.isoformat() for bound in (start, end)]
    return {"dateRange": {"startTime": texts[0], "endTime": texts[1]}, **more}


def ask(client: httpx2.Client, size: int = 100, token: str = "", **more: Any) -> httpx2.Response:
    body = {"filter": filtered(**more), "pagination": {"pageSize": size, "token": token}}
    return client.post(LIST, json=body)


def pages(client: httpx2.Client, size: int = 100, **more: Any) -> list[list[Any]]:
    """Return the records of every page."""
    found, token = [], ""
    while True:
        answer = ask(client, size, token, **more).raise_for_status().json()
        found.append(answer["records"])
        token = answer.get("pagination", {}).get("nextToken", "")
        if not token:
            return found


def listed(client: httpx2.Client, **more: Any) -> list[Any]:
    return [record for page in pages(client, **more) for record in page]


def ids(records: list[Any]) -> list[str]:
    return [record["id"] for record in records]


def error(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def fields(run: Run, unit: int = 1) -> tuple[Any, ...]:
    """Return what both SDKs can say of a run; `unit` nanoseconds are the finest they tell apart."""
    said = msgspec.json.decode(run.as_json())
    names = ("id", "environmentId", "userId", "projectId", "runnerId", "environmentClassId")
    created = None if run.created_at is None else run.created_at // unit
    return (*(said.get(name, "") for name in names), created, run.stopped_at // unit)


def with_old_sdk(url: str, page_size: int, start: datetime = START, end: datetime = END) -> list[tuple[Any, ...]]:
    """List with `gitpod-sdk` 0.x and its own auto-pagination; instants in microseconds."""
    with Gitpod(bearer_token=KEY, base_url=f"{url}/ona/api") as client:
        listing = client.usage.list_environment_runtime_records(
            filter={"date_range": {"start_time": start, "end_time": end}}, pagination={"page_size": page_size}
        )
        return [
            (
                record.id or "",
                record.environment_id or "",
                record.user_id or "",
                record.project_id or "",
                record.runner_id or "",
                record.environment_class_id or "",
                record.created_at and nanoseconds(record.created_at) // 1000,
                record.stopped_at and nanoseconds(record.stopped_at) // 1000,
            )
            for record in listing
        ]


# The vendor's own clients.


@pytest.mark.parametrize("page_size", [7, 100])
def test_both_generations_of_the_vendors_sdk_list_every_run_exactly_once(
    sandbox: SandboxServer, ona: Sandbox, page_size: int
):
    runs = ona.runs(START, END)
    old = with_old_sdk(sandbox.url, page_size)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END, page_size)

    assert Counter(old) == Counter(fields(run, 1000) for run in runs)
    assert modern["error"] is None
    assert [len(page) for page in modern["pages"][:-1]] == [page_size] * (len(modern["pages"]) - 1)
    said = [tuple(record.values()) for page in modern["pages"] for record in page]
    assert said == [fields(run) for run in runs]
    assert len(runs) > 300


def test_the_modern_sdk_filters_by_project(sandbox: SandboxServer, ona: Sandbox):
    project = ona.runs(START, END)[0].environment.project_id
    runs = ona.runs(START, END, project)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END, 50, project)
    assert [record["id"] for page in modern["pages"] for record in page] == [run.id for run in runs]
    assert 0 < len(runs) < len(ona.runs(START, END))


def test_both_sdks_understand_a_refused_credential(sandbox: SandboxServer):
    sandbox.world.credential = "another"
    with pytest.raises(gitpod.AuthenticationError):
        with_old_sdk(sandbox.url, 100)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END)
    assert modern["error"][0] == "unauthenticated"


def test_both_sdks_understand_a_refused_page_size(sandbox: SandboxServer):
    with pytest.raises(gitpod.BadRequestError):
        with_old_sdk(sandbox.url, 101)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END, 101)
    assert modern["error"][0] == "invalid_argument"
    assert "page_size" in modern["error"][1]


def test_both_sdks_understand_what_is_forbidden(sandbox: SandboxServer):
    sandbox.faults.set("ona.forbidden")
    with pytest.raises(gitpod.PermissionDeniedError):
        with_old_sdk(sandbox.url, 100)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END)
    assert modern["error"][0] == "permission_denied"


# Ranges and pages.


def test_a_record_is_listed_by_when_it_stopped_with_the_end_left_out(client: httpx2.Client, ona: Sandbox):
    run = next(run for run in ona.runs(START, END) if run.stopped_digits == 9)
    exact = msgspec.json.decode(run.as_json())["stoppedAt"]
    assert run.id in ids(listed(client, start=exact))
    assert run.id not in ids(listed(client, end=exact))


def test_two_halves_of_a_range_hold_what_the_whole_holds(client: httpx2.Client):
    middle = START + timedelta(hours=13, minutes=7, seconds=11)
    halves = ids(listed(client, end=middle)) + ids(listed(client, start=middle))
    assert sorted(halves) == sorted(ids(listed(client)))


def test_a_range_of_several_days_holds_each_of_them(client: httpx2.Client):
    days = [START - timedelta(days=back) for back in range(4)]
    single = [ids(listed(client, start=day, end=day + timedelta(days=1))) for day in days]
    assert sorted(ids(listed(client, start=days[-1], end=END))) == sorted(chain.from_iterable(single))


def test_instants_may_be_written_with_an_offset(client: httpx2.Client):
    east = listed(client, start="2026-11-16T02:00:00+02:00", end="2026-11-16T19:00:00.000000000-05:00")
    assert ids(east) == ids(listed(client))


def test_an_empty_range_holds_nothing(client: httpx2.Client):
    assert pages(client, end=START) == [[]]


def test_history_reaches_back_no_further_than_its_days(client: httpx2.Client):
    first = NOW.replace(hour=0) - timedelta(days=30)
    assert listed(client, start=first, end=first + timedelta(days=1))
    assert listed(client, start=first - timedelta(days=300), end=first) == []


def test_without_a_page_size_a_page_has_25_records(client: httpx2.Client):
    assert len(client.post(LIST, json={"filter": filtered()}).json()["records"]) == 25
    assert len(ask(client, size=0).json()["records"]) == 25


def test_a_page_size_may_be_written_as_a_string(client: httpx2.Client):
    assert len(client.post(LIST, json={"filter": filtered(), "pagination": {"pageSize": "3"}}).json()["records"]) == 3


def test_the_querys_token_and_page_size_win_over_the_bodys(client: httpx2.Client):
    first = ask(client, size=10).json()
    token = first["pagination"]["nextToken"]
    body = {"filter": filtered(), "pagination": {"pageSize": 10}}
    second = client.post(LIST, json=body, params={"token": token, "pageSize": 4}).json()
    assert ids(second["records"]) == ids(ask(client, size=4, token=token).json()["records"])
    assert not set(ids(second["records"])) & set(ids(first["records"]))


def test_the_last_page_has_no_token_whether_it_is_said_or_not(client: httpx2.Client):
    ends = set()
    for hours in range(1, 20):
        answer = ask(client, end=START + timedelta(hours=hours / 4)).json()
        ends.add(str(answer["pagination"]) if not answer["pagination"].get("nextToken") else "more")
    assert {"{}", "{'nextToken': ''}"} <= ends


def test_pages_are_full_until_the_last_even_where_the_filter_passes_few(client: httpx2.Client, ona: Sandbox):
    project = ona.runs(START, END)[5].environment.project_id
    found = pages(client, size=3, projectId=project)
    assert {len(page) for page in found[:-1]} == {3}
    assert ids(list(chain.from_iterable(found))) == [run.id for run in ona.runs(START, END, project)]
    assert all(record["projectId"] == project for page in found for record in page)


def test_the_order_is_stable_but_not_by_time(client: httpx2.Client):
    stops = [record["stoppedAt"] for record in listed(client)]
    assert stops == [record["stoppedAt"] for record in listed(client)]
    assert stops not in (sorted(stops), sorted(stops, reverse=True))


# What is refused, and how.


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"filter": {"dateRange": {"startTime": "2026-11-16T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": "yesterday", "endTime": "2026-11-16T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": "2026-11-16", "endTime": "2026-11-17"}}},
        {"filter": {"dateRange": {"startTime": "2026-02-30T00:00:00Z", "endTime": "2026-03-30T00:00:00Z"}}},
        {"filter": {"dateRange": {"startTime": 1, "endTime": 2}}},
        {"filter": filtered(END, START)},
        {"filter": filtered(projectId=7)},
        {"filter": filtered(), "pagination": {"pageSize": -1}},
        {"filter": filtered(), "pagination": {"pageSize": 101}},
        {"filter": filtered(), "pagination": {"pageSize": 2.5}},
        {"filter": filtered(), "pagination": {"pageSize": True}},
        {"filter": filtered(), "pagination": {"token": "made-up"}},
        {"filter": filtered(), "pagination": {"token": "NzM5OTQwLjEwMC4wMDAw"}},
        {"filter": "all"},
        [],
    ],
    ids=str,
)
def test_a_request_that_breaks_the_contract_is_an_invalid_argument(client: httpx2.Client, body: Any):
    assert error(client.post(LIST, json=body)) == (400, "invalid_argument")


def test_a_body_that_is_not_json_is_an_invalid_argument(client: httpx2.Client):
    headers = {"Content-Type": "application/json"}
    assert error(client.post(LIST, content=b"{", headers=headers)) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\x7f", b"\x12\x02\x0a", b"\x08\x01", b"\x0b", b"\x12\x04\x12\x02\x08\x01"]
)
def test_a_body_that_is_not_the_message_is_an_invalid_argument(client: httpx2.Client, body: bytes):
    headers = {"Content-Type": "application/proto"}
    assert error(client.post(LIST, content=body, headers=headers)) == (400, "invalid_argument")


def test_a_token_belongs_to_the_filter_it_was_given_for(client: httpx2.Client):
    token = ask(client).json()["pagination"]["nextToken"]
    assert error(ask(client, token=token, end=END + timedelta(hours=1))) == (400, "invalid_argument")
    assert ask(client, token=token, size=5).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"APIKey {KEY}", KEY])
def test_a_request_without_the_right_credential_is_unauthenticated(sandbox: SandboxServer, header: str | None):
    headers = {} if header is None else {"Authorization": header}
    answer = httpx2.post(f"{sandbox.url}/ona{LIST}", json={"filter": filtered()}, headers=headers)
    assert error(answer) == (401, "unauthenticated")


def test_other_paths_methods_and_content_types_are_refused(client: httpx2.Client):
    assert error(client.post("/api/gitpod.v1.UsageService/Other", json={})) == (404, "not_found")
    assert client.get(LIST).status_code == 405
    assert client.post(LIST, content=b"a=1", headers={"Content-Type": "text/plain"}).status_code == 415


# Protobuf.


def proto_ask(start: datetime, end: datetime, size: int = 100, token: str = "") -> bytes:
    dates = protobuf.timestamp(1, nanoseconds(start)) + protobuf.timestamp(2, nanoseconds(end))
    pagination = b"\x08" + protobuf.varint(size) + protobuf.text(2, token)
    return protobuf.message(1, pagination) + protobuf.message(2, protobuf.message(2, dates))


def test_a_compressed_protobuf_request_is_understood(client: httpx2.Client):
    plain = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
    body = proto_ask(START, END)
    answer = client.post(LIST, content=body, headers=plain)
    packed = client.post(LIST, content=gzip.compress(body), headers={**plain, "Content-Encoding": "gzip"})
    assert answer.headers["content-type"] == "application/proto"
    assert answer.content == packed.content
    assert len([field for field, _ in protobuf.fields(answer.content) if field == 2]) == 100


@given(
    size=st.integers(-(2**31), 2**31 - 1),
    token=st.text(),
    start=st.integers(-(10**18), 4 * 10**18),
    end=st.integers(-(10**18), 4 * 10**18),
)
def test_what_is_encoded_is_decoded_as_it_was(size: int, token: str, start: int, end: int):
    dates = protobuf.timestamp(1, start) + protobuf.timestamp(2, end)
    unknown = (
        protobuf.text(9, "later") + protobuf.varint(10 << 3 | 1) + bytes(8) + protobuf.varint(11 << 3 | 5) + bytes(4)
    )
    pagination = b"\x08" + protobuf.varint(size) + protobuf.text(2, token)
    body = unknown + protobuf.message(1, pagination) + protobuf.message(2, unknown + protobuf.message(2, dates))
    assert protobuf.list_request(body) == protobuf.ListRequest(size, token, "", True, start, end)


# The history.


def runs(day: datetime = START, **shape: Any) -> list[Run]:
    world = World(**{"now": lambda: NOW, **shape})
    return Sandbox(world).runs(day, day + timedelta(days=1))


def test_the_same_seed_and_date_give_the_same_history():
    assert runs() == runs()
    assert runs() != runs(seed=2)
    assert runs() == runs(now=lambda: NOW + timedelta(days=100))


def test_today_grows_with_the_clock_and_keeps_what_it_has():
    today, known = NOW.replace(hour=0), set[Run]()
    counts = []
    for hour in (6, 12, 18, 24):
        now = today + timedelta(hours=hour)
        found = set(runs(today, now=lambda now=now: now))
        assert known <= found
        assert all(run.stopped_at <= nanoseconds(now) for run in found)
        known = found
        counts.append(len(found))
    assert counts == sorted(set(counts))
    assert known == set(runs(today, now=lambda: NOW + timedelta(days=40)))


def test_nothing_is_listed_of_tomorrow():
    assert runs(NOW.replace(hour=0) + timedelta(days=1)) == []


def test_weekdays_are_busy_and_weekends_are_not():
    counts = [len(runs(START - timedelta(days=back))) for back in range(1, 15)]
    weekend = [number for back, number in enumerate(counts, 1) if (START - timedelta(days=back)).weekday() > 4]
    weekdays = [number for back, number in enumerate(counts, 1) if (START - timedelta(days=back)).weekday() < 5]
    assert max(weekend) * 2 < min(weekdays)
    assert 250 < min(weekdays) <= max(weekdays) < 900


def test_office_hours_are_busier_than_the_night():
    by_hour = Counter((run.stopped_at % DAY) // (3600 * 10**9) for run in runs(scale=20))
    assert by_hour[17] > 3 * by_hour[4] > 0


def test_records_vary_as_the_vendors_do():
    found = runs(records_per_day=5000)
    said = [msgspec.json.decode(run.as_json()) for run in found]
    digits = Counter(len(record["stoppedAt"].partition(".")[2].rstrip("Z")) for record in said)
    assert set(digits) == set(range(10))
    for name in ("createdAt", "projectId", "userId", "runnerId", "environmentClassId", "environmentId"):
        assert 0 < sum(name not in record for record in said) < 1000
    assert all("id" in record and "stoppedAt" in record for record in said)
    assert all(record.get("createdAt", "") < record["stoppedAt"] for record in said)
    assert len({run.id for run in found}) == 5000


def test_runs_of_one_environment_overlap_at_times():
    by_environment: dict[str, list[Run]] = {}
    for run in runs():
        by_environment.setdefault(run.environment.environment_id, []).append(run)
    pairs = ((a, b) for of in by_environment.values() for a in of for b in of if a is not b)
    assert any(a.created_at and b.created_at and a.created_at < b.created_at < a.stopped_at for a, b in pairs)


def test_the_same_people_and_projects_turn_up_every_day():
    users = [{run.environment.user_id for run in runs(START - timedelta(days=back))} for back in (0, 1, 60)]
    assert len(users[0] & users[1] & users[2]) > 20
    assert len(set.union(*users)) <= 80


def test_an_exact_number_of_records_a_day_can_be_asked_for():
    assert [len(runs(START - timedelta(days=back), records_per_day=1234)) for back in range(3)] == [1234] * 3
    assert len(runs(scale=3)) == pytest.approx(3 * len(runs()), rel=0.01)
    assert runs(scale=0) == []


def test_a_day_of_millions_is_paged_without_being_held(monkeypatch: pytest.MonkeyPatch):
    world = World(records_per_day=3_000_000, now=lambda: NOW)
    ona, made = Sandbox(world), 0
    encode = Block.of.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Block], *args: Any) -> Block:
        nonlocal made
        made += 1
        return encode(cls, *args)

    monkeypatch.setattr(Block, "of", classmethod(counted))
    body = msgspec.json.encode({"filter": filtered(), "pagination": {"pageSize": 100}})
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    answer = ona.answer(Request("POST", LIST, {}, headers, body), FaultsOf(Faults(world), "ona"))
    assert len(msgspec.json.decode(answer.body)["records"]) == 100
    assert made == 2  # the page's own block, and the one its next token leads to


# Edits.


@pytest.fixture
def day() -> tuple[str, Any]:
    return ("ona", START.date())


def changed(client: httpx2.Client, world: World, day: Any, edit: Edit) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a day's records by id before and after an edit."""
    before = {record["id"]: record for record in listed(client)}
    world.edits[day] = edit
    after = listed(client)
    return before, {record["id"]: record for record in after}


def test_a_restated_day_has_other_values_in_exactly_its_share(client: httpx2.Client, world: World, day: Any):
    before, after = changed(client, world, day, Edit(restated=0.1))
    differing = [record for name, record in before.items() if after[name] != record]
    assert before.keys() == after.keys()
    assert len(differing) == -(-len(before) // 10)
    assert all(record["stoppedAt"] == after[record["id"]]["stoppedAt"] for record in differing)


def test_a_day_can_lose_and_gain_records_and_be_emptied(client: httpx2.Client, world: World, day: Any):
    before, after = changed(client, world, day, Edit(vanished=0.25))
    assert after.items() < before.items()
    assert len(before) - len(after) == -(-len(before) // 4)
    world.edits.clear()
    before, after = changed(client, world, day, Edit(late=0.05))
    assert before.items() < after.items()
    assert len(after) - len(before) == -(-len(before) // 20)
    world.edits[day] = Edit(emptied=True)
    assert pages(client) == [[]]
    world.edits.clear()
    assert {record["id"]: record for record in listed(client)} == before


def test_edits_of_a_day_leave_other_days_alone(client: httpx2.Client, world: World):
    before = listed(client, start=START - timedelta(days=2), end=START)
    world.edits["ona", START.date()] = Edit(emptied=True)
    assert listed(client, start=START - timedelta(days=2), end=END) == before


def breaks_the_contract(record: Any) -> bool:
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        return True
    stopped = record.get("stoppedAt", "")
    return not stopped.startswith("2026") or record.get("createdAt", "") > stopped


def test_a_bad_day_has_records_that_break_the_contract_in_every_way(client: httpx2.Client, world: World, day: Any):
    good = len(listed(client))
    world.edits[day] = Edit(bad=0.5)
    after = listed(client)
    bad = [record for record in after if breaks_the_contract(record)]
    assert (len(after), len(bad)) == (good, -(-good // 2))
    kinds = {type(record) if not isinstance(record, dict) else tuple(map(type, record.values())) for record in bad}
    assert {str, int} <= {type(value) for record in bad if isinstance(record, dict) for value in record.values()}
    assert len(kinds) >= 4


def test_bad_records_are_bad_in_protobuf_too(world: World, sandbox: SandboxServer, day: Any):
    world.edits[day] = Edit(bad=0.5)
    modern = modern_ona.listed(f"{sandbox.url}/ona/api", KEY, START, END, 100)
    records = [record for page in modern["pages"] for record in page]
    bad = [
        record for record in records if not record["stopped_at"] or (record["created_at"] or 0) > record["stopped_at"]
    ]
    assert len(bad) == -(-len(records) // 2)


# Faults of the content.


def test_a_repeated_token_would_page_for_ever(client: httpx2.Client, sandbox: SandboxServer):
    first = ask(client).json()["pagination"]["nextToken"]
    sandbox.faults.next("repeated_token")
    assert ask(client, token=first).json()["pagination"]["nextToken"] == first


def test_a_duplicate_is_the_last_record_of_the_page_before_and_none_is_lost(
    client: httpx2.Client, sandbox: SandboxServer
):
    plain = ids(listed(client))
    sandbox.faults.set("duplicate")
    found = [ids(page) for page in pages(client)]
    assert all(page[0] == before[-1] for before, page in pairwise(found))
    assert len(found) > 3
    assert set(chain.from_iterable(found)) == set(plain)


def test_a_bad_record_stands_in_for_a_good_one_once(client: httpx2.Client, sandbox: SandboxServer):
    plain = listed(client)
    sandbox.faults.next("bad_record", after=1)
    spoilt = listed(client)
    assert [place for place, record in enumerate(spoilt) if breaks_the_contract(record)] == [100]
    assert [place for place, record in enumerate(spoilt) if record != plain[place]] == [100]
    assert listed(client) == plain


def test_a_record_without_an_id_can_be_had(client: httpx2.Client, sandbox: SandboxServer):
    plain = listed(client)
    sandbox.faults.next("no_id")
    first = listed(client)[0]
    assert first == {name: value for name, value in plain[0].items() if name != "id"}


def test_growth_while_paging_repeats_a_record_and_hides_the_new_one_until_the_next_read(
    client: httpx2.Client, sandbox: SandboxServer
):
    plain = ids(listed(client))
    sandbox.faults.next("growth", after=1)
    during = ids(listed(client))
    assert during == [*plain[:200], plain[199], *plain[200:]]
    grown = ids(listed(client))
    assert grown[1:] == plain
    assert grown[0] not in plain


def test_growth_within_a_filter_is_of_that_project_and_range(
    client: httpx2.Client, sandbox: SandboxServer, ona: Sandbox
):
    project = ona.runs(START, END)[0].environment.project_id
    wanted = {"start": START + timedelta(hours=6), "end": START + timedelta(hours=20), "projectId": project}
    plain = ids(listed(client, size=2, **wanted))
    sandbox.faults.next("growth")
    pages(client, size=2, **wanted)
    assert len(ids(listed(client, size=2, **wanted))) == len(plain) + 1
