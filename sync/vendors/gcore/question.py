"""What may be asked of Gcore's usage report, what is wrong with what was asked, and how that is said."""

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
MOST_CONDITIONS = 100  # each is held against every tag of every resource
Direction = Literal["asc", "desc"]
Filters = Mapping[str, Sequence[str]]
NUL = "No text may hold the character NUL"  # assumed


class InvalidQuestionError(Exception):
    """A body that the vendor answers with 400: `fields` maps each field to what is wrong with it."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__(str(fields))
        self.fields = fields


class SchemaFilter(msgspec.Struct):
    """Rows of one type whose `field` has one of `values`."""

    type: str
    field: str
    values: list[str]


class Condition(msgspec.Struct):
    """One condition on tags; without a key any key will do, without a value any value (assumed)."""

    key: str | None = None
    value: str | None = None
    strict: bool = False


class Tags(msgspec.Struct):
    """Conditions on tags, any or all of which must hold; none at all hold always, a hundred are the most (assumed)."""

    conditions: Annotated[list[Condition], Meta(max_length=MOST_CONDITIONS)]
    condition_type: Literal["OR", "AND"] = "OR"


class Question(msgspec.Struct):
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

    def span(self) -> tuple[date, date]:
        """Return the first UTC day that is asked for and the day after the last; raises OverflowError."""
        return day_of(self.time_from), day_of(self.time_to) + timedelta(days=self.enable_last_day)

    def days(self, earliest: date, latest: date) -> list[date]:
        """Return the UTC days that are asked for, as far as they are not before `earliest` or after `latest`."""
        first = max(day_of(self.time_from), earliest)
        end = min(day_of(self.time_to), latest)
        if end == day_of(self.time_to) and not self.enable_last_day:
            end -= timedelta(days=1)
        return [first + timedelta(days=number) for number in range((end - first).days + 1)]

    def order(self) -> list[tuple[str, bool]]:
        """Return the fields to sort by, and whether downward; `order_by` goes before `sorting` (assumed)."""
        if self.order_by:
            return [(field, way == "desc") for field, _, way in (key.partition(".") for key in self.order_by)]
        return [(field, way == "desc") for one in self.sorting or () for field, way in one.items()]


def day_of(instant: datetime) -> date:
    """Return the UTC day of an instant; without an offset it is taken as UTC (assumed)."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC).date()


def start_of(on: date) -> datetime:
    """Return the first instant of a UTC day."""
    return datetime.combine(on, time(), UTC)


def asked(body: bytes, filters: Filters) -> Question:
    """Return what a request asks; raises InvalidQuestionError. A bare date is refused (assumed).

    `filters`: the fields that a schema filter may name, by the types there are.
    """
    try:
        question = msgspec.json.decode(body, type=Question)
    except msgspec.ValidationError as error:
        raise InvalidQuestionError(placed(str(error))) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidQuestionError({"__root__": [f"Invalid JSON: {error}"]}) from None
    try:
        question.span()
        wrong = faults_of(question, filters)
    except OverflowError:
        wrong = {"time_from": ["Out of range"], "time_to": ["Out of range"]}
    if wrong:
        raise InvalidQuestionError(wrong)
    return question


def placed(complaint: str) -> dict[str, list[str]]:
    """Return what msgspec complains of, by the field it is about."""
    missing = re.search(r"required field `(\w+)`", complaint)
    if missing:
        return {missing[1]: ["Field required"]}
    found = re.search(r"`\$\.(\w+)", complaint)
    return {found[1] if found else "__root__": [complaint.partition(" - at")[0]]}


def error(status: int, message: str, request_id: str, **more: Any) -> bytes:
    """Return the body of an error in the vendor's shape."""
    name = EXCEPTIONS.get(status, "InternalServerError")
    return msgspec.json.encode({"exception_class": name, "message": message, "request_id": request_id, **more})


def faults_of(question: Question, filters: Filters) -> dict[str, list[str]]:
    """Return what is wrong with a question whose fields are of the right types."""
    wrong: dict[str, list[str]] = {}
    unknown = [kind for kind in question.types or () if kind not in filters]
    if unknown:
        wrong["types"] = [f"Unknown resource type: {', '.join(unknown)}"]
    if day_of(question.time_to) < day_of(question.time_from):
        wrong["time_to"] = ["time_to must not be before time_from"]
    if any(field not in SORTABLE for one in question.sorting or () for field in one):
        wrong["sorting"] = [f"Fields must be among: {', '.join(SORTABLE)}"]
    if any(not re.fullmatch(rf"({'|'.join(SORTABLE)})\.(asc|desc)", key) for key in question.order_by or ()):
        wrong["order_by"] = [f"Must be <field>.asc or <field>.desc with a field among: {', '.join(SORTABLE)}"]
    wanted = question.schema_filter
    if wanted and wanted.field not in filters.get(wanted.type, ()):
        allowed = ", ".join(filters.get(wanted.type, ())) or "none"
        wrong["schema_filter"] = [f"Fields of this type: {allowed}"]
    elif wanted and any("\0" in value for value in wanted.values):
        wrong["schema_filter"] = [NUL]
    if question.tags and any("\0" in f"{one.key}{one.value}" for one in question.tags.conditions):
        wrong["tags"] = [NUL]
    return wrong
