"""What the hot statements need of Django's backend: a free look at a kept connection, and prepared statements."""

import select
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from django.db.backends.utils import CursorWrapper
from psycopg.pq import TransactionStatus

# A statement that a connection sends for the second time is prepared: the server plans it once and not each time.
PREPARE_AFTER = 1


class DatabaseOperations(PostgresOperations):
    """Django's, which knows the text of a prepared statement too."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """Return a statement with its parameters, for those who look at what was asked."""
        text: str = self.compose_sql(sql, params)
        return text


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL, with two differences.

    CONN_HEALTH_CHECKS looks at the socket before it asks the server. A server that ends a connection (a restart, a
    failover, pg_terminate_backend) says so on it or closes it: either way there is something to read on a connection
    that waits for nothing, and only then is the server asked. A network that swallows packets without a word is found
    by neither way in less than TCP's own time.

    `prepared_cursor` binds parameters in the server and prepares what it sends again, where the option
    `prepared` allows it: a pooler that gives each transaction another connection may not know them.
    """

    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        """Return what psycopg connects with."""
        parameters = super().get_connection_params()
        if parameters.pop("prepared", False):
            parameters["prepare_threshold"] = PREPARE_AFTER
        return parameters

    def is_usable(self) -> bool:
        """Tell whether the connection can be used, without a round trip where nothing speaks against it."""
        connection = self.connection
        if connection.closed or connection.info.transaction_status == TransactionStatus.INERROR:
            return False
        return super().is_usable() if something_to_read(connection.fileno()) else True

    def prepared_cursor(self) -> CursorWrapper:
        """Return a cursor for statements that are the same each time, but for a few parameters of plain types."""
        self.ensure_connection()
        unwrapped: Any = base.ServerBindingCursor
        prepare: Any = getattr(self, "_prepare_cursor")  # noqa: B009 (not in Django's stubs)
        with self.wrap_database_errors:
            wrapped: CursorWrapper = prepare(unwrapped(self.connection))
        return wrapped


def something_to_read(descriptor: int) -> bool:
    """Tell whether a socket has data, an end or an error to report right now."""
    watch = select.poll()
    watch.register(descriptor, select.POLLIN)
    return bool(watch.poll(0))
