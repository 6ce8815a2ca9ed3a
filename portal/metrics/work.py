"""Metrics of the work: what is due, messages to workers and to people, open incidents, and signs of life."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from math import inf
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q
from django.db.models.functions import Greatest, Now
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from portal.cache import get_redis
from portal.incidents.access import filter_visible
from portal.incidents.conditions import ConditionKind
from portal.incidents.models import OPEN, UNSENT, Incident, Message, Severity
from sync.engine.claim import get_database_time
from sync.heartbeats import get_ages
from usage.models import Source, SourceDay
from usage.standby import STANDBY, get_replica_lag


def collect_queue(source_ids: frozenset[int] | None) -> Iterable[Metric]:
    """Yield how many days of these sources (None: all) may be read now, and for how long the oldest was due."""
    visible = Q() if source_ids is None else Q(source__in=source_ids)
    due = SourceDay.objects.claimable().filter(visible, source__in=Source.objects.running())
    queue = due.aggregate(days=Count("pk"), since=Min("due_at"))
    wait_seconds = (get_database_time() - queue["since"]).total_seconds() if queue["since"] else 0
    yield GaugeMetricFamily("portal_queue_days", "Source days that may be read now.", queue["days"])
    yield GaugeMetricFamily("portal_queue_oldest_seconds", "How long the oldest of these has been due.", wait_seconds)


def collect_incidents(source_ids: frozenset[int] | None) -> Iterable[Metric]:
    """Yield how many incidents of these sources (None: all) are open, and what waits to be sent to people."""
    incidents = GaugeMetricFamily("portal_incidents_open", "Incidents that are open.", labels=["condition", "severity"])
    visible = filter_visible(Incident.objects.filter(OPEN), source_ids, can_view_tokens=False)
    open_counts = Counter(visible.order_by().values_list("condition", "severity"))
    for labels in product(ConditionKind.values, Severity.values):
        incidents.add_metric(labels, open_counts[labels])
    yield incidents
    # A report that waits for its range is checked now and then, which is no delay.
    since = Min(Greatest("created_at", "wait_until"))
    unsent = Message.objects.filter(UNSENT, due_at__lte=Now()).aggregate(messages=Count("pk"), since=since)
    wait_seconds = (get_database_time() - unsent["since"]).total_seconds() if unsent["since"] else 0
    yield GaugeMetricFamily(
        "portal_outbox_messages", "Messages of incidents and reports that are due.", unsent["messages"]
    )
    yield GaugeMetricFamily("portal_outbox_oldest_seconds", "How long the oldest of these waits.", max(wait_seconds, 0))


def collect_standby() -> Iterable[Metric]:
    """Yield whether the standby, if any, serves these figures, and how far it is behind."""
    if STANDBY not in settings.DATABASES:
        return
    lag = get_replica_lag()
    yield GaugeMetricFamily("portal_standby_up", "1 where the standby answered this scrape.", lag is not None)
    if lag is not None:
        yield GaugeMetricFamily("portal_standby_lag_seconds", "How far the standby is behind.", lag)


def collect_messages() -> Iterable[Metric]:
    """Yield the length of the message queue and the ages of the heartbeats; raises RedisError."""
    queue_length: Any = get_redis(settings.REDIS_URL).client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    yield GaugeMetricFamily("portal_queue_messages", "Messages that wait for a worker.", queue_length)
    ages = GaugeMetricFamily(
        "portal_heartbeat_age_seconds", "Time since beat, a worker or a tick was seen.", labels=["program"]
    )
    for heartbeat, age in get_ages().items():
        ages.add_metric([heartbeat.value], inf if age is None else age)
    yield ages
