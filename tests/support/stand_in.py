"""Requests to a stand-in vendor without HTTP."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.world import VendorSandbox


class OneTimeFaults:
    """Content faults that occur once each, at the first chance."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def hit(self, name: str) -> bool:
        is_listed = name in self.names
        self.names.discard(name)
        return is_listed


def send_request(
    sandbox: VendorSandbox,
    path: str,
    body: Any = None,
    *,
    authorization: str,
    method: str = "POST",
    query: Mapping[str, Any] | None = None,
    faults: OneTimeFaults | None = None,
) -> APIResponse:
    """Return the response to one request; `body` is sent as JSON, bytes as they are."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = parse_qs(urlencode(query or {}, doseq=True))
    return sandbox.respond(
        APIRequest(method, path, fields, {"authorization": authorization}, content), faults or OneTimeFaults()
    )


def parse_content(response: APIResponse) -> Any:
    """Return a response's JSON with every number exact."""
    return json.loads(response.body, parse_float=Decimal)
