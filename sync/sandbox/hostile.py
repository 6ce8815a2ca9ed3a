"""Hostile answers: absurd waits, errors packed wrongly, errors with HTTP 200, records that no database takes."""

import json
import re
import time
from typing import Any, Final

from sync.api_messages import APIResponse

ABSURD_WAITS: Final = (str(10**12), "9" * 25, "9" * 400, "-5", "soon", "1e9", "Wed, 01 Jan 9999 00:00:00 GMT", "now+1")
PACKED_STATUSES: Final = (429, 503, 401, 403)
NOT_GZIP: Final = (b"", b"\x1f\x8b\x08\x00broken", b'{"message": "This is not compressed."}')
ENVELOPES: Final = (
    b'{"error": "The service is busy."}',
    b'{"errors": [{"message": "The service is busy."}], "data": null}',
    b'{"success": false, "data": [], "records": [], "resources": [], "count": 0, "totals": []}',
    b'{"error": {"code": 7}, "records": [], "pagination": {}, "count": 0, "resources": [], "totals": [], "data": []}',
)
LISTS: Final = ("records", "resources", "data")  # where the vendors' answers have their records
NAMES: Final = ("last_name", "recipe_name", "workspace_name")
IDS: Final = ("uuid", "id", "project_id", "projectId", "external_id")
METRICS: Final = ("task_count", "createdAt", "first_seen")
NUMBER: Final = "\x01"
LONG_NAME: Final = "long " * 20_000
LONG_ID: Final = "0123456789abcdef" * 400


def get_absurd_wait(choice: int) -> str:
    """Return a Retry-After that no client should follow; one of them is an instant in place of seconds."""
    waits = (*ABSURD_WAITS, str(int(time.time()) + 2))
    return waits[choice % len(waits)]


def build_packed_error(choice: int) -> APIResponse:
    """Return an error whose body is called gzip and is none."""
    status = PACKED_STATUSES[choice % len(PACKED_STATUSES)]
    headers = {"Content-Encoding": "gzip"} | ({"Retry-After": "1"} if status == 429 else {})
    return APIResponse(status, NOT_GZIP[choice // len(PACKED_STATUSES) % len(NOT_GZIP)], headers=headers)


def corrupt_response(answer: APIResponse, fault: str) -> APIResponse:
    """Return a JSON answer with the content fault `fault` carried out on one record, or on all for `missing_metric`."""
    # Numbers stay as they are written: a float in between would change the last digits.
    content = json.loads(answer.body, parse_float=lambda text: f"{NUMBER}{text}")
    records = find_records(content)
    if not records:
        return answer
    affected_records = records if fault == "missing_metric" else [records[len(records) // 2]]
    for record in affected_records:
        corrupt_record(record, fault)
    body = re.sub(r'"\\u0001([^"]+)"', r"\1", json.dumps(content))
    return APIResponse(answer.status, body.encode(), answer.content_type, answer.headers)


def find_records(content: Any) -> list[dict[str, Any]]:
    """Return the records of an answer, whichever vendor's it is."""
    lists = [content[name] for name in LISTS if isinstance(content, dict) and isinstance(content.get(name), list)]
    return [record for records in lists for record in records if isinstance(record, dict)]


def corrupt_record(record: dict[str, Any], fault: str) -> None:
    """Carry a fault out on one record."""
    if fault == "missing_metric":
        for name in METRICS:
            record.pop(name, None)
    elif fault == "surrogate":
        record[find_first(record, NAMES, "note")] = "half a character: \ud83d"
    elif fault == "oversized_name":
        record[find_first(record, NAMES, "note")] = LONG_NAME
    else:
        record[find_first(record, IDS, "id")] = LONG_ID


def find_first(record: dict[str, Any], names: tuple[str, ...], default: str) -> str:
    """Return the first of `names` that the record has."""
    return next((name for name in names if name in record), default)
