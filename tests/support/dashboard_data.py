"""Sources for tests of the overview: days of this month and the last with sums, in every state, counted from today."""

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
# What `set_day` sets on a day that failed, and on a healthy one.
FAILED = {"state": DayState.FAILED, "failures": 1, "error": "HTTP 503.", "complete": False}
HEALTHY = {"state": DayState.LOADED, "failures": 0, "error": "", "complete": True}
UNITS = {
    "ona": ("runtime_seconds",),
    "gcore": ("minutes", "gbminutes", "bytes"),
    "workato": ("task_count", "job_succeeded_count", "job_failed_count"),
}


def get_today(source: Source) -> date:
    """Return the date it is in a source's zone."""
    return timezone.now().astimezone(source.zone).date()


def create_synced_source(
    slug: str, vendor: str, *, days: int = DAYS, scale: Decimal = Decimal(1), **values: Any
) -> Source:
    """Create a source that was synced every hour for `days` days up to today; the last three are provisional."""
    reader = readers()[vendor]
    zone = values.pop("time_zone", reader.time_zone or "UTC")
    source: Source = SourceFactory.create(
        slug=slug, vendor=vendor, base_url=reader.base_url, time_zone=zone, backfill_from=date(2020, 1, 1), **values
    )
    source.backfill_from = get_today(source) - timedelta(days=days - 1)
    source.next_sync_at = timezone.now() + timedelta(minutes=50)
    source.save()
    SourceDay.objects.bulk_create(build_synced_day(source, ago, scale) for ago in range(days))
    return source


def build_synced_day(source: Source, ago: int, scale: Decimal) -> SourceDay:
    """Return an unsaved day `ago` days before today, synced ten minutes ago."""
    span = Day.of(get_today(source) - timedelta(days=ago), source.zone)
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
        sums={unit: compute_amount(span.date, number, scale) for number, unit in enumerate(UNITS[source.vendor])},
    )


def compute_amount(on: date, number: int, scale: Decimal) -> str:
    """Return the sum of a day: a wave over the week, each unit of another size."""
    wave = Decimal(5 + (on.toordinal() * 7 + number) % 13 - (4 if on.weekday() > 4 else 0))
    return str(wave * scale * Decimal("1000.125") * 1000**number)


def get_day_ago(source: Source, ago: int) -> SourceDay:
    """Return a source's day `ago` days before today."""
    return SourceDay.objects.select_related("source").get(source=source, day=get_today(source) - timedelta(days=ago))


def set_day(source: Source, ago: int, **values: Any) -> SourceDay:
    """Change and return a source's day `ago` days before today; one that is not healthy is not final."""
    day = get_day_ago(source, ago)
    is_unhealthy = not values.get("complete", True) or values.get("verification") == Verification.UNVERIFIED
    if is_unhealthy or "suspicion" in values or "mismatch" in values:
        values = {"final": False, **values}
    SourceDay.objects.filter(pk=day.pk).update(**values)
    return get_day_ago(source, ago)


def create_rollups(source: Source, key: str, ago: range, amount_of_a_day: str, **values: Any) -> None:
    """Create roll-ups of a source: `key` used the same amount on each of these days before today."""
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
            day=get_today(source) - timedelta(days=number),
            records=1,
            digest=1,
            last_changed_at=timezone.now(),
            **{subject.key: key, subject.measure: Decimal(amount_of_a_day), **digits, **values},
        )
        for number in ago
    )
    SourceDay.objects.filter(source=source).update(rolled_up=True)
