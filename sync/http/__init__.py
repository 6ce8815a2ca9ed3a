"""The one way out of the portal: bounded, retried, rate limited HTTP, to allowed hosts only."""

from sync.http.bounds import Bounds, HTTPStats, Limiter
from sync.http.client import AT_ONCE, VendorHTTP

__all__ = ["AT_ONCE", "Bounds", "HTTPStats", "Limiter", "VendorHTTP"]
