"""Roll-ups: what the current records of one source day add up to, by the columns that summaries group by.

`usage.rollups` writes the rows in the transaction that changed the day's records, so at every commit they equal what
the records themselves give. `day` is the source day that owns the records.
"""

from typing import Any, ClassVar, Final

from django.db import models
from django.db.models import Q

from usage.fields import NumericField
from usage.models.records import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord
from usage.models.source import Source

RESOURCE_DIMENSIONS: Final = ("project_id", "region_id", "resource_type", "billing_metric", "consumed_unit")
WORKSPACE_DIMENSIONS: Final = ("workspace_id", "external_id", "workspace_name")
RECIPE_DIMENSIONS: Final = (*WORKSPACE_DIMENSIONS, "recipe_id", "folder_id")


class Rollup(models.Model):
    """What every roll-up has.

    `kind`: the records it adds up. `dimensions`: the columns its rows are grouped by, named as in the records' table
    and NULL where they are. `sums`: the columns that hold sums; they and `records` may be added over any rows.
    `latest`: the columns that hold the latest instant of the records.

    `digest` and `last_changed_at` are those of an export's manifest (usage/exports/manifest.py).
    """

    kind: ClassVar[type[UsageRecord]]
    dimensions: ClassVar[tuple[str, ...]]
    sums: ClassVar[tuple[str, ...]]
    latest: ClassVar[tuple[str, ...]] = ()

    # As in the records (records.py); a day may have thousands of rows.
    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    day = models.DateField()
    records = models.BigIntegerField()

    objects: ClassVar[models.Manager[Any]] = models.Manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.source} {self.day}"


class EnvironmentDay(Rollup):
    """Runs that stopped on a day, by project alone: the most frequent question.

    Ten million runs make 128,000 rows. Months by project take 60 times as long from `EnvironmentAccrual`.
    """

    kind = EnvironmentUsage
    dimensions = ("project_id",)
    sums = ("runtime_seconds", "records_without_runtime", "digest")
    latest = ("last_changed_at",)

    project_id = models.TextField()
    runtime_seconds = NumericField(null=True, help_text="Null where no run has one.")
    records_without_runtime = models.BigIntegerField()
    digest = NumericField()
    last_changed_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("source", "day", "project_id", name="environmentday_once")]


class EnvironmentAccrual(Rollup):
    """Runs that stopped on a day, by everything but the environment, split over the dates `accrued_on` they lasted.

    The dates are those of the source's zone. A run is a record of the date on which it stopped alone; its runtime is
    split exactly over the dates. So sums over `day` are those of stopped runs, and sums of `runtime_seconds` over
    `accrued_on` are accrued runtime.
    """

    kind = EnvironmentUsage
    dimensions = ("accrued_on", "project_id", "environment_class_id", "runner_id", "user_id")
    sums = ("runtime_seconds", "records_without_runtime")

    accrued_on = models.DateField()
    project_id = models.TextField()
    environment_class_id = models.TextField()
    runner_id = models.TextField()
    user_id = models.TextField()
    runtime_seconds = NumericField(null=True, help_text="Null where no run has one.")
    records_without_runtime = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(runtime_seconds__gte=0), name="environmentaccrual_lasted"),
        ]
        indexes = [
            models.Index("source", "accrued_on", "day", name="environmentaccrual_on"),
            models.Index("source", "day", name="environmentaccrual_day"),
        ]


class ResourceDay(Rollup):
    """What was consumed on a day, by type, metric, unit, project and region."""

    kind = ResourceUsage
    dimensions = RESOURCE_DIMENSIONS
    sums = ("consumed_quantity", "records_beyond_decimal", "digest")
    latest = ("last_changed_at",)

    resource_type = models.TextField()
    billing_metric = models.TextField()
    consumed_unit = models.TextField()
    project_id = models.BigIntegerField(null=True)
    region_id = models.BigIntegerField(null=True)
    consumed_quantity = NumericField()
    records_beyond_decimal = models.BigIntegerField(help_text="Those whose quantity no Parquet decimal holds.")
    digest = NumericField()
    last_changed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "source", "day", *RESOURCE_DIMENSIONS, name="resourceday_once", nulls_distinct=False
            )
        ]


class RecipeWorkspaceDay(Rollup):
    """What the recipes of a workspace did on a day, all of them together; a count is None where no record has it.

    Months by workspace take 2.5 times as long from `RecipeDay`, which would miss the benchmark's aim.
    """

    kind = RecipeUsage
    dimensions = WORKSPACE_DIMENSIONS
    sums = (
        "task_count",
        "job_succeeded_count",
        "job_failed_count",
        "records_without_task_count",
        "records_without_job_succeeded_count",
        "records_without_job_failed_count",
        "digest",
    )
    latest = ("last_changed_at",)

    workspace_id = models.BigIntegerField()
    external_id = models.TextField()
    workspace_name = models.TextField()
    task_count = NumericField(null=True)
    job_succeeded_count = NumericField(null=True)
    job_failed_count = NumericField(null=True)
    records_without_task_count = models.BigIntegerField()
    records_without_job_succeeded_count = models.BigIntegerField()
    records_without_job_failed_count = models.BigIntegerField()
    digest = NumericField()
    last_changed_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("source", "day", *WORKSPACE_DIMENSIONS, name="recipeworkspaceday_once")]


class RecipeDay(Rollup):
    """What recipes did on a day, by workspace, recipe and folder; a count is None where no record has it."""

    kind = RecipeUsage
    dimensions = RECIPE_DIMENSIONS
    sums = ("task_count", "job_succeeded_count", "job_failed_count")

    workspace_id = models.BigIntegerField()
    external_id = models.TextField()
    workspace_name = models.TextField()
    recipe_id = models.BigIntegerField(null=True)
    folder_id = models.BigIntegerField(null=True)
    task_count = NumericField(null=True)
    job_succeeded_count = NumericField(null=True)
    job_failed_count = NumericField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("source", "day", *RECIPE_DIMENSIONS, name="recipeday_once", nulls_distinct=False)
        ]
