"""Days in doubt: an answer names them, provisional or not complete, and what a person accepted of them."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine

from tests.support.factories import SourceDayFactory, SourceFactory
from tests.usage.data_quality.conftest import assess_range, at, create_days
from usage.data_quality.messages import describe_findings
from usage.days import Day

pytestmark = pytest.mark.django_db
UNVERIFIED = {"final": False, "verification": "unverified", "findings": "f" * 32}
ACCEPTED = {"accepted_at": at(8), "accepted_by": "alex", "accepted_reason": "The vendor knows of it."}
ACCEPTANCE = {"reason": "The vendor knows of it.", "at": "2026-01-08T00:00:00Z"}


@pytest.mark.parametrize(
    "values",
    [
        {"state": "suspect", "final": False, "suspicion": {"held": 5, "reported": 1}},
        # The vendor's response that made it suspect still counts while the day is due, read or failed again.
        {"state": "due", "final": False, "suspicion": {"held": 5, "reported": 1}},
        {"state": "suspect"},
    ],
)
def test_a_suspect_day_makes_an_answer_provisional_from_it_on_and_is_named(values: dict[str, Any]) -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1, 2, 4, 5)
    create_days(source, 3, **values)
    quality = assess_range(at(1), at(6))
    assert quality.meta()["suspect_days"] == {"total": 1, "days": [{"source": "a", "day": "2026-01-03"}]}
    assert (quality.provisional_from, quality.unsettled_from) == (date(2026, 1, 3), date(2026, 1, 3))
    assert quality.complete  # every record of an accepted read is stored


def test_an_unverified_day_is_named_and_complete_keeps_its_meaning() -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1, 3)
    create_days(source, 2, **UNVERIFIED)
    quality = assess_range(at(1), at(4))
    expected = {"total": 1, "days": [{"source": "a", "day": "2026-01-02", "accepted": None}]}
    assert quality.meta()["unverified_days"] == expected
    assert (quality.complete, quality.provisional_from) == (True, date(2026, 1, 2))


def test_a_day_whose_stored_records_differ_is_named_and_provisional() -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1, 3)
    create_days(source, 2, final=False, mismatch=[{"code": "records"}])
    quality = assess_range(at(1), at(4))
    assert quality.meta()["mismatched_days"] == {"total": 1, "days": [{"source": "a", "day": "2026-01-02"}]}
    assert quality.provisional_from == date(2026, 1, 2)


def test_an_accepted_day_states_its_reason_and_counts_as_provisional_until_its_closing_read() -> None:
    source = SourceFactory(slug="a", backfill_from=date(2025, 12, 30))
    for day, read_at in ((30, at(4)), (31, at(3, month=1))):
        span = Day.of(date(2025, 12, day), source.zone)
        values = {"complete": True, "loaded_at": read_at, "state": "loaded", **UNVERIFIED, **ACCEPTED}
        SourceDayFactory(source=source, day=span.date, starts_at=span.start, ends_at=span.end, **values)
    create_days(source, 1, **UNVERIFIED, **ACCEPTED)
    quality = assess_range(datetime(2025, 12, 30, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))
    # Of December, whose closing read is due from 4 January on; the 31st was read a day before that.
    assert quality.lists["unverified_days"]["days"] == [{"source": "a", "day": "2025-12-30", "accepted": ACCEPTANCE}]
    assert (quality.provisional_from, quality.unsettled_from) == (None, None)
    assert assess_range(datetime(2025, 12, 30, tzinfo=UTC), at(1)).provisional_from == date(2025, 12, 31)
    assert assess_range(at(1), at(2)).provisional_from == date(2026, 1, 1)


@pytest.mark.parametrize("values", [{"suspicion": {"held": 1}}, {"state": "suspect"}, {"mismatch": [{"code": "sums"}]}])
def test_an_acceptance_covers_no_later_doubt(values: dict[str, Any]) -> None:
    source = SourceFactory(backfill_from=date(2026, 1, 1), look_back_days=0)
    with time_machine.travel(at(5, month=2)):
        create_days(source, 31)
        create_days(source, 1, **UNVERIFIED, **ACCEPTED, **values, loaded_at=at(4, month=2))
        assert assess_range(at(1), at(2)).provisional_from == date(2026, 1, 1)


def test_an_accepted_partial_day_stays_incomplete_and_says_why() -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1)
    create_days(source, 2, state="partial", complete=False, final=False, rejected=1, findings="f" * 32, **ACCEPTED)
    quality = assess_range(at(1), at(3))
    assert not quality.complete
    assert quality.lists["partial_days"]["days"] == [{"source": "a", "day": "2026-01-02", "accepted": ACCEPTANCE}]


def test_unverified_days_are_named_and_of_many_accepted_days_the_first() -> None:
    source = SourceFactory(slug="a")
    create_days(source, *range(1, 9), **UNVERIFIED, **ACCEPTED)
    create_days(source, 9, **UNVERIFIED)
    sentences = list(describe_findings(assess_range(at(1), at(10)).meta()))
    assert sentences[0] == "1 day does not agree with the vendor's own sums: a 9 Jan 2026."
    accepted = "Jan 2026: a person accepted its findings on 8 Jan 2026: “The vendor knows of it.”"
    assert sentences[1:6] == [f"a {day} {accepted}" for day in range(1, 6)]
    assert sentences[6:] == ["3 days more have findings that a person accepted."]
