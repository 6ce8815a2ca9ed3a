"""The dimensions and the measures of each kind of usage."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import BooleanField, Case, F, Func, Q, TextField, Value, When

from usage.categories import CATEGORIES, OTHER
from usage.directory.lookup import TEAM
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

RECIPE_DIMENSIONS: Final = frozenset({"recipe_id", "recipe_name", "folder_id", "folder_name"})
JSON_DIMENSIONS: Final = ("details.<field>", "tag:<key>")
DETAIL_FIELD: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
MAX_TAG_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something to group by: its name, the ORM expression of a record's value, and the roll-up columns it needs.

    `rollup_columns` None: no roll-up has it. `is_team`: the value is a user, in whose place come the teams of today.
    """

    name: str
    expression: Any
    rollup_columns: frozenset[str] | None
    is_team: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to add up, as SQL over records (`sql`), roll-up rows (`rollup_sql`) and parts of runs (`accrual_sql`).

    The rows have the alias `t`. `columns`, `rollup_columns`: what the SQL reads besides `id`, `records` and the parts
    of runs. `rollup_sql` '': no roll-up has it. `additive`: the sum over groups is the total. `is_count`: of
    no rows it is 0, and not unknown. `integer`: JSON has it as a number; others are texts with all their digits.
    """

    sql: str
    columns: tuple[str, ...] = ()
    rollup_sql: str = ""
    rollup_columns: tuple[str, ...] = ()
    accrual_sql: str = ""
    additive: bool = True
    is_count: bool = False
    integer: bool = True


@dataclass(frozen=True, slots=True)
class MetricSet:
    """The dimensions and measures of one kind of usage.

    `partition`: the dimensions that rows and totals are always grouped by, the last of them the unit. `has_json`:
    fields of `details` and keys of `tags` are dimensions too. `smallest_interval`: a smaller would cut a record.
    """

    kind: type[UsageRecord]
    dimensions: tuple[Dimension, ...]
    measures: Mapping[str, Measure]
    default_measures: tuple[str, ...]
    partition: tuple[str, ...] = ()
    has_json: bool = False
    smallest_interval: str = "hour"

    def get_partition(self, group_by: Collection[str]) -> tuple[str, ...]:
        """Return the dimensions that totals are grouped by: by the unit alone where rows are, and not by the metric."""
        by_unit = self.partition[-1:]
        return by_unit if set(by_unit) & set(group_by) and self.partition[0] not in group_by else self.partition

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """The names of the dimensions besides `details.<field>`, `tag:<key>` and the intervals."""
        return tuple(dimension.name for dimension in self.dimensions)

    def get_dimension(self, name: str) -> Dimension | None:
        """Return the dimension of that name, None where there is none."""
        plain_dimension = next((dimension for dimension in self.dimensions if dimension.name == name), None)
        return plain_dimension or (get_json_dimension(name) if self.has_json else None)


class JsonText(Func):
    """The text of one member of a JSON object, NULL where it lacks the member; a list is its JSON."""

    function = "jsonb_extract_path_text"
    output_field = TextField()


def get_json_dimension(name: str) -> Dimension | None:
    """Return the dimension over a field of `details` or a key of `tags`, None for any other name."""
    field, key = name.removeprefix("details."), name.removeprefix("tag:")
    if name.startswith("details.") and DETAIL_FIELD.fullmatch(field):
        return build_json_dimension(name, "details", field)
    if name.startswith("tag:") and 0 < len(key) <= MAX_TAG_KEY and "\0" not in key:
        return build_json_dimension(name, "tags", key)
    return None


def build_json_dimension(name: str, column: str, key: str) -> Dimension:
    """Return a dimension over a member of a JSON column."""
    return Dimension(name, JsonText(F(column), Value(key, output_field=TextField())), None)


def build_column_dimension(name: str) -> Dimension:
    """Return a dimension over a column; a roll-up that keeps the column has it too."""
    return Dimension(name, F(name), frozenset({name}))


def build_distinct_measure(column: str) -> Measure:
    """Return the count of distinct ids in a column, those of each source apart, empty ids left out."""
    sql = f"count(DISTINCT (t.source_id, t.{column})) FILTER (WHERE t.{column} <> '')"
    return Measure(sql, ("source_id", column), accrual_sql=sql, additive=False, is_count=True)


def build_sum_measure(column: str, *, integer: bool = True, accrual_sql: str = "") -> Measure:
    """Return the sum of a column, NULL where no record has it."""
    return Measure(f"sum(t.{column})", (column,), f"sum(t.{column})", (column,), accrual_sql, integer=integer)


SOURCE: Final = Dimension("source", F("source_id"), frozenset())
VENDOR: Final = Dimension("vendor", F("source__vendor"), frozenset())
USER_TEAM: Final = Dimension(TEAM, F("user_id"), frozenset({"user_id"}), is_team=True)
RECIPE_NAME: Final = Dimension(
    "recipe_name",
    Case(When(recipe_id=None, then=Value("Deleted recipes")), default=F("recipe_name"), output_field=TextField()),
    frozenset({"recipe_name", "recipe_id"}),
)
CATEGORY: Final = Dimension(
    "category",
    Case(
        *(When(resource_type__in=types, then=Value(name)) for name, types in CATEGORIES.items()),
        default=Value(OTHER),
        output_field=TextField(),
    ),
    frozenset({"resource_type"}),
)
# Separates the rows of deleted recipes from those whose recipe or folder has no name or id for another reason.
DELETED_RECIPES: Final = Dimension(
    "deleted_recipes",
    Case(When(Q(recipe_id=None), then=Value(True)), default=Value(False), output_field=BooleanField()),
    frozenset({"recipe_id"}),
)
RECORDS: Final = Measure(
    "count(*)", (), "coalesce(sum(t.records), 0)", ("records",), "count(DISTINCT t.id)", is_count=True
)
DISTINCT_RECIPES: Final = "count(DISTINCT (t.source_id, t.recipe_id)) FILTER (WHERE t.recipe_id IS NOT NULL)"

METRICS: Final[dict[str, MetricSet]] = {
    "environment-usage": MetricSet(
        kind=EnvironmentUsage,
        dimensions=(
            SOURCE,
            VENDOR,
            build_column_dimension("project_id"),
            build_column_dimension("user_id"),
            USER_TEAM,
            build_column_dimension("environment_id"),
            build_column_dimension("environment_class_id"),
            build_column_dimension("runner_id"),
        ),
        measures={
            "records": RECORDS,
            "runtime_seconds": build_sum_measure(
                "runtime_seconds", integer=False, accrual_sql="sum(t.accrued_seconds)"
            ),
            "records_without_runtime": Measure(
                "count(*) - count(t.runtime_seconds)",
                ("runtime_seconds",),
                "coalesce(sum(t.records_without_runtime), 0)",
                ("records_without_runtime",),
                "count(*) FILTER (WHERE t.created_at IS NULL)",
                is_count=True,
            ),
            "environments": build_distinct_measure("environment_id"),
            "users": build_distinct_measure("user_id"),
        },
        default_measures=("records", "runtime_seconds", "records_without_runtime"),
    ),
    "resource-usage": MetricSet(
        kind=ResourceUsage,
        dimensions=(
            SOURCE,
            VENDOR,
            CATEGORY,
            build_column_dimension("resource_type"),
            build_column_dimension("billing_metric"),
            build_column_dimension("consumed_unit"),
            build_column_dimension("project_id"),
            build_column_dimension("region_id"),
            build_column_dimension("resource_id"),
            build_column_dimension("resource_name"),
            build_json_dimension("flavor", "details", "flavor"),
        ),
        measures={
            "records": RECORDS,
            "consumed_quantity": build_sum_measure("consumed_quantity", integer=False),
            "resources": build_distinct_measure("resource_id"),
        },
        default_measures=("records", "consumed_quantity"),
        partition=("billing_metric", "consumed_unit"),
        has_json=True,
        smallest_interval="day",
    ),
    "recipe-usage": MetricSet(
        kind=RecipeUsage,
        dimensions=(
            SOURCE,
            VENDOR,
            build_column_dimension("workspace_id"),
            build_column_dimension("external_id"),
            build_column_dimension("workspace_name"),
            build_column_dimension("recipe_id"),
            RECIPE_NAME,
            build_column_dimension("folder_id"),
            build_column_dimension("folder_name"),
        ),
        measures={
            "records": RECORDS,
            "task_count": build_sum_measure("task_count"),
            "job_succeeded_count": build_sum_measure("job_succeeded_count"),
            "job_failed_count": build_sum_measure("job_failed_count"),
            "recipes": Measure(
                DISTINCT_RECIPES,
                ("source_id", "recipe_id"),
                DISTINCT_RECIPES,
                ("source_id", "recipe_id"),
                additive=False,
                is_count=True,
            ),
        },
        # Distinct counts only on request: they read every recipe.
        default_measures=("records", "task_count", "job_succeeded_count", "job_failed_count"),
    ),
}
METRICS_BY_KIND: Final = {metrics.kind: metrics for metrics in METRICS.values()}
