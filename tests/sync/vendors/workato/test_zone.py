"""Workato writes its times in the account's zone: a source with another zone fails with a reason."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.sandbox.world import World
from sync.sources import probe
from sync.vendors.workato.schema import OtherZoneError, parse_bound
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import create_source
from usage.days import Day
from usage.models import DayState, RecipeUsage, RejectedRecord, SourceDay

ON = date(2026, 10, 14)
BERLIN = "Europe/Berlin"


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC", "Europe/London"])
def test_an_account_of_another_zone_fails_the_load_and_holds_nothing(zone: str, settings) -> None:
    noon = datetime(2026, 10, 20, 12, tzinfo=UTC)
    with SandboxServer(World(now=lambda: noon, zone=BERLIN)) as sandbox:
        source = create_source("workato", sandbox, settings, time_zone=zone, backfill_from=ON)
        ensure_days(source, ON, ON + timedelta(days=1))
        attempt = load_next(source.pk)

    assert attempt is not None
    day = SourceDay.objects.get()
    assert (attempt.outcome, day.state) == ("failed", DayState.FAILED)
    assert f"is not a time of {zone}" in day.error
    assert "is the source's time zone the account's?" in day.error
    assert not RecipeUsage.objects.exists()
    assert not RejectedRecord.objects.exists()


@pytest.mark.django_db
def test_the_test_of_a_connection_tells_it_too(settings) -> None:
    with SandboxServer(World(zone=BERLIN)) as sandbox:
        result = probe(create_source("workato", sandbox, settings, time_zone="Asia/Tokyo", backfill_from=ON))

    assert not result.ok
    assert "is not a time of Asia/Tokyo, whose offset is then +09:00" in result.message


@pytest.mark.parametrize(
    ("zone", "on", "text"),
    [
        (BERLIN, ON, "2026-10-14T09:00:00.000+02:00"),
        (BERLIN, date(2026, 1, 14), "2026-01-14T09:00:00+01:00"),
        ("Europe/London", date(2026, 1, 14), "2026-01-14T09:00:00Z"),
        # The end of the last hour of summer time, in either offset.
        (BERLIN, date(2026, 10, 25), "2026-10-25T03:00:00+02:00"),
        (BERLIN, date(2026, 10, 25), "2026-10-25T02:00:00+01:00"),
        (BERLIN, ON, "2026-10-14T09:00:00"),
    ],
)
def test_a_time_of_the_sources_zone_is_taken(zone: str, on: date, text: str) -> None:
    day = Day.of(on, zone)

    expected = datetime.fromisoformat(text)
    expected = expected if expected.tzinfo else expected.replace(tzinfo=ZoneInfo(zone))
    assert parse_bound("from", text, day) == expected


@pytest.mark.parametrize("text", ["2026-10-14T09:00:00+03:00", "2026-10-14T09:00:00Z", "2026-10-14T09:00:00+01:00"])
def test_a_time_of_another_zone_is_refused_with_both_offsets(text: str) -> None:
    with pytest.raises(OtherZoneError, match=r"of Europe/Berlin, whose offset is then \+02:00") as exc_info:
        parse_bound("from", text, Day.of(ON, BERLIN))
    assert text in str(exc_info.value)
