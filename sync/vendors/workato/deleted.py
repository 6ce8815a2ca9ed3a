"""What recipes since deleted used: a workspace's bare sums minus those of its recipes, hour by hour."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from sync.vendors.workato.schema import METRICS
from usage.models import RecipeRow

USED = tuple(metric for metric in METRICS if metric != "recipe_count")

HourKey = tuple[int, datetime]  # a workspace and the start of an hour
DoubtfulHour = tuple[int | None, datetime | None]  # the same of a rejected row, None where it has none
Sums = dict[str, int | None]


class HourSums:
    """The bare hours of some workspaces, and what of each hour their recipes account for.

    A vendor may leave out a metric that is zero. So a metric that is missing from some row of an hour counts as zero
    where the two reads then agree; where they do not, it is unknown, which is one of `differences`. In memory is one
    small dict for every workspace and hour.
    """

    def __init__(self, bare: Iterable[RecipeRow]) -> None:
        self.bare: dict[HourKey, RecipeRow] = {(row.workspace_id, row.starts_at): row for row in bare}
        self.recipes: dict[HourKey, Sums] = {}
        self.unreported: set[tuple[HourKey, str]] = set()

    def add(self, rows: Iterable[RecipeRow]) -> None:
        for row in rows:
            hour = (row.workspace_id, row.starts_at)
            sums = self.recipes.setdefault(hour, dict.fromkeys(METRICS))
            for metric in METRICS:
                count = getattr(row, metric)
                if count is None:
                    self.unreported.add((hour, metric))
                else:
                    sums[metric] = (sums[metric] or 0) + count

    def build_deleted_rows(self, doubts: Collection[DoubtfulHour] = ()) -> Iterator[RecipeRow]:
        """Yield one row for each hour in which deleted recipes used something.

        Left out are hours in `doubts`: there a recipe's row was rejected, so that what is left is not only of
        deleted recipes. A remainder below zero is nothing a recipe can have used; it is None here, and one of
        `differences`.
        """
        for hour, bare in self.bare.items():
            left = {metric: self.get_remainder(hour, metric) for metric in METRICS}
            if any(left.values()) and not is_doubtful(hour, doubts):
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

    def get_remainder(self, hour: HourKey, metric: str) -> int | None:
        """Return what deleted recipes used of a metric, None where that is not known."""
        bare, recipes = self.get_counts(hour, metric)
        if bare is None or self.is_contradictory(hour, metric):
            return None
        return bare - (recipes or 0)

    def is_contradictory(self, hour: HourKey, metric: str) -> bool:
        """Return whether the two reads cannot both be right, or not be compared, in an hour that has recipes."""
        bare, recipes = self.get_counts(hour, metric)
        if (hour, metric) in self.unreported:
            return (bare or 0) != (recipes or 0)
        return (recipes or 0) > (bare or 0) and not (bare is None and metric not in USED)

    def get_counts(self, hour: HourKey, metric: str) -> tuple[int | None, int | None]:
        """Return a metric of the bare read and of the read by recipe, None where a read does not report it."""
        bare, recipes = self.bare.get(hour), self.recipes.get(hour, {})
        return None if bare is None else getattr(bare, metric), recipes.get(metric)

    def find_differences(self) -> Iterator[dict[str, Any]]:
        """Yield metrics that one read never reports, and hours in which the reads contradict each other."""
        if not self.recipes and (usage := self.find_usage()):
            # That every recipe was deleted is as likely as that the vendor did not list them.
            yield {"what": "usage by recipe", "vendor": str(usage), "portal": None, "absent_from": "the read by recipe"}
        absent = dict(self.find_absent_metrics())
        yield from absent.values()
        for hour in sorted(self.recipes):
            for metric in METRICS:
                if metric not in absent and self.is_contradictory(hour, metric):
                    yield build_difference(hour, metric, *self.get_counts(hour, metric))
            if hour in self.bare and not absent and not any(self.is_comparable(hour, metric) for metric in USED):
                yield build_difference(hour, "no metric that both reads report", None, None)

    def find_usage(self) -> int | None:
        """Return the first bare sum of a metric that is not zero; None where the bare read has no usage."""
        sums = (add_up(getattr(row, metric) for row in self.bare.values()) for metric in USED)
        return next(filter(None, sums), None)

    def is_comparable(self, hour: HourKey, metric: str) -> bool:
        """Return whether both reads report a metric of an hour."""
        return None not in self.get_counts(hour, metric)

    def find_absent_metrics(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the metrics that only rows of one read report, with the difference."""
        if not self.bare or not self.recipes:
            return
        for metric in USED:
            bare = add_up(getattr(row, metric) for row in self.bare.values())
            recipes = add_up(sums[metric] for sums in self.recipes.values())
            if (bare is None) != (recipes is None):
                read = "the read by workspace" if bare is None else "the read by recipe"
                yield (
                    metric,
                    {
                        "what": metric,
                        "vendor": format_count(bare),
                        "portal": format_count(recipes),
                        "absent_from": read,
                    },
                )


def add_up(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of the reported numbers, None for none."""
    reported = [number for number in numbers if number is not None]
    return sum(reported) if reported else None


def format_count(number: int | None) -> str | None:
    """Return a number as differences store it."""
    return None if number is None else str(number)


def is_doubtful(hour: HourKey, doubts: Collection[DoubtfulHour]) -> bool:
    """Return whether a rejected row may have been of this hour."""
    workspace_id, starts_at = hour
    places = ((workspace_id, starts_at), (workspace_id, None), (None, starts_at), (None, None))
    return any(place in doubts for place in places)


def build_difference(hour: HourKey, what: str, bare: int | None, recipes: int | None) -> dict[str, Any]:
    """Return one difference: the workspace's sum as the vendor's, that of its recipes as the portal's."""
    workspace_id, starts_at = hour
    return {
        "what": what,
        "vendor": format_count(bare),
        "portal": format_count(recipes),
        "workspace_id": workspace_id,
        "starts_at": starts_at.isoformat(),
    }
