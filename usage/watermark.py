"""The watermark: the instant up to which every change is visible to a query that begins now.

A merge stamps its rows with the instants of its statements, but other transactions see them only when it commits,
which may be long after. A reader that follows `changed_at` alone would miss such rows. So a merge first notes, by an
advisory lock that ends with its transaction, the instant at which it began. Every row that is stamped before the
earliest such note, and before now, is committed and visible.
"""

from datetime import UTC, datetime
from typing import Final

from django.db import connection

from usage.standby import get_standby_state

# The notes are advisory locks of two numbers: this key, and the whole seconds since 2020 (a 4-byte number until 2088).
KEY: Final = 1_937_011_821
SINCE: Final = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())

HOLD: Final = "SELECT pg_advisory_xact_lock_shared(%s, floor(extract(epoch FROM statement_timestamp()) - %s)::integer)"
WATERMARK: Final = """
    SELECT least(statement_timestamp(), (
        SELECT to_timestamp(min(objid::bigint) + %s) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ))
"""


def hold_watermark() -> None:
    """Keep the watermark from passing this instant until the transaction ends.

    It must be the transaction's first statement; rows have to be stamped with the instants of later statements.
    """
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [KEY, SINCE])


def get_watermark() -> datetime:
    """Return the watermark: a query that begins after this call sees every row stamped before it.

    A standby does not know which merges are under way: its watermark is the last of the primary that it has replayed.
    """
    if (state := get_standby_state()) is not None:
        return state.settled_until
    with connection.cursor() as cursor:
        cursor.execute(WATERMARK, [SINCE, KEY])
        mark: datetime = cursor.fetchone()[0]
    return mark
