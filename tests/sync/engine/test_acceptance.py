"""Acceptance: a person takes a day's findings as they are, with a reason, and may take that back."""

from typing import Any

import pytest

from sync.engine.acceptance import LONGEST_REASON, accept_findings, withdraw_acceptance
from sync.errors import SyncError
from sync.vendors.base import Rejection
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.scripted_vendor import DAY, Listing, read_day
from usage.models import DayState, Source, SourceDay, Verification

pytestmark = pytest.mark.django_db


@pytest.fixture
def day() -> SourceDay:
    """A day that differs from the vendor's sums."""
    source_day: SourceDay = SourceDayFactory.create(
        source=SourceFactory.create(slug="main"),
        state=DayState.LOADED,
        complete=True,
        loaded_at="2026-01-05T00:00:00Z",
        verification=Verification.UNVERIFIED,
        differences=[{"what": "total", "vendor": "2", "portal": "1"}],
        findings="f" * 32,
    )
    return source_day


def test_an_acceptance_is_kept_with_its_reason_its_person_and_its_instant(day: SourceDay) -> None:
    accepted = accept_findings(day, "alex", "  The vendor knows of it.\n")

    day.refresh_from_db()
    assert accepted.accepted_at == day.accepted_at is not None
    assert (day.accepted_by, day.accepted_reason) == ("alex", "The vendor knows of it.")


@pytest.mark.parametrize("reason", ["", "  \n", "x" * (LONGEST_REASON + 1), "a\x00b", "a\udc80b"])
def test_a_reason_that_is_missing_too_long_or_cannot_be_stored_is_refused(day: SourceDay, reason: str) -> None:
    with pytest.raises(SyncError, match="reason"):
        accept_findings(day, "alex", reason)
    day.refresh_from_db()
    assert day.accepted_at is None


def test_a_reason_of_the_longest_length_is_kept(day: SourceDay) -> None:
    assert accept_findings(day, "alex", f" {'x' * LONGEST_REASON} ").accepted_reason == "x" * LONGEST_REASON


def test_a_day_without_findings_cannot_be_accepted(day: SourceDay) -> None:
    SourceDay.objects.filter(pk=day.pk).update(findings="")
    day.refresh_from_db()

    with pytest.raises(SyncError, match="nothing to accept"):
        accept_findings(day, "alex", "Known.")


def test_findings_that_changed_since_the_person_saw_them_are_not_accepted(day: SourceDay) -> None:
    SourceDay.objects.filter(pk=day.pk).update(findings="e" * 32)

    with pytest.raises(SyncError, match="changed meanwhile"):
        accept_findings(day, "alex", "Known.")


def test_an_acceptance_may_be_withdrawn_once(day: SourceDay) -> None:
    withdraw_acceptance(accept_findings(day, "alex", "Known."))

    day.refresh_from_db()
    assert (day.accepted_at, day.accepted_by, day.accepted_reason) == (None, "", "")
    with pytest.raises(SyncError, match="nothing to withdraw"):
        withdraw_acceptance(day)


@pytest.mark.parametrize(("verification", "final"), [(Verification.UNVERIFIED, False), (Verification.VERIFIED, True)])
def test_a_day_is_final_without_its_acceptance_unless_it_differs_from_the_vendors_totals(
    day: SourceDay, verification: Verification, final: bool
) -> None:
    accept_findings(day, "alex", "Known.")
    span_end = {"covered_until": day.ends_at, "finalized_at": day.ends_at}
    SourceDay.objects.filter(pk=day.pk).update(verification=verification, final=True, **span_end)

    assert withdraw_acceptance(day).final is final


def test_a_long_name_is_cut_to_what_the_column_takes(day: SourceDay) -> None:
    column: Any = SourceDay._meta.get_field("accepted_by")

    assert len(accept_findings(day, "a" * 300, "Known.").accepted_by) == column.max_length


def test_an_acceptance_stands_in_whatever_order_thousands_of_rejected_records_come(
    source: Source, listing: Listing
) -> None:
    bad = [Rejection(f'{{"number": {number}}}', "It has no id.") for number in range(1500)]
    listing.rejected[DAY] = bad
    read_day(source)
    accept_findings(SourceDay.objects.get(), "sam", "The vendor knows.")

    listing.rejected[DAY] = bad[::-1]
    read_day(source)
    assert SourceDay.objects.get().accepted_reason == "The vendor knows."

    listing.rejected[DAY] = [*bad[:-1], Rejection("{}", "It has no id.")]
    read_day(source)
    assert SourceDay.objects.get().accepted_at is None
