"""Ona's reader: a whole day, over real HTTP."""

import json
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from sync.errors import CredentialError, InvalidResponse, SyncError
from sync.sandbox.world import Edit
from sync.vendors.base import Comparison
from sync.vendors.ona.reader import Reader, split_day
from tests.support.ona_reader import DAY, build_reader, list_rows, read_pages
from tests.support.ona_reader import _near as _near
from tests.support.ona_reader import ona as ona
from tests.support.ona_reader import sandbox as sandbox
from tests.support.sandbox_server import SandboxServer
from usage.days import Day

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as far away."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", 0.0)


def list_runs(sandbox: SandboxServer, day: Day) -> list[Any]:
    """Return the runs of a day in the vendor's stand-in."""
    ona: Any = sandbox.upstream.vendors["ona"]
    return list(ona.list_runs(day.start, day.end))


# A whole day, over HTTP.


def test_every_run_of_a_day_arrives_once_and_as_the_vendor_says(sandbox: SandboxServer, ona: Reader):
    rows_by_id = {row.record_id: row for row in list_rows(ona)}
    assert len(rows_by_id) == len(list_runs(sandbox, DAY)) == 950
    for run in list_runs(sandbox, DAY):
        row, record = rows_by_id[run.id], run.build_record()
        assert row.environment_id == record.get("environmentId", "")
        assert row.project_id == record.get("projectId", "")
        assert row.user_id == record.get("userId", "")
        assert row.runner_id == record.get("runnerId", "")
        assert row.environment_class_id == record.get("environmentClassId", "")
        assert row.stopped_at == EPOCH + timedelta(microseconds=run.stopped_at // 1000)
        created = run.created_at
        assert row.created_at == (None if created is None else EPOCH + timedelta(microseconds=created // 1000))
        extra = json.loads(row.extra or "{}")
        for name in ("createdAt", "stoppedAt"):
            digits = re.sub(r".*:\d\d\.?(\d*)Z", r"\1", record.get(name, "00:00Z"))
            assert extra.get(name) == (record[name] if digits[6:].strip("0") else None)


def test_pages_are_as_large_as_the_vendor_allows_and_there_is_no_checksum(sandbox: SandboxServer, ona: Reader):
    pages, comparison = read_pages(ona)
    assert [len(page.rows) for page in pages] == [100] * 9 + [50]
    assert comparison == Comparison()
    assert ona.http.stats.requests == 10
    first = msgspec.json.decode(sandbox.stats.requests[0].body)
    assert first["filter"] == {"dateRange": {"startTime": "2026-11-03T00:00:00Z", "endTime": "2026-11-04T00:00:00Z"}}


@pytest.mark.usefixtures("far")
def test_a_large_day_of_a_vendor_far_away_is_read_in_parts_side_by_side(sandbox: SandboxServer, ona: Reader):
    sandbox.settings.latency_ms = 20
    counts = Counter(row.record_id for row in list_rows(ona))
    assert counts == Counter(run.id for run in list_runs(sandbox, DAY))
    assert sandbox.stats.most["ona"] == 2
    assert ona.http.stats.requests == len(sandbox.stats.requests)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_source_says_how_many_requests_a_day_may_have_under_way(sandbox: SandboxServer, ona: Reader, at_once: int):
    sandbox.settings.latency_ms = 20
    ona.options = Reader.parse_options({"requests_at_once": str(at_once)})
    assert len(list_rows(ona)) == 950
    assert sandbox.stats.most["ona"] == at_once


@pytest.mark.parametrize("at_once", ["0", "5", "many"])
def test_a_number_of_requests_at_once_that_cannot_be_is_refused_by_name(at_once: str):
    with pytest.raises(SyncError, match="requests_at_once"):
        Reader.parse_options({"requests_at_once": at_once})


@pytest.mark.usefixtures("far")
def test_a_small_day_of_a_vendor_far_away_is_read_as_one(sandbox: SandboxServer, ona: Reader):
    sandbox.world.records_per_day = 200
    assert len(list_rows(ona)) == 200
    assert ona.http.stats.requests == 2


@pytest.mark.parametrize("on", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 3)])
def test_the_parts_of_a_day_are_the_day(on: date):
    day = Day.of(on, "Europe/Berlin")
    parts = split_day(day)
    assert (parts[0].start, parts[-1].end) == (day.start, day.end)
    assert all(part.start < part.end for part in parts)
    assert all(part.end == following.start for part, following in pairwise(parts))


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("fault", ["forbidden", "repeated_token", "wrong_json"])
def test_a_failure_in_one_part_fails_the_load(sandbox: SandboxServer, ona: Reader, fault: str):
    sandbox.world.records_per_day = 4000
    sandbox.faults.next(fault, after=5, times=3)
    with pytest.raises((CredentialError, InvalidResponse)):
        read_pages(ona)


@pytest.mark.usefixtures("far")
def test_what_usually_goes_wrong_is_survived_side_by_side_too(sandbox: SandboxServer, ona: Reader):
    for number, fault in enumerate(["rate_limited", "unavailable", "reset", "truncated"]):
        sandbox.faults.next(fault, after=2 * number + 1)
    assert len({row.record_id for row in list_rows(ona)}) == 950
    assert ona.http.stats.retries == 4


def test_a_day_of_another_zone_is_asked_for_by_its_own_instants(sandbox: SandboxServer):
    day = Day.of(date(2026, 10, 25), "Europe/Berlin")
    with (reading := build_reader(f"{sandbox.url}/ona/api", zone="Europe/Berlin")).http:
        usage_rows = list_rows(reading, day)
    assert usage_rows
    assert len(usage_rows) == len(list_runs(sandbox, day))
    assert all(day.start <= row.stopped_at < day.end for row in usage_rows)


def test_a_day_without_runs_is_one_empty_page(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(emptied=True)
    pages, _ = read_pages(ona)
    assert [len(page.rows) for page in pages] == [0]


def test_a_read_survives_what_usually_goes_wrong_on_the_way(sandbox: SandboxServer, ona: Reader):
    for number, fault in enumerate(["rate_limited", "unavailable", "reset", "truncated"]):
        sandbox.faults.next(fault, after=2 * number)
    assert len({row.record_id for row in list_rows(ona)}) == 950
    assert ona.http.stats.retries == 4


def test_a_run_that_is_listed_on_two_pages_is_handed_over_as_it_comes(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("duplicate")
    record_ids = [row.record_id for row in list_rows(ona)]
    assert len(set(record_ids)) == 950
    assert len(record_ids) == 951


def test_bad_records_are_rejected_one_by_one(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(bad=0.05)
    pages, _ = read_pages(ona)
    rejected = [record for page in pages for record in page.rejected]
    assert rejected
    assert len(rejected) + sum(len(page.rows) for page in pages) == 950
    assert all(record.reason for record in rejected)


def test_a_repeated_page_token_fails_the_load(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("repeated_token")
    with pytest.raises(InvalidResponse, match="does not end"):
        read_pages(ona)
