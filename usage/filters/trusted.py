"""How far the rows that a filter set keeps can be trusted."""

from datetime import UTC, date, datetime, time
from typing import Any

from usage.filters.fields import UTC_ZONE
from usage.trust import Trust, trust_of


def trust_of_filtered(filterset: Any, row_scope: frozenset[int] | None) -> Trust:
    """Return the trust in what a valid filter set of a kind of usage keeps, within the row scope."""
    cleaned = filterset.form.cleaned_data
    return trust_of(
        filterset._meta.model,
        source_ids=filterset.source_ids(),
        start=as_instant(cleaned.get("from")),
        end=as_instant(cleaned.get("to")),
        zone=cleaned.get("tz") or UTC_ZONE,
        row_scope=row_scope,
    )


def as_instant(bound: date | datetime | None) -> datetime | None:
    """Return a bound of a range as an instant; a date is one of UTC, as records that are kept by days have it."""
    if bound is None or isinstance(bound, datetime):
        return bound
    return datetime.combine(bound, time(), UTC)
