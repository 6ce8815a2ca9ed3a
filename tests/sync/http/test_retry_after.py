"""Retry-After: whatever a vendor writes into it, the wait is one that makes sense."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from sync.errors import LONGEST_RETRY_AFTER, ReadDeferred, SyncError, VendorUnavailable
from sync.http.retry_after import parse_retry_after
from tests.support.raw_vendor import SECRET, build_client, get_error

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SIX_HOURS = 6 * 60 * 60.0
EPOCH = NOW.timestamp()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("007", 7),
        (" 2.5 ", 2.5),
        ("2.", 2),
        (".5", 0.5),
        ("Tue, 03 Nov 2026 12:01:30 GMT", 90),
        ("Tuesday, 03-Nov-26 12:01:30 GMT", 90),
        ("Tue Nov  3 12:01:30 2026", 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        (f"{EPOCH + 90:.0f}", 90),
        (f"{EPOCH + 90.5:.1f}", 90.5),
        (f"{(EPOCH + 90) * 1000:.0f}", 90),
        (f"{EPOCH - 60:.0f}", 0),
    ],
)
def test_a_wait_is_read_however_the_vendor_writes_it(header: str, seconds: float):
    assert parse_retry_after(header, NOW) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    "header",
    [
        "21601",
        "1000000000000",
        "9" * 25,
        "9" * 400,
        "1" + "0" * 5000,
        f"{EPOCH + 90_000:.0f}",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
def test_a_vendor_cannot_put_a_day_off_for_more_than_six_hours(header: str):
    assert parse_retry_after(header, NOW) == SIX_HOURS == LONGEST_RETRY_AFTER


@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            "soon",
            "-5",
            "+5",
            "1e3",
            "NaN",
            "inf",
            "-inf",
            "１",
            "5s",
            "0x10",
            "1,5",
            "1 2",
            "120, 120",
            "\x00",
            "Tue,",
        ),
        "2026-11-03T12:01:30Z",
        "Tue, 03 Nov 99999999999999999999 12:01:30 GMT",
        "Tue, 99 Nov 2026 12:01:30 GMT",
        "Tue, 03 Nov 2026 99:99:99 GMT",
        "Tue, 03 Nov 2026 12:01:30 +99999999999999999999999",
    ],
)
def test_what_is_no_wait_is_refused(header: str):
    with pytest.raises(ValueError, match=r".*"):
        parse_retry_after(header, NOW)


PARTS = [
    "Tue",
    ",",
    "03",
    "3",
    "Nov",
    "-",
    "2026",
    "26",
    "0",
    "9" * 30,
    "12",
    ":",
    "GMT",
    "+",
    "0000",
    " ",
    ".",
    "e",
    "-5",
]


@given(st.text(max_size=20) | st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_no_header_is_a_failure_of_the_portal(header: str):
    try:
        assert 0 <= parse_retry_after(header) <= SIX_HOURS
    except ValueError:
        pass


@pytest.mark.parametrize("header", ["-5", "soon" * 1000, "NaN", f"later {SECRET}"])
def test_nonsense_is_ignored_with_a_note_that_names_the_host(
    httpserver: HTTPServer, header: str, caplog: pytest.LogCaptureFixture
):
    httpserver.expect_ordered_request("/").respond_with_data("", status=429, headers={"Retry-After": header})
    httpserver.expect_ordered_request("/").respond_with_data(b"{}")
    with build_client(httpserver.url_for("")) as http:
        assert http.get("/") == b"{}"
    notes: list[Any] = [record.msg for record in caplog.records if record.name.startswith("sync.http")]
    note = next(note for note in notes if note["event"].startswith("Retry-After ignored"))
    assert note["host"] == http.host
    assert len(note["header"]) <= 61
    assert SECRET not in note["header"]


@pytest.mark.parametrize("digits", ["1000000000000", "9" * 25, "9" * 400])
def test_a_wait_of_centuries_leaves_the_worker_as_one_of_hours(httpserver: HTTPServer, digits: str):
    httpserver.expect_request("/").respond_with_data("", status=503, headers={"Retry-After": digits})
    with build_client(httpserver.url_for("")) as http:
        error = get_error(http, VendorUnavailable, "cannot answer now")
    assert error.retry_after == SIX_HOURS


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, None), (5, 5), (-5, 0), (math.inf, SIX_HOURS), (-math.inf, 0), (1e300, SIX_HOURS), (math.nan, None)],
)
def test_an_instant_can_be_made_of_every_wait_that_an_error_holds(seconds: float | None, expected: float | None):
    for kind in (SyncError, VendorUnavailable, ReadDeferred):
        error = kind("later", retry_after=seconds)
        assert error.retry_after == expected
        assert datetime.now(UTC) + timedelta(seconds=error.retry_after or 0)
