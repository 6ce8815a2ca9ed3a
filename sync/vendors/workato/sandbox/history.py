"""What the Workato stand-in's recipes did, hour by hour: computed from the seed when it is needed.

A job counts at the minute of its most recent run: a failed job that is tried again leaves its hour for a
later hour, up to 20 hours on, so that the last day is provisional.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sync.sandbox.bits import is_hit, mix_bits
from sync.sandbox.cache import WeightedCache
from sync.sandbox.world import Edit, World
from sync.vendors.workato.sandbox.account import NIGHTLY, OFFICE, Recipe, WorkatoAccount
from usage.days import midnight

HOUR = 3600
STEP = 300  # seconds between which the figures stand still
LONGEST_RETRY = 21 * HOUR
HOURS, PICKED, RETRIES = 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB
MAX_CACHED_RECORDS = 1_500_000  # recipe hours in memory
EPOCH = date(2025, 1, 1).toordinal()


class RecipeHour(NamedTuple):
    """What one recipe did in one hour; `at` is the second since 1970 that all of it counts at."""

    recipe: Recipe
    at: int
    tasks: int
    succeeded: int
    failed: int


class LocalHour(NamedTuple):
    """An hour (since 1970) as the account's clocks show its beginning."""

    date: date
    hour: int
    weekday: int


class HourPart(NamedTuple):
    """The minutes of an hour, up to `ends`, that belong to one date, and that date's edit."""

    ends: int
    edit: Edit
    exists: bool


class History:
    """The jobs of all recipes in every hour of the account's history."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.account = WorkatoAccount(world)
        self.zone = ZoneInfo(world.zone)
        self._cache = WeightedCache(MAX_CACHED_RECORDS)
        self._local: dict[int, LocalHour] = {}

    def get_known_end(self) -> int:
        """Return the second since 1970 up to which jobs are known."""
        return int(self.world.now().timestamp()) // STEP * STEP

    def get_start(self) -> datetime:
        """Return the first instant of the account's history."""
        return midnight(self.world.first_day, self.zone)

    def list_hours(self, hour: int) -> list[RecipeHour]:
        """Return what the recipes did in one hour (since 1970), as is known now."""
        until = self.get_known_end()
        if hour * HOUR >= until:
            return []
        parts = self._split_hour(hour)
        settled = (hour + 1) * HOUR + LONGEST_RETRY <= until
        key = (hour, 0 if settled else until, parts)
        return self._cache.get(key, lambda: self._build_hours(hour, until, parts), len)

    def _build_hours(self, hour: int, until: int, parts: tuple[HourPart, ...]) -> list[RecipeHour]:
        recipe_hours = []
        for place in range(self.account.places):
            recipe = self.account.get_recipe(place, hour)
            part = parts[0] if recipe.minute < parts[0].ends else parts[-1]
            at = (hour * 60 + recipe.minute) * 60
            if at < until and part.exists:
                recipe_hour = self._apply_edit(recipe, hour, at, until, part.edit)
                if recipe_hour is not None:
                    recipe_hours.append(recipe_hour)
        return recipe_hours

    def _split_hour(self, hour: int) -> tuple[HourPart, ...]:
        """Return an hour's part, or its two parts where the account's midnight is not on a full UTC hour."""
        last = datetime.fromtimestamp(hour * HOUR, UTC).astimezone(self.zone) + timedelta(minutes=59)
        dates = dict.fromkeys((self._get_local_hour(hour).date, last.date()))
        ends = 60 if len(dates) == 1 else 59 - last.minute
        world = self.world
        return tuple(HourPart(ends, world.get_edit("workato", on), on >= world.first_day) for on in dates)

    def _apply_edit(self, recipe: Recipe, hour: int, at: int, until: int, edit: Edit) -> RecipeHour | None:
        """Return a recipe's hour as it is after what was arranged for its day."""
        pick = recipe.bits + hour * PICKED
        if edit.emptied or (edit.vanished and is_hit(pick, edit.vanished)):
            return None
        if self._is_running(recipe, hour):
            recipe_hour = self._build_hour(recipe, hour, at, until)
            if edit.restated and is_hit(pick + 1, edit.restated):
                return recipe_hour._replace(tasks=recipe_hour.tasks + recipe.steps, succeeded=recipe_hour.succeeded + 1)
            return recipe_hour
        if edit.late and is_hit(pick + 2, edit.late):
            return RecipeHour(recipe, at, recipe.steps, 1, 0)
        return None

    def _build_hour(self, recipe: Recipe, hour: int, at: int, until: int) -> RecipeHour:
        """Return a recipe's jobs of an hour, less those tried again since, plus those tried again in it."""
        jobs, failed = self._count_jobs(recipe, hour)
        tasks = (jobs - failed) * recipe.steps + failed * (recipe.steps // 2)
        succeeded = jobs - failed
        if self._is_retried(recipe, hour) and at + recipe.delay * HOUR < until:
            failed, tasks = failed - 1, tasks - recipe.steps // 2
        if self._is_retried(recipe, hour - recipe.delay):
            succeeded, tasks = succeeded + 1, tasks + recipe.steps
        return RecipeHour(recipe, at, tasks, succeeded, failed)

    def _count_jobs(self, recipe: Recipe, hour: int) -> tuple[int, int]:
        """Return how many jobs first ran in an hour and how many of them failed; never all of them."""
        on, local, weekday = self._get_local_hour(hour)
        bits = mix_bits(recipe.bits + hour * HOURS)
        growth = max(500, min(1900, 1000 + (on.toordinal() - EPOCH) * 2 // 5))
        if recipe.rhythm == NIGHTLY:
            load = 900
        elif recipe.rhythm == OFFICE:
            load = (40, 70, 100, 95, 60, 80, 100, 90, 70, 45)[(local - 7) % 10]
        else:
            load = (100 if weekday < 6 else 40) * (2 if 8 <= local < 18 else 1) // 2
        jobs = 2 + (1 + (recipe.bits >> 50) % 30) * load * growth * (70 + bits % 61) // 10_000_000
        failed = (bits >> 8) % (1 + jobs // 8) if (bits >> 20) & 3 == 0 else 0
        return jobs, max(failed, 1) if (bits >> 24) & 7 == 0 else failed

    def _is_retried(self, recipe: Recipe, hour: int) -> bool:
        """Return whether a job that failed is tried again, in an hour that the recipe runs in anyway."""
        return (
            mix_bits(recipe.bits + hour * RETRIES) & 3 == 0
            and self._is_running(recipe, hour)
            and self._is_running(recipe, hour + recipe.delay)
            and self._count_jobs(recipe, hour)[1] > 0
        )

    def _is_running(self, recipe: Recipe, hour: int) -> bool:
        if not recipe.created <= hour < (recipe.deleted or hour + 1):
            return False
        _, local, weekday = self._get_local_hour(hour)
        return recipe.runs_at(local, weekday)

    def _get_local_hour(self, hour: int) -> LocalHour:
        """Return what the account's clocks show when an hour begins."""
        shown = self._local.get(hour)
        if shown is None:
            local = datetime.fromtimestamp(hour * HOUR, UTC).astimezone(self.zone)
            shown = self._local[hour] = LocalHour(local.date(), local.hour, local.isoweekday())
        return shown
