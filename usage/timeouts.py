"""Time limits: a query that takes longer is cancelled, and the page says so."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled


class QueryTimeout(Exception):
    """A query was cancelled because it reached its time limit."""


@contextmanager
def limit_query_time(seconds: float) -> Iterator[None]:
    """Cancel each query of the block after `seconds`; raises QueryTimeout.

    Within a transaction already, the limit ends with the block and what was done before it stands.
    """
    is_nested = connection.in_atomic_block
    with detect_timeouts(), transaction.atomic(), connection.cursor() as cursor:
        change = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)"
        cursor.execute(change, [f"{round(seconds * 1000)}ms"])
        before, _ = cursor.fetchone()
        yield
        if is_nested:
            cursor.execute(change, [before])


@contextmanager
def detect_timeouts() -> Iterator[None]:
    """Raise QueryTimeout where a query of the block was cancelled."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise QueryTimeout from error
        raise


@contextmanager
def call_after(seconds: float, function: Callable[..., object], *args: Any) -> Iterator[None]:
    """Call a function in another thread if the block is not left within `seconds`."""
    timer = threading.Timer(seconds, function, args)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
