"""Revisions: the values of a record before a restatement are stored exactly, as long as the record itself."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.factories import ResourceUsageFactory
from tests.support.scripted_vendor import DAY, Listing, build_run, read_day
from usage.models import EnvironmentUsage, RecordRevision, Source, SourceDay
from usage.revisions import Change, fetch_image, list_changes, list_revisions

pytestmark = pytest.mark.django_db


def get_run(record_id: str) -> EnvironmentUsage:
    return EnvironmentUsage.objects.get(record_id=record_id)


def test_a_restated_record_keeps_what_it_was(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    before = get_run("run-3")
    listing.records[DAY][3] = build_run(3, minutes=45, extra='{"cost": 1.23456789012345678}')
    read_day(source)
    after = get_run("run-3")

    revisions = list_revisions(after)

    assert [(revision.number, revision.replaced_at) for revision in revisions] == [(1, after.changed_at)]
    assert {change.field for change in revisions[0].changes} == {"created_at", "extra"}
    extra = next(change for change in revisions[0].changes if change.field == "extra")
    assert extra == Change("extra", {}, {"cost": Decimal("1.23456789012345678")})
    assert RecordRevision.objects.get().was["created_at"] == before.created_at.isoformat()
    assert list_revisions(get_run("run-4")) == []


def test_withdrawing_and_returning_are_revisions_too(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(10)]
    read_day(source)
    record = listing.records[DAY].pop()
    read_day(source)
    withdrawn_run = get_run("run-9")
    listing.records[DAY].append(record)
    read_day(source)

    restoration, withdrawal = list_revisions(get_run("run-9"))

    assert (withdrawal.number, restoration.number) == (1, 2)
    (withdrawal_change,), (restoration_change,) = withdrawal.changes, restoration.changes
    assert (withdrawal_change.field, withdrawal_change.old, restoration_change.field, restoration_change.new) == (
        "withdrawn_at",
        None,
        "withdrawn_at",
        None,
    )
    # As instants: PostgreSQL writes no noughts at the end of a fraction.
    assert (
        datetime.fromisoformat(withdrawal_change.new)
        == datetime.fromisoformat(restoration_change.old)
        == withdrawn_run.withdrawn_at
    )


def test_a_record_that_moves_to_another_day_keeps_the_day_it_had(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n) for n in range(3)]
    read_day(source)
    record = listing.records[DAY].pop()
    next_day = DAY + timedelta(days=1)
    listing.records[next_day] = [record._replace(stopped_at=record.stopped_at + timedelta(days=1))]
    read_day(source, next_day)

    (revision,) = list_revisions(get_run("run-2"))

    assert Change("day", str(DAY), str(next_day)) in revision.changes
    assert SourceDay.objects.get(source=source, day=DAY).records == 2


def test_growth_of_a_day_that_was_not_read_to_its_end_is_no_revision(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(0)]
    read_day(source)
    SourceDay.objects.update(covered_until=None)
    listing.records[DAY] = [build_run(0, minutes=45)]
    read_day(source)

    assert get_run("run-0").revision == 2
    assert list_revisions(get_run("run-0")) == []


def test_images_of_numbers_are_exact() -> None:
    record = ResourceUsageFactory(consumed_quantity=Decimal("12345678901234567890.123456789"))

    image = fetch_image(record)

    assert image["consumed_quantity"] == record.consumed_quantity
    assert list_changes(image, image | {"consumed_quantity": Decimal(1)}) == (
        Change("consumed_quantity", record.consumed_quantity, Decimal(1)),
    )
