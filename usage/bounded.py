"""Queries that may take only so long: what no index could answer is cut off, and the person is told."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from psycopg.errors import QueryCanceled


class TookTooLong(Exception):
    """A query was cut off because it lasted longer than it may."""


@contextmanager
def bounded(seconds: float, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Let each query of the block last so many seconds at most; raises TookTooLong.

    Within a transaction already, the limit ends with the block and what was done before it stands.
    """
    own = connections[using]
    within = own.in_atomic_block
    try:
        with transaction.atomic(using=using), own.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{round(seconds * 1000)}ms"])
            yield
            if within:
                cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise
