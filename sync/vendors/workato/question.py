"""What may be asked of Workato's usage statistics and workspaces, what is wrong with it, and how that is said."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

INTERVALS = ("none", "year", "month", "week", "day", "hour")
GROUPS = ("workspace", "recipe")
BARE = {"from", "to", "workspace_ids", "external_ids", "interval"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:?\d\d)")
LISTS = ("workspace_ids", "external_ids", "recipe_ids", "folder_ids")
PATTERN_LENGTH = 3
YEARS = range(2000, 2101)  # assumed
NUL = "must not hold the character NUL"  # assumed

PER_PAGE = 100  # default and most (assumed); more is cut to it

Interval = Literal["none", "year", "month", "week", "day", "hour"]


class Request(Protocol):
    """What a question is read from."""

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The query's parameters."""

    @property
    def body(self) -> bytes:
        """The body, unpacked."""


class RefusedError(Exception):
    """A request that is answered with an error: the status, a message, and what is wrong with which field.

    Which of 400 and 422 is assumed: 400 for what cannot be read or lacks a required field, 422 for values.
    """

    def __init__(self, status: int, message: str, **errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Question:
    """A request for usage statistics. Sets of ids are None where the field was not given.

    `bare`: nothing was given but the range, the workspaces and the interval, so that deleted recipes count.
    """

    start: datetime
    end: datetime
    interval: Interval
    group_by: str
    bare: bool
    workspace_ids: frozenset[int]
    external_ids: frozenset[str]
    recipe_ids: frozenset[int] | None = None
    folder_ids: frozenset[int] | None = None
    recipe_name_pattern: str | None = None
    folder_name_pattern: str | None = None


def asked(request: Request) -> Question:
    """Return what a request asks in its JSON body and its query (the body wins); raises RefusedError."""
    fields = {**of_query(request.query), **of_body(request.body)}
    fields = {name: value for name, value in fields.items() if value is not None}
    missing = [name for name in ("from", "to") if name not in fields]
    if missing:
        raise RefusedError(
            400, f"Missing required fields: {', '.join(missing)}", **dict.fromkeys(missing, "is missing")
        )
    if "workspace_ids" not in fields and "external_ids" not in fields:
        raise RefusedError(400, "Either workspace_ids or external_ids is required")
    wrong = faults_of(fields)
    if wrong:
        raise RefusedError(422, "; ".join(f"{name} {what}" for name, what in wrong.items()), **wrong)
    return Question(
        start=instant(fields["from"]),
        end=instant(fields["to"]),
        interval=fields.get("interval", "none"),
        group_by=fields.get("group_by", "workspace"),
        bare=not set(fields) - BARE,
        workspace_ids=numbers(fields, "workspace_ids") or frozenset(),
        external_ids=frozenset(str(one) for one in fields.get("external_ids", ())),
        recipe_ids=numbers(fields, "recipe_ids"),
        folder_ids=numbers(fields, "folder_ids"),
        recipe_name_pattern=fields.get("recipe_name_pattern"),
        folder_name_pattern=fields.get("folder_name_pattern"),
    )


def paged(query: Mapping[str, list[str]]) -> tuple[int, int]:
    """Return which page of workspaces is asked for, from 1 on, and its size; raises RefusedError."""
    return whole(query, "page", 1), min(whole(query, "per_page", PER_PAGE), PER_PAGE)


def whole(query: Mapping[str, list[str]], name: str, usual: int) -> int:
    """Return a query parameter as a number from 1 on; raises RefusedError."""
    text = query.get(name, [str(usual)])[-1]
    if not text.isascii() or not text.isdigit() or not int(text[:19]) >= 1 or len(text) > 18:
        raise RefusedError(400, f"{name} must be a positive integer", **{name: "must be a positive integer"})
    return int(text)


def error(message: str, errors: Mapping[str, str] | None = None, **more: str) -> bytes:
    """Return the body of an error in the vendor's shape, with what is wrong with which field."""
    body: dict[str, Any] = {"message": message, **more}
    if errors:
        body["errors"] = [{"field": name, "message": what} for name, what in errors.items()]
    return msgspec.json.encode(body)


def of_query(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the fields of a query; lists come repeated, with brackets, or separated by commas (assumed)."""
    fields: dict[str, Any] = {}
    for name, values in query.items():
        name = name.removesuffix("[]")
        if name in LISTS:
            fields[name] = [part for value in values for part in value.split(",") if part]
        else:
            fields[name] = values[-1]
    return fields


def of_body(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON body, none if it is empty; raises RefusedError if it is no object."""
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RefusedError(400, f"The request body is not a JSON object: {error}") from None


def instant(text: str) -> datetime:
    """Return the instant of `YYYY-MM-DDTHH:mm:ss.SSSZ`, Z being a Z or an offset (assumed)."""
    return datetime.fromisoformat(text)


def numbers(fields: Mapping[str, Any], name: str) -> frozenset[int] | None:
    """Return the ids of a field as numbers, None where it was not given."""
    return frozenset(int(one) for one in fields[name]) if name in fields else None


def faults_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the values of the fields."""
    wrong = faults_of_range(fields) | faults_of_lists(fields) | faults_of_patterns(fields)
    for name, allowed in (("interval", INTERVALS), ("group_by", GROUPS)):
        if fields.get(name, allowed[0]) not in allowed:
            wrong[name] = f"must be one of {', '.join(allowed)}"
    return wrong


def faults_of_lists(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the lists of ids."""
    wrong = {}
    for name in LISTS:
        value = fields.get(name, [])
        if not isinstance(value, list):
            wrong[name] = "must be a list"
        elif name != "external_ids" and not all(re.fullmatch(r"\d{1,18}", str(one)) for one in value):
            wrong[name] = "must be a list of ids"
        elif any("\0" in str(one) for one in value):
            wrong[name] = NUL
    return wrong


def faults_of_patterns(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the patterns of names."""
    wrong = {}
    for kind in ("recipe", "folder"):
        pattern = fields.get(f"{kind}_name_pattern")
        if pattern is not None and (not isinstance(pattern, str) or len(pattern) < PATTERN_LENGTH):
            wrong[f"{kind}_name_pattern"] = f"must have {PATTERN_LENGTH} or more characters"
        elif pattern is not None and "\0" in pattern:
            wrong[f"{kind}_name_pattern"] = NUL
        elif pattern is not None and f"{kind}_ids" in fields:
            wrong[f"{kind}_name_pattern"] = f"cannot be used together with {kind}_ids"
    return wrong


def faults_of_range(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with `from` and `to`."""
    wrong = {}
    for name in ("from", "to"):
        try:
            readable = bool(INSTANT.fullmatch(fields[name])) and bool(instant(fields[name]))
        except (TypeError, ValueError):
            readable = False
        if not readable:
            wrong[name] = "must have the format YYYY-MM-DDTHH:mm:ss.SSSZ"
        elif instant(fields[name]).year not in YEARS:
            wrong[name] = f"must lie between the years {YEARS[0]} and {YEARS[-1]}"
    if not wrong and instant(fields["to"]) <= instant(fields["from"]):
        wrong["to"] = "must be after from"
    return wrong
