"""The settled mark: up to which instant everything that changed can be seen by whoever looks now.

A merge stamps its rows with the instants of its statements, but others see them only when it commits, which may be
long after. Whoever followed `changed_at` alone would pass such rows by. So a merge says, before it writes, since when
it has been under way, by a lock that is nothing but a note and ends with its transaction. Everything stamped before
the earliest such note, and before now, is committed and to be seen.
"""

from datetime import UTC, datetime
from typing import Final

from django.db import connection

# The notes are advisory locks of two numbers: this key, and the whole seconds since 2020 (a 4-byte number until 2088).
KEY: Final = 1_937_011_821
SINCE: Final = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())

HOLD: Final = "SELECT pg_advisory_xact_lock_shared(%s, floor(extract(epoch FROM statement_timestamp()) - %s)::integer)"
SETTLED: Final = """
    SELECT least(statement_timestamp(), (
        SELECT to_timestamp(min(objid::bigint) + %s) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ))
"""


def hold_settled_mark() -> None:
    """Keep the mark from passing this instant until the transaction ends; its first statement must be this one.

    Rows have to be stamped with the instants of later statements.
    """
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [KEY, SINCE])


def settled_until() -> datetime:
    """Return the mark: a look at the database that begins after this one sees every row stamped before it."""
    with connection.cursor() as cursor:
        cursor.execute(SETTLED, [SINCE, KEY])
        mark: datetime = cursor.fetchone()[0]
    return mark
