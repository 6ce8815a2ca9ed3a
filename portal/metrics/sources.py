"""Metrics of the sources, computed from the database at each scrape."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from sync.models import TOTALLED, AttemptTotal
from sync.serializers import annotate_condition
from usage.models import DayStatus, Source, SourceDay
from usage.models.day_status import build_status_case

STATUSES = [
    status
    for status in DayStatus
    if status not in {DayStatus.MISSING, DayStatus.BEFORE_BACKFILL, DayStatus.RETIRED, DayStatus.FUTURE}
]
COUNTERS = {
    "requests": ("portal_source_requests", "Requests to the vendor, retries included."),
    "retries": ("portal_source_retries", "Requests to the vendor that were tried again."),
    "fetched": ("portal_source_records_read", "Records that the vendor reported, each time it did."),
    "rejected": ("portal_source_records_rejected", "Records that could not be stored, each time they were read."),
}


def collect_sources(source_ids: frozenset[int] | None) -> Iterable[Metric]:
    """Yield the metrics of the sources with these ids, None for all."""
    rows = Source.objects.defer("credential")
    if source_ids is not None:
        rows = rows.filter(pk__in=source_ids)
    sources = list(rows)
    slugs = {source.pk: source.slug for source in sources}
    yield from build_gauges(sources)
    yield build_days(slugs)
    yield build_rejected(slugs)
    yield from build_counters(slugs)


def build_gauges(sources: list[Source]) -> Iterable[Metric]:
    """Yield a gauge for each fact about a source."""
    info = GaugeMetricFamily("portal_source_info", "1 for each source.", labels=["source", "vendor"])
    health = GaugeMetricFamily("portal_source_health", "1 for the health of each source.", labels=["source", "health"])
    interval = build_gauge("portal_source_interval_seconds", "Time between two scheduled syncs.")
    lag = build_gauge("portal_source_lag_seconds", "Time since the end of the last day without a gap before it.")
    success = build_gauge("portal_source_last_success_timestamp_seconds", "When a day was last read and stored.")
    records = build_gauge("portal_source_records", "Records that are stored and current.")
    for source in annotate_condition(sources):
        condition: Any = source.condition  # type: ignore[attr-defined]  # annotated
        info.add_metric([source.slug, source.vendor], 1)
        health.add_metric([source.slug, condition.health], 1)
        interval.add_metric([source.slug], source.interval_minutes * 60)
        lag.add_metric([source.slug], condition.lag.total_seconds())
        records.add_metric([source.slug], condition.coverage.records_held)
        if latest := condition.coverage.latest_read:
            success.add_metric([source.slug], latest.timestamp())
    return info, health, interval, lag, success, records


def build_days(slugs: dict[int, str]) -> Metric:
    """Return the number of days of each source by status, 0 for statuses that no day has."""
    days = GaugeMetricFamily("portal_source_days", "Source days by status.", labels=["source", "status"])
    days_of = SourceDay.objects.filter(source__in=slugs).order_by()
    rows = days_of.values_list("source_id", build_status_case(timezone.now())).annotate(Count("pk"))
    counts = Counter({(pk, status): number for pk, status, number in rows})
    for pk, slug in slugs.items():
        for status in STATUSES:
            days.add_metric([slug, status.value], counts[pk, status.value])
    return days


def build_rejected(slugs: dict[int, str]) -> Metric:
    """Return the number of records of each source that could not be stored and are not resolved."""
    rejected = build_gauge("portal_source_rejected_records", "Records that could not be stored, of the last reads.")
    rows = SourceDay.objects.filter(source__in=slugs).order_by().values_list("source_id").annotate(Sum("rejected"))
    counts = dict(rows)
    for pk, slug in slugs.items():
        rejected.add_metric([slug], counts.get(pk, 0))
    return rejected


def build_counters(slugs: dict[int, str]) -> Iterable[Metric]:
    """Yield what the attempts of each source cost, and their number by outcome."""
    attempts = CounterMetricFamily("portal_source_attempts", "Attempts to read a day.", labels=["source", "outcome"])
    sums: Counter[tuple[int, str]] = Counter()
    for total in AttemptTotal.objects.filter(source__in=slugs).order_by("source_id", "outcome"):
        attempts.add_metric([slugs[total.source_id], total.outcome], total.attempts)
        sums.update({(total.source_id, name): getattr(total, name) for name in TOTALLED})
    yield attempts
    for name, (metric, text) in COUNTERS.items():
        counter = CounterMetricFamily(metric, text, labels=["source"])
        for pk, slug in slugs.items():
            counter.add_metric([slug], sums[pk, name])
        yield counter


def build_gauge(name: str, text: str) -> GaugeMetricFamily:
    """Return a gauge with a value for each source."""
    return GaugeMetricFamily(name, text, labels=["source"])
