"""A source's vendor and time zone are fixed once it has days: by the form, and by the database."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from sync.engine.plan import ensure_days
from sync.sources import find_errors
from tests.support.factories import SourceFactory
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db


@pytest.fixture
def source() -> Source:
    """A source that has a day."""
    created: Source = SourceFactory(slug="held", vendor="ona", base_url="https://app.ona.com/api")
    today = timezone.now().date()
    ensure_days(created, today, today + timedelta(days=1))
    return created


@pytest.mark.parametrize("changed", [{"time_zone": "Asia/Tokyo"}, {"vendor": "workato"}])
def test_no_query_changes_them(source: Source, changed: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="The vendor and the time zone of held are fixed"), transaction.atomic():
        Source.objects.filter(pk=source.pk).update(**changed)
    for name, value in changed.items():
        setattr(source, name, value)
    with pytest.raises(IntegrityError), transaction.atomic():
        source.save()
    source.refresh_from_db()
    assert (source.vendor, source.time_zone) == ("ona", "UTC")


def test_nor_does_sql_by_hand(source: Source) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE usage_source SET time_zone = 'Asia/Tokyo'")


def test_everything_else_can_be_changed(source: Source) -> None:
    source.interval_minutes, source.time_zone = 5, "UTC"
    source.save()

    source.refresh_from_db()
    assert source.interval_minutes == 5


def test_until_a_day_is_held_the_zone_is_free(source: Source) -> None:
    SourceDay.objects.all().delete()

    Source.objects.update(time_zone="Asia/Tokyo")

    assert Source.objects.get().zone.key == "Asia/Tokyo"


def test_people_are_told_before_the_database_has_to_refuse(source: Source) -> None:
    source.time_zone = "Asia/Tokyo"
    assert "time_zone" not in find_errors(source)  # its days were only planned

    SourceDay.objects.update(loaded_at=timezone.now())

    message = "It stays UTC: days of this source are stored. Add another source instead."
    assert find_errors(source)["time_zone"] == message
