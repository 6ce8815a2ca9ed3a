"""Requests for Workato's usage statistics and workspaces: parsing, validation, and the bodies of errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from sync.api_messages import APIRequest

INTERVALS = ("none", "year", "month", "week", "day", "hour")
GROUPS = ("workspace", "recipe")
BARE = {"from", "to", "workspace_ids", "external_ids", "interval"}
# `YYYY-MM-DDTHH:mm:ss.SSSZ`, Z being a Z or an offset (assumed).
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:?\d\d)")
LISTS = ("workspace_ids", "external_ids", "recipe_ids", "folder_ids")
PATTERN_LENGTH = 3
YEARS = range(2000, 2101)  # assumed
NUL = "must not hold the character NUL"  # assumed

PER_PAGE = 100  # default and most (assumed); more is cut to it

Interval = Literal["none", "year", "month", "week", "day", "hour"]


class InvalidUsageRequest(Exception):
    """A request that is answered with an error: the status, a message, and what is wrong with which field.

    Which of 400 and 422 is assumed: 400 for what cannot be read or lacks a required field, 422 for values.
    """

    def __init__(self, status: int, message: str, **errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """A request for usage statistics. Sets of ids are None where the field is missing.

    `bare`: nothing but the range, the workspaces and the interval, so that deleted recipes count.
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


def parse_usage_request(request: APIRequest) -> UsageRequest:
    """Return the request in a JSON body and a query (the body wins); raises InvalidUsageRequest."""
    fields = {**parse_query(request.query), **parse_body(request.body)}
    fields = {name: value for name, value in fields.items() if value is not None}
    missing = [name for name in ("from", "to") if name not in fields]
    if missing:
        raise InvalidUsageRequest(
            400, f"Missing required fields: {', '.join(missing)}", **dict.fromkeys(missing, "is missing")
        )
    if "workspace_ids" not in fields and "external_ids" not in fields:
        raise InvalidUsageRequest(400, "Either workspace_ids or external_ids is required")
    errors = find_errors(fields)
    if errors:
        raise InvalidUsageRequest(422, "; ".join(f"{name} {what}" for name, what in errors.items()), **errors)
    return UsageRequest(
        start=datetime.fromisoformat(fields["from"]),
        end=datetime.fromisoformat(fields["to"]),
        interval=fields.get("interval", "none"),
        group_by=fields.get("group_by", "workspace"),
        bare=not set(fields) - BARE,
        workspace_ids=parse_ids(fields, "workspace_ids") or frozenset(),
        external_ids=frozenset(str(external_id) for external_id in fields.get("external_ids", ())),
        recipe_ids=parse_ids(fields, "recipe_ids"),
        folder_ids=parse_ids(fields, "folder_ids"),
        recipe_name_pattern=fields.get("recipe_name_pattern"),
        folder_name_pattern=fields.get("folder_name_pattern"),
    )


def parse_page_params(query: Mapping[str, list[str]]) -> tuple[int, int]:
    """Return the requested page of workspaces, from 1 on, and its size; raises InvalidUsageRequest."""
    return parse_positive(query, "page", 1), min(parse_positive(query, "per_page", PER_PAGE), PER_PAGE)


def parse_positive(query: Mapping[str, list[str]], name: str, default: int) -> int:
    """Return a query parameter as a number from 1 on; raises InvalidUsageRequest."""
    text = query.get(name, [str(default)])[-1]
    if not text.isascii() or not text.isdigit() or not int(text[:19]) >= 1 or len(text) > 18:
        raise InvalidUsageRequest(400, f"{name} must be a positive integer", **{name: "must be a positive integer"})
    return int(text)


def encode_error(message: str, errors: Mapping[str, str] | None = None, **more: str) -> bytes:
    """Return the body of an error in the vendor's shape, with what is wrong with which field."""
    body: dict[str, Any] = {"message": message, **more}
    if errors:
        body["errors"] = [{"field": name, "message": what} for name, what in errors.items()]
    return msgspec.json.encode(body)


def parse_query(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the fields of a query; lists come repeated, with brackets, or separated by commas (assumed)."""
    fields: dict[str, Any] = {}
    for name, values in query.items():
        name = name.removesuffix("[]")
        if name in LISTS:
            fields[name] = [part for value in values for part in value.split(",") if part]
        else:
            fields[name] = values[-1]
    return fields


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON body, none if it is empty; raises InvalidUsageRequest if it is no object."""
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidUsageRequest(400, f"The request body is not a JSON object: {error}") from None


def parse_ids(fields: Mapping[str, Any], name: str) -> frozenset[int] | None:
    """Return the ids of a field as numbers, None where it is missing."""
    return frozenset(int(text) for text in fields[name]) if name in fields else None


def find_errors(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the values of the fields."""
    errors = find_range_errors(fields) | find_list_errors(fields) | find_pattern_errors(fields)
    for name, allowed in (("interval", INTERVALS), ("group_by", GROUPS)):
        if fields.get(name, allowed[0]) not in allowed:
            errors[name] = f"must be one of {', '.join(allowed)}"
    return errors


def find_list_errors(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the lists of ids."""
    errors = {}
    for name in LISTS:
        ids = fields.get(name, [])
        if not isinstance(ids, list):
            errors[name] = "must be a list"
        elif name != "external_ids" and not all(re.fullmatch(r"\d{1,18}", str(vendor_id)) for vendor_id in ids):
            errors[name] = "must be a list of ids"
        elif any("\0" in str(vendor_id) for vendor_id in ids):
            errors[name] = NUL
    return errors


def find_pattern_errors(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the patterns of names."""
    errors = {}
    for kind in ("recipe", "folder"):
        pattern = fields.get(f"{kind}_name_pattern")
        if pattern is not None and (not isinstance(pattern, str) or len(pattern) < PATTERN_LENGTH):
            errors[f"{kind}_name_pattern"] = f"must have {PATTERN_LENGTH} or more characters"
        elif pattern is not None and "\0" in pattern:
            errors[f"{kind}_name_pattern"] = NUL
        elif pattern is not None and f"{kind}_ids" in fields:
            errors[f"{kind}_name_pattern"] = f"cannot be used together with {kind}_ids"
    return errors


def find_range_errors(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with `from` and `to`."""
    errors = {}
    for name in ("from", "to"):
        try:
            readable = bool(INSTANT.fullmatch(fields[name])) and bool(datetime.fromisoformat(fields[name]))
        except (TypeError, ValueError):
            readable = False
        if not readable:
            errors[name] = "must have the format YYYY-MM-DDTHH:mm:ss.SSSZ"
        elif datetime.fromisoformat(fields[name]).year not in YEARS:
            errors[name] = f"must lie between the years {YEARS[0]} and {YEARS[-1]}"
    if not errors and datetime.fromisoformat(fields["to"]) <= datetime.fromisoformat(fields["from"]):
        errors["to"] = "must be after from"
    return errors
