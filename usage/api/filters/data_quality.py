"""The data quality of the rows that a filter set keeps."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

from usage.data_quality import DataQuality, assess
from usage.datetimes import UTC_ZONE


def assess_filtered(
    filterset: Any,
    row_scope: frozenset[int] | None,
    *,
    reads_rollups: Callable[[], bool] = lambda: False,
    reads_lake: bool = False,
) -> DataQuality:
    """Return the data quality of what a valid filter set of a kind of usage keeps, within the row scope.

    `reads_rollups`: whether the answer is made from roll-ups. `reads_lake`: the answer is an export, which has the
    records of archived days.
    """
    cleaned = filterset.form.cleaned_data
    names_zone = bool({"tz", "from", "to"} & set(filterset.data or ()))
    return assess(
        filterset._meta.model,
        source_ids=filterset.get_source_ids(),
        start=convert_bound(cleaned.get("from")),
        end=convert_bound(cleaned.get("to")),
        zone=(cleaned.get("tz") or UTC_ZONE) if names_zone else None,
        row_scope=row_scope,
        reads_rollups=reads_rollups,
        reads_lake=reads_lake,
    )


def convert_bound(bound: date | datetime | None) -> datetime | None:
    """Return a bound of a range as an instant; a date begins in UTC, as records that are stored per day have it."""
    if bound is None or isinstance(bound, datetime):
        return bound
    return datetime.combine(bound, time(), UTC)
