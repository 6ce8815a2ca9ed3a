"""Answers of Workato: what they must be, and a metric that one of the two reads lacks."""

from datetime import date
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sync.errors import InvalidResponse, ListingChanged
from sync.vendors.base import Comparison, VendorReader
from tests.support.vendor_readers import list_rows, read_pages
from tests.support.workato_reports import (
    BERLIN,
    DAY,
    NINE,
    RECIPE_HOUR,
    TEN,
    WORKSPACE_HOUR,
    build_recipe_row,
    serve_usage,
)
from tests.support.workato_reports import scripted_reader as scripted_reader
from usage.days import Day
from usage.models import Verification


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"{}", b'{"data": 5}', b'{"data": {}}'])
def test_an_answer_that_is_no_list_of_rows_fails_the_load_and_is_kept(
    httpserver: HTTPServer, scripted_reader: VendorReader, body: bytes
):
    serve_usage(httpserver, body, [])
    with pytest.raises(InvalidResponse, match="Not usage statistics") as exc_info:
        read_pages(scripted_reader, DAY)
    assert exc_info.value.payload == body.decode()


@pytest.mark.parametrize(
    "fields", [{"usage": [5]}, {"usage": {}}, {"usage": [{"from": NINE}]}, {"from": NINE, "tasks": 5}]
)
def test_a_row_or_bucket_of_a_shape_that_is_not_known_fails_the_load(
    httpserver: HTTPServer, scripted_reader: VendorReader, fields: dict[str, Any]
):
    serve_usage(httpserver, [WORKSPACE_HOUR], [{"workspace_id": 7, "recipe_id": 70} | fields])
    with pytest.raises(InvalidResponse, match="none of the known metrics"):
        read_pages(scripted_reader, DAY)


@pytest.mark.parametrize("recipes", [None, []])
def test_bare_sums_without_any_recipe_are_kept_and_not_verified(
    httpserver: HTTPServer, scripted_reader: VendorReader, recipes: Any
) -> None:
    serve_usage(httpserver, [WORKSPACE_HOUR], recipes)

    pages, comparison = read_pages(scripted_reader, DAY)

    assert [row.task_count for row in list_rows(pages)] == [10]
    assert comparison == Comparison(
        Verification.UNVERIFIED,
        [{"what": "usage by recipe", "vendor": "10", "portal": None, "absent_from": "the read by recipe"}],
    )


def test_null_is_an_empty_day(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_usage(httpserver, None, None)
    pages, comparison = read_pages(scripted_reader, DAY)
    assert (list_rows(pages), comparison.verification) == ([], Verification.VERIFIED)


def test_the_same_row_twice_starts_the_read_over(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_usage(httpserver, [WORKSPACE_HOUR], [RECIPE_HOUR, RECIPE_HOUR])
    with pytest.raises(ListingChanged, match="same row twice"):
        read_pages(scripted_reader, DAY)


def test_a_second_row_that_contradicts_the_first_is_rejected(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_usage(httpserver, [WORKSPACE_HOUR], [RECIPE_HOUR | {"task_count": 4}, RECIPE_HOUR | {"task_count": 5}])
    pages, comparison = read_pages(scripted_reader, DAY)
    assert [row.task_count for row in list_rows(pages)] == [4]
    assert [record.reason for page in pages for record in page.rejected] == [
        "from: an earlier row says something else of the same hour"
    ]
    assert comparison.verification == Verification.UNVERIFIED


def test_the_hour_that_comes_twice_is_two_hours(httpserver: HTTPServer, scripted_reader: VendorReader):
    summer = {"from": "2026-10-25T02:00:00+02:00", "to": "2026-10-25T02:00:00+01:00"}
    winter = {"from": "2026-10-25T02:00:00+01:00", "to": "2026-10-25T03:00:00+01:00"}
    serve_usage(
        httpserver, [WORKSPACE_HOUR | summer, WORKSPACE_HOUR | winter], [RECIPE_HOUR | summer, RECIPE_HOUR | winter]
    )
    pages, comparison = read_pages(scripted_reader, Day.of(date(2026, 10, 25), BERLIN))
    recipe_rows = [row for row in list_rows(pages) if row.recipe_id]
    assert [row.starts_at.hour for row in recipe_rows] == [0, 1]
    assert comparison.verification == Verification.VERIFIED


@pytest.mark.parametrize(
    ("fields", "has_deleted_row"),
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
    httpserver: HTTPServer, scripted_reader: VendorReader, fields: dict[str, Any], has_deleted_row: bool
):
    serve_usage(
        httpserver, [WORKSPACE_HOUR], [RECIPE_HOUR | {"task_count": 4}, RECIPE_HOUR | {"recipe_id": 71} | fields]
    )
    pages, comparison = read_pages(scripted_reader, DAY)
    assert len([record for page in pages for record in page.rejected]) == 1
    assert [row.task_count for row in list_rows(pages) if row.recipe_id is None] == ([6] if has_deleted_row else [])
    assert comparison.verification == Verification.UNVERIFIED
    assert comparison.differences[0] == {"what": "rows by recipe", "vendor": "2", "portal": "1", "rejected": 1}


def test_a_record_that_is_no_object_is_rejected_and_may_have_been_of_any_hour(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    serve_usage(httpserver, [WORKSPACE_HOUR], [RECIPE_HOUR | {"task_count": 4}, "text"])
    pages, comparison = read_pages(scripted_reader, DAY)
    assert [record.payload for page in pages for record in page.rejected] == ['"text"']
    assert [row.recipe_id for row in list_rows(pages)] == [70]
    assert comparison.verification == Verification.UNVERIFIED


def test_one_bad_bucket_of_a_nested_row_leaves_the_others(httpserver: HTTPServer, scripted_reader: VendorReader):
    recipe = {name: value for name, value in RECIPE_HOUR.items() if name not in {"from", "to", "task_count"}}
    buckets = [{"time": NINE, "task_usage": "many"}, {"time": TEN, "task_usage": 3}]
    serve_usage(httpserver, [WORKSPACE_HOUR], [recipe | {"usage": buckets}])
    pages, _ = read_pages(scripted_reader, DAY)
    assert [row.task_count for row in list_rows(pages)] == [3]
    assert [record.reason for page in pages for record in page.rejected] == ["task_count: expected int | null, got str"]


def test_recipes_that_used_more_than_their_workspace_are_a_difference(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    serve_usage(httpserver, [WORKSPACE_HOUR], [RECIPE_HOUR | {"task_count": 11, "job_failed_count": 0}])
    pages, comparison = read_pages(scripted_reader, DAY)
    deleted_row = next(row for row in list_rows(pages) if row.recipe_id is None)
    assert (
        deleted_row.task_count,
        deleted_row.job_succeeded_count,
        deleted_row.job_failed_count,
        deleted_row.recipe_count,
    ) == (None, 0, 1, 1)
    assert comparison.differences == [
        {
            "what": "task_count",
            "vendor": "10",
            "portal": "11",
            "workspace_id": 7,
            "starts_at": "2026-10-14T07:00:00+00:00",
        }
    ]


def test_recipes_of_an_hour_that_their_workspace_lacks_are_a_difference(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    serve_usage(httpserver, [], [RECIPE_HOUR | {"job_failed_count": 0}])
    _, comparison = read_pages(scripted_reader, DAY)
    assert [
        (difference["what"], difference["vendor"], difference["portal"]) for difference in comparison.differences
    ] == [
        ("task_count", None, "10"),
        ("job_succeeded_count", None, "5"),
    ]


def test_an_hour_in_which_nothing_can_be_compared_is_not_verified(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    nothing = {"task_count": None, "job_succeeded_count": None, "job_failed_count": None}
    serve_usage(httpserver, [WORKSPACE_HOUR | nothing], [RECIPE_HOUR | nothing])
    _, comparison = read_pages(scripted_reader, DAY)
    assert [difference["what"] for difference in comparison.differences] == ["no metric that both reads report"]


# A metric that one of the two reads lacks.

USED_METRICS = ("task_count", "job_succeeded_count", "job_failed_count")


@pytest.mark.parametrize("metric", USED_METRICS)
@pytest.mark.parametrize("value", [None, ...])
@pytest.mark.parametrize("lacks", ["the read by recipe", "the read by workspace"])
def test_a_metric_that_one_read_lacks_altogether_leaves_the_day_unverified(
    httpserver: HTTPServer, scripted_reader: VendorReader, metric: str, value: Any, lacks: str
):
    def change(fields: dict[str, Any], read: str) -> dict[str, Any]:
        changed = fields | {metric: value} if read == lacks else fields
        return {name: field_value for name, field_value in changed.items() if field_value is not ...}

    serve_usage(
        httpserver, [change(WORKSPACE_HOUR, "the read by workspace")], [change(RECIPE_HOUR, "the read by recipe")]
    )
    pages, comparison = read_pages(scripted_reader, DAY)
    number = str(WORKSPACE_HOUR[metric])
    vendor, portal = (number, None) if lacks == "the read by recipe" else (None, number)
    assert comparison == Comparison(
        Verification.UNVERIFIED, [{"what": metric, "vendor": vendor, "portal": portal, "absent_from": lacks}]
    )
    assert [getattr(row, metric) for row in list_rows(pages) if row.recipe_id is None] in ([], [None])


def test_a_vendor_that_leaves_out_zeros_is_verified_where_the_sums_agree(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    quiet = RECIPE_HOUR | {"recipe_id": 71, "task_count": None, "job_succeeded_count": 0, "job_failed_count": None}
    later = {"from": TEN, "to": "2026-10-14T11:00:00+02:00"}
    idle = {"task_count": None, "job_succeeded_count": None, "job_failed_count": 2}
    serve_usage(
        httpserver,
        [WORKSPACE_HOUR, WORKSPACE_HOUR | later | idle | {"recipe_count": 1}],
        [RECIPE_HOUR, quiet, RECIPE_HOUR | later | idle],
    )
    pages, comparison = read_pages(scripted_reader, DAY)
    assert comparison == Comparison(Verification.VERIFIED)
    assert [row.recipe_id for row in list_rows(pages)] == [70, 71, 70]


def test_usage_of_deleted_recipes_is_never_made_of_a_metric_that_a_recipe_lacks(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    recipes = [
        RECIPE_HOUR | {"task_count": 4},
        RECIPE_HOUR | {"recipe_id": 71, "task_count": None, "job_failed_count": 0},
    ]
    serve_usage(httpserver, [WORKSPACE_HOUR | {"job_succeeded_count": 10}], recipes)
    pages, comparison = read_pages(scripted_reader, DAY)
    assert not [row for row in list_rows(pages) if row.recipe_id is None]
    assert [
        (difference["what"], difference["vendor"], difference["portal"]) for difference in comparison.differences
    ] == [("task_count", "10", "4")]


def test_a_metric_that_is_null_under_one_name_is_taken_from_another():
    row = build_recipe_row(task_count=None, task_usage=8)
    assert row.task_count == 8
