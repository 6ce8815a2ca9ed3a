"""Whether this process can answer requests: the database, its schema, and the keys of the credentials."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import psycopg
from django.db import connection

from portal.startup import CONNECT_SECONDS
from usage.fields import EncryptedTextField, LockedText
from usage.schema_state import APPLIED, NEWER, OLDER, Key, compare_schema

DOWN = "The database does not answer."
READ_ONLY = "The database is read-only."
LOCKED = "PORTAL_ENCRYPTION_KEYS opens none of the stored credentials."
STATEMENT_MILLISECONDS = 1500

Connection: TypeAlias = "psycopg.Connection[Any]"


def find_unready() -> list[str]:
    """Return the reason why requests cannot be answered, nothing where they can.

    Uses a separate connection: the pool does not report why it has none, and its connections may hang.
    """
    return find_reasons(REASONS)


def find_waiting() -> list[str]:
    """Return why workers of this code wait: the schema is newer than the code."""
    return find_reasons({NEWER: is_schema_newer})


def find_reasons(reasons: "dict[str, Callable[[Connection], bool]]") -> list[str]:
    """Return the first of these reasons that applies, or that the database does not answer."""
    params = {**connection.get_connection_params(), "connect_timeout": CONNECT_SECONDS}
    try:
        with psycopg.connect(**params) as probe, probe.transaction(force_rollback=True):
            probe.execute(f"SET LOCAL statement_timeout = {STATEMENT_MILLISECONDS}")
            return [reason for reason, applies in reasons.items() if applies(probe)][:1]
    except psycopg.Error:
        return [DOWN]


def is_read_only(probe: Connection) -> bool:
    """Return whether nothing can be written: the server is a standby, or set to that."""
    return bool(fetch_value(probe, "SELECT current_setting('transaction_read_only')::boolean"))


def is_schema_older(probe: Connection) -> bool:
    """Return whether migrations of the code are to be applied. A newer schema serves requests of older code too."""
    return compare_schema(fetch_applied(probe)) == OLDER


def is_schema_newer(probe: Connection) -> bool:
    """Return whether migrations were applied to the code's apps that the code does not have."""
    return compare_schema(fetch_applied(probe)) == NEWER


def is_locked(probe: Connection) -> bool:
    """Return whether credentials are stored and no key opens any of them."""
    states = list_opened(probe)
    first = next(states, None)
    return first is False and not any(states)


def list_opened(probe: Connection) -> Iterator[bool]:
    """Yield for each stored credential whether a key opens it."""
    field: Any = EncryptedTextField()
    for (ciphertext,) in probe.execute("SELECT credential FROM usage_source WHERE credential <> '' ORDER BY id"):
        yield not isinstance(field.from_db_value(ciphertext, None, None), LockedText)


def fetch_applied(probe: Connection) -> frozenset[Key]:
    """Return the migrations that were applied, by app and name."""
    if fetch_value(probe, "SELECT to_regclass('django_migrations')") is None:
        return frozenset()
    return frozenset(probe.execute(APPLIED).fetchall())


def fetch_value(probe: Connection, statement: str) -> Any:
    """Return the value that a statement selects."""
    row = probe.execute(statement).fetchone()
    return row[0] if row else None


# The first that applies is the reason: what follows may only be its consequence.
REASONS: dict[str, Callable[[Connection], bool]] = {
    READ_ONLY: is_read_only,
    OLDER: is_schema_older,
    LOCKED: is_locked,
}
