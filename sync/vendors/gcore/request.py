"""Requests for Gcore's usage report: parsing, validation, and the bodies of errors."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

SORTABLE = ("billing_value", "first_seen", "last_name", "last_seen", "project", "region", "type")
EXCEPTIONS = {
    400: "ValidationError",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    429: "TooManyRequests",
}  # the class names other than ValidationError are assumed
MAX_CONDITIONS = 100  # each is compared with every tag of every resource
Direction = Literal["asc", "desc"]
Filters = Mapping[str, Sequence[str]]
NUL = "No text may hold the character NUL"  # assumed


class InvalidReportRequest(Exception):
    """A body that the vendor answers with 400: `fields` maps each field to what is wrong with it."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__(str(fields))
        self.fields = fields


class SchemaFilter(msgspec.Struct):
    """Rows of one type whose `field` has one of `values`."""

    type: str
    field: str
    values: list[str]


class TagCondition(msgspec.Struct):
    """One condition on tags; without a key any key matches, without a value any value (assumed)."""

    key: str | None = None
    value: str | None = None
    strict: bool = False


class Tags(msgspec.Struct):
    """Conditions on tags, any or all of which must hold; none always hold, a hundred are the most (assumed)."""

    conditions: Annotated[list[TagCondition], Meta(max_length=MAX_CONDITIONS)]
    condition_type: Literal["OR", "AND"] = "OR"


class ReportRequest(msgspec.Struct):
    """The body of `POST /cloud/v1/usage_report`; an empty list of ids or types filters nothing (assumed)."""

    time_from: datetime
    time_to: datetime
    enable_last_day: bool = False
    limit: Annotated[int, Meta(gt=0)] = 10
    offset: Annotated[int, Meta(ge=0)] = 0
    projects: list[int] | None = None
    regions: list[int] | None = None
    types: list[str] | None = None
    schema_filter: SchemaFilter | None = None
    tags: Tags | None = None
    sorting: list[dict[str, Direction]] | None = None
    order_by: list[str] | None = None

    def get_day_range(self) -> tuple[date, date]:
        """Return the first requested UTC day and the day after the last; raises OverflowError."""
        return get_utc_day(self.time_from), get_utc_day(self.time_to) + timedelta(days=self.enable_last_day)

    def list_days(self, earliest: date, latest: date) -> list[date]:
        """Return the requested UTC days from `earliest` to `latest`."""
        first = max(get_utc_day(self.time_from), earliest)
        end = min(get_utc_day(self.time_to), latest)
        if end == get_utc_day(self.time_to) and not self.enable_last_day:
            end -= timedelta(days=1)
        return [first + timedelta(days=number) for number in range((end - first).days + 1)]

    def get_order(self) -> list[tuple[str, bool]]:
        """Return the fields to sort by, and whether downward; `order_by` goes before `sorting` (assumed)."""
        if self.order_by:
            return [
                (field, direction == "desc") for field, _, direction in (key.partition(".") for key in self.order_by)
            ]
        return [(field, direction == "desc") for key in self.sorting or () for field, direction in key.items()]


def get_utc_day(instant: datetime) -> date:
    """Return the UTC day of an instant; without an offset it is taken as UTC (assumed)."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC).date()


def get_day_start(on: date) -> datetime:
    """Return the first instant of a UTC day."""
    return datetime.combine(on, time(), UTC)


def parse_report_request(body: bytes, filters: Filters) -> ReportRequest:
    """Return the request in a body; raises InvalidReportRequest. A bare date is refused (assumed).

    `filters`: the fields that a schema filter may name, by the types there are.
    """
    try:
        query = msgspec.json.decode(body, type=ReportRequest)
    except msgspec.ValidationError as error:
        raise InvalidReportRequest(parse_validation_error(str(error))) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidReportRequest({"__root__": [f"Invalid JSON: {error}"]}) from None
    try:
        query.get_day_range()
        errors = find_errors(query, filters)
    except OverflowError:
        errors = {"time_from": ["Out of range"], "time_to": ["Out of range"]}
    if errors:
        raise InvalidReportRequest(errors)
    return query


def parse_validation_error(message: str) -> dict[str, list[str]]:
    """Return msgspec's message by the field that it is about."""
    missing = re.search(r"required field `(\w+)`", message)
    if missing:
        return {missing[1]: ["Field required"]}
    match = re.search(r"`\$\.(\w+)", message)
    return {match[1] if match else "__root__": [message.partition(" - at")[0]]}


def encode_error(status: int, message: str, request_id: str, **more: Any) -> bytes:
    """Return the body of an error in the vendor's shape."""
    name = EXCEPTIONS.get(status, "InternalServerError")
    return msgspec.json.encode({"exception_class": name, "message": message, "request_id": request_id, **more})


def find_errors(query: ReportRequest, filters: Filters) -> dict[str, list[str]]:
    """Return what is wrong with a request whose fields have the right types."""
    errors: dict[str, list[str]] = {}
    unknown = [kind for kind in query.types or () if kind not in filters]
    if unknown:
        errors["types"] = [f"Unknown resource type: {', '.join(unknown)}"]
    if get_utc_day(query.time_to) < get_utc_day(query.time_from):
        errors["time_to"] = ["time_to must not be before time_from"]
    if any(field not in SORTABLE for key in query.sorting or () for field in key):
        errors["sorting"] = [f"Fields must be among: {', '.join(SORTABLE)}"]
    if any(not re.fullmatch(rf"({'|'.join(SORTABLE)})\.(asc|desc)", key) for key in query.order_by or ()):
        errors["order_by"] = [f"Must be <field>.asc or <field>.desc with a field among: {', '.join(SORTABLE)}"]
    schema_filter = query.schema_filter
    if schema_filter and schema_filter.field not in filters.get(schema_filter.type, ()):
        allowed = ", ".join(filters.get(schema_filter.type, ())) or "none"
        errors["schema_filter"] = [f"Fields of this type: {allowed}"]
    elif schema_filter and any("\0" in value for value in schema_filter.values):
        errors["schema_filter"] = [NUL]
    if query.tags and any("\0" in f"{condition.key}{condition.value}" for condition in query.tags.conditions):
        errors["tags"] = [NUL]
    return errors
