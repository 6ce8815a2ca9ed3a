"""The embedded PostgreSQL and Valkey: started when nobody has yet, stopped when nobody uses them any more."""

from portal.services.hand import Services, at_hand, needs_servers
from portal.services.home import ServiceError

__all__ = ["ServiceError", "Services", "at_hand", "needs_servers"]
