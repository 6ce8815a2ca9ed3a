"""Whether worker and beat are alive, as the web processes see it by their heartbeats."""

import time
from collections.abc import Mapping
from math import inf

from redis.exceptions import RedisError

from sync.heartbeats import Heartbeat, get_ages, is_silent

Silence = Mapping[Heartbeat, bool]


def find_silence(started: float) -> Silence | None:
    """Return which heartbeats are silent; None where Redis, which has them, does not answer.

    `started`: the time from which on the caller could have seen a heartbeat, so that nothing is silent while all start.
    """
    uptime = time.time() - started
    try:
        ages = get_ages()
    except RedisError:
        return None
    return {heartbeat: is_silent(min(inf if age is None else age, uptime)) for heartbeat, age in ages.items()}
