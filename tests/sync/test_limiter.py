"""The request rate of a source, kept over all worker processes by the Redis they share."""

import multiprocessing
import socket

import pytest
import redis

from sync.errors import ReadDeferred, SyncError
from sync.limiter import SourceLimiter

PER_MINUTE = 1200


def acquire_often(times: int) -> int:
    """What a worker process does: take its turn so many times."""
    limiter = SourceLimiter("shared", PER_MINUTE)
    for _ in range(times):
        limiter.acquire()
    return times


def get_redis_seconds(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1_000_000


def test_several_processes_together_keep_the_rate(redis_client: redis.Redis):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(3) as workers:
        workers.map(acquire_often, [0, 0, 0], chunksize=1)  # the processes have started
        started = get_redis_seconds(redis_client)
        requests = sum(workers.map(acquire_often, [15, 15, 15], chunksize=1))
    elapsed = get_redis_seconds(redis_client) - started
    assert requests <= elapsed * PER_MINUTE / 60 + 1


def test_each_turn_is_one_slot_further(redis_client: redis.Redis):
    started = get_redis_seconds(redis_client)
    acquire_often(10)
    following = int(redis_client.get("portal:request-slot:shared") or 0) / 1_000_000
    assert following >= started + 10 * 60 / PER_MINUTE


def test_a_turn_too_far_away_is_put_off_and_uses_no_slot(redis_client: redis.Redis):
    now = get_redis_seconds(redis_client)
    far = round((now + 90) * 1_000_000)
    redis_client.set("portal:request-slot:busy", far)
    with pytest.raises(ReadDeferred, match="60 requests a minute of busy are used up") as put_off:
        SourceLimiter("busy", 60).acquire()
    assert put_off.value.retry_after is not None
    assert 20 < put_off.value.retry_after <= 90
    assert int(redis_client.get("portal:request-slot:busy") or 0) == far


def test_a_rate_of_few_requests_a_minute_still_lets_each_worker_take_its_turn(redis_client: redis.Redis):
    # Two a minute are 30 seconds apart, which is longer than a worker usually waits.
    limiter = SourceLimiter("slow", 2)
    limiter.acquire()
    redis_client.set("portal:request-slot:slow", round((get_redis_seconds(redis_client) + 0.2) * 1_000_000))
    limiter.acquire()
    waited_for = int(redis_client.get("portal:request-slot:slow") or 0) / 1_000_000 - get_redis_seconds(redis_client)
    assert 20 < waited_for <= 30.2


def test_sources_do_not_share_a_rate(redis_client: redis.Redis):
    redis_client.set("portal:request-slot:one", round((get_redis_seconds(redis_client) + 90) * 1_000_000))
    SourceLimiter("other", 60).acquire()


def test_an_idle_source_leaves_nothing_behind_in_redis(redis_client: redis.Redis):
    SourceLimiter("idle", 600).acquire()
    assert 0 < redis_client.pttl("portal:request-slot:idle") <= 1100


def test_without_redis_nothing_is_asked(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.REDIS_URL = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    with pytest.raises(SyncError, match=r"Redis does not answer.*nothing was asked"):
        SourceLimiter("any", 60).acquire()
