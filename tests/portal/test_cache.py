"""Redis as requests use it: one that fails is left alone for a while, and used again once it answers."""

from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from portal.cache import GuardedRedis


def test_a_redis_that_failed_is_left_alone_then_tried_by_one_request_and_its_outage_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("portal.cache.time", SimpleNamespace(monotonic=lambda: now))
    redis = GuardedRedis("redis://127.0.0.1:1/0")
    calls: list[float] = []

    def fail() -> str:
        calls.append(now)
        raise RedisConnectionError

    def fail_slowly() -> str:
        assert redis.call(lambda: "called", "left alone") == "left alone"  # by another request meanwhile
        return fail()

    for now in (100.0, 101.0, 104.9, 105.0, 106.0):  # noqa: B007 (read by the clock)
        assert redis.call(fail, "fallback") == "fallback"
    now = 110.0
    assert redis.call(fail_slowly, "fallback") == "fallback"
    assert calls == [100.0, 105.0, 110.0]
    assert caplog.text.count("redis_unavailable") == 1

    now = 115.0
    assert redis.call(lambda: "answer", "fallback") == "answer"
    assert not redis.is_down
    assert redis.call(lambda: "answer", "fallback") == "answer"
    redis.call(fail, "fallback")
    assert caplog.text.count("redis_unavailable") == 2
