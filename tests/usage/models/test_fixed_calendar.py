"""A source's vendor and time zone are fixed once days of it are held: by the form, and by the database for everybody."""

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
def held() -> Source:
    """A source of which a day is held."""
    source: Source = SourceFactory(slug="held", vendor="ona", base_url="https://app.ona.com/api")
    today = timezone.now().date()
    ensure_days(source, today, today + timedelta(days=1))
    return source


@pytest.mark.parametrize("changed", [{"time_zone": "Asia/Tokyo"}, {"vendor": "workato"}])
def test_no_query_changes_them(held: Source, changed: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="The vendor and the time zone of held are fixed"), transaction.atomic():
        Source.objects.filter(pk=held.pk).update(**changed)
    for name, value in changed.items():
        setattr(held, name, value)
    with pytest.raises(IntegrityError), transaction.atomic():
        held.save()
    held.refresh_from_db()
    assert (held.vendor, held.time_zone) == ("ona", "UTC")


def test_nor_does_sql_by_hand(held: Source) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE usage_source SET time_zone = 'Asia/Tokyo'")


def test_everything_else_can_be_changed(held: Source) -> None:
    held.interval_minutes, held.time_zone = 5, "UTC"
    held.save()

    held.refresh_from_db()
    assert held.interval_minutes == 5


def test_until_a_day_is_held_the_zone_is_free(held: Source) -> None:
    SourceDay.objects.all().delete()

    Source.objects.update(time_zone="Asia/Tokyo")

    assert Source.objects.get().zone.key == "Asia/Tokyo"


def test_people_are_told_before_the_database_has_to_refuse(held: Source) -> None:
    held.time_zone = "Asia/Tokyo"
    assert "time_zone" not in find_errors(held)  # its days were only planned

    SourceDay.objects.update(loaded_at=timezone.now())

    said = "It stays UTC: days of this source are stored. Add another source instead."
    assert find_errors(held)["time_zone"] == said
