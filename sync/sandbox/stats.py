"""Counts of a sandbox server's requests, how many were under way at once, and its rate limit."""

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class RequestLog(NamedTuple):
    """One request: `at` in Unix seconds, `fault` the name of the request fault it met or an empty string."""

    at: float
    vendor: str
    method: str
    path: str
    status: int
    fault: str
    body: bytes
    user_agent: str


@dataclass
class Stats:
    """Counters since the start or the last reset.

    `requests` has the latest 20,000; `statuses` counts all by (vendor, path, status), status 0 standing for
    a request that got no complete answer; `most` is the largest number at once by vendor.
    """

    requests: deque[RequestLog] = field(default_factory=lambda: deque(maxlen=20_000))
    statuses: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    bytes_sent: int = 0

    def begin(self, vendor: str) -> None:
        self.now[vendor] += 1
        if self.now[vendor] > self.most.get(vendor, 0):
            self.most[vendor] = self.now[vendor]

    def end(self, request: RequestLog, sent: int) -> None:
        """Count a request that is over, `sent` bytes of body later."""
        self.now[request.vendor] -= 1
        self.requests.append(request)
        self.statuses[request.vendor, request.path, request.status] += 1
        self.bytes_sent += sent
        if request.fault:
            self.faults[request.vendor, request.fault] += 1

    def count(self, vendor: str | None = None, status: int | None = None) -> int:
        """Return how many requests were answered, of one vendor or status or of all."""
        return sum(
            number
            for (request_vendor, _path, request_status), number in self.statuses.items()
            if vendor in (None, request_vendor) and status in (None, request_status)
        )

    def reset(self) -> None:
        """Start counting anew; requests under way stay counted as such."""
        self.requests.clear()
        self.statuses.clear()
        self.faults.clear()
        self.most = {vendor: number for vendor, number in self.now.items() if number}
        self.bytes_sent = 0

    def build_json(self) -> dict[str, Any]:
        """Return the counters and the latest requests as a JSON-ready object."""
        return {
            "requests": self.count(),
            "by_status": [
                {"vendor": vendor, "path": path, "status": status, "count": count}
                for (vendor, path, status), count in sorted(self.statuses.items())
            ],
            "faults": {f"{vendor}.{name}": count for (vendor, name), count in sorted(self.faults.items())},
            "max_concurrent": self.most,
            "bytes_sent": self.bytes_sent,
            "latest": [
                {
                    "at": request.at,
                    "vendor": request.vendor,
                    "path": request.path,
                    "status": request.status,
                    "fault": request.fault,
                }
                for request in self.requests
            ],
        }


class RateLimit:
    """At most so many requests of one credential within any minute."""

    def __init__(self, requests_per_minute: int) -> None:
        self.requests_per_minute = requests_per_minute
        self._times: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def get_wait(self, vendor: str, credential: str, now: float) -> int:
        """Count a request at monotonic second `now`; return 0, or the seconds to wait if it is too many."""
        with self._lock:
            times = self._times.setdefault((vendor, credential), deque())
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= self.requests_per_minute:
                return max(1, math.ceil(times[0] + 60 - now))
            times.append(now)
            return 0
