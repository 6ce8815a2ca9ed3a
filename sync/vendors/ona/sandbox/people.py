"""Who runs environments in a world: the same users, projects, classes and runners every day."""

import math
from functools import lru_cache
from typing import Final
from uuid import UUID

from sync.sandbox.world import World
from sync.vendors.ona.sandbox.runs import Environment

TABLE: Final = 4096


@lru_cache(maxsize=8)
def population(seed: int, size: int) -> tuple[Environment, ...]:
    """Return the environments of a world with about `size` runs a day; there are more where more is run."""
    more = math.sqrt(max(1.0, size / 420))
    world = World(seed=seed)

    def ids(what: str, number: float) -> list[str]:
        return [
            str(UUID(int=world.roll(what, 0, i) << 64 | world.roll(what, 1, i), version=4))
            for i in range(round(number))
        ]

    users, projects, runners = ids("user", 60 * more), ids("project", 14 * more), ids("runner", 4)
    classes = ids("class", 6)
    return tuple(
        Environment.of(
            environment,
            users[world.roll("owner", i) % len(users)],
            "" if world.chance(0.07, "no project", i) else projects[_low(world.roll("of", i), len(projects))],
            runners[_low(world.roll("on", i), len(runners))],
            classes[_low(world.roll("sized", i), len(classes))],
        )
        for i, environment in enumerate(ids("environment", 240 * more))
    )


def _low(bits: int, choices: int) -> int:
    """Return a number below `choices`, low ones being likelier."""
    return int(choices * (bits / 2**64) ** 1.8)


@lru_cache(maxsize=8)
def favourites(seed: int, size: int) -> tuple[Environment, ...]:
    """Return an environment for each of 4,096 equally likely outcomes; some are run much more than others."""
    everybody = population(seed, size)
    return tuple(everybody[int(len(everybody) * (place / TABLE) ** 1.6)] for place in range(TABLE))
