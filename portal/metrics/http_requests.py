"""Counts the requests of all web processes of all hosts, in Redis.

prometheus_client's multiprocess mode keeps files of each process on its host: behind a load balancer every scrape would
see another host's. A process counts in memory and writes the counts to Redis each second, so no request waits for
Redis. A process that is killed loses the last second.
"""

import os
import socket
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from portal.cache import get_redis
from portal.environment import is_web_server
from usage.slots import count_under_way

FLUSH_SECONDS = 1.0
BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Whatever clients send: series are made from the portal's own routes and these.
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
OTHER = "other"
FAILURES = (429, 500, 503)

COUNTS = "portal:metrics:requests"
SECONDS = "portal:metrics:seconds"
PROCESSES = "portal:metrics:processes"
PROCESS_SECONDS = 10


class RequestCounts:
    """What this process has counted since it last wrote to Redis."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.flusher = 0

    def record(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Count a request by its route, method and status, and its duration by its route."""
        route, method = name_route(request), name_method(request)
        with self.lock:
            self.counts[f"{route} {method} {status}"] += 1
            self.seconds[f"{route} {bisect_left(BOUNDS, seconds)}"] += 1
            self.seconds[f"{route} sum"] += seconds  # type: ignore[assignment]  # a Counter adds fractions too
        if self.flusher != os.getpid() and is_web_server():
            self.flusher = os.getpid()
            threading.Thread(target=self.flush_forever, daemon=True).start()

    def flush_forever(self) -> None:
        """Write the counts to Redis, each second."""
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()

    def flush(self) -> None:
        """Write the counts and the number of running exports to Redis; without Redis they stay for the next time."""
        with self.lock:
            counts, self.counts = self.counts, Counter()
            seconds, self.seconds = self.seconds, Counter()
        redis = get_redis(settings.REDIS_URL)
        pipeline = redis.client.pipeline()
        for name, number in counts.items():
            pipeline.hincrby(COUNTS, name, number)
        for name, amount in seconds.items():
            pipeline.hincrbyfloat(SECONDS, name, amount)
        process = f"{socket.gethostname()}:{os.getpid()}"
        pipeline.sadd(PROCESSES, process)
        pipeline.set(f"{PROCESSES}:{process}", count_under_way(), ex=PROCESS_SECONDS)
        if redis.call(pipeline.execute, None) is None:
            with self.lock:
                self.counts += counts
                self.seconds += seconds


request_counts = RequestCounts()


def name_method(request: HttpRequest) -> str:
    """Return the method of a request; `other` for an unknown method."""
    return request.method if request.method in METHODS else OTHER


def name_route(request: HttpRequest) -> str:
    """Return the name of a request's route, whose number is bounded by the code; `other` where there is none."""
    match = request.resolver_match
    return match.view_name if match else OTHER


def collect_requests() -> Iterable[Metric]:
    """Yield the metrics of all requests; raises RedisError."""
    redis: Any = get_redis(settings.REDIS_URL).client  # its annotations are of both clients, also the asynchronous
    yield build_counter(redis)
    yield build_histogram(redis)
    yield from build_process_gauges(redis)


def build_counter(redis: Any) -> Metric:
    """Return the number of requests by route, method and status."""
    labels = ["route", "method", "status"]
    counter = CounterMetricFamily("portal_http_requests", "Requests that were answered.", labels=labels)
    numbers = read_hash(redis, COUNTS)
    # A rate needs a value before the first failure: each requested route has them from 0 on.
    routes = {name.rpartition(" ")[0] for name in numbers}
    numbers = {f"{route} {status}": 0.0 for route in routes for status in FAILURES} | numbers
    for name, number in sorted(numbers.items()):
        counter.add_metric(name.split(" "), number)
    return counter


def build_histogram(redis: Any) -> Metric:
    """Return the durations of requests by route, until their answers began."""
    histogram = HistogramMetricFamily(
        "portal_http_request_duration_seconds", "Time until an answer began.", labels=["route"]
    )
    by_route: dict[str, dict[str, float]] = {}
    for name, number in read_hash(redis, SECONDS).items():
        route, _, part = name.rpartition(" ")
        by_route.setdefault(route, {})[part] = number
    for route, parts in sorted(by_route.items()):
        buckets, total = [], 0.0
        for index, bound in enumerate((*BOUNDS, "+Inf")):
            total += parts.get(str(index), 0)
            buckets.append((str(bound), total))
        histogram.add_metric([route], buckets, parts.get("sum", 0))
    return histogram


def build_process_gauges(redis: Any) -> Iterable[Metric]:
    """Yield how many web processes there are, and how many exports they make."""
    processes = sorted(name.decode() for name in redis.smembers(PROCESSES))
    counts = redis.mget([f"{PROCESSES}:{process}" for process in processes]) if processes else []
    if ended_processes := [process for process, count in zip(processes, counts, strict=True) if count is None]:
        redis.srem(PROCESSES, *ended_processes)
    live = [int(count) for count in counts if count is not None]
    yield GaugeMetricFamily("portal_web_processes", "Web processes that answered a request and live.", len(live))
    yield GaugeMetricFamily(
        "portal_exports_running", "Exports, files of Explore and large summaries under way.", sum(live)
    )


def read_hash(redis: Any, key: str) -> dict[str, float]:
    """Return a hash of numbers."""
    return {name.decode(): float(number) for name, number in redis.hgetall(key).items()}
