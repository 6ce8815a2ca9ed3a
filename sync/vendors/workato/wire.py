"""Workato's usage statistics as they travel (contracts.md), read tolerantly: inner fields are assumed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from sync.vendors.wire import UnfitRecordError, finer, fitted, instant, json_text
from usage.days import Day
from usage.models import RecipeRow

USAGE = "/api/v2/managed_users/statistics/usage"
WORKSPACES = "/api/managed_users"

# Assumed: the names under which a metric and a bucket's bounds may come, the likeliest first.
METRICS = {
    "task_count": ("task_count", "task_usage"),
    "job_succeeded_count": ("job_succeeded_count", "jobs_succeeded", "successful_jobs"),
    "job_failed_count": ("job_failed_count", "jobs_failed", "failed_jobs"),
    "recipe_count": ("recipe_count", "recipes_count"),
}
STARTS = ("from", "time")
ENDS = ("to",)
NESTED = "usage"  # assumed: where a row holds a list of buckets, it is under this name

KNOWN_METRICS = frozenset(name for names in METRICS.values() for name in names)
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=1)
Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class NoMetricError(Exception):
    """A row without any known metric: the answer is of a shape that is not known. `row` is its JSON."""

    def __init__(self, row: bytes = b"") -> None:
        super().__init__("none of the known metrics")
        self.row = row


class OtherZoneError(Exception):
    """A time that is not of the source's zone: every hour of the answer lies elsewhere. `row` is the row's JSON."""

    def __init__(self, reason: str, row: bytes = b"") -> None:
        super().__init__(reason)
        self.row = row


class Statistic(msgspec.Struct):
    """The fields of one bucket under their likeliest names; a missing metric is None and never zero."""

    workspace_id: Id
    external_id: str | int | None = None
    workspace_name: str | None = None
    recipe_id: Id | None = None
    recipe_name: str | None = None
    folder_id: Id | None = None
    folder_name: str | None = None
    task_count: Count | None = None
    job_succeeded_count: Count | None = None
    job_failed_count: Count | None = None
    recipe_count: Count | None = None


class Placed(msgspec.Struct):
    """What tells whose bucket it is."""

    workspace_id: Id


class Statistics(msgspec.Struct):
    """One answer: all rows there are, or null for none."""

    data: list[msgspec.Raw] | None


class Workspace(msgspec.Struct):
    """One customer workspace, of which only the id is needed."""

    id: Id


class Workspaces(msgspec.Struct):
    """One page of the customers' workspaces."""

    result: list[Workspace]


DIMENSIONS = frozenset(Statistic.__struct_fields__) - METRICS.keys()


def buckets(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row's buckets, each with the row's other fields; a flat row is its own only bucket.

    Raises NoMetricError for a bucket without any known metric.
    """
    nested = fields.get(NESTED)
    shared = {name: value for name, value in fields.items() if name != NESTED}
    for bucket in nested if isinstance(nested, list) else [fields]:
        if not isinstance(bucket, dict) or bucket.keys().isdisjoint(KNOWN_METRICS):
            raise NoMetricError
        yield shared | bucket if isinstance(nested, list) else fields


def place(bucket: dict[str, Any], day: Day) -> tuple[int | None, datetime | None]:
    """Return the workspace and the hour of a bucket unfit to be a row, None where it does not tell."""
    workspace_id = starts_at = None
    with suppress(UnfitRecordError):
        workspace_id = fitted(bucket, Placed, strict=False).workspace_id
    first = first_of(STARTS, bucket)
    with suppress(UnfitRecordError):
        starts_at = moment(first, bucket[first], day) if first else None
    return workspace_id, starts_at


def row(bucket: dict[str, Any], day: Day, *, by_recipe: bool) -> RecipeRow:
    """Return one bucket as a row; a recipe's stands for one recipe where the vendor does not say how many.

    Ids and counts may be numbers or texts of digits. Raises UnfitRecordError where a field is not what it
    should be, or the bucket is not an hour of `day`, and OtherZoneError as `moment` does.
    Null and a missing field are the same here: the vendor's reference does not tell them apart.
    """
    said = {name: bucket[name] for name in DIMENSIONS & bucket.keys()}
    used = set(said)
    for metric, names in METRICS.items():
        if name := first_of(names, bucket):
            said[metric] = bucket[name]
            used |= {name, *(other for other in names if bucket.get(other) == bucket[name])}
    statistic = fitted(said, Statistic, strict=False)
    if by_recipe and statistic.recipe_id is None:
        raise UnfitRecordError("recipe_id: missing")
    starts_at, ends_at, finer_bounds = bounds(bucket, day)
    used |= {*STARTS, *ENDS}
    extra = {name: value for name, value in bucket.items() if name not in used} | finer_bounds
    recipes = 1 if by_recipe and statistic.recipe_count is None else statistic.recipe_count
    return RecipeRow(
        workspace_id=statistic.workspace_id,
        external_id="" if statistic.external_id is None else str(statistic.external_id),
        workspace_name=statistic.workspace_name or "",
        recipe_id=statistic.recipe_id if by_recipe else None,
        recipe_name=statistic.recipe_name or "",
        folder_id=statistic.folder_id,
        folder_name=statistic.folder_name or "",
        starts_at=starts_at,
        ends_at=ends_at,
        task_count=statistic.task_count,
        job_succeeded_count=statistic.job_succeeded_count,
        job_failed_count=statistic.job_failed_count,
        recipe_count=recipes,
        extra=json_text(extra),
    )


def bounds(bucket: dict[str, Any], day: Day) -> tuple[datetime, datetime, dict[str, Any]]:
    """Return a bucket's start and end, and the bounds as they came where they say more than microseconds.

    Without an end it lasts an hour, or what is left of the day. A time without an offset is of the day's
    zone, and in the hour that comes twice a year of its first coming.
    """
    first, last = first_of(STARTS, bucket), first_of(ENDS, bucket)
    if first is None or bucket[first] is None:
        raise UnfitRecordError("from: missing")
    starts_at = moment(first, bucket[first], day)
    ends_at = min(starts_at + HOUR, day.end)
    if last is not None and bucket[last] is not None:
        ends_at = moment(last, bucket[last], day)
    # Two hours are too long, one and a half are not: some zones turn their clocks by half an hour.
    if not day.start <= starts_at < ends_at <= day.end or ends_at - starts_at >= 2 * HOUR:
        raise UnfitRecordError(
            f"{first}: {starts_at.isoformat()} to {ends_at.isoformat()} is not an hour of {day.date} "
            f"in {day.zone}; is the source's time zone the account's?"
        )
    finer_bounds = {name: bucket[name] for name in (first, last) if name and is_finer(bucket[name])}
    return starts_at, ends_at, finer_bounds


def moment(field: str, value: Any, day: Day) -> datetime:
    """Return a bound of a bucket as a UTC instant; raises UnfitRecordError.

    The vendor writes times in the account's zone, so an offset that the source's zone does not have then tells
    that the source is set up with another zone: raises OtherZoneError, for no hour of the answer can be trusted.
    """
    if not isinstance(value, str):
        raise UnfitRecordError(f"{field}: expected text with a date and time")
    found = instant(field, value, day.zone)
    given = datetime.fromisoformat(value).utcoffset()
    # Where clocks change, the end of the hour before may be written with the offset of before.
    if given is not None and given not in {utc_offset(found, day.zone), utc_offset(found - MOMENT, day.zone)}:
        raise OtherZoneError(
            f"{field}: {value[:40]} is not a time of {day.zone}, whose offset is then {shown_offset(found, day.zone)}; "
            "is the source's time zone the account's?"
        )
    return found


def utc_offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    """Return how far the clocks of `zone` are ahead of UTC at an instant."""
    return instant.astimezone(zone).utcoffset()


def shown_offset(instant: datetime, zone: ZoneInfo) -> str:
    """Return a zone's offset at an instant as it is written: `+02:00`."""
    return instant.astimezone(zone).isoformat()[-6:]


def is_finer(value: Any) -> bool:
    """Tell whether a bound says more than microseconds can hold."""
    return isinstance(value, str) and finer(value)


def first_of(names: tuple[str, ...], bucket: dict[str, Any]) -> str | None:
    """Return the first of `names` that a bucket has."""
    return next((name for name in names if name in bucket), None)


def stamp(instant: datetime) -> str:
    """Return an instant as the vendor wants it: `YYYY-MM-DDTHH:mm:ss.SSSZ`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
