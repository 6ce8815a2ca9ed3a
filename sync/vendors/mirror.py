"""What the portal asks of a vendor's mirror: the vendor's own answer to the vendor's own request."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from usage.models import Source


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; header names are lower case, `path` begins with a slash, the body is unpacked."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer; `span` is the half-open range of instants that it speaks of, None where it speaks of none."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    span: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A vendor's API as OpenAPI has it, for the portal's own schema.

    `operations`: by path and method, with the vendor's own parameters, bodies and answers. `error`: the schema of
    every error, with an example. `credential`: how the token is sent. `components`: schemas that the others refer
    to, by names that begin with the vendor's.
    """

    operations: Mapping[str, Mapping[str, dict[str, Any]]]
    error: dict[str, Any]
    credential: str
    components: Mapping[str, dict[str, Any]] = field(default_factory=dict)


class VendorMirror(ABC):
    """Answers for one source as its vendor would; a vendor folder may have one, named `Mirror`, in `mirror.py`.

    `paths`: the vendor's own paths, behind what its base URL has behind its host. `described`: what is asked and
    answered there.
    """

    paths: ClassVar[tuple[str, ...]]
    described: ClassVar[Described]

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def answer(self, asked: Asked) -> Answered:
        """Answer a request for one of `paths` from the portal's records."""

    @classmethod
    @abstractmethod
    def refuse(cls, status: int, message: str) -> Answered:
        """Answer with an error of the vendor's own shape: 400, 401, 403, 404, 405, 413, 415, 429, 500 or 503."""
