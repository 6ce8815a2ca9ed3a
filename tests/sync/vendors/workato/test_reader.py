"""Workato's reader: hours of recipes over real HTTP, and what is left of a workspace for its deleted recipes."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.errors import CredentialError, InvalidResponse, ListingChanged, SyncError
from sync.sandbox.server import SandboxServer
from sync.sandbox.world import Edit, World
from sync.vendors.base import Comparison, VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.record_limits import InvalidRecord
from sync.vendors.workato.deleted import HourSums
from sync.vendors.workato.options import Options
from sync.vendors.workato.schema import METRICS, USAGE, WORKSPACES, build_row
from tests.support.read_day import connected, everything, rows
from usage.days import Day
from usage.models import DayState, RecipeRow, RecipeUsage, Source, SourceDay, Verification

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
BERLIN = "Europe/Berlin"
DAY = Day.of(date(2026, 10, 14), BERLIN)
NINE = "2026-10-14T09:00:00+02:00"
TEN = "2026-10-14T10:00:00+02:00"
BARE = {
    "workspace_id": 7,
    "external_id": "cust-7",
    "workspace_name": "Acme",
    "from": NINE,
    "to": TEN,
    "task_count": 10,
    "job_succeeded_count": 5,
    "job_failed_count": 1,
    "recipe_count": 2,
}
RECIPE = {
    "workspace_id": 7,
    "external_id": "cust-7",
    "workspace_name": "Acme",
    "recipe_id": 70,
    "recipe_name": "Sync orders",
    "folder_id": 3,
    "folder_name": "Orders",
    "from": NINE,
    "to": TEN,
    "task_count": 10,
    "job_succeeded_count": 5,
    "job_failed_count": 1,
}


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, zone=BERLIN)) as server:
        yield server


@pytest.fixture
def workato(sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connected("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader:
        yield reader


@pytest.fixture
def scripted(httpserver: HTTPServer) -> Iterator[VendorReader]:
    with connected("workato", httpserver.url_for("").rstrip("/"), zone=BERLIN, workspace_ids="7") as reader:
        yield reader


def answering(server: HTTPServer, bare: Any, recipes: Any) -> list[dict[str, Any]]:
    """Let a server give these rows (or these bytes); returns the list that gets the requests."""
    asked: list[dict[str, Any]] = []

    def answer(request: Request) -> Response:
        asked.append(json.loads(request.data))
        given = recipes if "group_by" in asked[-1] else bare
        body = given if isinstance(given, bytes) else json.dumps({"data": given}).encode()
        return Response(body, content_type="application/json")

    server.expect_request(USAGE, method="POST").respond_with_handler(answer)
    return asked


def read_row(**changes: Any) -> RecipeRow:
    """Return the usual recipe's row with some fields changed; `...` takes a field out."""
    fields = {
        name: value
        for name, value in (RECIPE | {name.rstrip("_"): value for name, value in changes.items()}).items()
        if value is not ...
    }
    return build_row(decode_record(msgspec.Raw(msgspec.json.encode(fields))), DAY, by_recipe=True)


def sums(found: list[RecipeRow]) -> dict[tuple[int, datetime], list[int]]:
    """Return tasks, succeeded and failed jobs by workspace and hour."""
    summed: dict[tuple[int, datetime], list[int]] = {}
    for one in found:
        cell = summed.setdefault((one.workspace_id, one.starts_at), [0, 0, 0])
        for place, number in enumerate((one.task_count, one.job_succeeded_count, one.job_failed_count)):
            cell[place] += number or 0
    return summed


def asked_bare(sandbox: SandboxServer, day: Day) -> dict[tuple[int, datetime], list[int]]:
    """Return what the vendor says of every workspace and hour when it is asked for nothing else."""
    with connected("workato", f"{sandbox.url}/workato", zone=str(day.zone)) as reader:
        answer = reader.http.post(
            USAGE,
            msgspec.json.encode(
                {
                    "from": day.start.isoformat(timespec="milliseconds"),
                    "to": day.end.isoformat(timespec="milliseconds"),
                    "interval": "hour",
                    "workspace_ids": [one.id for one in workspaces(sandbox)],
                }
            ),
        )
    return {
        (one["workspace_id"], datetime.fromisoformat(one["from"])): [
            one["task_count"],
            one["job_succeeded_count"],
            one["job_failed_count"],
        ]
        for one in json.loads(answer)["data"] or []
    }


def workspaces(sandbox: SandboxServer) -> list[Any]:
    return sandbox.upstream.vendors["workato"].history.account.workspaces  # type: ignore[attr-defined]


def asked(sandbox: SandboxServer) -> list[dict[str, Any]]:
    """Return the bodies of all requests for usage."""
    return [json.loads(seen.body) for seen in sandbox.stats.requests if seen.path == USAGE]


# A whole day, over HTTP.


def test_a_day_holds_every_recipes_hours_and_what_deleted_ones_used(sandbox: SandboxServer, workato: VendorReader):
    pages, checked = everything(workato, DAY)
    held = rows(pages)
    deleted = [one for one in held if one.recipe_id is None]
    assert checked == Comparison(Verification.VERIFIED)
    assert len(held) > len(deleted) > 0
    assert sums(held) == asked_bare(sandbox, DAY)
    assert all(one.recipe_count and one.recipe_name == one.folder_name == "" for one in deleted)
    assert {one.recipe_count for one in held if one.recipe_id is not None} == {1}


def test_a_recipe_that_is_deleted_later_moves_to_the_deleted_ones_and_the_sums_stay(sandbox: SandboxServer):
    day = Day.of(date(2026, 10, 1), BERLIN)
    with connected("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader:
        sandbox.world.set_clock(datetime(2026, 10, 5, tzinfo=UTC))
        early = rows(everything(reader, day)[0])
        sandbox.world.set_clock(NOW)
        late = rows(everything(reader, day)[0])
    gone = {one.recipe_id for one in early} - {one.recipe_id for one in late}
    assert gone
    assert sums(early) == sums(late)


def test_a_day_is_asked_for_twice_by_its_own_instants_and_bare_with_nothing_else(
    sandbox: SandboxServer, workato: VendorReader
):
    everything(workato, DAY)
    bare, by_recipe = asked(sandbox)
    assert bare == {
        "from": "2026-10-13T22:00:00.000Z",
        "to": "2026-10-14T22:00:00.000Z",
        "workspace_ids": [one.id for one in workspaces(sandbox)],
        "interval": "hour",
    }
    assert by_recipe == bare | {"group_by": "recipe"}


CHANGES = [
    (BERLIN, date(2026, 3, 29), 23),
    (BERLIN, date(2026, 10, 25), 25),
    ("Australia/Sydney", date(2026, 10, 4), 23),
    ("Australia/Sydney", date(2026, 4, 5), 25),
    ("Asia/Kolkata", date(2026, 10, 25), 24),
]


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_a_day_with_a_clock_change_holds_what_the_vendor_says_of_it(zone: str, on: date, hours: int):
    day = Day.of(on, zone)
    with (
        SandboxServer(World(now=lambda: NOW, zone=zone, scale=4)) as sandbox,
        connected("workato", f"{sandbox.url}/workato", zone=zone) as reader,
    ):
        pages, checked = everything(reader, day)
        held = rows(pages)
        assert checked.verification == Verification.VERIFIED
        assert sums(held) == asked_bare(sandbox, day)
    starts = {one.starts_at for one in held}
    assert starts <= {day.start + timedelta(hours=hour) for hour in range(hours)}
    assert {one.ends_at - one.starts_at for one in held} == {timedelta(hours=1)}
    assert len({(one.workspace_id, one.recipe_id, one.starts_at) for one in held}) == len(held)


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_every_hour_of_a_day_with_a_clock_change_is_kept(
    httpserver: HTTPServer, scripted: VendorReader, zone: str, on: date, hours: int
):
    day = Day.of(on, zone)
    edges = [(day.start + timedelta(hours=hour)).astimezone(day.zone).isoformat() for hour in range(hours + 1)]
    buckets = [{"from": first, "to": last} for first, last in pairwise(edges)]
    answering(httpserver, [BARE | bucket for bucket in buckets], [RECIPE | bucket for bucket in buckets])
    pages, checked = everything(scripted, day)
    held = [one for one in rows(pages) if one.recipe_id]
    assert [one.starts_at for one in held] == [day.start + timedelta(hours=hour) for hour in range(hours)]
    assert held[-1].ends_at == day.end
    assert checked.verification == Verification.VERIFIED


def test_neighbouring_days_share_no_hour(workato: VendorReader):
    days = [Day.of(date(2026, 10, day), BERLIN) for day in (24, 25, 26)]
    found = [{one.starts_at for one in rows(everything(workato, day)[0])} for day in days]
    assert len(set.union(*found)) == sum(map(len, found))


@pytest.mark.parametrize("edit", [Edit(restated=0.3), Edit(vanished=0.3), Edit(late=0.3), Edit(emptied=True)])
def test_a_day_that_the_vendor_has_changed_is_read_as_it_is_now(
    sandbox: SandboxServer, workato: VendorReader, edit: Edit
):
    before = sums(rows(everything(workato, DAY)[0]))
    sandbox.world.edits["workato", DAY.date] = edit
    pages, checked = everything(workato, DAY)
    after = sums(rows(pages))
    assert checked.verification == Verification.VERIFIED
    assert after == asked_bare(sandbox, DAY) != before
    assert bool(after) is not edit.emptied


def test_bad_records_are_rejected_by_name_and_leave_the_day_unverified(sandbox: SandboxServer, workato: VendorReader):
    sandbox.world.edits["workato", DAY.date] = Edit(bad=0.05)
    pages, checked = everything(workato, DAY)
    rejected = [one for page in pages for one in page.rejected]
    assert {one.reason.partition(":")[0] for one in rejected} == {"from", "task_count", "workspace_id"}
    assert checked.verification == Verification.UNVERIFIED
    assert sum(one.get("rejected", 0) for one in checked.differences) == len(rejected)


@pytest.mark.parametrize("shape", [["aliases"], ["other_aliases"], ["time"], ["nested"], ["aliases", "time", "nested"]])
def test_other_names_and_nested_buckets_mean_the_same(sandbox: SandboxServer, workato: VendorReader, shape: list[str]):
    plain, _ = everything(workato, DAY)
    sandbox.upstream.vendors["workato"].shape = frozenset(shape)  # type: ignore[attr-defined]
    other, checked = everything(workato, DAY)
    assert checked.verification == Verification.VERIFIED
    assert set(rows(other)) == set(rows(plain))


def test_a_metric_that_is_not_reported_is_unknown_and_never_zero(sandbox: SandboxServer, workato: VendorReader):
    sandbox.upstream.vendors["workato"].shape = frozenset({"incomplete"})  # type: ignore[attr-defined]
    pages, checked = everything(workato, DAY)
    assert {one.job_failed_count for one in rows(pages)} == {None}
    assert any(one.recipe_id is None for one in rows(pages))
    assert checked.verification == Verification.VERIFIED


def test_a_row_with_no_known_metric_fails_the_load_and_is_kept(sandbox: SandboxServer, workato: VendorReader):
    sandbox.upstream.vendors["workato"].shape = frozenset({"unknown"})  # type: ignore[attr-defined]
    with pytest.raises(InvalidResponse, match="none of the known metrics") as raised:
        everything(workato, DAY)
    assert json.loads(raised.value.payload)["x_task"] > 0


def test_a_refused_token_stops_the_read(sandbox: SandboxServer):
    with (
        connected("workato", f"{sandbox.url}/workato", credential="wrong") as reader,
        pytest.raises(CredentialError),
    ):
        everything(reader, DAY)


# Which workspaces.


def test_chosen_workspaces_are_asked_for_without_looking_for_others(sandbox: SandboxServer):
    first, second, *_ = workspaces(sandbox)
    with connected(
        "workato", f"{sandbox.url}/workato", zone=BERLIN, workspace_ids=f"{first.id}, {second.id}"
    ) as reader:
        held = rows(everything(reader, DAY)[0])
    assert {one.workspace_id for one in held} == {first.id, second.id}
    assert [seen.path for seen in sandbox.stats.requests] == [USAGE, USAGE]


def test_workspaces_can_be_chosen_by_the_customers_own_ids(sandbox: SandboxServer):
    with connected("workato", f"{sandbox.url}/workato", zone=BERLIN, external_ids=["cust-acme"]) as reader:
        held = rows(everything(reader, DAY)[0])
    assert {one.external_id for one in held} == {"cust-acme"}
    assert [one["external_ids"] for one in asked(sandbox)] == [["cust-acme"]] * 2


def test_only_more_ids_than_allowed_are_split_over_requests(sandbox: SandboxServer, workato: VendorReader):
    with connected("workato", f"{sandbox.url}/workato", zone=BERLIN, max_ids_per_request=5) as split:
        pages, checked = everything(split, DAY)
    assert [len(one["workspace_ids"]) for one in asked(sandbox)] == [5, 5, 5, 5, 2, 2]
    assert checked.verification == Verification.VERIFIED
    assert set(rows(pages)) == set(rows(everything(workato, DAY)[0]))


def test_workspaces_are_discovered_page_by_page():
    with (
        SandboxServer(World(now=lambda: NOW, scale=60)) as sandbox,
        connected("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader,
    ):
        everything(reader, Day.of(NOW.date() + timedelta(days=1), BERLIN))
        known = [one.id for one in workspaces(sandbox)]
        assert len(known) > 200
        assert asked(sandbox)[0]["workspace_ids"] == known
        sandbox.faults.next("workato.duplicate")
        with pytest.raises(ListingChanged, match="Page 2 of the workspaces"):
            everything(reader, DAY)


def test_an_account_without_workspaces_has_empty_days(httpserver: HTTPServer):
    httpserver.expect_request(WORKSPACES).respond_with_json({"result": []})
    with connected("workato", httpserver.url_for("").rstrip("/")) as reader:
        assert everything(reader, DAY) == ([], Comparison(Verification.VERIFIED))
        assert "no workspaces" in reader.probe()


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ({}, None),
        ({"workspace_ids": ""}, None),
        ({"workspace_ids": "1,2, 2"}, ("workspace_ids", [1, 2])),
        ({"workspace_ids": 5}, ("workspace_ids", [5])),
        ({"workspace_ids": ["3", 4]}, ("workspace_ids", [3, 4])),
        ({"external_ids": "a,b"}, ("external_ids", ["a", "b"])),
        ({"external_ids": [1, "b"]}, ("external_ids", ["1", "b"])),
    ],
)
def test_ids_are_lists_or_text_with_commas(given: dict[str, Any], scope: Any):
    assert msgspec.convert(given, Options, strict=False).get_scope() == scope


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"workspace_ids": "1", "external_ids": "a"}, "not both"),
        ({"workspace_ids": "one"}, "workspace_ids: numbers"),
        ({"max_ids_per_request": 0}, "max_ids_per_request"),
        ({"workspaces": "1"}, "workspaces"),
    ],
)
def test_options_that_are_not_allowed_are_refused_by_name(given: dict[str, Any], reason: str):
    with (
        pytest.raises(SyncError, match=rf"Options of Workato: .*{reason}"),
        connected("workato", "http://127.0.0.1:1", **given),
    ):
        pass


# The probe.


def test_the_probe_asks_for_yesterday_of_one_workspace(sandbox: SandboxServer, workato: VendorReader):
    sandbox.world.set_clock(datetime.now(UTC))
    assert "hours of usage" in workato.probe()
    assert [seen.path for seen in sandbox.stats.requests] == [WORKSPACES, USAGE]
    assert [len(one["workspace_ids"]) for one in asked(sandbox)] == [1]


def test_the_probe_says_that_a_row_cannot_be_read(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, [BARE], [])
    with pytest.raises(InvalidResponse, match="is the source's time zone the account's"):
        scripted.probe()


# Into the database.


@pytest.mark.django_db(transaction=True)
def test_deleted_recipes_reach_the_database_and_a_second_read_changes_nothing(sandbox: SandboxServer, settings: Any):
    source = stored_source(sandbox, settings)
    assert read_into(source) == "loaded"
    stored = RecipeUsage.objects.filter(source=source)
    assert stored.filter(recipe_id=None).exists()
    expected = asked_bare(sandbox, DAY)
    assert sum(one.task_count or 0 for one in stored) == sum(tasks for tasks, _, _ in expected.values())
    day = SourceDay.objects.get(source=source)
    assert (day.records, day.verification) == (stored.count(), Verification.VERIFIED)
    assert read_into(source) == "unchanged"


@pytest.mark.django_db(transaction=True)
def test_bad_rows_leave_the_day_partial_with_the_reasons_on_record(sandbox: SandboxServer, settings: Any):
    source = stored_source(sandbox, settings)
    sandbox.world.edits["workato", DAY.date] = Edit(bad=0.02)
    assert read_into(source) == "partial"
    day = SourceDay.objects.get(source=source)
    assert (day.state, day.verification) == (DayState.PARTIAL, Verification.UNVERIFIED)
    assert day.rejected == day.rejected_records.count() > 0


def stored_source(sandbox: SandboxServer, settings: Any) -> Source:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    return Source.objects.create(
        slug="workato",
        vendor="workato",
        base_url=f"{sandbox.url}/workato",
        credential="sandbox-key",
        time_zone=BERLIN,
        backfill_from=DAY.date,
    )


def read_into(source: Source) -> str:
    """Load DAY now; returns how the attempt ended."""
    ensure_days(source, DAY.date, DAY.date + timedelta(days=1))
    SourceDay.objects.filter(source=source).update(state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC))
    attempt = load_next(source.pk)
    assert attempt is not None
    return attempt.outcome


# What an answer must be.


@pytest.mark.parametrize("answer", [b"[]", b"<html>", b"{}", b'{"data": 5}', b'{"data": {}}'])
def test_an_answer_that_is_no_list_of_rows_fails_the_load_and_is_kept(
    httpserver: HTTPServer, scripted: VendorReader, answer: bytes
):
    answering(httpserver, answer, [])
    with pytest.raises(InvalidResponse, match="Not usage statistics") as raised:
        everything(scripted, DAY)
    assert raised.value.payload == answer.decode()


@pytest.mark.parametrize(
    "found", [{"usage": [5]}, {"usage": {}}, {"usage": [{"from": NINE}]}, {"from": NINE, "tasks": 5}]
)
def test_a_row_or_bucket_of_a_shape_that_is_not_known_fails_the_load(
    httpserver: HTTPServer, scripted: VendorReader, found: dict[str, Any]
):
    answering(httpserver, [BARE], [{"workspace_id": 7, "recipe_id": 70} | found])
    with pytest.raises(InvalidResponse, match="none of the known metrics"):
        everything(scripted, DAY)


@pytest.mark.parametrize("recipes", [None, []])
def test_bare_sums_without_any_recipe_are_kept_and_not_verified(
    httpserver: HTTPServer, scripted: VendorReader, recipes: Any
) -> None:
    answering(httpserver, [BARE], recipes)

    pages, checked = everything(scripted, DAY)

    assert [one.task_count for one in rows(pages)] == [10]
    assert checked == Comparison(
        Verification.UNVERIFIED,
        [{"what": "usage by recipe", "vendor": "10", "portal": None, "absent_from": "the read by recipe"}],
    )


def test_null_is_an_empty_day(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, None, None)
    pages, checked = everything(scripted, DAY)
    assert (rows(pages), checked.verification) == ([], Verification.VERIFIED)


def test_the_same_row_twice_starts_the_read_over(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, [BARE], [RECIPE, RECIPE])
    with pytest.raises(ListingChanged, match="same row twice"):
        everything(scripted, DAY)


def test_a_second_row_that_contradicts_the_first_is_rejected(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, [BARE], [RECIPE | {"task_count": 4}, RECIPE | {"task_count": 5}])
    pages, checked = everything(scripted, DAY)
    assert [one.task_count for one in rows(pages)] == [4]
    assert [one.reason for page in pages for one in page.rejected] == [
        "from: an earlier row says something else of the same hour"
    ]
    assert checked.verification == Verification.UNVERIFIED


def test_the_hour_that_comes_twice_is_two_hours(httpserver: HTTPServer, scripted: VendorReader):
    summer = {"from": "2026-10-25T02:00:00+02:00", "to": "2026-10-25T02:00:00+01:00"}
    winter = {"from": "2026-10-25T02:00:00+01:00", "to": "2026-10-25T03:00:00+01:00"}
    answering(httpserver, [BARE | summer, BARE | winter], [RECIPE | summer, RECIPE | winter])
    pages, checked = everything(scripted, Day.of(date(2026, 10, 25), BERLIN))
    found = [one for one in rows(pages) if one.recipe_id]
    assert [one.starts_at.hour for one in found] == [0, 1]
    assert checked.verification == Verification.VERIFIED


@pytest.mark.parametrize(
    ("unsure", "kept"),
    [
        ({"task_count": "many"}, False),
        ({"task_count": "many", "from": "2026-10-14T11:00:00+02:00", "to": None}, True),
        ({"workspace_id": 8, "task_count": "many"}, True),
        ({"from": "yesterday"}, False),
        ({"workspace_id": None}, False),
        ({"workspace_id": None, "from": "yesterday"}, False),
    ],
)
def test_what_a_rejected_row_may_have_used_is_not_taken_for_deleted_recipes(
    httpserver: HTTPServer, scripted: VendorReader, unsure: dict[str, Any], kept: bool
):
    answering(httpserver, [BARE], [RECIPE | {"task_count": 4}, RECIPE | {"recipe_id": 71} | unsure])
    pages, checked = everything(scripted, DAY)
    assert len([one for page in pages for one in page.rejected]) == 1
    assert [one.task_count for one in rows(pages) if one.recipe_id is None] == ([6] if kept else [])
    assert checked.verification == Verification.UNVERIFIED
    assert checked.differences[0] == {"what": "rows by recipe", "vendor": "2", "portal": "1", "rejected": 1}


def test_a_record_that_is_no_object_is_rejected_and_may_have_been_of_any_hour(
    httpserver: HTTPServer, scripted: VendorReader
):
    answering(httpserver, [BARE], [RECIPE | {"task_count": 4}, "text"])
    pages, checked = everything(scripted, DAY)
    assert [one.payload for page in pages for one in page.rejected] == ['"text"']
    assert [one.recipe_id for one in rows(pages)] == [70]
    assert checked.verification == Verification.UNVERIFIED


def test_one_bad_bucket_of_a_nested_row_leaves_the_others(httpserver: HTTPServer, scripted: VendorReader):
    recipe = {name: value for name, value in RECIPE.items() if name not in {"from", "to", "task_count"}}
    buckets = [{"time": NINE, "task_usage": "many"}, {"time": TEN, "task_usage": 3}]
    answering(httpserver, [BARE], [recipe | {"usage": buckets}])
    pages, _ = everything(scripted, DAY)
    assert [one.task_count for one in rows(pages)] == [3]
    assert [one.reason for page in pages for one in page.rejected] == ["task_count: expected int | null, got str"]


def test_recipes_that_used_more_than_their_workspace_are_a_difference(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, [BARE], [RECIPE | {"task_count": 11, "job_failed_count": 0}])
    pages, checked = everything(scripted, DAY)
    left = next(one for one in rows(pages) if one.recipe_id is None)
    assert (left.task_count, left.job_succeeded_count, left.job_failed_count, left.recipe_count) == (None, 0, 1, 1)
    assert checked.differences == [
        {
            "what": "task_count",
            "vendor": "10",
            "portal": "11",
            "workspace_id": 7,
            "starts_at": "2026-10-14T07:00:00+00:00",
        }
    ]


def test_recipes_of_an_hour_that_their_workspace_lacks_are_a_difference(httpserver: HTTPServer, scripted: VendorReader):
    answering(httpserver, [], [RECIPE | {"job_failed_count": 0}])
    _, checked = everything(scripted, DAY)
    assert [(one["what"], one["vendor"], one["portal"]) for one in checked.differences] == [
        ("task_count", None, "10"),
        ("job_succeeded_count", None, "5"),
    ]


def test_an_hour_in_which_nothing_can_be_compared_is_not_verified(httpserver: HTTPServer, scripted: VendorReader):
    nothing = {"task_count": None, "job_succeeded_count": None, "job_failed_count": None}
    answering(httpserver, [BARE | nothing], [RECIPE | nothing])
    _, checked = everything(scripted, DAY)
    assert [one["what"] for one in checked.differences] == ["no metric that both reads report"]


# A metric that one of the two reads lacks.

USED_METRICS = ("task_count", "job_succeeded_count", "job_failed_count")


@pytest.mark.parametrize("metric", USED_METRICS)
@pytest.mark.parametrize("value", [None, ...])
@pytest.mark.parametrize("lacks", ["the read by recipe", "the read by workspace"])
def test_a_metric_that_one_read_lacks_altogether_leaves_the_day_unverified(
    httpserver: HTTPServer, scripted: VendorReader, metric: str, value: Any, lacks: str
):
    def change(fields: dict[str, Any], read: str) -> dict[str, Any]:
        changed = fields | {metric: value} if read == lacks else fields
        return {name: given_ for name, given_ in changed.items() if given_ is not ...}

    answering(httpserver, [change(BARE, "the read by workspace")], [change(RECIPE, "the read by recipe")])
    pages, checked = everything(scripted, DAY)
    number = str(BARE[metric])
    vendor, portal = (number, None) if lacks == "the read by recipe" else (None, number)
    assert checked == Comparison(
        Verification.UNVERIFIED, [{"what": metric, "vendor": vendor, "portal": portal, "absent_from": lacks}]
    )
    assert [getattr(one, metric) for one in rows(pages) if one.recipe_id is None] in ([], [None])


def test_a_vendor_that_leaves_out_zeros_is_verified_where_the_sums_agree(
    httpserver: HTTPServer, scripted: VendorReader
):
    quiet = RECIPE | {"recipe_id": 71, "task_count": None, "job_succeeded_count": 0, "job_failed_count": None}
    later = {"from": TEN, "to": "2026-10-14T11:00:00+02:00"}
    idle = {"task_count": None, "job_succeeded_count": None, "job_failed_count": 2}
    answering(httpserver, [BARE, BARE | later | idle | {"recipe_count": 1}], [RECIPE, quiet, RECIPE | later | idle])
    pages, checked = everything(scripted, DAY)
    assert checked == Comparison(Verification.VERIFIED)
    assert [one.recipe_id for one in rows(pages)] == [70, 71, 70]


def test_usage_of_deleted_recipes_is_never_made_of_a_metric_that_a_recipe_lacks(
    httpserver: HTTPServer, scripted: VendorReader
):
    recipes = [RECIPE | {"task_count": 4}, RECIPE | {"recipe_id": 71, "task_count": None, "job_failed_count": 0}]
    answering(httpserver, [BARE | {"job_succeeded_count": 10}], recipes)
    pages, checked = everything(scripted, DAY)
    assert not [one for one in rows(pages) if one.recipe_id is None]
    assert [(one["what"], one["vendor"], one["portal"]) for one in checked.differences] == [("task_count", "10", "4")]


def test_a_metric_that_is_null_under_one_name_is_taken_from_another():
    made = read_row(task_count=None, task_usage=8)
    assert made.task_count == 8


# Times where clocks change.

AUTUMN = Day.of(date(2026, 10, 25), BERLIN)


def hours_without_offset(*hours: int, **fields: Any) -> list[dict[str, Any]]:
    """Return rows that begin at these hours of the autumn day, as a vendor without offsets writes them."""
    return [{"from": f"2026-10-25T{hour:02}:00:00", "to": f"2026-10-25T{hour + 1:02}:00:00"} | fields for hour in hours]


@pytest.mark.parametrize("falling", [False, True])
def test_the_two_hours_of_one_time_are_told_apart_by_their_order(
    httpserver: HTTPServer, scripted: VendorReader, falling: bool
):
    listed = hours_without_offset(1, 2, 2, 3)
    counts = [{"task_count": number} for number in (1, 2, 3, 4)]
    buckets = [hour | count for hour, count in zip(listed, counts, strict=True)]
    buckets = buckets[::-1] if falling else buckets
    answering(httpserver, [BARE | one for one in buckets], [RECIPE | one for one in buckets])
    pages, checked = everything(scripted, AUTUMN)
    found = sorted((one.starts_at.hour, one.task_count) for one in rows(pages) if one.recipe_id)
    assert found == [(0, 2), (1, 3), (2, 4), (23, 1)]
    assert {one.ends_at - one.starts_at for one in rows(pages)} == {timedelta(hours=1)}
    assert checked.verification == Verification.VERIFIED


def test_two_hours_of_one_time_that_say_the_same_are_both_kept(httpserver: HTTPServer, scripted: VendorReader):
    buckets = hours_without_offset(2, 2)
    answering(httpserver, [BARE | one for one in buckets], [RECIPE | one for one in buckets])
    pages, checked = everything(scripted, AUTUMN)
    assert [one.starts_at.hour for one in rows(pages) if one.recipe_id] == [0, 1]
    assert checked.verification == Verification.VERIFIED


@pytest.mark.parametrize("hours", [(1, 2, 3), (2, 1, 2, 3)])
def test_a_time_whose_hour_is_not_certain_leaves_the_day_unverified_and_not_partial(
    httpserver: HTTPServer, scripted: VendorReader, hours: tuple[int, ...]
):
    buckets = hours_without_offset(*hours)
    answering(httpserver, [BARE | one for one in buckets], [RECIPE | one | {"task_count": 9} for one in buckets])
    pages, checked = everything(scripted, AUTUMN)
    assert not [one for page in pages for one in page.rejected]
    assert checked.differences[-1] == {
        "what": "an hour that the clocks show twice, without an offset",
        "vendor": None,
        "portal": None,
        "time": "2026-10-25T02:00:00",
        "rows": hours.count(2),
    }
    # Nor is anything in such an hour taken for the usage of deleted recipes.
    assert not [one for one in rows(pages) if one.recipe_id is None and one.starts_at.hour in (0, 1)]


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
    shown = [edge.astimezone(day.zone) for edge in edges]
    written = [(one if offset else one.replace(tzinfo=None, fold=0)).isoformat() for one in shown]
    buckets = [{"from": first, "to": last} for first, last in pairwise(written)]
    answering(httpserver, [BARE | one for one in buckets], [RECIPE | one for one in buckets])
    with connected("workato", httpserver.url_for("").rstrip("/"), zone=zone, workspace_ids="7") as reader:
        pages, checked = everything(reader, day)
    found = [one for one in rows(pages) if one.recipe_id]
    assert [one.starts_at for one in found] == edges[:-1]
    assert [one.ends_at for one in found] == edges[1:]
    assert not [one for page in pages for one in page.rejected]
    assert checked.verification == Verification.VERIFIED


@pytest.mark.parametrize(("zone", "on"), [(zone, on) for zone, on, _ in TWICE])
def test_the_vendors_stand_in_in_such_a_zone_is_read_to_the_last_task(zone: str, on: date):
    day = Day.of(on, zone)
    with (
        SandboxServer(World(now=lambda: NOW, zone=zone, scale=2)) as sandbox,
        connected("workato", f"{sandbox.url}/workato", zone=zone) as reader,
    ):
        pages, checked = everything(reader, day)
        assert sums(rows(pages)) == asked_bare(sandbox, day)
    assert checked.verification == Verification.VERIFIED


# One row.


def test_a_row_has_every_documented_field_in_its_place():
    assert read_row() == RecipeRow(
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
    texts = {name: str(value) for name, value in RECIPE.items()}
    assert read_row(**texts) == read_row()


def test_what_is_missing_is_unknown_or_empty():
    bare = read_row(external_id=None, folder_id=..., folder_name=None, task_count=..., to=...)
    assert (bare.external_id, bare.folder_id, bare.folder_name, bare.task_count) == ("", None, "", None)
    assert bare.ends_at - bare.starts_at == timedelta(hours=1)


def test_unknown_fields_are_kept_to_the_last_digit_and_so_is_a_second_name_that_disagrees():
    raw = msgspec.Raw(json.dumps(RECIPE | {"task_usage": 11, "jobs_failed": 1}).encode()[:-1] + b',"cost":1.10}')
    assert build_row(decode_record(raw), DAY, by_recipe=True).extra == '{"cost":1.10,"task_usage":11}'


def test_bounds_finer_than_microseconds_are_kept_whole_beside():
    made = read_row(to="2026-10-14T09:59:59.999999999+02:00")
    assert made.ends_at == datetime(2026, 10, 14, 7, 59, 59, 999999, tzinfo=UTC)
    assert made.extra == '{"to":"2026-10-14T09:59:59.999999999+02:00"}'


def test_a_time_without_an_offset_is_of_the_sources_zone():
    assert read_row(from_="2026-10-14T09:00:00", to="2026-10-14T10:00:00") == read_row()


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
    with pytest.raises(InvalidRecord) as raised:
        read_row(**change)
    assert str(raised.value) == reason


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
        read_row(**change)


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


def hour_of(workspace_id: int, hour: int, recipe_id: int | None, counts: dict[str, int | None]) -> RecipeRow:
    starts_at = DAY.start + timedelta(hours=hour)
    plain = read_row()._replace(workspace_id=workspace_id, recipe_id=recipe_id, starts_at=starts_at)
    return plain._replace(**counts)  # type: ignore[arg-type]


@given(st.lists(USED, max_size=25))
def test_bare_minus_recipes_is_exactly_what_the_deleted_ones_used(used: list[dict[str, Any]]):
    def by_hand(only_deleted: bool) -> dict[tuple[int, int], dict[str, int]]:
        cells: dict[tuple[int, int], dict[str, int]] = {}
        for one in used:
            if one["deleted"] or not only_deleted:
                cell = cells.setdefault((one["workspace_id"], one["hour"]), dict.fromkeys(METRICS, 0))
                for metric in METRICS:
                    cell[metric] += one.get(metric, 1)
        return cells

    bare = [hour_of(*cell, None, dict(counts)) for cell, counts in by_hand(only_deleted=False).items()]
    hours = HourSums(bare)
    hours.add(
        hour_of(one["workspace_id"], one["hour"], one["recipe_id"], {m: one.get(m, 1) for m in METRICS})
        for one in used
        if not one["deleted"]
    )
    assert {one["what"] for one in hours.find_differences()} <= {"usage by recipe"}
    left = {
        (one.workspace_id, (one.starts_at - DAY.start) // timedelta(hours=1)): {
            metric: getattr(one, metric) for metric in METRICS
        }
        for one in hours.build_deleted_rows()
    }
    assert left == by_hand(only_deleted=True)


@given(
    st.fixed_dictionaries(dict.fromkeys(METRICS, COUNT)),
    st.lists(st.fixed_dictionaries(dict.fromkeys(METRICS, COUNT)), max_size=3),
)
def test_one_hour_of_any_numbers_and_gaps(bare: dict[str, int | None], recipes: list[dict[str, int | None]]):
    hours = HourSums([hour_of(1, 0, None, bare)])
    hours.add(hour_of(1, 0, number, counts) for number, counts in enumerate(recipes))
    left: dict[str, int | None] = {}
    wrong = set()
    for metric in METRICS:
        given_, parts = bare[metric], [counts[metric] for counts in recipes]
        used = sum(part or 0 for part in parts)
        certain = given_ is not None and None not in parts and given_ >= used
        agreed = given_ is not None and given_ == used
        left[metric] = (given_ or 0) - used if certain or agreed else None
        one_lacks_it = bool(parts) and (given_ is None) != all(part is None for part in parts)
        if metric == "recipe_count" and given_ is None and None not in parts:
            continue
        if (
            (None in parts and (given_ or 0) != used)
            or used > (given_ or 0)
            or (metric != "recipe_count" and one_lacks_it)
        ):
            wrong.add(metric)
    rows = list(hours.build_deleted_rows())
    assert [{metric: getattr(one, metric) for metric in METRICS} for one in rows] == (
        [left] if any(left.values()) else []
    )
    found = {one["what"] for one in hours.find_differences()} - {"no metric that both reads report", "usage by recipe"}
    assert found == wrong
