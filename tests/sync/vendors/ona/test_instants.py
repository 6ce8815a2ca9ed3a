"""Ona's instants have nine fractional digits, of which a column stores six."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sync.vendors.ona.instants import restore_nanoseconds, to_nanoseconds

STORED = datetime(2026, 11, 9, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-09T12:00:00.123456789Z", 789),
        ("2026-11-09t12:00:00.123456789z", 789),
        ("2026-11-09T14:00:00.1234567+02:00", 700),
        ("2026-11-09T07:00:00.12345678-05:00", 780),
        ("2026-11-09T12:00:00.1234567890123Z", 789),
    ],
)
def test_the_digits_that_a_column_lacks_are_taken_from_the_vendors_text(text: str, nanoseconds: int) -> None:
    assert restore_nanoseconds(text, STORED) == to_nanoseconds(STORED) + nanoseconds


@pytest.mark.parametrize("text", [None, 7, "", "2026-11-09T12:00:00Z", "2026-11-09T12:00:00.Z", "soon. Perhaps"])
def test_what_is_no_finer_time_leaves_the_stored_instant(text: Any) -> None:
    assert restore_nanoseconds(text, STORED) == to_nanoseconds(STORED)
