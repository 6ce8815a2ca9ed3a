"""One record of Ona: its fields, what rejects it, and its times, cut and never rounded."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.vendors.base import Page
from sync.vendors.ona.mapping import parse_page, parse_record
from sync.vendors.record_limits import InvalidRecord
from tests.support.ona_reader import DAY, RECORD, build_page
from tests.support.ona_reader import _near as _near
from usage.days import Day
from usage.models import EnvironmentRow


def parse(body: bytes, day: Day = DAY) -> Page:
    page = parse_page(body, day, Counter())[0]
    assert all(type(row) is EnvironmentRow for row in page.rows)
    return page


def parse_row(body: bytes) -> EnvironmentRow:
    """Return the row of a page that holds one good record and nothing else."""
    page = parse(body)
    assert (len(page.rows), page.rejected) in ((1, ()), (1, []))
    return EnvironmentRow(*page.rows[0])


# A single record.


def test_a_record_as_documented_becomes_a_row():
    assert parse(build_page({})) == Page(
        [
            EnvironmentRow(
                "run-1",
                "env-1",
                "project-1",
                "user-1",
                "runner-1",
                "class-1",
                datetime(2026, 11, 3, 10, 0, 0, 500_000, tzinfo=UTC),
                datetime(2026, 11, 3, 12, tzinfo=UTC),
            )
        ]
    )


@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_text_is_empty_and_a_missing_start_unknown(absent: str | None):
    only_id = dict.fromkeys(RECORD.keys() - {"id", "stoppedAt"}, absent)
    row = parse_row(build_page(only_id))
    assert row == EnvironmentRow("run-1", "", "", "", "", "", None, datetime(2026, 11, 3, 12, tzinfo=UTC))


def test_null_is_the_same_as_missing():
    body = build_page({}).replace(b'"env-1"', b"null").replace(b'"2026-11-03T10:00:00.5Z"', b"null")
    row = parse_row(body)
    assert (row.environment_id, row.created_at, row.extra) == ("", None, None)


def test_unknown_fields_are_kept_to_the_last_digit():
    body = build_page({}).replace(b'"run-1"', b'"run-1", "cost": 12345678901234567890.12, "labels": {"a": ["\\u00e9"]}')
    row = parse_row(body)
    assert row.extra == '{"cost":12345678901234567890.12,"labels":{"a":["é"]}}'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stoppedAt": None}, "stoppedAt is missing"),
        ({"stoppedAt": "yesterday"}, "stoppedAt is not a time"),
        ({"stoppedAt": 1793707200}, "stoppedAt is not a text"),
        ({"stoppedAt": "2026-11-03T12:00:00"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-03"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-03T12:00:00.1234567x9Z"}, "stoppedAt is not a time"),
        ({"stoppedAt": "2026-11-31T12:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "2026-11-03T24:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "0000-11-03T12:00:00Z"}, "no time of the calendar"),
        ({"stoppedAt": "12026-11-03T12:00:00Z"}, "not a time"),
        ({"stoppedAt": "9999-12-31T23:59:59-01:00"}, "no time of the calendar"),
        ({"stoppedAt": "2026-11-04T00:00:00Z"}, "outside the requested day"),
        ({"stoppedAt": "2026-11-02T23:59:59.999999999Z"}, "outside the requested day"),
        ({"createdAt": "2026-11-03T12:00:00.000001Z"}, "createdAt lies after"),
        ({"createdAt": "0001-01-01T00:00:00Z"}, "before the vendor existed"),
        ({"createdAt": "soon"}, "createdAt is not a time"),
        ({"environmentId": 42}, "environmentId is not a text"),
        ({"id": 42}, "id is not a text"),
        ({"id": ["run-1"]}, "id is not a text"),
        ({"userId": "a\x00b"}, "NUL"),
        ({"projectId": "p" * 2685}, "projectId: 2,685 bytes long, where 2,684 can be stored"),
        ({"weight": float("inf")}, "weight: a number with too many digits"),
    ],
)
def test_a_record_that_cannot_be_kept_is_rejected_with_its_payload(change: dict[str, Any], reason: str):
    body = build_page({"id": "before"}, change, {"id": "after"}).replace(b"Infinity", b"1e999999")
    page = parse(body)
    assert [row[0] for row in page.rows] == ["before", "after"]
    (rejected,) = page.rejected
    assert reason in rejected.reason
    assert json.loads(body.replace(b"1e999999", b'"big"'))["records"][1] == json.loads(
        rejected.payload.replace("1e999999", '"big"')
    )


@pytest.mark.parametrize("record", [b'"run-1"', b"42", b"null", b"[1]", b"true"])
def test_a_record_that_is_no_object_is_rejected(record: bytes):
    page = parse(b'{"records": [%b]}' % record)
    assert page.rows == []
    assert (page.rejected[0].payload, page.rejected[0].reason) == (
        record.decode(),
        "The record is not a JSON object.",
    )


def test_a_record_that_is_no_text_at_all_is_rejected():
    page = parse(build_page({}, {}).replace(b"user-1", b"\xff", 1))
    assert (len(page.rows), len(page.rejected)) == (1, 1)


def test_text_that_only_looks_like_an_escaped_nul_is_kept():
    row = parse_row(build_page({"userId": "a\\u0000b"}))
    assert row.user_id == "a\\u0000b"


def test_a_record_without_an_id_is_named_by_what_it_says():
    body = build_page({"id": None}, {"id": None, "userId": "other"}, {"id": ""}, {})
    record_ids = [row[0] for row in parse(body).rows]
    assert record_ids[0].startswith("~")
    assert record_ids[1].startswith("~")
    # The third equals the first, and both are stored.
    assert record_ids[2] == f"{record_ids[0]}-2"
    assert len(set(record_ids)) == 4
    assert [row[0] for row in parse(body).rows] == record_ids


def test_equal_records_without_an_id_are_counted_over_all_pages():
    nameless: Counter[str] = Counter()
    pages = [parse_page(build_page({"id": None}), DAY, nameless)[0] for _ in range(3)]
    assert len({page.rows[0][0] for page in pages}) == 3


# Times.

DIGITS = st.text("0123456789", max_size=9)
INSTANTS = st.datetimes(datetime(2026, 11, 3), datetime(2026, 11, 3, 23, 59, 59))  # noqa: DTZ001 - of UTC


def format_time(at: datetime, digits: str) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{digits}" if digits else "") + "Z"


@given(at=INSTANTS, digits=DIGITS)
def test_a_time_is_read_exactly_and_cut_never_rounded(at: datetime, digits: str):
    text = format_time(at, digits)
    row = parse_row(build_page({"stoppedAt": text, "createdAt": None}))
    microseconds = int(f"{digits:0<9}"[:6])
    assert row.stopped_at == at.replace(microsecond=microseconds, tzinfo=UTC)
    # What the column cannot hold is kept as the vendor wrote it.
    expected = {"stoppedAt": text} if digits[6:].strip("0") else {}
    assert json.loads(row.extra or "{}") == expected


@given(created=INSTANTS, stopped=INSTANTS, digits=st.tuples(DIGITS, DIGITS))
def test_the_fast_and_the_careful_reading_of_a_record_agree(
    created: datetime, stopped: datetime, digits: tuple[str, str]
):
    times = {"createdAt": format_time(created, digits[0]), "stoppedAt": format_time(stopped, digits[1])}
    page = parse(build_page(times))
    try:
        careful = parse_record(json.dumps(RECORD | times).encode(), DAY, Counter())
    except InvalidRecord:
        assert page.rejected
    else:
        assert page.rows == [careful]


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,12})?[Z+-].{0,5}", fullmatch=True))
def test_whatever_is_written_as_a_time_is_read_or_rejected(text: str):
    page = parse(build_page({"stoppedAt": text}))
    assert len(page.rows) + len(page.rejected) == 1


@given(at=INSTANTS, minutes=st.integers(-14 * 60, 14 * 60))
def test_an_offset_moves_a_time_to_utc(at: datetime, minutes: int):
    local = at + timedelta(minutes=minutes)
    sign, hours = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{local:%Y-%m-%dT%H:%M:%S}{sign}{hours[0]:02}:{hours[1]:02}"
    row = parse_row(build_page({"stoppedAt": text, "createdAt": None}))
    assert row.stopped_at == at.replace(microsecond=0, tzinfo=UTC)
    assert row.stopped_at.tzinfo is UTC
