"""Embedded PostgreSQL and Valkey from wheels, for the demo and the tests; never imported in production."""

from portal.embedded.manager import Services, needs_servers, provide_servers
from portal.embedded.paths import ServiceError

__all__ = ["ServiceError", "Services", "needs_servers", "provide_servers"]
