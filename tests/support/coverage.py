"""Days of a source in every state, as the coverage counts them."""

from datetime import UTC, date, datetime
from typing import Any

from django.utils import timezone

from usage.days import Day
from usage.models import DayState, Source, SourceDay, Verification

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LOADED = {"state": DayState.LOADED, "complete": True, "final": True, "records": 5}
UNVERIFIED = {"final": False, "verification": Verification.UNVERIFIED}


def hold(source: Source, on: date, **values: Any) -> SourceDay:
    """Hold a day of a source, read now unless said otherwise."""
    span = Day.of(on, source.zone)
    told = {"loaded_at": timezone.now(), "covered_until": span.end, **values}
    made: SourceDay = SourceDay.objects.create(source=source, day=on, starts_at=span.start, ends_at=span.end, **told)
    return made
