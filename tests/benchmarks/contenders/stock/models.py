"""The portal's tables as a stock project would declare them."""

from django.db import models


class Record(models.Model):
    """What every kind has."""

    day = models.DateField()
    extra = models.JSONField()
    first_seen_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    revision = models.IntegerField()
    withdrawn_at = models.DateTimeField(null=True)
    # Its id, as a stock ModelSerializer gives it: cheaper than the slug that the portal gives.
    source_id = models.BigIntegerField()

    class Meta:
        abstract = True
        managed = False


class EnvironmentUsage(Record):
    """Environment usage."""

    record_id = models.TextField()
    environment_id = models.TextField()
    project_id = models.TextField()
    user_id = models.TextField()
    runner_id = models.TextField()
    environment_class_id = models.TextField()
    created_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField()
    runtime_seconds = models.DecimalField(max_digits=20, decimal_places=6, null=True)

    class Meta(Record.Meta):
        db_table = "usage_environmentusage"
        ordering = ("-stopped_at", "-id")


class ResourceUsage(Record):
    """Resource usage."""

    resource_key = models.UUIDField()
    resource_type = models.TextField()
    billing_metric = models.TextField()
    consumed_quantity = models.DecimalField(max_digits=20, decimal_places=6)
    consumed_unit = models.TextField()
    project_id = models.BigIntegerField(null=True)
    region_id = models.BigIntegerField(null=True)
    resource_id = models.TextField()
    resource_name = models.TextField()
    first_seen = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    details = models.JSONField()
    tags = models.JSONField()

    class Meta(Record.Meta):
        db_table = "usage_resourceusage"
        ordering = ("-day", "-id")


class RecipeUsage(Record):
    """Recipe usage."""

    workspace_id = models.BigIntegerField()
    external_id = models.TextField()
    workspace_name = models.TextField()
    recipe_id = models.BigIntegerField(null=True)
    recipe_name = models.TextField()
    folder_id = models.BigIntegerField(null=True)
    folder_name = models.TextField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    task_count = models.BigIntegerField(null=True)
    job_succeeded_count = models.BigIntegerField(null=True)
    job_failed_count = models.BigIntegerField(null=True)
    recipe_count = models.BigIntegerField(null=True)

    class Meta(Record.Meta):
        db_table = "usage_recipeusage"
        ordering = ("-starts_at", "-id")


MODELS: dict[str, type[Record]] = {
    "environment-usage": EnvironmentUsage,
    "resource-usage": ResourceUsage,
    "recipe-usage": RecipeUsage,
}
