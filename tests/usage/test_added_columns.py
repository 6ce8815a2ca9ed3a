"""A column that is added after days were stored changes no digest of them, also where they are archived."""

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.support.factories import ResourceUsageFactory
from usage.lake.contents import build_record_hashes
from usage.models import ResourceUsage
from usage.stored import build_hash, build_row_hash

pytestmark = pytest.mark.django_db
ADDED = "resource_name"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Declare a column that was added later."""
    with monkeypatch.context() as release:
        release.setattr(ResourceUsage, "added", (ADDED,))
        yield


def read_hash(sql: str) -> int:
    """Return the sum of the hashes of all records."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sum({sql}) FROM usage_resourceusage t")
        return int(cursor.fetchone()[0])


def read_contents() -> tuple[int, ...]:
    """Return the hashes that an archived day is compared by."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {build_record_hashes(ResourceUsage)} FROM usage_resourceusage t")
        return tuple(int(value) for value in cursor.fetchone())


@pytest.mark.usefixtures("added")
def test_the_digest_of_records_from_before_stays_and_a_value_changes_it() -> None:
    ResourceUsageFactory.create_batch(3, resource_name="")
    fields = ResourceUsage.row._fields
    before = read_hash(build_hash(ResourceUsage, {name: f"t.{name}" for name in fields if name != ADDED}))
    contents = read_contents()

    assert read_hash(build_row_hash(ResourceUsage)) == before
    ResourceUsage.objects.update(resource_name="web")
    assert read_hash(build_row_hash(ResourceUsage)) != before
    assert read_contents() != contents


def test_contents_of_records_from_before_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    ResourceUsageFactory.create_batch(3, resource_name="")
    columns = [field for field in ResourceUsage._meta.local_concrete_fields if field.column != ADDED]
    with monkeypatch.context() as release:
        release.setattr(ResourceUsage._meta, "local_concrete_fields", columns)
        before = read_contents()
    monkeypatch.setattr(ResourceUsage, "added", (ADDED,))
    assert read_contents() == before
