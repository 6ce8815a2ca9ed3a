"""The one way out of the portal: bounded, retried, rate limited HTTP, to allowed hosts only."""

from sync.http.bounds import Bounds, HTTPStats, Limiter
from sync.http.client import VendorHTTP
from sync.http.exchange import MAX_CONCURRENT

__all__ = ["MAX_CONCURRENT", "Bounds", "HTTPStats", "Limiter", "VendorHTTP"]
