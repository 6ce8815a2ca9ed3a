"""One row of Workato, its times where clocks change, and what is left for deleted recipes."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from sync.sandbox.world import World
from sync.vendors.base import VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.record_limits import InvalidRecord
from sync.vendors.workato.deleted import HourSums
from sync.vendors.workato.schema import METRICS, build_row
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import connect_reader, list_rows, read_pages
from tests.support.workato_reports import (
    BERLIN,
    DAY,
    NINE,
    NOW,
    RECIPE_HOUR,
    WORKSPACE_HOUR,
    build_recipe_row,
    fetch_workspace_sums,
    serve_usage,
    sum_by_workspace_hour,
)
from tests.support.workato_reports import sandbox as sandbox
from tests.support.workato_reports import scripted_reader as scripted_reader
from tests.support.workato_reports import workato as workato
from usage.days import Day
from usage.models import RecipeRow, Verification

# Times where clocks change.

AUTUMN = Day.of(date(2026, 10, 25), BERLIN)


def build_hours(*hours: int, **fields: Any) -> list[dict[str, Any]]:
    """Return rows that begin at these hours of the autumn day, as a vendor without offsets writes them."""
    return [{"from": f"2026-10-25T{hour:02}:00:00", "to": f"2026-10-25T{hour + 1:02}:00:00"} | fields for hour in hours]


@pytest.mark.parametrize("falling", [False, True])
def test_the_two_hours_of_one_time_are_told_apart_by_their_order(
    httpserver: HTTPServer, scripted_reader: VendorReader, falling: bool
):
    hours = build_hours(1, 2, 2, 3)
    counts = [{"task_count": number} for number in (1, 2, 3, 4)]
    buckets = [hour | count for hour, count in zip(hours, counts, strict=True)]
    buckets = buckets[::-1] if falling else buckets
    serve_usage(
        httpserver, [WORKSPACE_HOUR | bucket for bucket in buckets], [RECIPE_HOUR | bucket for bucket in buckets]
    )
    pages, comparison = read_pages(scripted_reader, AUTUMN)
    tasks_by_hour = sorted((row.starts_at.hour, row.task_count) for row in list_rows(pages) if row.recipe_id)
    assert tasks_by_hour == [(0, 2), (1, 3), (2, 4), (23, 1)]
    assert {row.ends_at - row.starts_at for row in list_rows(pages)} == {timedelta(hours=1)}
    assert comparison.verification == Verification.VERIFIED


def test_two_hours_of_one_time_that_say_the_same_are_both_kept(httpserver: HTTPServer, scripted_reader: VendorReader):
    buckets = build_hours(2, 2)
    serve_usage(
        httpserver, [WORKSPACE_HOUR | bucket for bucket in buckets], [RECIPE_HOUR | bucket for bucket in buckets]
    )
    pages, comparison = read_pages(scripted_reader, AUTUMN)
    assert [row.starts_at.hour for row in list_rows(pages) if row.recipe_id] == [0, 1]
    assert comparison.verification == Verification.VERIFIED


@pytest.mark.parametrize(
    ("start", "end", "hour"),
    [
        ("2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00", 0),
        ("2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00", 1),
        ("2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00", 2),
    ],
)
def test_an_end_without_an_offset_is_the_hour_after_a_start_that_has_one(start: str, end: str, hour: int):
    fields = RECIPE_HOUR | {"from": start, "to": end}
    built = build_row(decode_record(msgspec.json.encode(fields)), AUTUMN, by_recipe=True)
    assert built.ends_at == datetime(2026, 10, 25, hour, tzinfo=UTC)
    assert built.ends_at - built.starts_at == timedelta(hours=1)


@pytest.mark.parametrize("hours", [(1, 2, 3), (2, 1, 2, 3)])
def test_a_time_whose_hour_is_not_certain_leaves_the_day_unverified_and_not_partial(
    httpserver: HTTPServer, scripted_reader: VendorReader, hours: tuple[int, ...]
):
    buckets = build_hours(*hours)
    serve_usage(
        httpserver,
        [WORKSPACE_HOUR | bucket for bucket in buckets],
        [RECIPE_HOUR | bucket | {"task_count": 9} for bucket in buckets],
    )
    pages, comparison = read_pages(scripted_reader, AUTUMN)
    assert not [record for page in pages for record in page.rejected]
    assert comparison.differences[-1] == {
        "what": "an hour that the clocks show twice, without an offset",
        "vendor": None,
        "portal": None,
        "time": "2026-10-25T02:00:00",
        "rows": hours.count(2),
    }
    # No row of such an hour is counted as the usage of deleted recipes.
    assert not [row for row in list_rows(pages) if row.recipe_id is None and row.starts_at.hour in (0, 1)]


TWICE = [("America/Havana", date(2026, 11, 1), 25), ("Australia/Lord_Howe", date(2026, 4, 5), 24.5)]


@pytest.mark.parametrize(("zone", "on", "hours"), TWICE)
@pytest.mark.parametrize("offset", [True, False])
def test_days_whose_midnight_comes_twice_or_that_shift_by_half_an_hour_are_read_right(
    httpserver: HTTPServer, zone: str, on: date, hours: float, offset: bool
):
    day = Day.of(on, zone)
    assert (day.end - day.start) == timedelta(hours=hours)
    edges = [day.start]
    while edges[-1] < day.end:
        following = edges[-1] + timedelta(hours=1)
        # Hours as the clocks show them: the one in which they are set back by half an hour is longer.
        minutes = following.astimezone(day.zone).minute
        edges.append(following + timedelta(minutes=minutes))
    local_edges = [edge.astimezone(day.zone) for edge in edges]
    times = [(edge if offset else edge.replace(tzinfo=None, fold=0)).isoformat() for edge in local_edges]
    buckets = [{"from": first, "to": last} for first, last in pairwise(times)]
    serve_usage(
        httpserver, [WORKSPACE_HOUR | bucket for bucket in buckets], [RECIPE_HOUR | bucket for bucket in buckets]
    )
    with connect_reader("workato", httpserver.url_for("").rstrip("/"), zone=zone, workspace_ids="7") as reader:
        pages, comparison = read_pages(reader, day)
    recipe_rows = [row for row in list_rows(pages) if row.recipe_id]
    assert [row.starts_at for row in recipe_rows] == edges[:-1]
    assert [row.ends_at for row in recipe_rows] == edges[1:]
    assert not [record for page in pages for record in page.rejected]
    assert comparison.verification == Verification.VERIFIED


@pytest.mark.parametrize(("zone", "on"), [(zone, on) for zone, on, _ in TWICE])
def test_the_vendors_stand_in_in_such_a_zone_is_read_to_the_last_task(zone: str, on: date):
    day = Day.of(on, zone)
    with (
        SandboxServer(World(now=lambda: NOW, zone=zone, scale=2)) as sandbox,
        connect_reader("workato", f"{sandbox.url}/workato", zone=zone) as reader,
    ):
        pages, comparison = read_pages(reader, day)
        assert sum_by_workspace_hour(list_rows(pages)) == fetch_workspace_sums(sandbox, day)
    assert comparison.verification == Verification.VERIFIED


# One row.


def test_a_row_has_every_documented_field_in_its_place():
    assert build_recipe_row() == RecipeRow(
        workspace_id=7,
        external_id="cust-7",
        workspace_name="Acme",
        recipe_id=70,
        recipe_name="Sync orders",
        folder_id=3,
        folder_name="Orders",
        starts_at=datetime(2026, 10, 14, 7, tzinfo=UTC),
        ends_at=datetime(2026, 10, 14, 8, tzinfo=UTC),
        task_count=10,
        job_succeeded_count=5,
        job_failed_count=1,
        recipe_count=1,
        extra=None,
    )


def test_ids_and_counts_may_be_text_of_digits():
    texts = {name: str(value) for name, value in RECIPE_HOUR.items()}
    assert build_recipe_row(**texts) == build_recipe_row()


def test_what_is_missing_is_unknown_or_empty():
    row = build_recipe_row(external_id=None, folder_id=..., folder_name=None, task_count=..., to=...)
    assert (
        row.external_id,
        row.folder_id,
        row.folder_name,
        row.task_count,
    ) == ("", None, "", None)
    assert row.ends_at - row.starts_at == timedelta(hours=1)


def test_unknown_fields_are_kept_to_the_last_digit_and_so_is_a_second_name_that_disagrees():
    raw = msgspec.Raw(json.dumps(RECIPE_HOUR | {"task_usage": 11, "jobs_failed": 1}).encode()[:-1] + b',"cost":1.10}')
    assert build_row(decode_record(raw), DAY, by_recipe=True).extra == '{"cost":1.10,"task_usage":11}'


def test_bounds_finer_than_microseconds_are_kept_whole_beside():
    row = build_recipe_row(to="2026-10-14T09:59:59.999999999+02:00")
    assert row.ends_at == datetime(2026, 10, 14, 7, 59, 59, 999999, tzinfo=UTC)
    assert row.extra == '{"to":"2026-10-14T09:59:59.999999999+02:00"}'


def test_a_time_without_an_offset_is_of_the_sources_zone():
    assert build_recipe_row(from_="2026-10-14T09:00:00", to="2026-10-14T10:00:00") == build_recipe_row()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"workspace_id": ...}, "workspace_id: missing"),
        ({"workspace_id": "x"}, "workspace_id: expected int, got str"),
        ({"recipe_id": None}, "recipe_id: missing"),
        ({"task_count": -1}, "task_count: expected int >= 0"),
        ({"task_count": 1.5}, "task_count: expected int | null, got decimal"),
        ({"from_": ...}, "from: missing"),
        ({"from_": "soon"}, "from: not a date and time: 'soon'"),
        ({"from_": 5}, "from: expected text with a date and time"),
        ({"to": "never"}, "to: not a date and time: 'never'"),
        ({"recipe_name": 5}, "recipe_name: expected str | null, got int"),
        ({"external_id": "a\0b"}, "external_id: text with a NUL character, or with half of a character"),
        ({"external_id": "a" * 1329}, "external_id: 1,329 bytes long, where 1,328 can be stored"),
        ({"recipe_id": 2**63}, "recipe_id: expected int <= 9223372036854775807"),
        ({"task_count": 2**63}, "task_count: expected int <= 9223372036854775807"),
    ],
)
def test_a_bad_record_is_rejected_with_the_field_in_its_reason(change: dict[str, Any], reason: str):
    with pytest.raises(InvalidRecord) as exc_info:
        build_recipe_row(**change)
    assert str(exc_info.value) == reason


@pytest.mark.parametrize(
    "change",
    [
        {"from_": "2026-10-13T23:00:00+02:00", "to": "2026-10-14T00:00:00+02:00"},
        {"from_": "2026-10-13T23:30:00+02:00", "to": "2026-10-14T00:30:00+02:00"},
        {"from_": "2026-10-14T23:30:00+02:00", "to": "2026-10-15T00:30:00+02:00"},
        {"from_": "2026-10-15T00:00:00+02:00", "to": "2026-10-15T01:00:00+02:00"},
        {"from_": "2026-10-14T00:00:00+02:00", "to": "2026-10-15T00:00:00+02:00"},
        {"to": NINE},
    ],
)
def test_a_bucket_that_is_no_hour_of_the_day_is_rejected(change: dict[str, Any]):
    with pytest.raises(InvalidRecord, match="is not an hour of 2026-10-14 in Europe/Berlin"):
        build_recipe_row(**change)


# What is left for deleted recipes, against adding up by hand.

COUNT = st.none() | st.integers(0, 3)
USED = st.fixed_dictionaries(
    {
        "workspace_id": st.integers(1, 2),
        "hour": st.integers(0, 2),
        "recipe_id": st.integers(1, 50),
        "task_count": st.integers(0, 9),
        "job_succeeded_count": st.integers(0, 9),
        "job_failed_count": st.integers(0, 9),
        "deleted": st.booleans(),
    }
)


def build_hour(workspace_id: int, hour: int, recipe_id: int | None, counts: dict[str, int | None]) -> RecipeRow:
    starts_at = DAY.start + timedelta(hours=hour)
    plain = build_recipe_row()._replace(workspace_id=workspace_id, recipe_id=recipe_id, starts_at=starts_at)
    return plain._replace(**counts)  # type: ignore[arg-type]


@given(st.lists(USED, max_size=25))
def test_bare_minus_recipes_is_exactly_what_the_deleted_ones_used(usages: list[dict[str, Any]]):
    def sum_by_hand(only_deleted: bool) -> dict[tuple[int, int], dict[str, int]]:
        cells: dict[tuple[int, int], dict[str, int]] = {}
        for usage in usages:
            if usage["deleted"] or not only_deleted:
                cell = cells.setdefault((usage["workspace_id"], usage["hour"]), dict.fromkeys(METRICS, 0))
                for metric in METRICS:
                    cell[metric] += usage.get(metric, 1)
        return cells

    workspace_rows = [build_hour(*cell, None, dict(counts)) for cell, counts in sum_by_hand(only_deleted=False).items()]
    hours = HourSums(workspace_rows)
    hours.add(
        build_hour(usage["workspace_id"], usage["hour"], usage["recipe_id"], {m: usage.get(m, 1) for m in METRICS})
        for usage in usages
        if not usage["deleted"]
    )
    assert {difference["what"] for difference in hours.find_differences()} <= {"usage by recipe"}
    deleted_usage = {
        (row.workspace_id, (row.starts_at - DAY.start) // timedelta(hours=1)): {
            metric: getattr(row, metric) for metric in METRICS
        }
        for row in hours.build_deleted_rows()
    }
    assert deleted_usage == sum_by_hand(only_deleted=True)


@given(
    st.fixed_dictionaries(dict.fromkeys(METRICS, COUNT)),
    st.lists(st.fixed_dictionaries(dict.fromkeys(METRICS, COUNT)), max_size=3),
)
def test_one_hour_of_any_numbers_and_gaps(
    workspace_counts: dict[str, int | None], recipes: list[dict[str, int | None]]
):
    hours = HourSums([build_hour(1, 0, None, workspace_counts)])
    hours.add(build_hour(1, 0, number, counts) for number, counts in enumerate(recipes))
    expected_counts: dict[str, int | None] = {}
    expected_differences = set()
    for metric in METRICS:
        bare_count, parts = workspace_counts[metric], [counts[metric] for counts in recipes]
        used = sum(part or 0 for part in parts)
        certain = bare_count is not None and None not in parts and bare_count >= used
        agreed = bare_count is not None and bare_count == used
        expected_counts[metric] = (bare_count or 0) - used if certain or agreed else None
        one_lacks_it = bool(parts) and (bare_count is None) != all(part is None for part in parts)
        if metric == "recipe_count" and bare_count is None and None not in parts:
            continue
        if (
            (None in parts and (bare_count or 0) != used)
            or used > (bare_count or 0)
            or (metric != "recipe_count" and one_lacks_it)
        ):
            expected_differences.add(metric)
    deleted_rows = list(hours.build_deleted_rows())
    assert [{metric: getattr(row, metric) for metric in METRICS} for row in deleted_rows] == (
        [expected_counts] if any(expected_counts.values()) else []
    )
    differences = {difference["what"] for difference in hours.find_differences()} - {
        "no metric that both reads report",
        "usage by recipe",
    }
    assert differences == expected_differences
