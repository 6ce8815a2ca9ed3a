"""The floor of a list: a bare WSGI function that lets PostgreSQL aggregate a page to JSON, and nothing else.

No router, no token, no filter, no cursor: `/<kind>?page_size=N` is all it understands.
"""

import os
from collections.abc import Callable, Iterable
from threading import local
from typing import Any

import psycopg

from tests.benchmarks.contenders.columns import COLUMNS, select

PAGES = {kind: f"SELECT json_agg(r)::text FROM ({select(kind, ' LIMIT %s')}) r" for kind in COLUMNS}
thread_state = local()


def get_connection() -> "psycopg.Connection[Any]":
    """Return this thread's connection, opened the first time."""
    if not hasattr(thread_state, "connection"):
        thread_state.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection: psycopg.Connection[Any] = thread_state.connection
    return connection


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with one page."""
    kind, size = environ["PATH_INFO"].strip("/"), int(environ["QUERY_STRING"].partition("=")[2])
    row = get_connection().execute(PAGES[kind], (size,)).fetchone()
    assert row is not None
    body = row[0].encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
