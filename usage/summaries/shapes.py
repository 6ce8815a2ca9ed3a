"""What each kind of usage can be grouped by and what of it can be added up."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import BooleanField, Case, F, Func, Q, TextField, Value, When

from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

DELETED: Final = "Deleted recipes"
OF_RECIPES: Final = frozenset({"recipe_id", "recipe_name", "folder_id", "folder_name"})
FIELD: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
LONGEST_TAG: Final = 255


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something to group by: its name, how a record's value is made, and the columns a rollup needs to make it.

    `columns` None: no rollup has it.
    """

    name: str
    expression: Any
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to add up. `raw`, `rolled`, `accrued`: SQL over records, rollup rows and parts of runs `t`.

    `columns`, `rolled_columns`: what the SQL reads besides `id`, `records` and the parts. `rolled` '' where no
    rollup can give it. `additive`: the sum over groups is the sum of the whole.
    """

    raw: str
    columns: tuple[str, ...] = ()
    rolled: str = ""
    rolled_columns: tuple[str, ...] = ()
    accrued: str = ""
    additive: bool = True
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind's dimensions and measures; `always`: what rows and totals are kept apart by, asked for or not."""

    kind: type[UsageRecord]
    columns: tuple[str, ...]
    measures: Mapping[str, Measure]
    default: tuple[str, ...]
    always: tuple[str, ...] = ()
    json: bool = False
    smallest: str = "hour"

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names that may be grouped by, besides `details.<field>`, `tag:<key>` and an interval."""
        return ("source", "vendor", *self.columns)

    def dimension(self, name: str) -> Dimension | None:
        """Return the dimension of that name, None where there is none."""
        if name == "source":
            return Dimension(name, F("source_id"), frozenset())
        if name == "vendor":
            return Dimension(name, F("source__vendor"), frozenset())
        if self.json and name == "flavor":
            return Dimension(name, of_object("details", name), None)
        if name == "recipe_name" and name in self.columns:
            named = Case(When(recipe_id=None, then=Value(DELETED)), default=F(name), output_field=TextField())
            return Dimension(name, named, frozenset({name, "recipe_id"}))
        if name in self.columns:
            return Dimension(name, F(name), frozenset({name}))
        return self.inner(name) if self.json else None

    def inner(self, name: str) -> Dimension | None:
        """Return the dimension over a field of `details` or a key of `tags`."""
        if name.startswith("details.") and FIELD.fullmatch(field := name.removeprefix("details.")):
            return Dimension(name, of_object("details", field), None)
        key = name.removeprefix("tag:")
        if name.startswith("tag:") and 0 < len(key) <= LONGEST_TAG and "\0" not in key:
            return Dimension(name, of_object("tags", key), None)
        return None


class InnerText(Func):
    """The text of one member of an object, NULL where it has none; a list is its JSON."""

    function = "jsonb_extract_path_text"
    output_field = TextField()


def of_object(column: str, key: str) -> InnerText:
    """Return the text of a member of a JSON column."""
    return InnerText(F(column), Value(key, output_field=TextField()))


# Tells the deleted recipes' rows from those whose recipe or folder has no name or id for another reason.
IS_DELETED: Final = Dimension(
    "deleted_recipes",
    Case(When(Q(recipe_id=None), then=Value(True)), default=Value(False), output_field=BooleanField()),
    frozenset({"recipe_id"}),
)


def counted(column: str) -> Measure:
    """Return the number of distinct ids in a column, those of each source apart, empty ones left out."""
    sql = f"count(DISTINCT (t.source_id, t.{column})) FILTER (WHERE t.{column} <> '')"
    return Measure(sql, ("source_id", column), accrued=sql, additive=False)


def summed(column: str, *, whole: bool = True, accrued: str = "") -> Measure:
    """Return the sum of a column, NULL where no record has it."""
    return Measure(f"sum(t.{column})", (column,), f"sum(t.{column})", (column,), accrued, whole=whole)


RECORDS = Measure("count(*)", (), "coalesce(sum(t.records), 0)", ("records",), "count(DISTINCT t.id)")
OF_RECIPE = ("source_id", "recipe_id")
RECIPES = "count(DISTINCT (t.source_id, t.recipe_id)) FILTER (WHERE t.recipe_id IS NOT NULL)"

SHAPES: Final[dict[str, Shape]] = {
    "environment-usage": Shape(
        EnvironmentUsage,
        ("project_id", "user_id", "environment_id", "environment_class_id", "runner_id"),
        {
            "records": RECORDS,
            "runtime_seconds": summed("runtime_seconds", whole=False, accrued="sum(t.accrued_seconds)"),
            "records_without_runtime": Measure(
                "count(*) - count(t.runtime_seconds)",
                ("runtime_seconds",),
                "coalesce(sum(t.records_without_runtime), 0)",
                ("records_without_runtime",),
                "count(*) FILTER (WHERE t.created_at IS NULL)",
            ),
            "environments": counted("environment_id"),
            "users": counted("user_id"),
        },
        ("records", "runtime_seconds", "records_without_runtime"),
    ),
    "resource-usage": Shape(
        ResourceUsage,
        (
            "resource_type",
            "billing_metric",
            "consumed_unit",
            "project_id",
            "region_id",
            "resource_id",
            "resource_name",
            "flavor",
        ),
        {
            "records": RECORDS,
            "consumed_quantity": summed("consumed_quantity", whole=False),
            "resources": counted("resource_id"),
        },
        ("records", "consumed_quantity"),
        always=("billing_metric", "consumed_unit"),
        json=True,
        smallest="day",
    ),
    "recipe-usage": Shape(
        RecipeUsage,
        (
            "workspace_id",
            "external_id",
            "workspace_name",
            "recipe_id",
            "recipe_name",
            "folder_id",
            "folder_name",
        ),
        {
            "records": RECORDS,
            "task_count": summed("task_count"),
            "job_succeeded_count": summed("job_succeeded_count"),
            "job_failed_count": summed("job_failed_count"),
            "recipes": Measure(
                RECIPES, ("source_id", "recipe_id"), RECIPES, ("source_id", "recipe_id"), additive=False
            ),
        },
        # As with the others, distinct counts are for who asks: they take a look at every recipe.
        ("records", "task_count", "job_succeeded_count", "job_failed_count"),
    ),
}
