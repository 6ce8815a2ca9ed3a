"""What the sandbox keeps in memory, and what its content faults do to one record."""

import json
from typing import Any

import pytest

from sync.api_messages import APIResponse
from sync.sandbox.cache import WeightedCache
from sync.sandbox.hostile import LONG_ID, LONG_NAME, corrupt_response
from tests.support.sandbox_process import SandboxProcess


def test_the_cache_drops_what_was_not_used_for_longest_until_its_records_fit() -> None:
    cache, built = WeightedCache(10), []

    def get(key: str) -> list[str]:
        def build() -> list[str]:
            built.append(key)
            return [key] * 3

        return cache.get(key, build, len)

    assert (get("a"), get("b"), get("a")) == (["a"] * 3, ["b"] * 3, ["a"] * 3)
    get("c")
    assert cache.record_count == 8
    get("a")
    assert built == ["a", "b", "c"]
    get("b")
    assert built == ["a", "b", "c", "b"]


def test_an_entry_larger_than_the_cache_is_kept_until_the_next() -> None:
    cache = WeightedCache(10)
    assert cache.get("large", lambda: [0] * 100, len) == [0] * 100
    assert cache.record_count == 101
    cache.get("small", lambda: [0], len)
    assert cache.record_count == 2


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("surrogate", {"last_name": "half a character: \ud83d"}),
        ("oversized_name", {"last_name": LONG_NAME}),
        ("oversized_id", {"uuid": LONG_ID}),
    ],
)
def test_a_content_fault_changes_one_field_of_one_record(fault: str, changes: dict[str, Any]) -> None:
    records = [{"uuid": f"volume-{number}", "last_name": "web"} for number in range(3)]
    response = corrupt_response(APIResponse(200, json.dumps({"resources": records}).encode()), fault)
    assert json.loads(response.body)["resources"] == [records[0], records[1] | changes, records[2]]


def test_a_process_that_was_never_started_can_be_stopped() -> None:
    process = SandboxProcess()
    process.stop()
    assert process.pid == 0
