"""What a record said before it was restated is kept, exactly, for as long as the record itself."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.factories import ResourceUsageFactory
from tests.support.scripted_vendor import DAY, Listing, read_day, row
from usage.models import EnvironmentUsage, RecordRevision, Source, SourceDay
from usage.revisions import Change, fetch_image, list_changes, list_revisions

pytestmark = pytest.mark.django_db


def of(record_id: str) -> EnvironmentUsage:
    return EnvironmentUsage.objects.get(record_id=record_id)


def test_a_restated_record_keeps_what_it_was(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(n) for n in range(10)]
    read_day(source)
    before = of("run-3")
    listing.records[DAY][3] = row(3, minutes=45, extra='{"cost": 1.23456789012345678}')
    read_day(source)
    after = of("run-3")

    kept = list_revisions(after)

    assert [(one.number, one.replaced_at) for one in kept] == [(1, after.changed_at)]
    assert {change.field for change in kept[0].changes} == {"created_at", "extra"}
    extra = next(change for change in kept[0].changes if change.field == "extra")
    assert extra == Change("extra", {}, {"cost": Decimal("1.23456789012345678")})
    assert RecordRevision.objects.get().was["created_at"] == before.created_at.isoformat()
    assert list_revisions(of("run-4")) == []


def test_withdrawing_and_returning_are_revisions_too(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(n) for n in range(10)]
    read_day(source)
    taken = listing.records[DAY].pop()
    read_day(source)
    gone = of("run-9")
    listing.records[DAY].append(taken)
    read_day(source)

    back, withdrawn = list_revisions(of("run-9"))

    assert (withdrawn.number, back.number) == (1, 2)
    (left,), (returned,) = withdrawn.changes, back.changes
    assert (left.field, left.old, returned.field, returned.new) == ("withdrawn_at", None, "withdrawn_at", None)
    # As instants: PostgreSQL writes no noughts at the end of a fraction.
    assert datetime.fromisoformat(left.new) == datetime.fromisoformat(returned.old) == gone.withdrawn_at


def test_a_record_that_moves_to_another_day_keeps_the_day_it_had(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(n) for n in range(3)]
    read_day(source)
    moved = listing.records[DAY].pop()
    other = DAY + timedelta(days=1)
    listing.records[other] = [moved._replace(stopped_at=moved.stopped_at + timedelta(days=1))]
    read_day(source, other)

    (kept,) = list_revisions(of("run-2"))

    assert Change("day", str(DAY), str(other)) in kept.changes
    assert SourceDay.objects.get(source=source, day=DAY).records == 2


def test_growth_of_a_day_that_was_not_read_to_its_end_is_no_revision(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [row(0)]
    read_day(source)
    SourceDay.objects.update(covered_until=None)
    listing.records[DAY] = [row(0, minutes=45)]
    read_day(source)

    assert of("run-0").revision == 2
    assert list_revisions(of("run-0")) == []


def test_images_of_numbers_are_exact() -> None:
    record = ResourceUsageFactory(consumed_quantity=Decimal("12345678901234567890.123456789"))

    image = fetch_image(record)

    assert image["consumed_quantity"] == record.consumed_quantity
    assert list_changes(image, image | {"consumed_quantity": Decimal(1)}) == (
        Change("consumed_quantity", record.consumed_quantity, Decimal(1)),
    )
