"""The Workato stand-in: usage statistics and managed users of a made-up Embedded account (docs/vendors/workato.md)."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.bits import is_hit
from sync.sandbox.world import ContentFaults, World
from sync.vendors.workato.request import (
    InvalidUsageRequest,
    UsageRequest,
    encode_error,
    parse_page_params,
    parse_usage_request,
)
from sync.vendors.workato.sandbox.history import History
from sync.vendors.workato.sandbox.statistics import build_statistics
from sync.vendors.workato.schema import USAGE, WORKSPACES

encode = msgspec.json.Encoder().encode
Row = dict[str, Any]


class Sandbox:
    """One Embedded account; tests let `reshape` send its rows in other shapes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reshape: Callable[[Iterator[Row]], Iterable[Row]] = iter
        self._history: tuple[tuple[Any, ...], History] | None = None

    def respond(self, request: APIRequest, faults: ContentFaults) -> APIResponse:
        """Answer one request; errors are `{"message": …}`, with `errors` where fields are to blame."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.strip() != self.world.credential:
            return self.build_error(401, "Unauthorized")
        try:
            match request.method, request.path:
                case "POST", path if path == USAGE:
                    return self._answer_usage(parse_usage_request(request), faults)
                case "GET", path if path == WORKSPACES:
                    return self._answer_workspaces(request, faults)
                case _:
                    return self.build_error(404, "Not found")
        except InvalidUsageRequest as error:
            return self.build_error(error.status, error.message, error.errors)

    def build_error(self, status: int, message: str, errors: dict[str, str] | None = None) -> APIResponse:
        """Return an error in the vendor's shape; 5xx come with an `id`."""
        more = {"id": f"{self.world.roll(status, message):016x}"} if status >= 500 else {}
        return APIResponse(status, encode_error(message, errors, **more))

    @property
    def history(self) -> History:
        """What the account did; made anew when the world's size or zone has changed."""
        world = self.world
        size = (world.seed, world.scale, world.records_per_day, world.zone)
        if self._history is None or self._history[0] != size:
            self._history = size, History(world)
        return self._history[1]

    def _answer_usage(self, query: UsageRequest, faults: ContentFaults) -> APIResponse:
        statistics = build_statistics(self.history, query)
        bad_place = len(statistics) // 2 if len(statistics) and faults.hit("bad_record") else -1
        rows = (
            break_row(row, place) if place == bad_place or self._is_bad(row) else row
            for place, row in enumerate(statistics)
        )
        parts = b",".join(map(encode, self.reshape(rows)))
        return APIResponse(200, b'{"data":[%b]}' % parts if parts else b'{"data":null}')

    def _is_bad(self, row: Row) -> bool:
        """Return whether an edit of the day on which its bucket begins makes a row break the contract."""
        if not self.world.edits and not self.world.faults:
            return False
        start = datetime.fromisoformat(row["from"])
        edit = self.world.get_edit("workato", start.date())
        owner_id: int = row["recipe_id"] if "recipe_id" in row else row["workspace_id"]
        return edit.bad > 0 and is_hit(owner_id * 2**32 + int(start.timestamp()), edit.bad)

    def _answer_workspaces(self, request: APIRequest, faults: ContentFaults) -> APIResponse:
        page, per_page = parse_page_params(request.query)
        start = (page - 1) * per_page
        if start and faults.hit("duplicate"):
            start -= 1
        workspaces = self.history.account.workspaces[start : start + per_page]
        created = datetime(2024, 5, 1, 9, tzinfo=UTC)
        result = [
            {
                "id": workspace.id,
                "external_id": workspace.external_id,
                "name": workspace.name,
                "notification_email": f"ops+{workspace.id}@example.com",
                "in_trial": False,
                "created_at": created.isoformat(timespec="milliseconds"),
            }
            for workspace in workspaces
        ]
        return APIResponse(200, encode({"result": result}))


def break_row(row: Row, place: int) -> Row:
    """Return a row that breaks the contract, in one of several forms."""
    return {**row, **({"from": "yesterday"}, {"task_count": "many"}, {"workspace_id": None})[place % 3]}
