"""What a whole export holds, in numbers: by them its reader can tell that it has all of it, and nothing else.

The digest does not depend on the order. A reader computes it from the columns `id` and `revision`: the sum, modulo
2^64, over all rows of the first 16 hexadecimal digits of MD5 of `<id>:<revision>`. A record's revision grows whenever
it changes, so equal digests mean the same records in the same state.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from usage.columns import rows
from usage.trust import written

UNITS = {
    "runtime_seconds": "seconds",
    "task_count": "tasks",
    "job_succeeded_count": "jobs",
    "job_failed_count": "jobs",
}


@dataclass(frozen=True, slots=True)
class Digested:
    """A set of records in numbers.

    `sums`: one per measure and unit, with its `rows` and how many of them are `without` a value, which the sum
    leaves out. `last_changed_at`: when the last of the rows changed.
    """

    rows: int
    sums: list[dict[str, Any]]
    digest: str
    last_changed_at: datetime | None

    def said(self) -> dict[str, Any]:
        """Return it JSON-ready, sums as strings with all their digits."""
        return {
            "rows": self.rows,
            "sums": self.sums,
            "digest": self.digest,
            "last_changed_at": written(self.last_changed_at),
        }


def digested(queryset: QuerySet[Any]) -> Digested:
    """Return the numbers of all rows of `queryset`, in one query."""
    model = queryset.model
    measures = ", ".join(f"sum({name}), count({name})" for name in model.measures)
    unit = model.unit or "NULL::text"
    inner = rows(queryset.order_by(), ["id", "revision", "changed_at", *model.measures, *filter(None, [model.unit])])
    names = ", ".join(["id", "revision", "changed_at", *model.measures, *filter(None, [model.unit])])
    asked = f"""
        SELECT {unit}, count(*), max(changed_at),
               sum(('x' || left(md5(id || ':' || revision), 16))::bit(64)::bigint), {measures}
        FROM ({inner.sql}) AS t ({names}) GROUP BY 1 ORDER BY 1
    """  # noqa: S608 (names are the model's)
    with connections[queryset.db].cursor() as cursor:
        cursor.execute(asked, inner.params)
        found = cursor.fetchall()
    total = sum(int(digest) for _, _, _, digest, *_ in found)
    return Digested(
        rows=sum(count for _, count, *_ in found),
        sums=[line for row in found for line in sums_of(model.measures, row)],
        digest=f"{total % 2**64:016x}",
        last_changed_at=max((changed for _, _, changed, *_ in found), default=None),
    )


def sums_of(measures: tuple[str, ...], row: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return the sums of one unit's rows."""
    unit, count, _, _, *sums = row
    return [
        {
            "measure": measure,
            "unit": UNITS[measure] if unit is None else unit,
            "rows": count,
            "without": count - sums[2 * at + 1],
            "sum": None if sums[2 * at] is None else f"{Decimal(sums[2 * at]):f}",
        }
        for at, measure in enumerate(measures)
    ]
