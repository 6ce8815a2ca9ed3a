"""What recipes since deleted used: a workspace's bare sums minus those of its recipes, hour by hour."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from sync.vendors.workato.wire import METRICS
from usage.models import RecipeRow

NOTHING: dict[str, int | None] = dict.fromkeys(METRICS, 0)
USED = tuple(metric for metric in METRICS if metric != "recipe_count")

Cell = tuple[int, datetime]  # a workspace and the start of an hour
Doubt = tuple[int | None, datetime | None]  # the same of a rejected row, None where it does not tell
Sums = dict[str, int | None]


class Hours:
    """The bare hours of some workspaces, and what of each hour their recipes account for.

    A metric that any row of an hour lacks cannot be subtracted there: its remainder is None, not a number.
    Holds one small dict for every workspace and hour.
    """

    def __init__(self, bare: Iterable[RecipeRow]) -> None:
        self.bare: dict[Cell, RecipeRow] = {(row.workspace_id, row.starts_at): row for row in bare}
        self.recipes: dict[Cell, Sums] = {}

    def add(self, rows: Iterable[RecipeRow]) -> None:
        """Count hours of recipes in."""
        for row in rows:
            sums = self.recipes.setdefault((row.workspace_id, row.starts_at), dict(NOTHING))
            for metric, held in sums.items():
                given = getattr(row, metric)
                sums[metric] = None if held is None or given is None else held + given

    def deleted(self, doubts: Collection[Doubt] = ()) -> Iterator[RecipeRow]:
        """Yield one row for each hour in which deleted recipes used something.

        Left out are hours in `doubts`: there a recipe's row was rejected, so that what is left is not only of
        deleted recipes. A remainder below zero is nothing a recipe can have used; it is None here, and one of
        `differences`.
        """
        for cell, bare in self.bare.items():
            left = {
                metric: None if number is None or number < 0 else number
                for metric, number in self.remainder(cell, bare).items()
            }
            if any(left.values()) and not in_doubt(cell, doubts):
                yield bare._replace(
                    recipe_name="",
                    folder_id=None,
                    folder_name="",
                    extra=None,
                    task_count=left["task_count"],
                    job_succeeded_count=left["job_succeeded_count"],
                    job_failed_count=left["job_failed_count"],
                    recipe_count=left["recipe_count"],
                )

    def remainder(self, cell: Cell, bare: RecipeRow) -> Sums:
        """Return bare minus recipes by metric, None where either is not known."""
        recipes = self.recipes.get(cell, NOTHING)
        return {metric: difference(getattr(bare, metric), recipes[metric]) for metric in METRICS}

    def differences(self) -> Iterator[dict[str, Any]]:
        """Yield where recipes used more than their workspace, and hours in which nothing can be compared."""
        for cell in sorted(self.recipes):
            bare, recipes = self.bare.get(cell), self.recipes[cell]
            if bare is None:
                used = (metric for metric in USED if recipes[metric])
                yield from (mismatch(cell, metric, None, recipes[metric]) for metric in used)
                continue
            remainder = self.remainder(cell, bare)
            if all(remainder[metric] is None for metric in USED):
                yield mismatch(cell, "no metric that both reads report", None, None)
            for metric, left in remainder.items():
                if left is not None and left < 0:
                    yield mismatch(cell, metric, getattr(bare, metric), recipes[metric])


def in_doubt(cell: Cell, doubts: Collection[Doubt]) -> bool:
    """Tell whether a rejected row may have been of this hour."""
    workspace_id, starts_at = cell
    places = ((workspace_id, starts_at), (workspace_id, None), (None, starts_at), (None, None))
    return any(place in doubts for place in places)


def difference(bare: int | None, recipes: int | None) -> int | None:
    """Return what is left, None where either is not known."""
    return None if bare is None or recipes is None else bare - recipes


def mismatch(cell: Cell, what: str, bare: int | None, recipes: int | None) -> dict[str, Any]:
    """Return one difference: the workspace's sum as the vendor's, that of its recipes as the portal's."""
    workspace_id, starts_at = cell
    return {
        "what": what,
        "vendor": None if bare is None else str(bare),
        "portal": None if recipes is None else str(recipes),
        "workspace_id": workspace_id,
        "starts_at": starts_at.isoformat(),
    }
