"""Passes the context of a request (user, page, address) to the triggers of the audit log."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponseBase

from portal.accounts.throttling import get_client_address

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
CHANGED_BY_GET = ("/accounts/",)  # such as signing in through the provider, which creates and changes users
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b", re.IGNORECASE)
SETTING = "portal.audit_context"


class AuditMiddleware:
    """Sets the context before each statement of a request that writes; requests that only read cost nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`; its changes carry its context."""
        if request.method in SAFE_METHODS and not request.path.startswith(CHANGED_BY_GET):
            return self.get_response(request)
        values = {"user": request.user.pk, "url": request.path[:300], "address": get_client_address(request)}
        with connection.execute_wrapper(build_wrapper(json.dumps(values))):
            return self.get_response(request)


def build_wrapper(values: str) -> Callable[..., Any]:
    """Return a wrapper of database calls that sets SETTING to `values` together with each statement that writes.

    The setting is local to the transaction; without one, to these two statements, which are sent as one query.
    A connection that goes back to the pool therefore keeps nothing for the next request.
    """

    def execute_with_context(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if many or not isinstance(sql, str) or not WRITES.match(sql):
            return execute(sql, params, many, context)
        if params is None:
            sql, params = sql.replace("%", "%%"), ()
        if isinstance(params, Mapping):
            placeholder, params = "%(audit_context)s", {**params, "audit_context": values}
        else:
            placeholder, params = "%s", (values, *params)
        result = execute(f"SELECT set_config('{SETTING}', {placeholder}, true); {sql}", params, many, context)
        context["cursor"].nextset()
        return result

    return execute_with_context
