"""Source days of January 2026, assessed on the eleventh."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from tests.support.factories import SourceDayFactory
from usage.data_quality import DataQuality, assess
from usage.days import Day
from usage.models import EnvironmentUsage, Source

UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 1, 11, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def at(day: int, month: int = 1) -> datetime:
    """Return the start of a UTC day of 2026."""
    return datetime(2026, month, day, tzinfo=UTC)


def create_days(source: Source, *days: int, **changes: Any) -> None:
    """Create these days of January, by default complete and final."""
    for day in days:
        span = Day.of(date(2026, 1, day), source.zone)
        values = {"complete": True, "final": True, "loaded_at": NOW, "state": "loaded", **changes}
        SourceDayFactory(source=source, day=span.date, starts_at=span.start, ends_at=span.end, **values)


def assess_range(start: datetime | None = None, end: datetime | None = None, **options: Any) -> DataQuality:
    """Return the data quality of a range, by default of environments in UTC."""
    values: dict[str, Any] = {"source_ids": None, "row_scope": None, "zone": UTC_ZONE, **options}
    return assess(values.pop("kind", EnvironmentUsage), start=start, end=end, **values)
