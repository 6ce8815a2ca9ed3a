"""The database connections that the threads of the web server share."""

from typing import Any, ClassVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from usage.standby import STANDBY

# How long a request waits for a connection before it is answered with 503.
WAIT_SECONDS = 10.0
# After so long without success an attempt to connect ends, and the next request begins a new attempt. The pool doubles
# its pauses within an attempt, so a long attempt would still pause when the database is back.
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60.0
STANDBY_SECONDS = 2


class PooledConnection(psycopg.Connection[Any]):
    """A connection of the pool of the database `alias`; a connection that fails its check empties the pool.

    A database that restarts ends every connection. The pool checks one at a time and doubles its pause after each,
    so a request would time out before it came to a new connection.
    """

    alias: ClassVar[str] = DEFAULT_DB_ALIAS

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[Any]:
        """Run a statement, as psycopg does; the pool's check comes through here and Django's cursors do not."""
        try:
            return super().execute(query, params, **options)
        except psycopg.OperationalError:
            pool = connections[self.alias].pool  # type: ignore[attr-defined]
            if self.closed and pool is not None:
                pool.drain()
            raise


class StandbyConnection(PooledConnection):
    """A connection to the standby."""

    alias = STANDBY


def pool_options(size: int) -> dict[str, Any]:
    """Return the options of a pool of at most `size` connections, as psycopg takes them."""
    return {
        "min_size": 1,
        "max_size": size,
        "timeout": WAIT_SECONDS,
        "max_idle": IDLE_SECONDS,
        "reconnect_timeout": CONNECT_SECONDS,
        "connection_class": PooledConnection,
    }


def standby_options(size: int) -> dict[str, Any]:
    """Return the options of connections to the standby: the primary soon replaces a standby that is away or hangs."""
    pool = {**pool_options(size), "timeout": STANDBY_SECONDS, "connection_class": StandbyConnection}
    return {"pool": pool, "connect_timeout": STANDBY_SECONDS, "tcp_user_timeout": STANDBY_SECONDS * 1000}
