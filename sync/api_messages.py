"""Requests and responses of a vendor's API, as its mirror and its stand-in exchange them; needs no Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class APIRequest:
    """One request to a vendor's API, as its mirror and its stand-in get it.

    Header names are lower case, `path` begins with a slash, the body is decompressed.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class APIResponse:
    """The answer of a mirror or a stand-in.

    `span`: the half-open range of instants whose usage is in the body, None for a body without usage.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    span: tuple[datetime, datetime] | None = None
