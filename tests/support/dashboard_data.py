"""Sources as the overview shows them: days of this month and last with sums, in every state, made from today on."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from portal.dashboard.movers import SUBJECTS
from sync.vendors import readers
from tests.support.factories import SourceFactory
from usage.data_quality import VENDOR_KINDS
from usage.days import Day
from usage.models import (
    DayState,
    EnvironmentDay,
    RecipeWorkspaceDay,
    ResourceDay,
    Source,
    SourceDay,
    Verification,
)

DAYS = 95
# What `set_day` sets on a day that failed, and on one that was read.
FAILED = {"state": DayState.FAILED, "failures": 1, "error": "HTTP 503.", "complete": False}
SOUND = {"state": DayState.LOADED, "failures": 0, "error": "", "complete": True}
UNITS = {
    "ona": ("runtime_seconds",),
    "gcore": ("minutes", "gbminutes", "bytes"),
    "workato": ("task_count", "job_succeeded_count", "job_failed_count"),
}


def today(source: Source) -> date:
    """Return the date it is in a source's zone."""
    return timezone.now().astimezone(source.zone).date()


def kept(slug: str, vendor: str, *, days: int = DAYS, scale: Decimal = Decimal(1), **values: Any) -> Source:
    """Create a source that was read every hour for `days` days, today among them; the last three are provisional."""
    reader = readers()[vendor]
    zone = values.pop("time_zone", reader.time_zone or "UTC")
    made: Source = SourceFactory.create(
        slug=slug, vendor=vendor, base_url=reader.base_url, time_zone=zone, backfill_from=date(2020, 1, 1), **values
    )
    made.backfill_from = today(made) - timedelta(days=days - 1)
    made.next_sync_at = timezone.now() + timedelta(minutes=50)
    made.save()
    SourceDay.objects.bulk_create(read_day(made, ago, scale) for ago in range(days))
    return made


def read_day(source: Source, ago: int, scale: Decimal) -> SourceDay:
    """Return the day so many days before today, read ten minutes ago."""
    span = Day.of(today(source) - timedelta(days=ago), source.zone)
    read_at = timezone.now() - timedelta(minutes=10)
    return SourceDay(
        source=source,
        day=span.date,
        starts_at=span.start,
        ends_at=span.end,
        state=DayState.LOADED if ago else DayState.DUE,
        due_at=timezone.now() + timedelta(minutes=50),
        complete=bool(ago),
        final=ago > 2,
        loaded_at=read_at,
        covered_until=min(span.end, read_at),
        attempt=1,
        records=100 + ago,
        sums={unit: amount(span.date, number, scale) for number, unit in enumerate(UNITS[source.vendor])},
    )


def amount(on: date, number: int, scale: Decimal) -> str:
    """Return what a day adds up to: a wave over the week, each unit of another size."""
    wave = Decimal(5 + (on.toordinal() * 7 + number) % 13 - (4 if on.weekday() > 4 else 0))
    return str(wave * scale * Decimal("1000.125") * 1000**number)


def of_ago(source: Source, ago: int) -> SourceDay:
    """Return a source's day so many days before today."""
    return SourceDay.objects.select_related("source").get(source=source, day=today(source) - timedelta(days=ago))


def set_day(source: Source, ago: int, **values: Any) -> SourceDay:
    """Change a source's day so many days before today, and return it; one that is not sound is not final."""
    day = of_ago(source, ago)
    unsound = not values.get("complete", True) or values.get("verification") == Verification.UNVERIFIED
    if unsound or "suspicion" in values or "mismatch" in values:
        values = {"final": False, **values}
    SourceDay.objects.filter(pk=day.pk).update(**values)
    return of_ago(source, ago)


def move(source: Source, key: str, ago: range, amount_of_a_day: str, **values: Any) -> None:
    """Roll up days of a source: something used the same on each of these days before today."""
    subject = SUBJECTS[VENDOR_KINDS[source.vendor]]
    rollup: Any = subject.rollup
    digits = {"records_without_runtime": 0} if rollup is EnvironmentDay else {}
    if rollup is ResourceDay:
        digits = {"records_beyond_decimal": 0}
        values = {"resource_type": "instance", "billing_metric": "standard", "consumed_unit": "minutes", **values}
    if rollup is RecipeWorkspaceDay:
        digits = {f"records_without_{name}": 0 for name in ("task_count", "job_succeeded_count", "job_failed_count")}
        values = {"external_id": "", "workspace_name": f"Workspace {key}", **values}
    rollup.objects.bulk_create(
        rollup(
            source=source,
            day=today(source) - timedelta(days=number),
            records=1,
            digest=1,
            last_changed_at=timezone.now(),
            **{subject.key: key, subject.measure: Decimal(amount_of_a_day), **digits, **values},
        )
        for number in ago
    )
    SourceDay.objects.filter(source=source).update(rolled_up=True)
