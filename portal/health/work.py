"""Whether the work continues: beat and a worker were seen within three ticks."""

from collections.abc import Iterator

from redis.exceptions import RedisError

from sync.heartbeats import Heartbeat, get_ages, is_silent
from usage.formatting import format_duration

NO_REDIS = "Redis does not answer."
LABELS = {Heartbeat.BEAT: "Beat", Heartbeat.WORKER: "A worker"}


def find_silent() -> list[str]:
    """Return why the work has stopped: beat or the workers were not seen, or Redis does not answer."""
    try:
        return list(describe_silence(get_ages()))
    except RedisError:
        return [NO_REDIS]


def describe_silence(ages: dict[Heartbeat, float | None]) -> Iterator[str]:
    """Yield a sentence for beat and for the workers, where they are silent."""
    for heartbeat, label in LABELS.items():
        age = ages[heartbeat]
        if age is None:
            yield f"{label} was not seen for a week."
        elif is_silent(age):
            yield f"{label} was last seen {format_duration(round(age))} ago."
