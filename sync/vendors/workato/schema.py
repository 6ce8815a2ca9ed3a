"""Workato's usage statistics as they travel (docs/vendors/workato.md), read tolerantly: inner fields are assumed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from sync.vendors.decoding import convert_fields, exceeds_microseconds, parse_instant
from sync.vendors.record_limits import ALTERATIONS_KEY, Alterations, InvalidRecord, check_id, encode_extra, fit_text
from usage.days import Day
from usage.limits import get_text_limits
from usage.models import RecipeRow, RecipeUsage

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
NESTED = "usage"  # assumed: where a row has a list of buckets, it is under this name

UNCUT_FIELDS = frozenset({NESTED})  # the field of which no entry may be left out, for each is usage

# The vendor's texts that are columns: an id rejects its row where it cannot be stored, names are cut.
IDS = {"external_id": "external_id"}
NAMES = {name: name for name in ("workspace_name", "recipe_name", "folder_name")}
LIMITS = get_text_limits(RecipeUsage)

KNOWN_METRICS = frozenset(name for names in METRICS.values() for name in names)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
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


class BucketOwner(msgspec.Struct):
    """The owner of a bucket."""

    workspace_id: Id


class Statistics(msgspec.Struct):
    """One answer: all rows there are, or null for none."""

    data: list[msgspec.Raw] | None


class Workspace(msgspec.Struct):
    """One customer workspace."""

    id: Id
    name: str | None = None


class Workspaces(msgspec.Struct):
    """One page of the customers' workspaces."""

    result: list[Workspace]


DIMENSIONS = frozenset(Statistic.__struct_fields__) - METRICS.keys()


def iterate_buckets(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row's buckets, each with the row's other fields; a flat row is its own only bucket.

    Raises NoMetricError for a bucket without any known metric.
    """
    nested = fields.get(NESTED)
    shared_fields = {name: value for name, value in fields.items() if name != NESTED}
    for bucket in nested if isinstance(nested, list) else [fields]:
        if not isinstance(bucket, dict) or bucket.keys().isdisjoint(KNOWN_METRICS):
            raise NoMetricError
        own_fields = {name: value for name, value in bucket.items() if name != ALTERATIONS_KEY}
        yield shared_fields | own_fields if isinstance(nested, list) else fields


def locate_bucket(bucket: dict[str, Any], day: Day, fold: int = 0) -> tuple[int | None, datetime | None]:
    """Return the workspace and the hour of a bucket that cannot be a row, None where it has none."""
    workspace_id = starts_at = None
    with suppress(InvalidRecord):
        workspace_id = convert_fields(bucket, BucketOwner, strict=False).workspace_id
    start_field = find_first(STARTS, bucket)
    with suppress(InvalidRecord):
        starts_at = parse_bound(start_field, bucket[start_field], day, fold) if start_field else None
    return workspace_id, starts_at


def build_row(bucket: dict[str, Any], day: Day, *, by_recipe: bool, fold: int = 0) -> RecipeRow:
    """Return one bucket as a row; a recipe's stands for one recipe where the vendor does not say how many.

    `fold`: 1 where it begins at the second coming of a time that the clocks show twice. Ids and counts may be
    numbers or texts of digits. Raises InvalidRecord where a field is not what it should be, or the bucket is
    not an hour of `day`, and OtherZoneError as `parse_bound` does.
    Null and a missing field are the same here: the vendor's reference does not tell them apart.
    """
    values = {name: bucket[name] for name in DIMENSIONS & bucket.keys()}
    used_fields = set(values)
    for metric, names in METRICS.items():
        if name := next((name for name in names if bucket.get(name) is not None), find_first(names, bucket)):
            values[metric] = bucket[name]
            used_fields |= {name, *(alias for alias in names if bucket.get(alias) == bucket[name])}
    statistic = convert_fields(values, Statistic, strict=False)
    if by_recipe and statistic.recipe_id is None:
        raise InvalidRecord("recipe_id: missing")
    starts_at, ends_at, finer_bounds = parse_bounds(bucket, day, fold)
    used_fields |= {*STARTS, *ENDS, ALTERATIONS_KEY}
    alterations = Alterations(dropped=dict(bucket.get(ALTERATIONS_KEY, {})))
    workspace_name, recipe_name, folder_name = (
        fit_text(name, getattr(statistic, name) or "", alterations) for name in NAMES
    )
    external_id = "" if statistic.external_id is None else str(statistic.external_id)
    extra = {name: value for name, value in bucket.items() if name not in used_fields} | finer_bounds
    recipes = 1 if by_recipe and statistic.recipe_count is None else statistic.recipe_count
    return RecipeRow(
        workspace_id=statistic.workspace_id,
        external_id=check_id("external_id", external_id, LIMITS["external_id"]),
        workspace_name=workspace_name,
        recipe_id=statistic.recipe_id if by_recipe else None,
        recipe_name=recipe_name,
        folder_id=statistic.folder_id,
        folder_name=folder_name,
        starts_at=starts_at,
        ends_at=ends_at,
        task_count=statistic.task_count,
        job_succeeded_count=statistic.job_succeeded_count,
        job_failed_count=statistic.job_failed_count,
        recipe_count=recipes,
        extra=encode_extra(extra, alterations),
    )


def parse_bounds(bucket: dict[str, Any], day: Day, fold: int) -> tuple[datetime, datetime, dict[str, Any]]:
    """Return a bucket's start and end, and the bounds as they came where they say more than microseconds.

    Without an end it lasts an hour, or what is left of the day. A time without an offset is of the day's zone.
    """
    start_field, end_field = find_first(STARTS, bucket), find_first(ENDS, bucket)
    if start_field is None or bucket[start_field] is None:
        raise InvalidRecord("from: missing")
    starts_at = parse_bound(start_field, bucket[start_field], day, fold)
    ends_at = min(starts_at + HOUR, day.end)
    if end_field is not None and bucket[end_field] is not None:
        ends_at = find_end(starts_at, bucket[start_field], (end_field, bucket[end_field]), day)
    # Two hours are too long, an hour and a half is not: some zones turn their clocks by half an hour.
    if not day.start <= starts_at < ends_at <= day.end or ends_at - starts_at >= 2 * HOUR:
        raise InvalidRecord(
            f"{start_field}: {starts_at.isoformat()} to {ends_at.isoformat()} is not an hour of {day.date} "
            f"in {day.zone}; is the source's time zone the account's?"
        )
    finer_bounds = {name: bucket[name] for name in (start_field, end_field) if name and is_finer(bucket[name])}
    return starts_at, ends_at, finer_bounds


def find_end(starts_at: datetime, start: str, end: tuple[str, Any], day: Day) -> datetime:
    """Return the end of a bucket from its field and value.

    Without an offset, where clocks change, it may be of the first or the second coming of a time, or of the clocks of
    before.
    """
    ends_at = parse_bound(*end, day)
    if datetime.fromisoformat(end[1]).tzinfo is not None:
        return ends_at
    candidates = [ends_at, parse_bound(*end, day, fold=1)]
    if (bucket_start := datetime.fromisoformat(start)).tzinfo is None:
        candidates.append(starts_at + (datetime.fromisoformat(end[1]) - bucket_start))
    return next((candidate for candidate in candidates if timedelta() < candidate - starts_at < 2 * HOUR), ends_at)


def parse_bound(field: str, value: Any, day: Day, fold: int = 0) -> datetime:
    """Return a bound of a bucket as a UTC instant; raises InvalidRecord.

    The vendor writes times in the account's zone, so an offset that the source's zone does not have then tells
    that the source is set up with another zone: raises OtherZoneError, for no hour of the answer can be trusted.
    """
    if not isinstance(value, str):
        raise InvalidRecord(f"{field}: expected text with a date and time")
    instant = parse_instant(field, value, day.zone, fold)
    offset = datetime.fromisoformat(value).utcoffset()
    # Where clocks change, the end of the hour before may be written with the offset of before.
    zone_offsets = {get_utc_offset(instant, day.zone), get_utc_offset(instant - SECOND, day.zone)}
    if offset is not None and offset not in zone_offsets:
        expected = format_offset(instant, day.zone)
        raise OtherZoneError(
            f"{field}: {value[:40]} is not a time of {day.zone}, whose offset is then {expected}; "
            "is the source's time zone the account's?"
        )
    return instant


def get_utc_offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    """Return how far the clocks of `zone` are ahead of UTC at an instant."""
    return instant.astimezone(zone).utcoffset()


def format_offset(instant: datetime, zone: ZoneInfo) -> str:
    """Return a zone's offset at an instant as it is written: `+02:00`."""
    return instant.astimezone(zone).isoformat()[-6:]


def is_finer(value: Any) -> bool:
    """Return whether a bound is more precise than microseconds."""
    return isinstance(value, str) and exceeds_microseconds(value)


def find_first(names: tuple[str, ...], bucket: dict[str, Any]) -> str | None:
    """Return the first of `names` that a bucket has."""
    return next((name for name in names if name in bucket), None)


def format_instant(instant: datetime) -> str:
    """Return an instant as the vendor requires it: `YYYY-MM-DDTHH:mm:ss.SSSZ`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
