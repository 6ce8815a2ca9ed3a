"""A history that is stable, grows with the clock and looks real."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from sync.api_messages import APIRequest
from sync.sandbox.faults import Faults, VendorFaults
from sync.sandbox.world import World
from sync.vendors.ona.instants import to_nanoseconds
from sync.vendors.ona.sandbox import LIST, Sandbox
from sync.vendors.ona.sandbox.history import DAY_LENGTH
from sync.vendors.ona.sandbox.pages import Block
from sync.vendors.ona.sandbox.runs import Run
from tests.sync.vendors.ona.sandbox.requests import KEY, NOW, START, build_filter


def list_runs(day: datetime = START, **shape: Any) -> list[Run]:
    world = World(**{"now": lambda: NOW, **shape})
    return Sandbox(world).list_runs(day, day + timedelta(days=1))


def test_the_same_seed_and_date_give_the_same_history():
    assert list_runs() == list_runs()
    assert list_runs() != list_runs(seed=2)
    assert list_runs() == list_runs(now=lambda: NOW + timedelta(days=100))


def test_today_grows_with_the_clock_and_keeps_what_it_has():
    today, known_runs = NOW.replace(hour=0), set[Run]()
    counts = []
    for hour in (6, 12, 18, 24):
        now = today + timedelta(hours=hour)
        runs = set(list_runs(today, now=lambda now=now: now))
        assert known_runs <= runs
        assert all(run.stopped_at <= to_nanoseconds(now) for run in runs)
        known_runs = runs
        counts.append(len(runs))
    assert counts == sorted(set(counts))
    assert known_runs == set(list_runs(today, now=lambda: NOW + timedelta(days=40)))


def test_nothing_is_listed_of_tomorrow():
    assert list_runs(NOW.replace(hour=0) + timedelta(days=1)) == []


def test_weekdays_are_busy_and_weekends_are_not():
    counts = [len(list_runs(START - timedelta(days=back))) for back in range(1, 15)]
    weekend = [number for back, number in enumerate(counts, 1) if (START - timedelta(days=back)).weekday() > 4]
    weekdays = [number for back, number in enumerate(counts, 1) if (START - timedelta(days=back)).weekday() < 5]
    assert max(weekend) * 2 < min(weekdays)
    assert 250 < min(weekdays) <= max(weekdays) < 900


def test_the_days_around_the_turn_of_the_year_are_quiet():
    now = datetime(2027, 1, 6, tzinfo=UTC)
    quiet = [len(list_runs(datetime(2026, 12, day, tzinfo=UTC), now=lambda: now)) for day in (24, 29, 31)]
    quiet.append(len(list_runs(datetime(2027, 1, 1, tzinfo=UTC), now=lambda: now)))
    busy = len(list_runs(datetime(2026, 12, 23, tzinfo=UTC), now=lambda: now))
    assert 0 < max(quiet) * 2 < busy


def test_office_hours_are_busier_than_the_night():
    by_hour = Counter((run.stopped_at % DAY_LENGTH) // (3600 * 10**9) for run in list_runs(scale=20))
    assert by_hour[17] > 3 * by_hour[4] > 0


def test_records_vary_as_the_vendors_do():
    runs = list_runs(records_per_day=5000)
    records = [msgspec.json.decode(run.encode_json()) for run in runs]
    digits = Counter(len(record["stoppedAt"].partition(".")[2].rstrip("Z")) for record in records)
    assert set(digits) == set(range(10))
    for name in ("createdAt", "projectId", "userId", "runnerId", "environmentClassId", "environmentId"):
        assert 0 < sum(name not in record for record in records) < 1000
    assert all("id" in record and "stoppedAt" in record for record in records)
    assert all(record.get("createdAt", "") < record["stoppedAt"] for record in records)
    assert len({run.id for run in runs}) == 5000


def test_runs_of_one_environment_overlap_at_times():
    by_environment: dict[str, list[Run]] = {}
    for run in list_runs():
        by_environment.setdefault(run.environment.environment_id, []).append(run)
    pairs = ((a, b) for of in by_environment.values() for a in of for b in of if a is not b)
    assert any(a.created_at and b.created_at and a.created_at < b.created_at < a.stopped_at for a, b in pairs)


def test_the_same_people_and_projects_turn_up_every_day():
    users = [{run.environment.user_id for run in list_runs(START - timedelta(days=back))} for back in (0, 1, 60)]
    assert len(users[0] & users[1] & users[2]) > 20
    assert len(set.union(*users)) <= 80


def test_an_exact_number_of_records_a_day_can_be_asked_for():
    assert [len(list_runs(START - timedelta(days=back), records_per_day=1234)) for back in range(3)] == [1234] * 3
    assert len(list_runs(scale=3)) == pytest.approx(3 * len(list_runs()), rel=0.01)
    assert list_runs(scale=0) == []


def test_a_day_of_millions_is_paged_without_being_held(monkeypatch: pytest.MonkeyPatch):
    world = World(records_per_day=3_000_000, now=lambda: NOW)
    ona, block_count = Sandbox(world), 0
    encode = Block.from_runs.__func__  # type: ignore[attr-defined]

    def count_block(cls: type[Block], *args: Any) -> Block:
        nonlocal block_count
        block_count += 1
        return encode(cls, *args)

    monkeypatch.setattr(Block, "from_runs", classmethod(count_block))
    body = msgspec.json.encode({"filter": build_filter(), "pagination": {"pageSize": 100}})
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    response = ona.respond(APIRequest("POST", LIST, {}, headers, body), VendorFaults(Faults(world), "ona"))
    assert len(msgspec.json.decode(response.body)["records"]) == 100
    assert block_count == 2  # the page's own block, and the one its next token leads to
