"""Days that come back different, and what goes wrong between and on pages."""

from datetime import timedelta
from itertools import chain, pairwise
from typing import Any

import httpx2
import pytest

from sync.sandbox.world import Edit, World
from sync.vendors.ona.instants import to_nanoseconds
from sync.vendors.ona.sandbox import Sandbox
from sync.vendors.ona.sandbox.pages import HistoryView, Position, Window
from sync.vendors.ona.sandbox.runs import Run
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import END, START, list_ids, list_pages, list_records, request_page


@pytest.fixture
def day() -> tuple[str, Any]:
    return ("ona", START.date())


def read_around_edit(
    client: httpx2.Client, world: World, day: Any, edit: Edit
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a day's records by id before and after an edit."""
    before = {record["id"]: record for record in list_records(client)}
    world.edits[day] = edit
    after = list_records(client)
    return before, {record["id"]: record for record in after}


def test_a_restated_day_has_other_values_in_exactly_its_share(client: httpx2.Client, world: World, day: Any):
    before, after = read_around_edit(client, world, day, Edit(restated=0.1))
    differing = [record for name, record in before.items() if after[name] != record]
    assert before.keys() == after.keys()
    assert len(differing) == -(-len(before) // 10)
    assert all(record["stoppedAt"] == after[record["id"]]["stoppedAt"] for record in differing)


def test_a_day_can_lose_and_gain_records_and_be_emptied(client: httpx2.Client, world: World, day: Any):
    before, after = read_around_edit(client, world, day, Edit(vanished=0.25))
    assert after.items() < before.items()
    assert len(before) - len(after) == -(-len(before) // 4)
    world.edits.clear()
    before, after = read_around_edit(client, world, day, Edit(late=0.05))
    assert before.items() < after.items()
    assert len(after) - len(before) == -(-len(before) // 20)
    world.edits[day] = Edit(emptied=True)
    assert list_pages(client) == [[]]
    world.edits.clear()
    assert {record["id"]: record for record in list_records(client)} == before


def test_edits_of_a_day_leave_other_days_alone(client: httpx2.Client, world: World):
    before = list_records(client, start=START - timedelta(days=2), end=START)
    world.edits["ona", START.date()] = Edit(emptied=True)
    assert list_records(client, start=START - timedelta(days=2), end=END) == before


def is_invalid(record: Any) -> bool:
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        return True
    stopped = record.get("stoppedAt", "")
    return not stopped.startswith("2026") or record.get("createdAt", "") > stopped


def test_a_bad_day_has_records_that_break_the_contract_in_every_way(client: httpx2.Client, world: World, day: Any):
    good = len(list_records(client))
    world.edits[day] = Edit(bad=0.5)
    after = list_records(client)
    bad = [record for record in after if is_invalid(record)]
    assert (len(after), len(bad)) == (good, -(-good // 2))
    kinds = {type(record) if not isinstance(record, dict) else tuple(map(type, record.values())) for record in bad}
    assert {str, int} <= {type(value) for record in bad if isinstance(record, dict) for value in record.values()}
    assert len(kinds) >= 4


def test_a_repeated_token_would_page_for_ever(client: httpx2.Client, sandbox: SandboxServer):
    first = request_page(client).json()["pagination"]["nextToken"]
    sandbox.faults.next("repeated_token")
    assert request_page(client, token=first).json()["pagination"]["nextToken"] == first


def test_a_duplicate_is_the_last_record_of_the_page_before_and_none_is_lost(
    client: httpx2.Client, sandbox: SandboxServer
):
    plain = list_ids(list_records(client))
    sandbox.faults.set("duplicate")
    page_ids = [list_ids(page) for page in list_pages(client)]
    assert all(page[0] == before[-1] for before, page in pairwise(page_ids))
    assert len(page_ids) > 3
    assert set(chain.from_iterable(page_ids)) == set(plain)


def test_a_bad_record_stands_in_for_a_good_one_once(client: httpx2.Client, sandbox: SandboxServer):
    plain = list_records(client)
    sandbox.faults.next("bad_record", after=1)
    spoilt = list_records(client)
    assert [index for index, record in enumerate(spoilt) if is_invalid(record)] == [100]
    assert [index for index, record in enumerate(spoilt) if record != plain[index]] == [100]
    assert list_records(client) == plain


def test_a_record_without_an_id_can_be_had(client: httpx2.Client, sandbox: SandboxServer):
    plain = list_records(client)
    sandbox.faults.next("no_id")
    first = list_records(client)[0]
    assert first == {name: value for name, value in plain[0].items() if name != "id"}


def test_growth_while_paging_repeats_a_record_and_hides_the_new_one_until_the_next_read(
    client: httpx2.Client, sandbox: SandboxServer
):
    plain = list_ids(list_records(client))
    sandbox.faults.next("growth", after=1)
    ids_during = list_ids(list_records(client))
    assert ids_during == [*plain[:200], plain[199], *plain[200:]]
    ids_after = list_ids(list_records(client))
    assert ids_after[1:] == plain
    assert ids_after[0] not in plain


def test_growth_within_a_filter_is_of_that_project_and_range(
    client: httpx2.Client, sandbox: SandboxServer, ona: Sandbox
):
    project = ona.list_runs(START, END)[0].environment.project_id
    filters = {"start": START + timedelta(hours=6), "end": START + timedelta(hours=20), "projectId": project}
    plain = list_ids(list_records(client, size=2, **filters))
    sandbox.faults.next("growth")
    list_pages(client, size=2, **filters)
    assert len(list_ids(list_records(client, size=2, **filters))) == len(plain) + 1


def test_growth_of_a_day_outside_the_range_or_of_an_unknown_project_adds_nothing(ona: Sandbox):
    bounds = to_nanoseconds(START), to_nanoseconds(END)
    view = HistoryView(ona.blocks, Window(*bounds, "no such project"), Run.encode_json)
    plain = ona.list_runs(START, END + timedelta(days=1))
    view.insert_before(view.first_position)
    HistoryView(ona.blocks, Window(*bounds, ""), Run.encode_json).insert_before(Position(END.toordinal(), 0))
    assert ona.list_runs(START, END + timedelta(days=1)) == plain


def test_the_record_before_a_page_may_be_of_another_day_and_the_first_page_has_none(ona: Sandbox):
    start, end = START - timedelta(days=2), END
    project = ona.list_runs(start, end)[0].environment.project_id
    view = HistoryView(ona.blocks, Window(to_nanoseconds(start), to_nanoseconds(end), project), Run.encode_json)
    position = view.seek(view.first_position)
    assert position is not None
    assert view.seek_back(position) is None
    positions = []
    while position is not None:
        positions.append(position)
        position = view.seek(position._replace(offset=position.offset + 1))
    assert {place.ordinal for place in positions} == {start.toordinal(), start.toordinal() + 1, start.toordinal() + 2}
    assert [view.seek_back(place) for place in positions[1:]] == positions[:-1]
