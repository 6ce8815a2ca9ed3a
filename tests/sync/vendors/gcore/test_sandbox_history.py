"""What days of the Gcore stand-in hold, and how they change and go wrong."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sync.sandbox.world import Edit, World
from sync.vendors.gcore.sandbox import Sandbox
from tests.support.gcore_contract import Row, build_identity, build_range, index_totals, sum_resources
from tests.support.gcore_sandbox import DAY, NOW, query_report
from tests.support.gcore_sandbox import vendor as vendor
from tests.support.gcore_sandbox import world as world
from tests.support.stand_in import OneTimeFaults


def test_the_same_seed_gives_the_same_history_and_another_one_another(world: World) -> None:
    assert query_report(Sandbox(world)) == query_report(Sandbox(World(now=lambda: NOW)))
    assert query_report(Sandbox(world)) != query_report(Sandbox(World(seed=2, now=lambda: NOW)))
    later = World(now=lambda: NOW + timedelta(days=30))
    assert query_report(Sandbox(world)) == query_report(Sandbox(later))


def test_today_grows_and_a_day_stands_still_an_hour_after_its_end(world: World, vendor: Sandbox) -> None:
    before: dict[tuple[Any, ...], Decimal] = {}
    counts = []
    start = datetime(2026, 11, 23, tzinfo=UTC)
    for hour in range(1, 25):
        world.set_clock(start + timedelta(hours=hour, minutes=2))
        response = query_report(vendor, **build_range(start.date()))
        assert index_totals(response) == sum_resources(response["resources"])
        now = {build_identity(row): Decimal(row["billing_value"]) for row in response["resources"]}
        assert all(now[key] >= value for key, value in before.items())
        assert sum(now.values()) > sum(before.values())
        counts.append(response["count"])
        before = now
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    world.set_clock(start + timedelta(hours=25))
    settled = query_report(vendor, **build_range(start.date()))
    assert sum(row["billing_value"] for row in settled["resources"]) > sum(before.values())
    world.set_clock(start + timedelta(days=9))
    assert query_report(vendor, **build_range(start.date())) == settled


def test_there_is_nothing_before_history_and_nothing_tomorrow() -> None:
    world = World(days=20, now=lambda: NOW)
    vendor = Sandbox(world)
    assert query_report(vendor, **build_range(world.first_day - timedelta(days=1)))["count"] == 0
    assert query_report(vendor, **build_range(world.first_day))["count"] > 0
    assert query_report(vendor, **build_range(NOW.date() + timedelta(days=1)))["count"] == 0
    everything = query_report(vendor, **build_range(world.first_day, NOW.date()), limit=1)
    assert query_report(vendor, time_from="0001-01-01T00:00:00Z", time_to="9999-12-31T23:00:00Z", limit=1) == everything
    assert everything["count"] > query_report(vendor, **build_range(NOW.date()))["count"]


def read_around_edit(world: World, vendor: Sandbox, edit: Edit) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """Return the rows of DAY by identity, before and after an edit; totals and count keep up."""
    before = {build_identity(row): row for row in query_report(vendor)["resources"]}
    world.edits["gcore", DAY] = edit
    response = query_report(vendor)
    assert index_totals(response) == sum_resources(response["resources"])
    assert response["count"] == len(response["resources"])
    return before, {build_identity(row): row for row in response["resources"]}


def test_a_restated_day_has_the_same_rows_with_other_values(world: World, vendor: Sandbox) -> None:
    before, after = read_around_edit(world, vendor, Edit(restated=0.2))
    changed = [key for key in before if before[key] != after[key]]
    assert before.keys() == after.keys()
    assert 0.1 < len(changed) / len(before) < 0.3
    assert all({**before[key], "billing_value": after[key]["billing_value"]} == after[key] for key in changed)


def test_a_day_can_lose_rows_gain_rows_and_lose_them_all(world: World, vendor: Sandbox) -> None:
    before, after = read_around_edit(world, vendor, Edit(vanished=0.2))
    assert 0.1 < 1 - len(after) / len(before) < 0.3
    assert after.items() <= before.items()
    world.edits.clear()
    before, after = read_around_edit(world, vendor, Edit(late=0.1))
    assert before.items() <= after.items()
    assert 0.05 < len(after) / len(before) - 1 < 0.15
    assert not read_around_edit(world, vendor, Edit(emptied=True))[1]
    world.edits.clear()
    before, after = read_around_edit(world, vendor, Edit(late=0.0001))
    assert len(after) == len(before) + 1


def test_bad_rows_of_a_day_stay_the_same_ones_and_are_in_the_totals(world: World, vendor: Sandbox) -> None:
    plain = query_report(vendor)
    world.edits["gcore", DAY] = Edit(bad=0.1)
    response = query_report(vendor)
    bad = [index for index, row in enumerate(response["resources"]) if row != plain["resources"][index]]
    assert 0.03 < len(bad) / response["count"] < 0.2
    assert (response["count"], response["totals"]) == (plain["count"], plain["totals"])
    assert query_report(vendor) == response
    assert query_report(vendor, limit=1, offset=bad[0])["resources"] == [response["resources"][bad[0]]]


def test_a_page_can_begin_with_the_last_row_of_the_page_before(vendor: Sandbox) -> None:
    first = query_report(vendor, limit=50, faults=OneTimeFaults("duplicate"))
    second = query_report(vendor, limit=50, offset=50, faults=OneTimeFaults("duplicate"))
    assert second["resources"][0] == first["resources"][-1]
    assert query_report(vendor, limit=50, offset=50)["resources"][:49] == second["resources"][1:]


def test_the_listing_can_grow_while_it_is_paged_and_stays_grown(vendor: Sandbox) -> None:
    before = query_report(vendor)
    page = query_report(vendor, limit=50, offset=50, faults=OneTimeFaults("growth"))
    after = query_report(vendor)
    assert page["count"] == after["count"] == before["count"] + 1
    assert page["totals"] == after["totals"] != before["totals"]
    assert index_totals(after) == sum_resources(after["resources"])
    identities = set(map(build_identity, before["resources"]))
    assert len([row for row in after["resources"] if build_identity(row) not in identities]) == 1


def test_one_row_of_a_page_can_be_bad(vendor: Sandbox) -> None:
    plain = query_report(vendor, limit=50)["resources"]
    spoilt = query_report(vendor, limit=50, faults=OneTimeFaults("bad_record"))["resources"]
    assert len([1 for row, spoilt_row in zip(plain, spoilt, strict=True) if row != spoilt_row]) == 1


def test_a_day_can_have_any_number_of_records(world: World, vendor: Sandbox) -> None:
    for count in (0, 1, 99, 100, 12_345):
        world.records_per_day = count
        response = query_report(vendor)
        assert response["count"] == len(set(map(build_identity, response["resources"]))) == count
        assert index_totals(response) == sum_resources(response["resources"])
    world.records_per_day = 200_000
    page = query_report(vendor, limit=100, offset=199_950)
    assert (page["count"], len(page["resources"])) == (200_000, 50)


def test_scale_multiplies_the_records(world: World, vendor: Sandbox) -> None:
    plain = query_report(vendor)["count"]
    world.scale = 10
    assert query_report(vendor)["count"] == pytest.approx(plain * 10, rel=0.02)
