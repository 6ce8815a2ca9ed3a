"""The Workato stand-in: usage statistics and managed users of a made-up Embedded account (contracts.md)."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from sync.sandbox.bits import struck
from sync.sandbox.world import Answer, ContentFaults, Request, World
from sync.vendors.workato.question import Question, RefusedError, asked, error, paged
from sync.vendors.workato.sandbox.history import History
from sync.vendors.workato.sandbox.shapes import SHAPES, shaped
from sync.vendors.workato.sandbox.statistics import statistics

USAGE = "/api/v2/managed_users/statistics/usage"
WORKSPACES = "/api/managed_users"
encode = msgspec.json.Encoder().encode
Row = dict[str, Any]


class Sandbox:
    """One Embedded account. `shape` names how rows differ from plain ones (shapes.SHAPES); tests set it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shape: frozenset[str] = frozenset()
        self._known: tuple[tuple[Any, ...], History] | None = None

    def answer(self, request: Request, faults: ContentFaults) -> Answer:
        """Answer one request; errors are `{"message": …}`, with `errors` where fields are to blame."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.strip() != self.world.credential:
            return self.refuse(401, "Unauthorized")
        try:
            match request.method, request.path:
                case "POST", path if path == USAGE:
                    return self._usage(asked(request), faults)
                case "GET", path if path == WORKSPACES:
                    return self._workspaces(request, faults)
                case _:
                    return self.refuse(404, "Not found")
        except RefusedError as refused:
            return self.refuse(refused.status, refused.message, refused.errors)

    def refuse(self, status: int, message: str, errors: dict[str, str] | None = None) -> Answer:
        """Return an error in the vendor's shape; 5xx come with an `id`."""
        more = {"id": f"{self.world.roll(status, message):016x}"} if status >= 500 else {}
        return Answer(status, error(message, errors, **more))

    @property
    def history(self) -> History:
        """What the account did; made anew when the world was given another size or zone."""
        world = self.world
        size = (world.seed, world.scale, world.records_per_day, world.zone)
        if self._known is None or self._known[0] != size:
            self._known = size, History(world)
        return self._known[1]

    def _usage(self, question: Question, faults: ContentFaults) -> Answer:
        found = statistics(self.history, question)
        struck_one = len(found) // 2 if len(found) and faults.hit("bad_record") else -1
        rows = (
            spoilt(row, place) if place == struck_one or self._is_bad(row) else row for place, row in enumerate(found)
        )
        parts = b",".join(map(encode, shaped(rows, self.shape) if self.shape else rows))
        return Answer(200, b'{"data":[%b]}' % parts if parts else b'{"data":null}')

    def _is_bad(self, row: Row) -> bool:
        """Tell whether a row was arranged not to keep the contract, on the day its bucket begins."""
        if not self.world.edits and not self.world.faults:
            return False
        start = datetime.fromisoformat(row["from"])
        edit = self.world.edit("workato", start.date())
        who: int = row["recipe_id"] if "recipe_id" in row else row["workspace_id"]
        return edit.bad > 0 and struck(who * 2**32 + int(start.timestamp()), edit.bad)

    def _workspaces(self, request: Request, faults: ContentFaults) -> Answer:
        page, per_page = paged(request.query)
        start = (page - 1) * per_page
        if start and faults.hit("duplicate"):
            start -= 1
        found = self.history.account.workspaces[start : start + per_page]
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
            for workspace in found
        ]
        return Answer(200, encode({"result": result}))


def spoilt(row: Row, place: int) -> Row:
    """Return a row that does not keep the contract, in one of several ways."""
    return {**row, **({"from": "yesterday"}, {"task_count": "many"}, {"workspace_id": None})[place % 3]}


__all__ = ["SHAPES", "Sandbox"]
