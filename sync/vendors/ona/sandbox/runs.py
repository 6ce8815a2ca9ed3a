"""One run of an environment, and how Ona writes it: as JSON, as protobuf, and wrongly.

Instants are integers: nanoseconds since 1970-01-01T00:00:00Z.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from sync.vendors.ona import protobuf
from sync.vendors.ona.protobuf import SECOND

EPOCH: Final = date(1970, 1, 1).toordinal()
NAMES: Final = ("environmentId", "userId", "projectId", "runnerId", "environmentClassId")
BAD_KINDS: Final = 6
SECONDS: Final = tuple(f"{second:02d}" for second in range(60))


class Environment(NamedTuple):
    """One environment and what never changes about it; `project_id` is empty where it has no project.

    `json` and `proto` are these fields as a record holds them, encoded once.
    """

    environment_id: str
    user_id: str
    project_id: str
    runner_id: str
    environment_class_id: str
    json: str
    proto: bytes

    @classmethod
    def of(cls, environment: str, user: str, project: str, runner: str, environment_class: str) -> "Environment":
        """Return an environment with its encoded forms."""
        ids = (environment, user, project, runner, environment_class)
        json = ",".join(f'"{name}":"{value}"' for name, value in zip(NAMES, ids, strict=True) if value)
        return cls(*ids, json, encoded(ids))


class Run(NamedTuple):
    """One completed run.

    `created_at` is None where the vendor leaves it out; `omitted` names another field left out, or is empty;
    `bad` is the way in which the record breaks the contract, or -1.
    """

    id: str
    environment: Environment
    created_at: int | None
    created_digits: int
    stopped_at: int
    stopped_digits: int
    omitted: str = ""
    bad: int = -1

    def as_object(self) -> Any:
        """Return the record as the JSON answer has it."""
        record: dict[str, Any] = {"id": self.id, **dict(zip(NAMES, self.environment[:5], strict=True))}
        if self.created_at is not None:
            record["createdAt"] = stamp(self.created_at, self.created_digits)
        record["stoppedAt"] = stamp(self.stopped_at, self.stopped_digits)
        record = {name: value for name, value in record.items() if value and name != self.omitted}
        return self._broken(record) if self.bad >= 0 else record

    def as_json(self) -> bytes:
        """Return the record as JSON text."""
        if self.bad >= 0 or self.omitted or self.created_at is None:
            return msgspec.json.encode(self.as_object())
        created = stamp(self.created_at, self.created_digits)
        stopped = stamp(self.stopped_at, self.stopped_digits)
        times = f'"createdAt":"{created}","stoppedAt":"{stopped}"'
        return f'{{"id":"{self.id}",{self.environment.json},{times}}}'.encode()

    def as_proto(self) -> bytes:
        """Return the record as an element of the protobuf answer; it breaks the contract in fewer ways."""
        static = self.environment.proto
        if self.omitted in NAMES:
            ids = zip(NAMES, self.environment[:5], strict=True)
            static = encoded(["" if name == self.omitted else value for name, value in ids])
        stopped = None if self.bad in (0, 1, 3) else self.stopped_at
        created = self.stopped_at + 3600 * SECOND if self.bad in (2, 4, 5) else self.created_at
        return protobuf.record("" if self.omitted == "id" else self.id, static, created, stopped)

    def _broken(self, record: dict[str, Any]) -> Any:
        match self.bad:
            case 0:
                del record["stoppedAt"]
            case 1:
                record["stoppedAt"] = "yesterday"
            case 2:
                record["createdAt"] = stamp(self.stopped_at + 3600 * SECOND, 0)
            case 3:
                record["environmentId"] = 42
            case 4:
                record["stoppedAt"] = self.stopped_at // SECOND
            case _:
                return f"record {self.id}"
        return record


def encoded(ids: Sequence[str]) -> bytes:
    """Return an environment's ids as fields 2 to 6 of a protobuf record."""
    return b"".join(protobuf.text(field, value) for field, value in enumerate(ids, start=2))


def stamp(instant: int, digits: int) -> str:
    """Return an instant in RFC 3339, UTC, cut to so many fractional digits."""
    seconds, nanos = divmod(instant, SECOND)
    days, second = divmod(seconds, 86_400)
    whole = f"{_date(days)}T{_minute(second // 60)}{SECONDS[second % 60]}"
    return f"{whole}.{nanos // 10 ** (9 - digits):0{digits}d}Z" if digits else f"{whole}Z"


@lru_cache(maxsize=4096)
def _date(days: int) -> str:
    return date.fromordinal(EPOCH + days).isoformat()


@lru_cache(maxsize=1440)
def _minute(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}:"
