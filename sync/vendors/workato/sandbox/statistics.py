"""The Workato stand-in's usage statistics: what the recipes did, summed up as asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sync.vendors.workato.question import Question
from sync.vendors.workato.sandbox.account import Recipe
from sync.vendors.workato.sandbox.buckets import Buckets
from sync.vendors.workato.sandbox.history import HOUR, Cell, History

Row = dict[str, Any]


class Sums:
    """What is counted for one row: tasks, jobs and, of a workspace, the recipes that had any."""

    __slots__ = ("failed", "recipe", "recipes", "succeeded", "tasks")

    def __init__(self, recipe: Recipe, *, by_recipe: bool) -> None:
        self.recipe = recipe
        self.tasks = self.succeeded = self.failed = 0
        self.recipes: set[int] | None = None if by_recipe else set()

    def add(self, cell: Cell) -> None:
        """Count a recipe's hour in."""
        self.tasks += cell.tasks
        self.succeeded += cell.succeeded
        self.failed += cell.failed
        if self.recipes is not None:
            self.recipes.add(cell.recipe.id)


@dataclass(slots=True)
class Statistics:
    """The rows that answer a question, each written out when its turn comes.

    Their order is fixed: by workspace, recipe and bucket. Buckets without a job have no row.
    """

    buckets: Buckets
    sums: dict[tuple[int, int, int], Sums]

    def __len__(self) -> int:
        return len(self.sums)

    def __iter__(self) -> Iterator[Row]:
        return (row_of(self.sums[key], key[2], self.buckets) for key in sorted(self.sums))


def statistics(history: History, question: Question) -> Statistics:
    """Sum up what the wanted recipes did in the range."""
    buckets = Buckets(question.start, question.end, question.interval, history)
    by_recipe = question.group_by == "recipe"
    sums: dict[tuple[int, int, int], Sums] = {}
    for cell in matching(history, question):
        bucket = buckets.at(cell.at)
        if bucket >= 0:
            recipe = cell.recipe
            key = (recipe.workspace.id, recipe.id if by_recipe else 0, bucket)
            found = sums.get(key)
            if found is None:
                found = sums[key] = Sums(recipe, by_recipe=by_recipe)
            found.add(cell)
    return Statistics(buckets, sums)


def row_of(sums: Sums, bucket: int, buckets: Buckets) -> Row:
    """Write one row out; its fields are assumed (contracts.md)."""
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
    row["from"] = buckets.shown[bucket]
    row["to"] = buckets.shown[bucket + 1]
    row["task_count"] = sums.tasks
    row["job_succeeded_count"] = sums.succeeded
    row["job_failed_count"] = sums.failed
    if sums.recipes is not None:
        row["recipe_count"] = len(sums.recipes)
    return row


def matching(history: History, question: Question) -> Iterator[Cell]:
    """Yield what the wanted recipes did in the hours that the range touches."""
    wanted = wanted_recipes(question, history.known_until())
    known: dict[int, bool] = {}
    first, last = (int(edge.timestamp()) // HOUR for edge in (question.start, question.end))
    earliest = int(history.earliest().timestamp()) // HOUR
    for hour in range(max(first, earliest), min(last, history.known_until() // HOUR) + 1):
        for cell in history.cells(hour):
            recipe = cell.recipe
            takes = known.get(recipe.id)
            if takes is None:
                takes = known[recipe.id] = wanted(recipe)
            if takes:
                yield cell


def wanted_recipes(question: Question, now: int) -> Callable[[Recipe], bool]:
    """Return the test of whether a recipe is asked for; one deleted by `now` only counts in a bare ask.

    Workspaces are the ones named by either of the two lists; unknown ones are passed over (both assumed).
    """

    def wanted(recipe: Recipe) -> bool:
        workspace = recipe.workspace
        listed = workspace.id in question.workspace_ids or workspace.external_id in question.external_ids
        deleted = recipe.deleted is not None and recipe.deleted * HOUR <= now
        return (
            listed
            and (question.bare or not deleted)
            and (question.recipe_ids is None or recipe.id in question.recipe_ids)
            and (question.folder_ids is None or recipe.folder_id in question.folder_ids)
            and (question.recipe_name_pattern or "") in recipe.name
            and (question.folder_name_pattern or "") in recipe.folder_name
        )

    return wanted
