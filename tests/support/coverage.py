"""Days of a source in every state, as the coverage counts them."""

from datetime import UTC, date, datetime
from typing import Any

from django.utils import timezone

from usage.days import Day
from usage.models import DayState, Source, SourceDay, Verification

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LOADED = {"state": DayState.LOADED, "complete": True, "final": True, "records": 5}
UNVERIFIED = {"final": False, "verification": Verification.UNVERIFIED}


def create_day(source: Source, on: date, **values: Any) -> SourceDay:
    """Create a day of a source, by default synced now."""
    span = Day.of(on, source.zone)
    fields = {"loaded_at": timezone.now(), "covered_until": span.end, **values}
    source_day: SourceDay = SourceDay.objects.create(
        source=source, day=on, starts_at=span.start, ends_at=span.end, **fields
    )
    return source_day
