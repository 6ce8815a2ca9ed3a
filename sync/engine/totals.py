"""The totals of all attempts of a source, by outcome: they only ever grow, also where old attempts are pruned."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from sync.models import TOTALLED
from usage.models import Source

# One statement: two workers that end attempts of a source at once lose nothing.
ADD = """
INSERT INTO sync_attempttotal AS total (source_id, outcome, attempts, requests, retries, fetched, rejected)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source_id, outcome) DO UPDATE SET
    attempts = total.attempts + EXCLUDED.attempts,
    requests = total.requests + EXCLUDED.requests,
    retries = total.retries + EXCLUDED.retries,
    fetched = total.fetched + EXCLUDED.fetched,
    rejected = total.rejected + EXCLUDED.rejected
"""


def add_to_total(source: Source, outcome: str, attempts: int, counts: Mapping[str, Any] | None = None) -> None:
    """Add attempts that ended so, and what they cost.

    Call it before the runs are written: every writer locks days, then a total, then runs.
    """
    values = [(counts or {}).get(name, 0) for name in TOTALLED]
    with connection.cursor() as cursor:
        cursor.execute(ADD, [source.pk, outcome, attempts, *values])
