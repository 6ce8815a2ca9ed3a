"""One run of an environment, and its record in JSON and protobuf, valid or not.

Instants are integers: nanoseconds since 1970-01-01T00:00:00Z.
"""

from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from sync.vendors.ona.connect import ID_FIELDS
from sync.vendors.ona.instants import SECOND, build_timestamp
from sync.vendors.ona.usage_pb2 import EnvironmentUsageRecord, ListEnvironmentUsageRecordsResponse

EPOCH: Final = date(1970, 1, 1).toordinal()
PROTO_FIELDS: Final = {name: field for field, name in ID_FIELDS.items()}
FAULT_COUNT: Final = 6
SECONDS: Final = tuple(f"{second:02d}" for second in range(60))


class Environment(NamedTuple):
    """One environment; `project_id` is empty where it has no project, `json` holds the ids as JSON fields."""

    environment_id: str
    user_id: str
    project_id: str
    runner_id: str
    environment_class_id: str
    json: str

    @classmethod
    def create(cls, environment: str, user: str, project: str, runner: str, environment_class: str) -> "Environment":
        ids = (environment, user, project, runner, environment_class)
        json = ",".join(f'"{name}":"{value}"' for name, value in zip(ID_FIELDS.values(), ids, strict=True) if value)
        return cls(*ids, json)

    def build_ids(self) -> dict[str, str]:
        """Return the ids under their protobuf names."""
        return dict(zip(ID_FIELDS, self, strict=False))


class Run(NamedTuple):
    """One completed run.

    `created_at` is None where the vendor leaves it out; `omitted` names another field left out, or is empty;
    `fault` is the number of the contract's breach in the record, -1 for none.
    """

    id: str
    environment: Environment
    created_at: int | None
    created_digits: int
    stopped_at: int
    stopped_digits: int
    omitted: str = ""
    fault: int = -1

    def encode_json(self) -> bytes:
        if self.fault >= 0 or self.omitted or self.created_at is None:
            return msgspec.json.encode(self.build_record())
        created = format_instant(self.created_at, self.created_digits)
        stopped = format_instant(self.stopped_at, self.stopped_digits)
        times = f'"createdAt":"{created}","stoppedAt":"{stopped}"'
        return f'{{"id":"{self.id}",{self.environment.json},{times}}}'.encode()

    def encode_proto(self) -> bytes:
        """Return a protobuf answer with this record only; it has fewer breaches of the contract than JSON.

        Encoded messages one after another are one message with the records of all, so pages are made by joining.
        """
        ids: dict[str, Any] = self.environment.build_ids()
        ids.pop(PROTO_FIELDS.get(self.omitted, ""), None)
        record = EnvironmentUsageRecord(id="" if self.omitted == "id" else self.id, **ids)
        created_at = self.stopped_at + 3600 * SECOND if self.fault in (2, 4, 5) else self.created_at
        if created_at is not None:
            record.created_at.CopyFrom(build_timestamp(created_at))
        if self.fault not in (0, 1, 3):
            record.stopped_at.CopyFrom(build_timestamp(self.stopped_at))
        return ListEnvironmentUsageRecordsResponse(records=[record]).SerializeToString()

    def build_record(self) -> Any:
        """Return the record as the JSON answer has it."""
        names = ID_FIELDS.values()
        record: dict[str, Any] = {"id": self.id, **dict(zip(names, self.environment, strict=False))}
        if self.created_at is not None:
            record["createdAt"] = format_instant(self.created_at, self.created_digits)
        record["stoppedAt"] = format_instant(self.stopped_at, self.stopped_digits)
        record = {name: value for name, value in record.items() if value and name != self.omitted}
        return self._break_record(record) if self.fault >= 0 else record

    def _break_record(self, record: dict[str, Any]) -> Any:
        match self.fault:
            case 0:
                del record["stoppedAt"]
            case 1:
                record["stoppedAt"] = "yesterday"
            case 2:
                record["createdAt"] = format_instant(self.stopped_at + 3600 * SECOND, 0)
            case 3:
                record["environmentId"] = 42
            case 4:
                record["stoppedAt"] = self.stopped_at // SECOND
            case _:
                return f"record {self.id}"
        return record


def format_instant(instant: int, digits: int) -> str:
    """Return an instant in RFC 3339, UTC, cut to so many fractional digits."""
    seconds, nanos = divmod(instant, SECOND)
    days, second = divmod(seconds, 86_400)
    text = f"{_format_date(days)}T{_format_minute(second // 60)}{SECONDS[second % 60]}"
    return f"{text}.{nanos // 10 ** (9 - digits):0{digits}d}Z" if digits else f"{text}Z"


@lru_cache(maxsize=4096)
def _format_date(days: int) -> str:
    return date.fromordinal(EPOCH + days).isoformat()


@lru_cache(maxsize=1440)
def _format_minute(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}:"
