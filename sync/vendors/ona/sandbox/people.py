"""The users, projects, classes, runners and environments of a world, the same on every day."""

import math
from functools import lru_cache
from typing import Final
from uuid import UUID

from sync.sandbox.world import World
from sync.vendors.ona.sandbox.runs import Environment

TABLE_SIZE: Final = 4096


@lru_cache(maxsize=8)
def build_environments(seed: int, size: int) -> tuple[Environment, ...]:
    """Return the environments of a world with about `size` runs a day; more runs have more environments."""
    factor = math.sqrt(max(1.0, size / 420))
    world = World(seed=seed)

    def build_ids(kind: str, number: float) -> list[str]:
        return [
            str(UUID(int=world.roll(kind, 0, i) << 64 | world.roll(kind, 1, i), version=4))
            for i in range(round(number))
        ]

    users, projects, runners = build_ids("user", 60 * factor), build_ids("project", 14 * factor), build_ids("runner", 4)
    classes = build_ids("class", 6)
    return tuple(
        Environment.create(
            environment,
            users[world.roll("owner", i) % len(users)],
            "" if world.chance(0.07, "no project", i) else projects[_pick_low(world.roll("of", i), len(projects))],
            runners[_pick_low(world.roll("on", i), len(runners))],
            classes[_pick_low(world.roll("sized", i), len(classes))],
        )
        for i, environment in enumerate(build_ids("environment", 240 * factor))
    )


@lru_cache(maxsize=8)
def build_popularity_table(seed: int, size: int) -> tuple[Environment, ...]:
    """Return an environment for each of TABLE_SIZE equally likely outcomes; some run much more often than others."""
    environments = build_environments(seed, size)
    return tuple(environments[int(len(environments) * (i / TABLE_SIZE) ** 1.6)] for i in range(TABLE_SIZE))


def _pick_low(bits: int, choices: int) -> int:
    """Return a number below `choices`; low numbers are likelier."""
    return int(choices * (bits / 2**64) ** 1.8)
