"""Asking a stand-in vendor without HTTP."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.world import VendorSandbox


class Struck:
    """Content faults that strike once each, at the first chance they get."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def hit(self, name: str) -> bool:
        found = name in self.names
        self.names.discard(name)
        return found


def answered(
    sandbox: VendorSandbox,
    path: str,
    body: Any = None,
    *,
    authorization: str,
    method: str = "POST",
    query: Mapping[str, Any] | None = None,
    faults: Struck | None = None,
) -> APIResponse:
    """Return the answer to one request; `body` is sent as JSON, bytes as they are."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = parse_qs(urlencode(query or {}, doseq=True))
    return sandbox.respond(
        APIRequest(method, path, fields, {"authorization": authorization}, content), faults or Struck()
    )


def parse_content(answer: APIResponse) -> Any:
    """Return an answer's JSON with every number exact."""
    return json.loads(answer.body, parse_float=Decimal)
