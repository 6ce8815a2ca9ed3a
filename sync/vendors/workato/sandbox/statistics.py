"""The Workato stand-in's usage statistics: what the recipes did, summed up as requested."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sync.vendors.workato.request import UsageRequest
from sync.vendors.workato.sandbox.account import Recipe
from sync.vendors.workato.sandbox.buckets import Buckets
from sync.vendors.workato.sandbox.history import HOUR, History, RecipeHour

Row = dict[str, Any]


class RowSum:
    """What is counted for one row: tasks, jobs and, of a workspace, the recipes that had any."""

    __slots__ = ("failed", "recipe", "recipes", "succeeded", "tasks")

    def __init__(self, recipe: Recipe, *, by_recipe: bool) -> None:
        self.recipe = recipe
        self.tasks = self.succeeded = self.failed = 0
        self.recipes: set[int] | None = None if by_recipe else set()

    def add(self, recipe_hour: RecipeHour) -> None:
        self.tasks += recipe_hour.tasks
        self.succeeded += recipe_hour.succeeded
        self.failed += recipe_hour.failed
        if self.recipes is not None:
            self.recipes.add(recipe_hour.recipe.id)


@dataclass(slots=True)
class StatisticsRows:
    """The rows that answer a request, written out one by one.

    Their order is fixed: by workspace, recipe and bucket. Buckets without a job have no row.
    """

    buckets: Buckets
    sums: dict[tuple[int, int, int], RowSum]

    def __len__(self) -> int:
        return len(self.sums)

    def __iter__(self) -> Iterator[Row]:
        return (build_row(self.sums[key], key[2], self.buckets) for key in sorted(self.sums))


def build_statistics(history: History, query: UsageRequest) -> StatisticsRows:
    """Sum up what the matching recipes did in the range."""
    buckets = Buckets(query.start, query.end, query.interval, history)
    by_recipe = query.group_by == "recipe"
    sums: dict[tuple[int, int, int], RowSum] = {}
    for recipe_hour in iterate_matches(history, query):
        bucket = buckets.find_bucket(recipe_hour.at)
        if bucket >= 0:
            recipe = recipe_hour.recipe
            key = (recipe.workspace.id, recipe.id if by_recipe else 0, bucket)
            row_sum = sums.get(key)
            if row_sum is None:
                row_sum = sums[key] = RowSum(recipe, by_recipe=by_recipe)
            row_sum.add(recipe_hour)
    return StatisticsRows(buckets, sums)


def build_row(sums: RowSum, bucket: int, buckets: Buckets) -> Row:
    """Write one row out; its fields are assumed (docs/vendors/workato.md)."""
    recipe, workspace = sums.recipe, sums.recipe.workspace
    row: Row = {
        "workspace_id": workspace.id,
        "external_id": workspace.external_id,
        "workspace_name": workspace.name,
    }
    if sums.recipes is None:
        row["recipe_id"] = recipe.id
        row["recipe_name"] = recipe.name
        row["folder_id"] = recipe.folder_id
        row["folder_name"] = recipe.folder_name
    row["from"] = buckets.texts[bucket]
    row["to"] = buckets.texts[bucket + 1]
    row["task_count"] = sums.tasks
    row["job_succeeded_count"] = sums.succeeded
    row["job_failed_count"] = sums.failed
    if sums.recipes is not None:
        row["recipe_count"] = len(sums.recipes)
    return row


def iterate_matches(history: History, query: UsageRequest) -> Iterator[RecipeHour]:
    """Yield what the matching recipes did in the hours that the range touches."""
    matches = build_recipe_filter(query, history.get_known_end())
    matching_recipes: dict[int, bool] = {}
    first, last = (int(edge.timestamp()) // HOUR for edge in (query.start, query.end))
    earliest = int(history.get_start().timestamp()) // HOUR
    for hour in range(max(first, earliest), min(last, history.get_known_end() // HOUR) + 1):
        for recipe_hour in history.list_hours(hour):
            recipe = recipe_hour.recipe
            is_matching = matching_recipes.get(recipe.id)
            if is_matching is None:
                is_matching = matching_recipes[recipe.id] = matches(recipe)
            if is_matching:
                yield recipe_hour


def build_recipe_filter(query: UsageRequest, now: int) -> Callable[[Recipe], bool]:
    """Return the test of whether a recipe matches; a recipe deleted by `now` only counts in a bare request.

    Workspaces are those of both lists; unknown ids are ignored (both assumed).
    """

    def matches(recipe: Recipe) -> bool:
        workspace = recipe.workspace
        listed = workspace.id in query.workspace_ids or workspace.external_id in query.external_ids
        deleted = recipe.deleted is not None and recipe.deleted * HOUR <= now
        return (
            listed
            and (query.bare or not deleted)
            and (query.recipe_ids is None or recipe.id in query.recipe_ids)
            and (query.folder_ids is None or recipe.folder_id in query.folder_ids)
            and (query.recipe_name_pattern or "") in recipe.name
            and (query.folder_name_pattern or "") in recipe.folder_name
        )

    return matches
