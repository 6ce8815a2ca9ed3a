"""Differences of stored records from those that were read, in words."""

import pytest

from usage.integrity import Mismatch


@pytest.mark.parametrize(
    ("mismatch", "text"),
    [
        (Mismatch("records", 3, 2), "records: 2 stored, 3 expected"),
        (Mismatch("digest", "a", "b"), "the records differ from those that were read"),
        (Mismatch("rollups", None, {"EnvironmentDay": 2}), "2 rows of EnvironmentDay differ"),
        (
            Mismatch("archive", "a", "b"),
            "columns, withdrawn records or revisions in the lake differ from those that were archived",
        ),
        (Mismatch("lake", None, "The lake cannot be read."), "The lake cannot be read."),
    ],
)
def test_a_difference_says_what_differs(mismatch: Mismatch, text: str) -> None:
    assert str(mismatch) == text
