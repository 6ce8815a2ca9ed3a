"""Advisory locks that last as long as a block, whatever transactions the block has."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, connection


@contextmanager
def open_lock_transaction() -> Iterator[Any]:
    """Yield a cursor in a transaction of another connection: what it locks is locked until the block or process ends.

    A lock of a transaction, not of a session, so that a pooler may stand in front.
    """
    lock_connection = connection.copy()
    try:
        lock_connection.set_autocommit(False)
        with lock_connection.cursor() as cursor:
            yield cursor
    finally:
        # Closing alone would release the lock a moment later.
        with suppress(DatabaseError):
            lock_connection.rollback()
        lock_connection.close()
