"""Rollups: what the current records of one source day add up to, by the columns that questions group by.

A rollup's rows are written by `usage.rollups`, in the transaction that changed the day's records, so at every
commit they equal what the records themselves would give. `day` is the source day that owns the records.
"""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from usage.fields import NumericField
from usage.models.records import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord
from usage.models.source import Source


class Rollup(models.Model):
    """What every rollup has.

    `kind`: the records it adds up. `dimensions`: the columns it keeps apart, named as in the records' table and
    NULL where they are. `sums`: the columns that hold sums; they and `records` may be added over any rows.
    """

    kind: ClassVar[type[UsageRecord]]
    dimensions: ClassVar[tuple[str, ...]]
    sums: ClassVar[tuple[str, ...]]

    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    records = models.BigIntegerField()

    objects: ClassVar[models.Manager[Any]] = models.Manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.source} {self.day}"


class EnvironmentProjectDay(Rollup):
    """Runs that stopped on a day, by project alone: what is asked most, and a hundredth of the finer rows."""

    kind = EnvironmentUsage
    dimensions = ("project_id",)
    sums = ("runtime_seconds", "records_without_runtime")

    project_id = models.TextField()
    runtime_seconds = NumericField(null=True)
    records_without_runtime = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint("source", "day", "project_id", name="environmentprojectday_once")]


class EnvironmentDay(Rollup):
    """Runs that stopped on a day, by project, class and runner; `runtime_seconds` is None where no run has one."""

    kind = EnvironmentUsage
    dimensions = ("project_id", "environment_class_id", "runner_id")
    sums = ("runtime_seconds", "records_without_runtime")

    project_id = models.TextField()
    environment_class_id = models.TextField()
    runner_id = models.TextField()
    runtime_seconds = NumericField(null=True)
    records_without_runtime = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "source", "day", "project_id", "environment_class_id", "runner_id", name="environmentday_once"
            )
        ]


class EnvironmentUserDay(Rollup):
    """Runs that stopped on a day, by project and user; `runtime_seconds` is None where no run has one."""

    kind = EnvironmentUsage
    dimensions = ("project_id", "user_id")
    sums = ("runtime_seconds", "records_without_runtime")

    project_id = models.TextField()
    user_id = models.TextField()
    runtime_seconds = NumericField(null=True)
    records_without_runtime = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint("source", "day", "project_id", "user_id", name="environmentuserday_once")
        ]


class ResourceProjectDay(Rollup):
    """What was consumed on a day, by type, metric, unit and project: the regions of each project together."""

    kind = ResourceUsage
    dimensions = ("resource_type", "billing_metric", "consumed_unit", "project_id")
    sums = ("consumed_quantity",)

    resource_type = models.TextField()
    billing_metric = models.TextField()
    consumed_unit = models.TextField()
    project_id = models.BigIntegerField(null=True)
    consumed_quantity = NumericField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "source",
                "day",
                "project_id",
                "resource_type",
                "billing_metric",
                "consumed_unit",
                name="resourceprojectday_once",
                nulls_distinct=False,
            )
        ]


class ResourceDay(Rollup):
    """What was consumed on a day, by type, metric, unit, project and region."""

    kind = ResourceUsage
    dimensions = ("resource_type", "billing_metric", "consumed_unit", "project_id", "region_id")
    sums = ("consumed_quantity",)

    resource_type = models.TextField()
    billing_metric = models.TextField()
    consumed_unit = models.TextField()
    project_id = models.BigIntegerField(null=True)
    region_id = models.BigIntegerField(null=True)
    consumed_quantity = NumericField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "source",
                "day",
                "project_id",
                "region_id",
                "resource_type",
                "billing_metric",
                "consumed_unit",
                name="resourceday_once",
                nulls_distinct=False,
            )
        ]


class RecipeWorkspaceDay(Rollup):
    """What the recipes of a workspace did on a day, all of them together; a count is None where no record has it."""

    kind = RecipeUsage
    dimensions = ("workspace_id", "external_id", "workspace_name")
    sums = ("task_count", "job_succeeded_count", "job_failed_count")

    workspace_id = models.BigIntegerField()
    external_id = models.TextField()
    workspace_name = models.TextField()
    task_count = NumericField(null=True)
    job_succeeded_count = NumericField(null=True)
    job_failed_count = NumericField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "source", "day", "workspace_id", "external_id", "workspace_name", name="recipeworkspaceday_once"
            )
        ]


class RecipeDay(Rollup):
    """What recipes did on a day, by workspace, recipe and folder; a count is None where no record has it."""

    kind = RecipeUsage
    dimensions = ("workspace_id", "external_id", "workspace_name", "recipe_id", "folder_id")
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
            models.UniqueConstraint(
                "source",
                "day",
                "workspace_id",
                "recipe_id",
                "folder_id",
                "external_id",
                "workspace_name",
                name="recipeday_once",
                nulls_distinct=False,
            )
        ]


class EnvironmentAccrual(models.Model):
    """The runtime of the runs that stopped on `day`, split exactly over the dates `accrued_on` they lasted.

    The dates are those of the source's zone. A run touches a date where its `[created_at, stopped_at)` and the
    date overlap, so a run of no length touches none, and one without `created_at` is left out. `runs` counts
    the runs that touch the date: it may be added over dimensions, not over dates.
    """

    kind: ClassVar[type[UsageRecord]] = EnvironmentUsage
    dimensions: ClassVar[tuple[str, ...]] = ("project_id", "environment_class_id", "runner_id", "user_id")
    sums: ClassVar[tuple[str, ...]] = ("accrued_seconds",)

    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    accrued_on = models.DateField()
    project_id = models.TextField()
    environment_class_id = models.TextField()
    runner_id = models.TextField()
    user_id = models.TextField()
    accrued_seconds = NumericField()
    runs = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(accrued_seconds__gt=0), name="environmentaccrual_lasted"),
        ]
        indexes = [
            models.Index("source", "accrued_on", "day", name="environmentaccrual_on"),
            models.Index("source", "day", name="environmentaccrual_day"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.accrued_on} of {self.day}"
