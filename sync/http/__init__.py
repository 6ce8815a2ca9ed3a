"""The one way out of the portal: bounded, retried, rate limited HTTP, to allowed hosts only."""

from sync.http.bounds import Bounds, HTTPStats, Limiter
from sync.http.client import VendorHTTP

__all__ = ["Bounds", "HTTPStats", "Limiter", "VendorHTTP"]
